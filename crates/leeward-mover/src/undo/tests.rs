use super::*;
use crate::bed::{Sites, put, request, sites};
use crate::layer::Readable;
use crate::sim::{Sim, SimFile};
use crate::view::View;
use leeward_model::name::GroupName;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

mod damaged;

fn place(text: &str) -> Place {
    Place::parse(text).unwrap()
}

fn paths(point: &str) -> Paths {
    Paths::new(&place("shop").join(&place(point)), &place("pv/disk.img"))
}

/// A point `rp-1` with a file of these blocks, the last of them `last` bytes long, and the log of it.
fn logged(blocks: &[u8], last: usize) -> (Sim, SimFile, Log<SimFile>) {
    let sim = Sim::new(false);
    for point in ["rp-1", "rp-2.partial"] {
        folders(&sim, &paths(point).image).unwrap();
    }
    let image = sim.create(&paths("rp-1").image).unwrap();
    for (at, byte) in blocks.iter().enumerate() {
        let length = if at + 1 == blocks.len() { last } else { BLOCK };
        image.write_at((at * BLOCK) as u64, &vec![*byte; length]).unwrap();
    }
    image.sync().unwrap();
    let size = image.size().unwrap();
    let log = chain::join(&sim, &paths("rp-1"), &paths("rp-2.partial"), size).unwrap().unwrap();
    (sim, image, log)
}

fn view<L: Layer>(layer: &L, paths: &Paths, size: u64) -> Vec<u8> {
    let view = View::open(layer, paths, size).unwrap();
    let mut bytes = vec![0; view.size().unwrap() as usize];
    read_exact_at(&view, 0, &mut bytes).unwrap();
    // In pieces it is the same.
    let mut data = vec![0; bytes.len()];
    let mut at = 0;
    while let Some(range) = view.next_data(at).unwrap() {
        for start in range.clone().step_by(BLOCK / 2 + 1) {
            let end = range.end.min(start + BLOCK as u64 / 2 + 1);
            read_exact_at(&view, start, &mut data[start as usize..end as usize]).unwrap();
        }
        at = range.end;
    }
    assert!(data == bytes, "what is said to be zero is not");
    bytes
}

#[test]
fn the_first_save_counts_and_zeros_are_holes() {
    let (sim, image, log) = logged(&[1, 0, 3], 9);
    let size = image.size().unwrap();
    let before = sim.bytes(&paths("rp-1").image).unwrap();
    log.protect(&image, std::slice::from_ref(&(0..2))).unwrap();
    image.write_at(0, &[9; 2 * BLOCK]).unwrap();
    assert_eq!(view(&sim, &paths("rp-1"), size), before);
    log.protect(&image, std::slice::from_ref(&(0..3))).unwrap();
    image.set_size(5).unwrap();
    image.write_at(0, &[8; 5]).unwrap();
    assert_eq!(view(&sim, &paths("rp-1"), size), before);
    let effects = sim.effects();
    log.protect(&image, &[0..3, 7..9]).unwrap();
    assert_eq!(sim.effects(), effects, "what is saved is not saved again, and what it never had neither");
    assert!(chain::settle(&sim, &paths("rp-1")).is_ok_and(|tip| !tip), "the next one is being made");
    sim.remove(&place("shop/rp-2.partial")).unwrap();
    assert_eq!(view(&sim, &paths("rp-1"), size), before);
    assert!(chain::settle(&sim, &paths("rp-1")).unwrap());
    assert_eq!(sim.bytes(&paths("rp-1").image).unwrap(), before);
    assert!(sim.list(&place("shop/rp-1/.undo/pv")).unwrap().is_empty());
}

#[test]
fn a_rollback_may_be_stopped_at_every_effect() {
    let (sim, image, log) = logged(&[1, 0, 3, 4], 9);
    let size = image.size().unwrap();
    let before = sim.bytes(&paths("rp-1").image).unwrap();
    log.protect(&image, &[0..2, 3..4]).unwrap();
    image.write_at(0, &[9; 2 * BLOCK]).unwrap();
    image.set_size(3 * BLOCK as u64).unwrap();
    image.set_size(8 * BLOCK as u64).unwrap();
    image.write_at(5 * BLOCK as u64, &[9; BLOCK]).unwrap();
    sim.remove(&place("shop/rp-2.partial")).unwrap();
    sim.settled();
    let rehearsal = sim.killed();
    assert!(chain::settle(&rehearsal, &paths("rp-1")).unwrap());
    for stop in 0..=rehearsal.effects() - sim.effects() {
        for lot in 0..10 {
            let sim = sim.killed();
            sim.stop_after(stop);
            let _ = chain::settle(&sim, &paths("rp-1"));
            let sim = if lot == 0 { sim.killed() } else { sim.crashed(&mut StdRng::seed_from_u64(lot)) };
            assert_eq!(view(&sim, &paths("rp-1"), size), before, "{stop} {lot}");
            assert!(chain::settle(&sim, &paths("rp-1")).unwrap());
            assert_eq!(sim.bytes(&paths("rp-1").image).unwrap(), before, "{stop} {lot}");
            // What is left of the old log is not taken for the next one's.
            folders(&sim, &paths("rp-2.partial").image).unwrap();
            for again in 0..if lot == 0 { 60 } else { 12 } {
                let sim = sim.killed();
                sim.stop_after(again % 12);
                let _ = chain::join(&sim, &paths("rp-1"), &paths("rp-2.partial"), size);
                let sim = sim.crashed(&mut StdRng::seed_from_u64(100 * lot + again));
                assert_eq!(view(&sim, &paths("rp-1"), size), before, "{stop} {lot}");
            }
            let log = chain::join(&sim, &paths("rp-1"), &paths("rp-2.partial"), size).unwrap().unwrap();
            let image = sim.open(&paths("rp-2.partial").image).unwrap();
            log.protect(&image, std::slice::from_ref(&(0..4))).unwrap();
            image.write_at(0, &[7; 4 * BLOCK]).unwrap();
            assert_eq!(view(&sim, &paths("rp-1"), size), before, "{stop} {lot}");
        }
    }
}

#[test]
fn a_point_that_is_just_being_withdrawn_does_not_come_back_after_its_base_was_rolled_back() {
    let (sim, image, log) = logged(&[1, 2], BLOCK);
    log.protect(&image, std::slice::from_ref(&(0..1))).unwrap();
    image.write_at(0, &[9; BLOCK]).unwrap();
    sim.rename(&place("shop/rp-2.partial"), &place("shop/rp-2")).unwrap();
    sim.settled();
    let newer = sim.bytes(&paths("rp-2").image).unwrap();
    sim.rename(&place("shop/rp-2"), &place("shop/rp-2.gone")).unwrap();
    assert!(chain::settle(&sim, &paths("rp-1")).unwrap());
    for lot in 0..20 {
        let sim = sim.crashed(&mut StdRng::seed_from_u64(lot));
        let back = sim.bytes(&paths("rp-2").image);
        assert!(back.is_err() || back.is_ok_and(|bytes| bytes == newer), "{lot}");
    }
}

#[test]
fn a_thousand_changes_cost_a_few_syncs() {
    let (sim, image, log) = logged(&[1; 1000], BLOCK);
    let mut batch = Batch::new(log);
    let (mut written, before) = (0, sim.syncs());
    let mut count = |_: &crate::scan::Change<'_>| {
        written += 1;
        Ok::<_, ()>(())
    };
    for block in 0..1000 {
        let bytes = vec![2; BLOCK];
        if batch.hold(&crate::scan::Change::Write { offset: block * BLOCK_BYTES, bytes: &bytes }) {
            batch.protect(&image).unwrap().each(&mut count).unwrap();
        }
    }
    batch.protect(&image).unwrap().each(&mut count).unwrap();
    assert_eq!(written, 1000);
    assert_eq!(sim.syncs() - before, 2 * 8);
}

/// Bytes that compress to nothing and repeat nowhere.
fn noise(lot: &mut StdRng, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    lot.fill(bytes.as_mut_slice());
    bytes
}

/// Bytes that all files below a folder take up, each once.
fn taken(folder: &Path, seen: &mut BTreeMap<u64, u64>) -> u64 {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let about = entry.metadata().unwrap();
        if about.is_dir() {
            taken(&entry.path(), seen);
        } else {
            seen.insert(about.ino(), about.blocks() * 512);
        }
    }
    seen.values().sum()
}

fn make(sites: &Sites, number: usize, image: &[u8]) {
    make_from(sites, number, number.checked_sub(1), image);
}

fn make_from(sites: &Sites, number: usize, base: Option<usize>, image: &[u8]) {
    put(&sites.east("shop/pv/disk.img"), image);
    let base = base.map(|base| format!("rp-{base}"));
    sites.sync(&request(&format!("rp-{number}"), base.as_deref(), &["pv"])).unwrap();
}

/// Where the disk of a point is on a real file system.
fn real(point: &str) -> Paths {
    Paths::new(&place(".leeward/points/shop").join(&place(point)), &place("pv/disk.img"))
}

#[test]
fn a_point_costs_what_changed() {
    let sites = sites();
    let lot = &mut StdRng::seed_from_u64(1);
    let mut image = noise(lot, 64 << 20);
    let mut images = Vec::new();
    let mut before = 0;
    for number in 0..4 {
        if number > 0 {
            let at = lot.random_range(0..image.len() - 9);
            image[at..at + 9].fill(number as u8);
        }
        make(&sites, number, &image);
        images.push(image.clone());
        let now = taken(&sites.west(".leeward"), &mut BTreeMap::new());
        if number > 0 {
            assert!(now - before <= 24 * BLOCK_BYTES, "point {number} costs {} bytes", now - before);
        }
        before = now;
    }
    for (number, image) in images.iter().enumerate() {
        assert!(view(&sites.west, &real(&format!("rp-{number}")), 64 << 20) == *image, "rp-{number}");
    }
    let group = GroupName::parse("shop").unwrap();
    for gone in [1, 0, 3] {
        let gone = PointId::parse(format!("rp-{gone}")).unwrap();
        sites.points.withdraw(&group, &gone).unwrap();
    }
    assert!(view(&sites.west, &real("rp-2"), 64 << 20) == images[2]);
    sites.points.verify(&group, &PointId::parse("rp-2").unwrap()).unwrap();
}

#[test]
fn an_older_point_s_disk_is_whose_it_was() {
    let sites = sites();
    let mode = |mode: u32| {
        fs::create_dir_all(sites.east("shop/pv")).unwrap();
        put(&sites.east("shop/pv/disk.img"), &[mode as u8; 100]);
        fs::set_permissions(sites.east("shop/pv/disk.img"), fs::Permissions::from_mode(mode)).unwrap();
    };
    for (number, bits) in [0o606, 0o640, 0o600].into_iter().enumerate() {
        mode(bits);
        let base = number.checked_sub(1).map(|base| format!("rp-{base}"));
        sites.sync(&request(&format!("rp-{number}"), base.as_deref(), &["pv"])).unwrap();
    }
    let owner = |point: &str| crate::view::owner(&sites.west, &real(point)).unwrap().mode;
    assert_eq!((owner("rp-0"), owner("rp-1"), owner("rp-2")), (0o606, 0o640, 0o600));
    let group = GroupName::parse("shop").unwrap();
    sites.points.withdraw(&group, &PointId::parse("rp-2").unwrap()).unwrap();
    sites.points.withdraw(&group, &PointId::parse("rp-1").unwrap()).unwrap();
    assert_eq!(owner("rp-0"), 0o606);
    assert!(chain::settle(&sites.west, &real("rp-0")).unwrap());
    assert_eq!(owner("rp-0"), 0o606);
    assert_eq!(fs::metadata(sites.west(".leeward/points/shop/rp-0/pv/disk.img")).unwrap().mode() & 0o777, 0o606);
}

#[test]
fn a_reader_beside_a_writer_reads_its_own_point() {
    let sites = sites();
    let lot = &mut StdRng::seed_from_u64(2);
    let mut image = noise(lot, 3 << 20);
    let mut images = Vec::new();
    for number in 0..2 {
        image[number * 5] ^= 1;
        make(&sites, number, &image);
        images.push(image.clone());
    }
    let (end, group) = (AtomicBool::new(false), GroupName::parse("shop").unwrap());
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|number: usize| {
                let (sites, images, end) = (&sites, &images, &end);
                scope.spawn(move || {
                    let mut times = 0;
                    while !end.load(Ordering::Relaxed) || times == 0 {
                        let found = view(&sites.west, &real(&format!("rp-{number}")), 3 << 20);
                        assert!(found == images[number], "rp-{number} is another");
                        times += 1;
                    }
                    times
                })
            })
            .collect();
        let mut there = vec![0, 1];
        for number in 2..16 {
            let mut changed = image.clone();
            for _ in 0..40 {
                let at = lot.random_range(0..changed.len() - BLOCK);
                let zero = lot.random_bool(0.3);
                changed[at..at + BLOCK].fill(if zero { 0 } else { number as u8 });
            }
            make_from(&sites, number, there.last().copied(), &changed);
            there.push(number);
            // One in the middle, or the newest: then its base is rolled back when the next one is made.
            let gone = match number % 4 {
                2 => there.remove(there.len() - 2),
                3 => there.remove(there.len() - 1),
                _ => continue,
            };
            if gone > 1 {
                sites.points.withdraw(&group, &PointId::parse(format!("rp-{gone}")).unwrap()).unwrap();
            } else {
                there.insert(gone, gone);
            }
            image = changed;
        }
        end.store(true, Ordering::Relaxed);
        let times: Vec<u32> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        assert!(times.iter().all(|times| *times > 0), "{times:?}");
    });
}
