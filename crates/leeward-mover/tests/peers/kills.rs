//! Whoever is killed goes on.

use crate::site::{Pair, answer, noise, request};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

fn kills() -> u32 {
    std::env::var("LEEWARD_KILLS").map_or(4, |kills| kills.parse().unwrap())
}

/// Two disks of 24 MiB, changed here and there.
fn change(pair: &Pair, lot: &mut StdRng) {
    for file in ["a.img", "b.img"] {
        let path = pair.east.file("db", file);
        let open = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(path).unwrap();
        open.set_len(24 << 20).unwrap();
        for _ in 0..lot.random_range(40..120) {
            let bytes = noise(lot.random_range(1..200_000));
            open.write_all_at(&bytes, lot.random_range(0..(24 << 20) - 200_000)).unwrap();
        }
    }
}

/// Kills one of the two at random instants of transfers that take about as long as one that is left alone.
fn storm(kill: impl Fn(&mut Pair, &mut std::process::Child)) {
    let mut pair = Pair::new();
    let seed = rand::rng().random();
    println!("seed {seed}");
    let mut lot = StdRng::seed_from_u64(seed);
    change(&pair, &mut lot);
    let began = Instant::now();
    pair.east.sync(&request("rp-0", None, &["db"])).unwrap();
    let whole = began.elapsed();
    let mut base = "rp-0".to_owned();
    for round in 1..=kills() {
        let point = format!("rp-{round}");
        change(&pair, &mut lot);
        let request = request(&point, Some(&base), &["db"]);
        let mut child = pair.east.begin(&request);
        // When it is killed is drawn by lot; nothing depends on what it had done by then.
        std::thread::sleep(Duration::from_micros(lot.random_range(0..whole.as_micros() as u64 + 1)));
        kill(&mut pair, &mut child);
        let _done_or_not = answer(&child.wait_with_output().unwrap());
        pair.west.verify(&base).unwrap();
        pair.east.sync(&request).unwrap();
        pair.west.verify(&point).unwrap();
        for file in ["a.img", "b.img"] {
            pair.assert_same(&point, "db", file);
        }
        base = point;
    }
}

#[test]
fn a_killed_sender_goes_on() {
    storm(|_, child| child.kill().unwrap());
}

#[test]
fn a_killed_receiver_goes_on() {
    storm(|pair, _| pair.restart());
}
