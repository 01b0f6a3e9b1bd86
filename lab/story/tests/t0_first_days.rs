//! Before anything was moved for the first time. It comes first, on a lab that was just made: the static volume of the
//! running VM `web` has never been copied.

mod stage;

use anyhow::ensure;
use leeward_lab::Site;
use leeward_lab_story::{guests, parts};
use stage::{at_home, killed_behind, on_the_lab};

const DB: (&str, &[&str]) = ("db", &["db-data", "db-log"]);
const WEB: (&str, &[&str]) = ("web", &["web-disk"]);

#[test]
fn what_was_never_copied_stays_at_home_and_goes_on_there() {
    on_the_lab(async |stage| {
        at_home(stage).await?;
        ensure!(
            !stage.lab.export(Site::West).join("web-disk").exists(),
            "web's disk was copied already: take the lab down and up again"
        );
        stage.leeward.done(&["cycle", "shop"], &|line| eprintln!("   {line}")).await?;
        stage.lab.kill_site(Site::East).await?;
        let failover = ["failover", "shop", "--yes", "--reason", "test"];
        let said = stage.leeward.done(&failover, &|line| eprintln!("   {line}")).await?;
        stage.tale.check(
            "the failover says that web's disk is not there",
            said.talk.contains("web-disk (shop/web-disk) has no copy at west"),
            said.talk.clone(),
        );
        guests::wait_for_records_of(&[DB], stage.lab, Site::West, 2, parts::WRITES).await?;
        stage.tale.check("web does not run at west", guests::count(stage.lab, Site::West, WEB.0)? == 0, "");

        stage.lab.heal_site(Site::East).await?;
        parts::wait_until_it_answers(stage, Site::East).await?;
        // Until the source is stopped, a move can be taken back. What cannot run at west is not waited for.
        killed_behind(stage, &["failback", "shop", "--yes"], "fenceSource").await?;
        stage.leeward.done(&["rollback", "shop", "--yes"], &|line| eprintln!("   {line}")).await?;
        guests::wait_for_records_of(&[DB], stage.lab, Site::West, 1, parts::WRITES).await?;

        let web = guests::newest(stage.lab, Site::East, WEB.0)?;
        let said = stage.leeward.done(&["failback", "shop", "--yes"], &|line| eprintln!("   {line}")).await?;
        stage.tale.check(
            "the failback says that web's disk keeps what home has",
            said.talk.contains("web-disk (shop/web-disk) keeps the data that east has"),
            said.talk.clone(),
        );
        guests::wait_for_records(stage.lab, Site::East, 1, parts::WRITES).await?;
        // The records that web wrote at home, before and after home was cut off, are all there.
        stage::nothing_lost(stage, "", WEB.1, &web, &guests::newest(stage.lab, Site::East, WEB.0)?);
        Ok(())
    });
}
