use super::*;
use crate::answer;
use crate::bed::{put, request, sites, volume};
use crate::error::PointError;
use crate::volumes::VolumeError;
use leeward_model::name::PointId;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn volumes_become_points_and_only_what_changed_is_written() {
    let sites = sites();
    put(&sites.east("shop/pv-1/disk.img"), &[7; 200_000]);
    put(&sites.east("shop/pv-1/sub/one"), b"1");
    put(&sites.east("shop/pv-1/sub/none"), b"");
    let first = sites.sync(&request("rp-1", None, &["pv-1"])).unwrap();
    assert_eq!(first.cost().written, 200_001);
    put(&sites.east("shop/pv-1/disk.img"), &[[8; 1].as_slice(), &[7; 199_999]].concat());
    fs::remove_file(sites.east("shop/pv-1/sub/one")).unwrap();
    let again = sites.sync(&request("rp-1", None, &["pv-1"])).unwrap();
    assert_eq!((&again.point, again.disks.len()), (&first.point, 0), "what is there is not read again");
    let second = sites.sync(&request("rp-2", Some("rp-1"), &["pv-1"])).unwrap();
    assert_eq!(second.cost().written, crate::block::BLOCK_BYTES);
    let names =
        |point| -> Vec<String> { answer::point(point).volumes[0].files.iter().map(|file| file.name.clone()).collect() };
    assert_eq!(names(&first.point), ["disk.img", "sub/none", "sub/one"]);
    assert_eq!(names(&second.point), ["disk.img", "sub/none"], "what left the volume is in no new point");
    assert_eq!(answer::point(&second.point).volumes[0].about, json!({"at": "pv-1"}));
    for point in [&first.point, &second.point] {
        sites.points.verify(&point.group, &point.point).unwrap();
    }
    assert!(second.point.number > first.point.number);
}

#[test]
fn a_carried_volume_is_the_base_s_with_all_that_came_with_it() {
    let sites = sites();
    put(&sites.east("shop/pv-1/disk.img"), b"first");
    put(&sites.east("shop/pv-2/a/b"), b"first");
    fs::set_permissions(sites.east("shop/pv-2"), fs::Permissions::from_mode(0o2771)).unwrap();
    fs::set_permissions(sites.east("shop/pv-2/a/b"), fs::Permissions::from_mode(0o604)).unwrap();
    let first = answer::point(&sites.sync(&request("rp-1", None, &["pv-1", "pv-2"])).unwrap().point);
    put(&sites.east("shop/pv-1/disk.img"), b"second");
    put(&sites.east("shop/pv-2/a/b"), b"second");
    let carrying = mover::Sync { carried: vec!["pv-2".to_owned()], ..request("rp-2", Some("rp-1"), &["pv-1"]) };
    let second = answer::point(&sites.sync(&carrying).unwrap().point);
    assert_eq!(second.volumes[1], first.volumes[1]);
    assert_ne!(second.volumes[0], first.volumes[0]);
    let mode = |path: &str| fs::metadata(sites.west(path)).unwrap().permissions().mode() & 0o7777;
    for point in ["rp-1", "rp-2"] {
        assert_eq!(mode(&format!(".leeward/points/shop/{point}/pv-2")), 0o2771);
        assert_eq!(mode(&format!(".leeward/points/shop/{point}/pv-2/a/b")), 0o604);
    }
    assert_eq!(fs::read(sites.west(".leeward/points/shop/rp-2/pv-2/a/b")).unwrap(), b"first");
    assert_eq!(sites.sync(&carrying).unwrap().disks.len(), 0);
}

#[test]
fn a_seed_saves_what_it_has_and_is_only_read() {
    let sites = sites();
    let bytes = vec![5; 300_000];
    put(&sites.east("shop/pv-1/disk.img"), &bytes);
    put(&sites.east("shop/pv-1/new"), b"new");
    let mut old = bytes.clone();
    old[100_000] = 6;
    old.truncate(290_000);
    put(&sites.west("live/pv-1/disk.img"), &old);
    put(&sites.west("live/pv-1/stranger"), b"not the volume's any more");
    let mut seeded = request("rp-1", None, &["pv-1"]);
    seeded.volumes[0].seed = Some("live/pv-1".to_owned());
    let sent = sites.sync(&seeded).unwrap();
    let disk = Place::parse("pv-1/disk.img").unwrap();
    assert!(sent.disks[&disk].written <= 3 * crate::block::BLOCK_BYTES, "{:?}", sent.disks);
    sites.points.verify(&sent.point.group, &sent.point.point).unwrap();
    assert_eq!(sent.point.disks.len(), 2);
    assert!(fs::read(sites.west("live/pv-1/disk.img")).unwrap() == old);
    for (point, seed) in [("rp-2", "live/none"), ("rp-3", "live/pv-1/disk.img")] {
        seeded.point = PointId::parse(point).unwrap();
        seeded.volumes[0].seed = Some(seed.to_owned());
        assert_eq!(sites.sync(&seeded).unwrap().cost().written, 300_003, "a seed that is not there is no seed");
    }
}

#[test]
fn bad_requests_and_bad_volumes_are_refused() {
    let sites = sites();
    let good = request("rp-1", None, &["pv-1"]);
    let absent = sites.sync(&good);
    assert!(matches!(absent, Err(SendError::Volume(VolumeError::Absent { .. }))), "{absent:?}");
    put(&sites.east("shop/pv-1/disk.img"), b"1");
    let with = |change: &dyn Fn(&mut mover::Sync)| {
        let mut wrong = good.clone();
        change(&mut wrong);
        wrong
    };
    for wrong in [
        with(&|wrong| wrong.volumes.clear()),
        with(&|wrong| wrong.volumes.push(volume("pv-1"))),
        with(&|wrong| wrong.volumes[0].folder = "../west".to_owned()),
        with(&|wrong| wrong.volumes[0].folder = "/etc".to_owned()),
        with(&|wrong| wrong.volumes[0].folder = ".leeward/points/shop/rp-0/pv-1".to_owned()),
        with(&|wrong| wrong.volumes[0].seed = Some(".leeward".to_owned())),
        with(&|wrong| wrong.carried = vec!["pv-2".to_owned(), "pv-2".to_owned()]),
    ] {
        let refused = sites.sync(&wrong);
        assert!(matches!(refused, Err(SendError::Request { .. })), "{wrong:?}: {refused:?}");
    }
    for wrong in [
        with(&|wrong| wrong.volumes[0].key = "../pv".to_owned()),
        with(&|wrong| wrong.volumes[0].key = String::new()),
        with(&|wrong| wrong.carried = vec!["pv-1".to_owned()]),
        with(&|wrong| wrong.base = Some(wrong.point.clone())),
    ] {
        let refused = sites.sync(&wrong);
        assert!(matches!(refused, Err(SendError::Target { .. })), "{wrong:?}: {refused:?}");
    }
    assert!(sites.points.list(&good.group).unwrap().is_empty());
    let about = with(&|wrong| wrong.volumes[0].about = Value::Null);
    sites.sync(&good).unwrap();
    assert!(matches!(sites.sync(&about), Err(SendError::Target { .. })));
}

#[test]
fn what_is_being_read_or_made_is_not_taken_away() {
    let sites = sites();
    put(&sites.east("shop/pv-1/disk.img"), b"1");
    let first = sites.sync(&request("rp-1", None, &["pv-1"])).unwrap().point;
    let held = sites.points.existing(&first.group, &first.point).unwrap();
    let refused = sites.points.withdraw(&first.group, &first.point);
    assert!(matches!(refused, Err(PointError::Busy { .. })), "{refused:?}");
    sites.points.verify(&first.group, &first.point).unwrap();
    drop(held);

    let asked = Asked::parse(&request("rp-2", Some("rp-1"), &["pv-1"])).unwrap();
    let walked = asked.walk(&sites.east).unwrap();
    let order = asked.found(&walked).unwrap();
    let making = sites.points.open(&order).unwrap();
    let refused = sites.points.open(&order);
    assert!(matches!(refused, Err(PointError::Busy { .. })), "two make the same point: {refused:?}");
    let refused = sites.points.withdraw(&first.group, &first.point);
    assert!(matches!(refused, Err(PointError::Busy { .. })), "the base is needed: {refused:?}");
    drop(making);
    sites.sync(&request("rp-2", Some("rp-1"), &["pv-1"])).unwrap();
    sites.points.withdraw(&first.group, &first.point).unwrap();
    assert_eq!(sites.points.list(&first.group).unwrap().len(), 1);
}

#[test]
fn a_source_that_is_written_before_it_is_read_makes_no_point() {
    let sites = sites();
    put(&sites.east("shop/pv-1/disk.img"), b"1");
    put(&sites.east("shop/pv-2/disk.img"), b"1");
    let asked = Asked::parse(&request("rp-1", None, &["pv-1", "pv-2"])).unwrap();
    let walked = asked.walk(&sites.east).unwrap();
    let order = asked.clone().found(&walked).unwrap();
    let writer = fs::OpenOptions::new().append(true).open(sites.east("shop/pv-2/disk.img")).unwrap();
    std::io::Write::write_all(&mut &writer, b"more").unwrap();
    match send(&sites.east, &&sites.points, &order, &walked, &Manner::QUIET) {
        Err(SendError::Volume(VolumeError::Changed { volume, file, by, .. })) => {
            assert_eq!((volume.as_str(), file.as_str()), ("pv-2", "disk.img"));
            assert!(by.contains(&format!("process {}", std::process::id())), "its writer is named: {by}");
        }
        made => panic!("{made:?}"),
    }
    let walked = asked.walk(&sites.east).unwrap();
    put(&sites.east("shop/pv-1/new"), b"1");
    let new = send(&sites.east, &&sites.points, &asked.found(&walked).unwrap(), &walked, &Manner::QUIET);
    assert!(matches!(new, Err(SendError::Volume(VolumeError::Changed { ref file, .. })) if file == "new"), "{new:?}");
    let again = asked_again(&sites);
    assert!(matches!(again, Ok(ref sent) if sent.point.disks.len() == 3), "{again:?}");
}

fn asked_again(sites: &crate::bed::Sites) -> Result<Sent, SendError> {
    sites.sync(&request("rp-1", None, &["pv-1", "pv-2"]))
}
