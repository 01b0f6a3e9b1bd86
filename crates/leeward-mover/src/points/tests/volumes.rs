//! What an order says of volumes, and what is looked at before and after.

use super::*;

#[test]
fn files_and_folders_whose_names_are_like_those_of_manifests_are_kept_apart() {
    let sim = site(true);
    let points = target(&sim, 0);
    let names = ["pv/disk", "pv/disk.blocks/x", "pv/disk.state/x", "pv/disk.journal", "pv/a/b", "pv/a.d", "pv/empty"];
    let disks: Disks = (1..).zip(names).map(|(byte, name)| (place(name), vec![byte; byte as usize])).collect();
    let disks: Disks = disks
        .into_iter()
        .map(|(disk, bytes)| if disk.name() == "empty" { (disk, Vec::new()) } else { (disk, bytes) })
        .collect();
    let east = source(&disks);
    for (name, base) in [("rp-1", None), ("rp-2", Some("rp-1"))] {
        send(&points, &east, &order(name, base, &east, &disks)).unwrap();
        assert_is(&points, name, &disks);
    }
}

#[test]
fn a_point_that_was_asked_for_otherwise_is_another_and_its_source_may_be_gone() {
    let sim = site(true);
    let points = target(&sim, 0);
    let disks: Disks = [(place("pv/disk.img"), vec![1; 10])].into();
    let east = source(&disks);
    let good = order("rp-1", None, &east, &disks);
    send(&points, &east, &good).unwrap();
    let asked = Order { disks: BTreeMap::new(), ..good.clone() };
    assert!(points.look(&asked).unwrap().is_some());
    let about = [("pv".to_owned(), Wanted { about: 1.into(), ..Wanted::default() })].into();
    let more = [("pv".to_owned(), Wanted::default()), ("pv-2".to_owned(), Wanted::default())].into();
    for wrong in [
        Order { volumes: about, ..asked.clone() },
        Order { volumes: more, ..asked.clone() },
        Order { carried: ["pv-2".to_owned()].into(), ..asked.clone() },
        Order { from: SiteName::parse("west").unwrap(), ..asked.clone() },
    ] {
        let refused = points.look(&wrong);
        assert!(matches!(refused, Err(PointError::Other { .. })), "{refused:?}");
    }
    for wrong in [
        Order { base: Some(point("rp-1")), ..asked.clone() },
        Order { carried: ["pv".to_owned()].into(), ..asked.clone() },
        Order { carried: ["../pv".to_owned()].into(), ..asked.clone() },
        Order { carried: [".point.json".to_owned()].into(), ..asked },
    ] {
        let refused = points.look(&wrong);
        assert!(matches!(refused, Err(PointError::Request { .. })), "{refused:?}");
    }
}

#[test]
fn what_is_to_be_carried_must_be_in_the_base() {
    let sim = site(true);
    let points = target(&sim, 0);
    let disks: Disks = [(place("pv/disk.img"), vec![1; 10])].into();
    let east = source(&disks);
    let carrying = |base| Order { carried: ["pv-2".to_owned()].into(), ..order("rp-2", base, &east, &disks) };
    for base in [None, Some("rp-1")] {
        let refused = points.open(&carrying(base));
        assert!(matches!(refused, Err(PointError::NotHeld { point: None, .. })), "{refused:?}");
    }
    send(&points, &east, &order("rp-1", None, &east, &disks)).unwrap();
    let refused = points.open(&carrying(Some("rp-1")));
    assert!(matches!(refused, Err(PointError::NotHeld { point: Some(_), .. })), "{refused:?}");
    assert_eq!(names(&points), ["rp-1"]);
}

#[test]
fn a_point_without_room_is_not_begun() {
    let sim = site(true);
    let points = target(&sim, 0);
    let disks: Disks = [(place("pv/disk.img"), vec![1; 3 * BLOCK])].into();
    let east = source(&disks);
    let with_size = |name, base| {
        let wanted = Wanted { allocated: 3 * BLOCK as u64, ..Wanted::default() };
        Order { volumes: [("pv".to_owned(), wanted)].into(), ..order(name, base, &east, &disks) }
    };
    sim.set_free(3 * BLOCK as u64);
    let refused = points.open(&with_size("rp-1", None));
    let needed = 3 * BLOCK as u64;
    assert!(
        matches!(refused, Err(PointError::Full { needed: found, free }) if found == needed && free == needed),
        "{refused:?}"
    );
    sim.set_free(3 * BLOCK as u64 + 1);
    send(&points, &east, &with_size("rp-1", None)).unwrap();
    sim.set_free(1);
    send(&points, &east, &with_size("rp-2", Some("rp-1"))).unwrap();
}

#[test]
fn a_quick_look_finds_what_it_looks_at() {
    let sim = site(true);
    let points = target(&sim, 0);
    let disks: Disks = [(place("pv/disk.img"), [vec![1; 3 * BLOCK], vec![0; 3 * BLOCK]].concat())].into();
    let east = source(&disks);
    send(&points, &east, &order("rp-1", None, &east, &disks)).unwrap();
    let (group, name) = (group(), point("rp-1"));
    points.verify_some(&group, &name, 1).unwrap();
    let image = sim.open(&place("points/shop/rp-1/pv/disk.img")).unwrap();
    for (block, right) in [(1, 1), (4, 0)] {
        image.write_at(block * BLOCK as u64 + 9, &[7]).unwrap();
        let found = points.verify_some(&group, &name, 1);
        assert!(matches!(&found, Err(PointError::Touched { disk, .. }) if disk.as_str() == "pv/disk.img"), "{found:?}");
        image.write_at(block * BLOCK as u64 + 9, &[right]).unwrap();
    }
    points.verify_some(&group, &name, 1).unwrap();
    for gone in ["points/shop/rp-1/pv/disk.img", "points/shop/rp-1/.blocks/pv/disk.img.blocks"] {
        sim.remove(&place(gone)).unwrap();
        for found in [points.verify(&group, &name), points.verify_some(&group, &name, 1)] {
            assert!(matches!(found, Err(PointError::Touched { .. })), "{found:?}");
        }
    }
}
