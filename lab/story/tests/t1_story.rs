//! The story's five parts, each on its own, on one lab. They run in the order of their names and need no particular one.

mod stage;

use leeward_lab_story::parts;
use stage::on_the_lab;

#[test]
fn part1_cycle() {
    on_the_lab(async |stage| parts::cycle(stage).await);
}

#[test]
fn part2_migrate_loses_nothing() {
    on_the_lab(async |stage| parts::migrate(stage).await);
}

#[test]
fn part3_failback_loses_nothing() {
    on_the_lab(async |stage| parts::failback(stage).await);
}

#[test]
fn part4_and_5_disaster_and_homecoming() {
    // One test: between the two halves a site is cut off.
    on_the_lab(async |stage| {
        parts::disaster(stage).await?;
        parts::homecoming(stage).await
    });
}
