//! Points that share their files by name, because the file system shares no blocks.

use super::*;

/// Points as they have to be, by name.
type Expected = BTreeMap<String, Disks>;

/// A point that is to be made, and what it then holds.
struct Wish {
    name: String,
    order: Order,
    east: Sim,
    whole: Disks,
}

impl Wish {
    fn new(name: &str, base: Option<(&str, &Disks)>, changed: Disks, carried: &Disks) -> Self {
        let read: Disks = changed.into_iter().filter(|(disk, _)| !carried.contains_key(disk)).collect();
        let east = source(&read);
        let mut order = order(name, base.map(|(base, _)| base), &east, &read);
        order.carried = carried.keys().map(volume).collect();
        let whole = read.into_iter().chain(carried.clone()).collect();
        Self { name: name.to_owned(), order, east, whole }
    }

    /// What comes after one of the points, or after none.
    fn drawn(name: &str, expected: &Expected, lot: &mut StdRng) -> Self {
        let newest = expected.keys().next_back().cloned();
        let base = match lot.random_range(0..10) {
            0 => None,
            1 => expected.keys().nth(lot.random_range(0..expected.len().max(1))).cloned(),
            _ => newest.clone(),
        };
        let before = base.as_ref().or(newest.as_ref()).map_or_else(|| disks(lot), |name| expected[name].clone());
        let base = base.as_deref().map(|base| (base, &before));
        let carried = before.iter().filter(|_| base.is_some() && lot.random_bool(0.25));
        let carried = carried.map(|(disk, bytes)| (disk.clone(), bytes.clone())).collect();
        Self::new(name, base, later(&before, lot), &carried)
    }

    fn make(&self, points: &Points<Sim>) -> Result<(), PointError> {
        send(points, &self.east, &self.order).map(drop)
    }
}

/// Whether every point is there and holds exactly what it should, and no other is. `maybe` may be there.
#[track_caller]
fn check(points: &Points<Sim>, expected: &Expected, maybe: Option<(&str, &Disks)>) {
    let there = names(points);
    for (name, disks) in expected {
        assert!(there.contains(name), "{name} is lost: {there:?}");
        assert_is(points, name, disks);
    }
    for name in there.iter().filter(|name| !expected.contains_key(*name)) {
        let (_, disks) = maybe.filter(|(maybe, _)| maybe == name).unwrap_or_else(|| panic!("{name} is too much"));
        assert_is(points, name, disks);
    }
}

/// Does something again and again and stops it at some effect each time; whatever happens, `expected` stays, and `maybe` comes or
/// goes whole. Gives what is left, and whether it was done: sometimes it is given up.
fn in_storm(
    mut sim: Sim,
    boot: &mut u64,
    lot: &mut StdRng,
    expected: &Expected,
    maybe: (&str, &Disks),
    act: &dyn Fn(&Points<Sim>) -> Result<(), PointError>,
) -> (Sim, bool) {
    let rehearsal = sim.killed();
    act(&target(&rehearsal, *boot)).unwrap();
    let effects = rehearsal.effects() - sim.effects();
    for _ in 0..200 {
        sim.stop_after(lot.random_range(0..effects + effects / 2 + 1));
        let done = act(&target(&sim, *boot)).is_ok();
        sim = if lot.random_bool(0.5) {
            sim.killed()
        } else {
            *boot += 1;
            sim.crashed(lot)
        };
        check(&target(&sim, *boot), expected, Some(maybe));
        if done || lot.random_bool(0.1) {
            return (sim, done);
        }
    }
    panic!("what a crash left can no longer be completed");
}

/// Makes and withdraws points, each in a storm.
fn storm(seed: u64) {
    let lot = &mut StdRng::seed_from_u64(seed);
    let (mut sim, mut boot) = (site(lot.random_bool(0.05)), 0);
    let mut expected = Expected::new();
    for number in 0..3 {
        let wish = Wish::drawn(&format!("rp-{number:03}"), &expected, lot);
        wish.make(&target(&sim, boot)).unwrap();
        expected.insert(wish.name, wish.whole);
    }
    sim.settled();
    let mut given_up: Option<Wish> = None;
    for number in 3..lot.random_range(5..12) {
        if lot.random_bool(0.05) {
            sim.refuse_links();
        }
        if expected.len() > 1 && lot.random_bool(0.45) {
            let name = expected.keys().nth(lot.random_range(0..expected.len())).unwrap().clone();
            let disks = expected.remove(&name).unwrap();
            let withdraw = |points: &Points<Sim>| points.withdraw(&group(), &point(&name));
            let done;
            (sim, done) = in_storm(sim, &mut boot, lot, &expected, (&name, &disks), &withdraw);
            if !done {
                // Nobody was told that it is gone. The file system puts the name there or not, some time.
                sim.sync_folder(&place("points/shop")).unwrap();
                if names(&target(&sim, boot)).contains(&name) {
                    expected.insert(name, disks);
                }
            }
            continue;
        }
        let again = given_up.take().filter(|_| lot.random_bool(0.7));
        // What it was to carry may be gone.
        let possible = |wish: &Wish| {
            let base = wish.order.base.as_ref().map(PointId::to_string);
            wish.order.carried.is_empty() || base.is_some_and(|base| expected.contains_key(&base))
        };
        let wish = again.filter(possible).unwrap_or_else(|| {
            let number = if lot.random_bool(0.9) { number } else { number - 1 };
            let name = format!("rp-{number:03}");
            let name = if expected.contains_key(&name) { format!("rp-{number:03}b") } else { name };
            Wish::drawn(&name, &expected, lot)
        });
        let done;
        (sim, done) = in_storm(sim, &mut boot, lot, &expected, (&wish.name, &wish.whole), &|points| wish.make(points));
        // Until somebody was told that it is there, a crash may still take it.
        if done || target(&sim, boot).look(&wish.order).unwrap().is_some() {
            expected.insert(wish.name, wish.whole);
        } else {
            given_up = Some(wish);
        }
    }
    check(&target(&sim, boot), &expected, None);
}

#[test]
fn any_crash_leaves_every_point_of_a_chain_what_it_was() {
    storms(storm);
}

fn bytes(blocks: &[u8], last: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = blocks.iter().flat_map(|byte| [*byte; BLOCK]).collect();
    bytes.truncate((bytes.len() + last).saturating_sub(BLOCK));
    bytes
}

fn of(changed: &[u8], carried: &[u8], last: usize) -> Disks {
    [(place("pv/a/disk.img"), bytes(changed, last)), (place("kept/disk.img"), bytes(carried, 9))].into()
}

/// Three points on one file, of which the second is longer and the third shorter than the first.
fn three() -> (Sim, Expected) {
    let sim = site(false);
    let points = target(&sim, 0);
    let mut expected = Expected::new();
    let first = of(&[1, 2, 0, 4], &[7, 7], 100);
    let second = of(&[1, 3, 5, 4, 6], &[7, 7], 50);
    let third = of(&[1, 3, 9], &[7, 7], 7);
    let kept: Disks = [(place("kept/disk.img"), bytes(&[7, 7], 9))].into();
    let mut base = None;
    for (name, disks) in [("rp-1", &first), ("rp-2", &second), ("rp-3", &third)] {
        let carried = if base.is_some() { kept.clone() } else { Disks::new() };
        let wish = Wish::new(name, base.map(|base| (base, disks)), disks.clone(), &carried);
        wish.make(&points).unwrap();
        assert_eq!(wish.whole, *disks);
        expected.insert(name.to_owned(), disks.clone());
        base = Some(name);
    }
    sim.settled();
    check(&points, &expected, None);
    (sim, expected)
}

/// Something that is done with points.
type Act<'a> = dyn Fn(&Points<Sim>) -> Result<(), PointError> + 'a;

/// Stops something at each of its effects, by a kill and by crashes; then does it again, and makes a point of all that is left.
fn at_every_effect(sim: &Sim, expected: &Expected, maybe: (&str, &Disks), made: bool, act: &Act<'_>) {
    let rehearsal = sim.killed();
    act(&target(&rehearsal, 0)).unwrap();
    let effects = rehearsal.effects() - sim.effects();
    assert!(effects > 3, "{effects}");
    for stop in 0..=effects {
        for lot in 0..6 {
            let sim = sim.killed();
            sim.stop_after(stop);
            let _ = act(&target(&sim, 0));
            let sim = if lot == 0 { sim.killed() } else { sim.crashed(&mut StdRng::seed_from_u64(lot)) };
            let points = target(&sim, u64::from(lot > 0));
            check(&points, expected, Some(maybe));
            act(&points).unwrap();
            let mut expected = expected.clone();
            if made {
                expected.insert(maybe.0.to_owned(), maybe.1.clone());
            }
            check(&points, &expected, None);
            let (newest, before) = expected.iter().next_back().unwrap();
            let next = Wish::new("rp-9", Some((newest, before)), of(&[8, 8, 8, 8, 8], &[8, 8], 1), &Disks::new());
            next.make(&points).unwrap();
            expected.insert(next.name, next.whole);
            check(&points, &expected, None);
        }
    }
}

#[test]
fn a_point_on_a_chain_may_be_stopped_at_every_effect() {
    let (sim, expected) = three();
    let kept: Disks = [(place("kept/disk.img"), bytes(&[7, 7], 9))].into();
    let changed = of(&[0, 3, 3, 3], &[], BLOCK);
    let base = Some(("rp-3", &expected["rp-3"]));
    let wish = Wish::new("rp-4", base, changed, &kept);
    at_every_effect(&sim, &expected, (&wish.name, &wish.whole), true, &|points| wish.make(points));
}

#[test]
fn a_withdrawal_may_be_stopped_at_every_effect() {
    for name in ["rp-1", "rp-2", "rp-3"] {
        let (sim, mut expected) = three();
        let disks = expected.remove(name).unwrap();
        let withdraw = |points: &Points<Sim>| points.withdraw(&group(), &point(name));
        at_every_effect(&sim, &expected, (name, &disks), false, &withdraw);
    }
}

#[test]
fn nothing_goes_because_of_a_point_whose_name_a_crash_can_take() {
    let (sim, mut expected) = three();
    let disks = expected.remove("rp-3").unwrap();
    let wish = Wish::new("rp-4", Some(("rp-3", &disks)), of(&[4, 4], &[4], 4), &Disks::new());
    let rehearsal = sim.killed();
    wish.make(&target(&rehearsal, 0)).unwrap();
    let effects = rehearsal.effects() - sim.effects();
    // It has its name, and the folders above were not synced.
    sim.stop_after(effects - 2);
    wish.make(&target(&sim, 0)).unwrap_err();
    let sim = sim.killed();
    assert!(names(&target(&sim, 0)).contains(&"rp-4".to_owned()));
    let lot = &mut StdRng::seed_from_u64(4);
    for stop in 0..20 {
        for _ in 0..20 {
            let sim = sim.killed();
            sim.stop_after(stop);
            let _ = target(&sim, 0).withdraw(&group(), &point("rp-3"));
            let points = target(&sim.crashed(lot), 1);
            let there = names(&points);
            assert!(there.iter().any(|name| ["rp-3", "rp-4"].contains(&name.as_str())), "{stop}: {there:?}");
        }
    }
}

#[test]
fn what_one_who_was_killed_did_is_not_built_upon_before_it_is_stable() {
    let lot = &mut StdRng::seed_from_u64(3);
    for name in ["rp-1", "rp-2", "rp-3"] {
        let (sim, mut expected) = three();
        let disks = expected.remove(name).unwrap();
        let withdraw = |points: &Points<Sim>| points.withdraw(&group(), &point(name));
        let (newest, before) = expected.iter().next_back().unwrap();
        let wish = Wish::new("rp-4", Some((newest, before)), of(&[4, 4], &[4], 4), &Disks::new());
        let make = |points: &Points<Sim>| wish.make(points);
        let rehearsal = sim.killed();
        withdraw(&target(&rehearsal, 0)).unwrap();
        for stop in 0..rehearsal.effects() - sim.effects() {
            let killed = sim.killed();
            killed.stop_after(stop);
            let _ = withdraw(&target(&killed, 0));
            let killed = killed.killed();
            for (next, times) in [(&withdraw as &Act<'_>, 10), (&make, 20)] {
                let rehearsal = killed.killed();
                next(&target(&rehearsal, 0)).unwrap();
                let effects = rehearsal.effects() - killed.effects();
                for _ in 0..times {
                    let crashed = killed.killed();
                    crashed.stop_after(lot.random_range(0..=effects));
                    let _ = next(&target(&crashed, 0));
                    let points = target(&crashed.crashed(lot), 1);
                    let there: Vec<String> = names(&points);
                    let mut expected = expected.clone();
                    if there.iter().any(|there| there == name) {
                        expected.insert(name.to_owned(), disks.clone());
                    }
                    check(&points, &expected, Some((&wish.name, &wish.whole)));
                }
            }
        }
    }
}

#[test]
fn a_point_that_is_made_otherwise_after_the_newest_was_withdrawn_may_be_stopped_at_every_effect() {
    let (sim, mut expected) = three();
    target(&sim, 0).withdraw(&group(), &point("rp-3")).unwrap();
    expected.remove("rp-3").unwrap();
    sim.settled();
    let wish = Wish::new("rp-4", Some(("rp-2", &expected["rp-2"])), of(&[4, 4], &[4], 4), &Disks::new());
    at_every_effect(&sim, &expected, (&wish.name, &wish.whole), true, &|points| wish.make(points));
}

#[test]
fn what_goes_on_from_a_base_that_was_withdrawn_does_not_write_over_the_points_before() {
    let (sim, mut expected) = three();
    let points = target(&sim, 0);
    let wish = Wish::new("rp-4", Some(("rp-3", &expected["rp-3"])), of(&[4, 4, 4, 4], &[4], 4), &Disks::new());
    let Opened::Partial(partial) = points.open(&wish.order).unwrap() else { panic!("it is not there yet") };
    for disk in wish.order.disks.keys() {
        partial.disk(disk).unwrap();
    }
    drop(partial);
    points.withdraw(&group(), &point("rp-3")).unwrap();
    expected.remove("rp-3");
    wish.make(&points).unwrap();
    expected.insert(wish.name, wish.whole);
    check(&points, &expected, None);
}

#[test]
fn a_point_that_only_has_the_name_of_the_next_one_is_not_taken_for_it() {
    let (sim, mut expected) = three();
    let points = target(&sim, 0);
    points.withdraw(&group(), &point("rp-3")).unwrap();
    expected.remove("rp-3");
    for (name, base, changed) in [
        ("rp-3", None, of(&[6, 6, 6, 6], &[6, 6], 6)),
        ("rp-4", Some("rp-3"), of(&[4, 4, 4, 4, 4], &[4, 4], 4)),
        ("rp-5", Some("rp-2"), of(&[5, 5, 5, 5, 5], &[5, 5], 5)),
    ] {
        let base = base.map(|base| (base, &expected[base]));
        let wish = Wish::new(name, base, changed, &Disks::new());
        wish.make(&points).unwrap();
        expected.insert(wish.name, wish.whole);
        check(&points, &expected, None);
    }
}

#[test]
fn who_began_to_read_before_points_came_and_went_reads_on_the_same() {
    let (sim, mut expected) = three();
    let points = target(&sim, 0);
    let mut open = Vec::new();
    for (name, disks) in &expected {
        let found = points.find(&group(), &point(name)).unwrap().unwrap();
        for (disk, bytes) in disks {
            let view = View::open(&points.layer, &points.paths(&found, disk), bytes.len() as u64).unwrap();
            open.push((name.clone(), view, bytes.clone()));
        }
    }
    let read_on = |gone: &[&str]| {
        for (name, view, bytes) in open.iter().filter(|(name, ..)| !gone.contains(&name.as_str())) {
            let mut found = vec![0; bytes.len()];
            crate::layer::read_exact_at(view, 0, &mut found).unwrap();
            assert!(found == *bytes, "{name}");
        }
    };
    for (name, base) in [("rp-4", "rp-3"), ("rp-5", "rp-4")] {
        let wish = Wish::new(name, Some((base, &expected[base])), of(&[4, 0, 4, 4], &[4], 4), &Disks::new());
        wish.make(&points).unwrap();
        expected.insert(wish.name, wish.whole);
        read_on(&[]);
    }
    for gone in ["rp-2", "rp-5", "rp-4"] {
        points.withdraw(&group(), &point(gone)).unwrap();
        read_on(&["rp-2"]);
    }
    let wish = Wish::new("rp-6", Some(("rp-3", &expected["rp-3"])), of(&[6, 6, 6, 6], &[6], 6), &Disks::new());
    wish.make(&points).unwrap();
    read_on(&["rp-2"]);
}

#[test]
fn a_point_from_one_that_is_not_the_newest_leaves_the_newest_alone() {
    let (sim, mut expected) = three();
    let points = target(&sim, 0);
    let wish = Wish::new("rp-4", Some(("rp-1", &expected["rp-1"])), of(&[4, 2, 0, 4], &[7, 7], 100), &Disks::new());
    let (_, sent) = send(&points, &wish.east, &wish.order).unwrap();
    assert_eq!(sent, BLOCK as u64, "the base is what it was, wherever its blocks are");
    expected.insert(wish.name, wish.whole);
    check(&points, &expected, None);
}

#[test]
fn where_a_file_can_have_one_name_only_it_is_copied() {
    let (sim, mut expected) = three();
    sim.refuse_links();
    let points = target(&sim, 0);
    let kept: Disks = [(place("kept/disk.img"), bytes(&[7, 7], 9))].into();
    for (name, base) in [("rp-4", "rp-3"), ("rp-5", "rp-4")] {
        let wish = Wish::new(name, Some((base, &expected[base])), of(&[4, 3, 9], &[7, 7], 7), &kept);
        wish.make(&points).unwrap();
        expected.insert(wish.name, wish.whole);
        check(&points, &expected, None);
    }
}

#[test]
fn a_damaged_log_is_found() {
    let (sim, _) = three();
    let points = target(&sim, 0);
    let log = sim.open(&place("points/shop/rp-1/.undo/pv/a.d/disk.img.bytes")).unwrap();
    log.write_at(BLOCK as u64 + 5, &[77]).unwrap();
    for found in [points.verify(&group(), &point("rp-1")), points.verify_some(&group(), &point("rp-1"), 1)] {
        assert!(
            matches!(&found, Err(PointError::Touched { disk, .. }) if disk.as_str() == "pv/a/disk.img"),
            "{found:?}"
        );
    }
    points.verify(&group(), &point("rp-2")).unwrap();
    sim.remove(&place("points/shop/rp-1/.undo/pv/a.d/disk.img.bits")).unwrap();
    let found = points.verify(&group(), &point("rp-1"));
    assert!(matches!(found, Err(PointError::Touched { .. })), "{found:?}");
}
