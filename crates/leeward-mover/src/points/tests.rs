use super::*;
use crate::block::BLOCK;
use crate::layer::{Identity, Owner, Readable};
use crate::manifest::Fingerprint;
use crate::retention::prune;
use crate::scan::{Look, ScanError, scan};
use crate::sim::Sim;
use crate::view::View;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeSet;
use std::num::NonZeroU32;

fn place(text: &str) -> Place {
    Place::parse(text).unwrap()
}

fn group() -> GroupName {
    GroupName::parse("shop").unwrap()
}

fn point(name: &str) -> PointId {
    PointId::parse(name).unwrap()
}

/// A site whose folder for points was made long ago.
fn site(clones: bool) -> Sim {
    let sim = Sim::new(clones);
    sim.create_folder(&place("points")).unwrap();
    sim.settled();
    sim
}

fn target(sim: &Sim, boot: u64) -> Points<Sim> {
    Points::new(sim.clone(), place("points"), format!("boot-{boot}"))
}

fn volume(disk: &Place) -> String {
    disk.as_str().split('/').next().unwrap().to_owned()
}

/// A source: the bytes of each disk.
type Disks = BTreeMap<Place, Vec<u8>>;

fn order(name: &str, base: Option<&str>, source: &Sim, disks: &Disks) -> Order {
    Order {
        group: group(),
        point: point(name),
        base: base.map(point),
        from: SiteName::parse("east").unwrap(),
        epoch: Epoch(1),
        volumes: disks.keys().map(|disk| (volume(disk), Wanted::default())).collect(),
        carried: BTreeSet::new(),
        folders: BTreeMap::new(),
        disks: disks.keys().map(|disk| (disk.clone(), source.open(disk).unwrap().identity().unwrap())).collect(),
    }
}

/// A source on which the disks are.
fn source(disks: &Disks) -> Sim {
    let sim = Sim::new(false);
    for (disk, bytes) in disks {
        working::folders(&sim, disk).unwrap();
        sim.create(disk).unwrap().write_at(0, bytes).unwrap();
    }
    sim
}

/// What a sender and a receiver do together. Gives the bytes that were sent.
fn send(points: &Points<Sim>, source: &Sim, order: &Order) -> Result<(Point, u64), PointError> {
    let mut partial = match points.open(order)? {
        Opened::Whole(point) => return Ok((point, 0)),
        Opened::Partial(partial) => partial,
    };
    let mut sent = 0;
    for disk in order.disks.keys() {
        let mut working = partial.disk(disk)?;
        let file = source.open(disk).unwrap();
        let (size, state) = (file.size().unwrap(), working.state()?);
        let mut newer = crate::manifest::Writer::new(std::io::sink(), size).unwrap();
        let older_size = state.size();
        let scanned =
            scan(&file, size, Look::Data, state, older_size, &mut newer, &mut |change| working.apply(&change));
        let scanned = scanned.map_err(|error| match error {
            ScanError::Sink(error) => error,
            error => panic!("{error:?}"),
        })?;
        sent += scanned.written;
        let whole = working.finish(newer.finish().unwrap().1, file.owner().unwrap())?;
        partial.done(disk, whole);
    }
    Ok((partial.commit()?, sent))
}

/// Disks with some of their blocks set, some to the same byte.
fn disks(lot: &mut StdRng) -> Disks {
    let some = |lot: &mut StdRng| {
        let size = lot.random_range(0..5 * BLOCK);
        let mut bytes = vec![0; size];
        for block in bytes.chunks_mut(BLOCK) {
            if lot.random_bool(0.6) {
                let at = lot.random_range(0..block.len());
                block[at..].fill(lot.random_range(0..3));
            }
        }
        bytes
    };
    (0..lot.random_range(1..4)).map(|disk| (place(&format!("pv-{disk}/disk.img")), some(lot))).collect()
}

/// The same some time later: bytes are written, disks resized; one may be new.
fn later(disks: &Disks, lot: &mut StdRng) -> Disks {
    let mut later = disks.clone();
    for bytes in later.values_mut() {
        if lot.random_bool(0.3) {
            bytes.resize(lot.random_range(0..5 * BLOCK), 0);
        }
        for _ in 0..lot.random_range(0..4) {
            if !bytes.is_empty() {
                let at = lot.random_range(0..bytes.len());
                let end = bytes.len().min(at + lot.random_range(1..BLOCK));
                bytes[at..end].fill(lot.random_range(0..3));
            }
        }
    }
    if lot.random_bool(0.2) {
        later.insert(place("pv-new/disk.img"), vec![9; lot.random_range(0..3 * BLOCK)]);
    }
    later
}

/// Whether the point is there, and is exactly this.
#[track_caller]
fn assert_is(points: &Points<Sim>, name: &str, disks: &Disks) {
    let found = points.verify(&group(), &point(name)).unwrap();
    assert!(found.disks.keys().eq(disks.keys()), "{found:?}");
    for (disk, bytes) in disks {
        assert!(held(points, &found, disk) == *bytes, "{name} {disk}");
    }
}

/// What a point's disk holds, whatever its file does.
fn held<L: Layer>(points: &Points<L>, point: &Point, disk: &Place) -> Vec<u8> {
    let view = View::open(&points.layer, &points.paths(point, disk), point.disks[disk].size).unwrap();
    let mut bytes = vec![0; view.size().unwrap() as usize];
    crate::layer::read_exact_at(&view, 0, &mut bytes).unwrap();
    bytes
}

fn names(points: &Points<Sim>) -> Vec<String> {
    points.list(&group()).unwrap().into_iter().map(|point| point.point.to_string()).collect()
}

#[test]
fn points_follow_each_other_and_only_what_changed_is_sent() {
    for clones in [true, false] {
        let sim = site(clones);
        let points = target(&sim, 0);
        let mut first: Disks = [(place("pv/disk.img"), vec![1; 5 * BLOCK])].into();
        let east = source(&first);
        let (_, sent) = send(&points, &east, &order("rp-1", None, &east, &first)).unwrap();
        assert_eq!(sent, 5 * BLOCK as u64);
        let older = first.clone();
        first.values_mut().for_each(|bytes| bytes[3 * BLOCK + 7] = 2);
        let east = source(&first);
        let second = order("rp-2", Some("rp-1"), &east, &first);
        assert_eq!(send(&points, &east, &second).unwrap().1, BLOCK as u64);
        assert_is(&points, "rp-1", &older);
        assert_is(&points, "rp-2", &first);
        assert_eq!(send(&points, &east, &second).unwrap().1, 0, "a point that is there is not made again");
        points.withdraw(&group(), &point("rp-1")).unwrap();
        points.withdraw(&group(), &point("rp-1")).unwrap();
        assert_eq!(names(&points), ["rp-2"]);
    }
}

/// What a storm makes after the first point: some volumes are read, some carried, some start from a seed.
struct Next {
    order: Order,
    east: Sim,
    /// What the point then holds.
    whole: Disks,
    /// What lies where clients see it.
    live: Disks,
    keep: NonZeroU32,
}

fn next(first: &Disks, lot: &mut StdRng) -> Next {
    let mut read = later(first, lot);
    let carried: Disks =
        first.iter().filter(|_| lot.random_bool(0.3)).map(|(disk, bytes)| (disk.clone(), bytes.clone())).collect();
    read.retain(|disk, _| !carried.contains_key(disk));
    let east = source(&read);
    let mut order = order("rp-2", Some("rp-1"), &east, &read);
    order.carried = carried.keys().map(volume).collect();
    let mut live = Disks::new();
    for (disk, bytes) in &read {
        if lot.random_bool(0.5) {
            let key = volume(disk);
            let mut old = bytes.clone();
            if let Some(byte) = old.first_mut() {
                *byte ^= 1;
            }
            old.resize(lot.random_range(0..4 * BLOCK), 3);
            if lot.random_bool(0.8) {
                live.insert(place("live").join(disk), old);
            }
            let wanted = order.volumes.get_mut(&key).unwrap();
            wanted.seed = Some(place("live").join(&place(&key)));
            wanted.about = serde_json::json!({"seeded": true});
        }
    }
    let whole = read.into_iter().chain(carried).collect();
    Next { order, east, whole, live, keep: NonZeroU32::new(lot.random_range(1..3)).unwrap() }
}

impl Next {
    fn make(&self, points: &Points<Sim>) -> Result<(), PointError> {
        let (made, _) = send(points, &self.east, &self.order)?;
        prune(points, &made, self.keep).map(drop)
    }

    /// What has to be true at any time.
    fn check(&self, points: &Points<Sim>, first: &Disks, done: bool) {
        let there = names(points);
        let has = |name: &str| there.iter().any(|there| there == name);
        if has("rp-1") {
            assert_is(points, "rp-1", first);
        }
        if has("rp-2") {
            assert_is(points, "rp-2", &self.whole);
        }
        assert!(has("rp-1") || (has("rp-2") && self.keep.get() == 1), "nothing goes before a newer point is there");
        assert!(!done || has("rp-2"), "what was said to be there is there");
        assert!(!done || has("rp-1") == (self.keep.get() == 2), "what was said to be gone is gone");
        for (seed, bytes) in &self.live {
            assert!(points.layer.bytes(seed).unwrap() == *bytes, "a seed is only read");
        }
    }
}

/// Makes a point, then the next one, and stops everything at some effect of the second. Whatever is left then has the first
/// point as it was, and the second one whole or not at all; and asking for it again completes it.
fn storm(seed: u64) {
    let lot = &mut StdRng::seed_from_u64(seed);
    let sim = site(lot.random_bool(0.5));
    let first = disks(lot);
    let east = source(&first);
    send(&target(&sim, 0), &east, &order("rp-1", None, &east, &first)).unwrap();
    let next = next(&first, lot);
    for (seed, bytes) in &next.live {
        working::folders(&sim, seed).unwrap();
        sim.create(seed).unwrap().write_at(0, bytes).unwrap();
    }
    sim.settled();
    let rehearsal = sim.killed();
    next.make(&target(&rehearsal, 0)).unwrap();
    next.check(&target(&rehearsal, 0), &first, true);
    let effects = rehearsal.effects() - sim.effects();

    let (mut sim, mut boot) = (sim, 0);
    // Each attempt ends well with a chance of one in three: so many that fail are never going to end.
    for _ in 0..200 {
        // At most some stops, then it may end.
        let stop = lot.random_range(0..effects + effects / 2 + 1);
        sim.stop_after(stop);
        let done = next.make(&target(&sim, boot)).is_ok();
        sim = if lot.random_bool(0.5) {
            sim.killed()
        } else {
            boot += 1;
            sim.crashed(lot)
        };
        next.check(&target(&sim, boot), &first, done);
        if done {
            return;
        }
    }
    panic!("what a crash left can no longer be completed");
}

#[test]
fn any_crash_leaves_the_old_point_or_the_new_one() {
    storms(storm);
}

/// Raises a storm for each seed.
fn storms(storm: impl Fn(u64) + std::panic::RefUnwindSafe) {
    // `LEEWARD_STORM_SEEDS=10000` for the whole storm.
    let until = std::env::var("LEEWARD_STORM_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(200);
    let seeds = std::env::var("LEEWARD_STORM_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .map_or(0..until, |seed| seed..seed + 1);
    for seed in seeds {
        let stormed = std::panic::catch_unwind(|| storm(seed));
        if let Err(panic) = stormed {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn who_was_killed_goes_on_and_sends_no_stride_twice() {
    let disk = place("pv/disk.img");
    let blocks = 5 * crate::scan::STRIDE as usize;
    let bytes: Vec<u8> = (0..blocks).flat_map(|block| vec![(block % 250) as u8 + 1; BLOCK]).collect();
    let disks: Disks = [(disk, bytes)].into();
    let east = source(&disks);
    let order = order("rp-1", None, &east, &disks);
    let whole = send(&target(&site(true), 0), &east, &order).unwrap().1;
    let longest = crate::scan::STRIDE * BLOCK as u64;
    for stop in 0..40 {
        let sim = site(true);
        sim.stop_after(stop);
        let _ = send(&target(&sim, 0), &east, &order);
        let sim = sim.killed();
        let there: u64 = sim
            .bytes(&place("points/shop/rp-1.partial/pv/disk.img"))
            .map_or(0, |bytes| bytes.iter().filter(|byte| **byte != 0).count() as u64);
        let (_, sent) = send(&target(&sim, 0), &east, &order).unwrap();
        assert!(sent <= whole - there + longest, "{stop}: {sent} sent, {there} of {whole} were there");
        assert_is(&target(&sim, 0), "rp-1", &disks);
    }
}

#[test]
fn what_a_crash_left_of_a_journal_is_believed_by_none_who_come_after() {
    let lot = &mut StdRng::seed_from_u64(5);
    let disk = place("pv/disk.img");
    let disks: Disks = [(disk, (1..=9).flat_map(|byte| [byte; BLOCK]).collect())].into();
    let east = source(&disks);
    let order = order("rp-1", None, &east, &disks);
    let attempt = |sim: &Sim, boot, stop| {
        sim.stop_after(stop);
        send(&target(sim, boot), &east, &order).is_ok()
    };
    let whole = site(false);
    assert!(attempt(&whole, 0, 1000));
    for first in 0..whole.effects() {
        let sim = site(false);
        attempt(&sim, 0, first);
        // A file system that puts names there by itself.
        sim.stop_after(1000);
        sync(&sim, &place("points"), &[]).unwrap();
        let crashed = sim.crashed(lot);
        for second in 0.. {
            let sim = crashed.killed();
            let done = attempt(&sim, 1, second);
            let sim = sim.killed();
            assert!(attempt(&sim, 1, 1000));
            assert_is(&target(&sim, 1), "rp-1", &disks);
            if done {
                break;
            }
        }
    }
}

#[test]
fn an_older_epoch_is_refused_and_a_newer_one_goes_on() {
    let sim = site(true);
    let points = target(&sim, 0);
    let disks: Disks = [(place("pv/disk.img"), vec![1; 10])].into();
    let east = source(&disks);
    let new = Order { epoch: Epoch(3), ..order("rp-1", None, &east, &disks) };
    let Opened::Partial(open) = points.open(&new).unwrap() else { panic!("it is not there yet") };
    let old = Order { epoch: Epoch(2), ..order("rp-2", None, &east, &disks) };
    let refused = points.open(&old);
    assert!(matches!(refused, Err(PointError::OldEpoch { newest: Epoch(3), .. })), "{refused:?}");
    drop(open);
    send(&points, &east, &new).unwrap();
    assert!(matches!(points.open(&old), Err(PointError::OldEpoch { .. })));
    send(&points, &east, &Order { epoch: Epoch(3), ..old.clone() }).unwrap();
    send(&points, &east, &Order { epoch: Epoch(4), point: point("rp-3"), ..old }).unwrap();
    assert_eq!(names(&points), ["rp-1", "rp-2", "rp-3"]);
}

#[test]
fn what_somebody_wrote_into_a_point_is_found_and_not_handed_on() {
    let sim = site(true);
    let points = target(&sim, 0);
    let disks: Disks = [(place("pv/disk.img"), vec![1; 3 * BLOCK])].into();
    let east = source(&disks);
    send(&points, &east, &order("rp-1", None, &east, &disks)).unwrap();
    let image = sim.open(&place("points/shop/rp-1/pv/disk.img")).unwrap();
    let touches: [&dyn Fn(); 3] = [&|| image.write_at(5, &[7]).unwrap(), &|| image.write_at(0, &[0]).unwrap(), &|| {
        image.set_size(BLOCK as u64).unwrap()
    }];
    for (touch, next) in touches.iter().zip(["rp-2", "rp-3", "rp-4"]) {
        touch();
        assert!(matches!(points.verify(&group(), &point("rp-1")), Err(PointError::Touched { .. })));
        let (made, sent) = send(&points, &east, &order(next, Some("rp-1"), &east, &disks)).unwrap();
        assert!(sent >= BLOCK as u64, "what was touched is sent again: {sent}");
        points.verify(&group(), &made.point).unwrap();
    }
    assert!(matches!(points.verify(&group(), &point("rp-1")), Err(PointError::Touched { .. })));
}

#[test]
fn a_source_that_lies_makes_no_point() {
    let sim = site(true);
    let points = target(&sim, 0);
    let disk = place("pv/disk.img");
    let disks: Disks = [(disk.clone(), vec![1; 3 * BLOCK])].into();
    let east = source(&disks);
    let order = order("rp-1", None, &east, &disks);
    let Opened::Partial(partial) = points.open(&order).unwrap() else { panic!("it is not there yet") };
    let unannounced = partial.disk(&place("pv/other.img"));
    assert!(matches!(unannounced, Err(PointError::Request { .. })), "{unannounced:?}");
    use crate::scan::Change;
    let block = vec![1; BLOCK];
    for wrong in [
        Change::Write { offset: 1, bytes: &block },
        Change::Write { offset: 0, bytes: &block[1..] },
        Change::Write { offset: 0, bytes: &[] },
        Change::Write { offset: 3 * BLOCK as u64, bytes: &block },
        Change::Write { offset: u64::MAX - 1, bytes: &block },
        Change::Zero { range: 0..u64::MAX },
        Change::Zero { range: 2 * BLOCK as u64..BLOCK as u64 },
    ] {
        let mut working = partial.disk(&disk).unwrap();
        let refused = working.apply(&wrong);
        assert!(matches!(refused, Err(PointError::Request { .. })), "{wrong:?}: {refused:?}");
    }
    let mut working = partial.disk(&disk).unwrap();
    working.apply(&Change::Write { offset: BLOCK as u64, bytes: &block }).unwrap();
    let again = working.apply(&Change::Write { offset: 0, bytes: &block });
    assert!(matches!(again, Err(PointError::Request { .. })), "order is kept: {again:?}");
    let refused = working.finish(Fingerprint([0; 32]), Owner { user: 0, group: 0, mode: 0o600 });
    assert!(matches!(refused, Err(PointError::Differs { .. })), "{refused:?}");
    let refused = partial.commit();
    assert!(matches!(refused, Err(PointError::Request { .. })), "{refused:?}");
    assert!(names(&points).is_empty());
    send(&points, &east, &order).unwrap();
    assert_is(&points, "rp-1", &disks);
}

#[test]
fn disks_that_cannot_be_together_are_refused() {
    let sim = site(true);
    let identity = Identity { size: 0, inode: (0, 0), modified: (0, 0), changed: (0, 0) };
    let none = Disks::new();
    for wrong in [&["disk.img"][..], &[".blocks/x"], &["a/b", "a/b-c", "a/b.c/d", "a/b/c"]] {
        let disks: BTreeMap<_, _> = wrong.iter().map(|disk| (place(disk), identity.clone())).collect();
        let volumes = disks.keys().map(|disk| (volume(disk), Wanted::default())).collect();
        let points = target(&sim, 0);
        let refused = points.open(&Order { disks, volumes, ..order("rp-1", None, &sim, &none) });
        assert!(matches!(refused, Err(PointError::Request { .. })), "{wrong:?}: {refused:?}");
    }
}

mod chain;
mod volumes;
