use super::*;
use crate::bed::{Sites, Xfs, place, put, request};
use crate::block::BLOCK;
use crate::disk::DiskFile;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use std::fs;

const MIB: usize = 1 << 20;

fn noise(lot: &mut StdRng, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    lot.fill_bytes(&mut bytes);
    bytes
}

/// Makes a point of `pv-1`; bytes that were read for it.
fn read(sites: &Sites, point: &str, base: Option<&str>) -> u64 {
    let sent = sites.sync(&request(point, base, &["pv-1"])).unwrap();
    let disk = fs::read(sites.west(&format!(".leeward/points/shop/{point}/pv-1/disk.img"))).unwrap();
    assert!(disk == fs::read(sites.east("shop/pv-1/disk.img")).unwrap(), "{point} is not what was sent");
    sent.cost().read
}

fn image(sites: &Sites) -> DiskFile {
    sites.east.open(&place("shop/pv-1/disk.img")).unwrap()
}

fn remembered(sites: &Sites) -> Vec<String> {
    let listed = sites.east.list(&place(".leeward/sent/shop/pv-1")).unwrap();
    listed.into_iter().map(|(name, _)| name).collect()
}

#[test]
fn only_what_changed_since_the_last_transfer_is_read() {
    let Some(xfs) = Xfs::mount() else { return };
    let (sites, lot) = (xfs.sites(), &mut StdRng::seed_from_u64(1));
    put(&sites.east("shop/pv-1/disk.img"), &noise(lot, 16 * MIB));
    assert_eq!(read(&sites, "rp-1", None), 16 * MIB as u64);
    for at in [3, 5 * MIB, 9 * MIB + 70] {
        image(&sites).write_at(at as u64, &[1]).unwrap();
    }
    assert_eq!(read(&sites, "rp-2", Some("rp-1")), 3 * BLOCK as u64, "a block for each");
    assert_eq!(read(&sites, "rp-3", Some("rp-2")), 0);
    assert_eq!(remembered(&sites).len(), 1);
    // The target starts from another one than was sent last.
    assert_eq!(read(&sites, "rp-4", Some("rp-1")), 16 * MIB as u64);
    assert_eq!(read(&sites, "rp-5", None), 16 * MIB as u64);
    // A disk that is gone is forgotten, and nothing but what is remembered is there.
    fs::rename(sites.east("shop/pv-1/disk.img"), sites.east("shop/pv-1/other.img")).unwrap();
    sites.sync(&request("rp-6", Some("rp-5"), &["pv-1"])).unwrap();
    assert!(
        matches!(remembered(&sites).as_slice(), [one] if one.starts_with("other.img.")),
        "{:?}",
        remembered(&sites)
    );
}

#[test]
fn a_clone_that_somebody_wrote_to_makes_nothing_wrong() {
    let Some(xfs) = Xfs::mount() else { return };
    let (sites, lot) = (xfs.sites(), &mut StdRng::seed_from_u64(2));
    put(&sites.east("shop/pv-1/disk.img"), &noise(lot, 4 * MIB));
    read(&sites, "rp-1", None);
    let clone = place(".leeward/sent/shop/pv-1").join(&place(&remembered(&sites)[0]));
    let clone = sites.east.open(&clone).unwrap();
    clone.write_at(MIB as u64, &noise(lot, BLOCK)).unwrap();
    image(&sites).write_at(2 * MIB as u64, &[9]).unwrap();
    assert_eq!(read(&sites, "rp-2", Some("rp-1")), 2 * BLOCK as u64);
}

#[test]
fn what_changed_while_it_was_read_is_not_remembered() {
    let Some(xfs) = Xfs::mount() else { return };
    let (sites, lot) = (xfs.sites(), &mut StdRng::seed_from_u64(3));
    put(&sites.east("shop/pv-1/disk.img"), &noise(lot, MIB));
    let identity = image(&sites).identity().unwrap();
    let group = GroupName::parse("shop").unwrap();
    let all = Remembered::new(&sites.east, &top(), &group);
    image(&sites).write_at(0, &[1]).unwrap();
    let (disk, file) = (place("pv-1/disk.img"), place("shop/pv-1/disk.img"));
    all.remember([(&disk, &file, &identity, Fingerprint([1; 32]))].into_iter());
    assert!(!all.knows(&disk));
    let identity = image(&sites).identity().unwrap();
    all.remember([(&disk, &file, &identity, Fingerprint([1; 32]))].into_iter());
    assert!(all.knows(&disk));
    assert_eq!(all.may_differ(&disk, Fingerprint([1; 32]), &image(&sites)), Some(Vec::new()));
    assert_eq!(all.may_differ(&disk, Fingerprint([2; 32]), &image(&sites)), None);
}

#[test]
fn points_are_the_same_whatever_is_written_between() {
    let Some(xfs) = Xfs::mount() else { return };
    let seed = rand::rng().random();
    println!("seed {seed}");
    let (sites, lot) = (xfs.sites(), &mut StdRng::seed_from_u64(seed));
    put(&sites.east("shop/pv-1/disk.img"), &noise(lot, MIB));
    let mut base = None;
    for round in 0..40 {
        let file = image(&sites);
        for _ in 0..lot.random_range(0..6) {
            let at = lot.random_range(0..2 * MIB as u64);
            match lot.random_range(0..6) {
                0 => file.set_size(at).unwrap(),
                1 => file.zero(at..at + lot.random_range(0..100_000)).unwrap(),
                2 => file.write_at(at, &vec![0; lot.random_range(0..100_000)]).unwrap(),
                _ => {
                    let length = lot.random_range(0..100_000);
                    file.write_at(at, &noise(lot, length)).unwrap();
                }
            }
        }
        // A volume may also come from a snapshot of it: another file that shares blocks.
        if lot.random_bool(0.3) {
            sites.east.clone_file(&place("shop/pv-1/disk.img"), &place("shop/new")).unwrap();
            sites.east.remove(&place("shop/pv-1/disk.img")).unwrap();
            fs::rename(sites.east("shop/new"), sites.east("shop/pv-1/disk.img")).unwrap();
        }
        let point = format!("rp-{round}");
        read(&sites, &point, base.as_deref());
        if lot.random_bool(0.8) {
            base = Some(point);
        }
    }
}

#[test]
fn where_nothing_is_shared_nothing_is_remembered() {
    let sites = crate::bed::sites();
    put(&sites.east("shop/pv-1/disk.img"), &[7; 5 * BLOCK]);
    if sites.east.clone_file(&place("shop/pv-1/disk.img"), &place("clone")).is_ok() {
        return;
    }
    sites.sync(&request("rp-1", None, &["pv-1"])).unwrap();
    assert_eq!(sites.east.list(&place(".leeward/sent/shop/pv-1")).unwrap(), []);
}
