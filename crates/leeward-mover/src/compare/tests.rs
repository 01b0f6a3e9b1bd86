use super::*;
use crate::bed::{Sites, flip, put, request, sites};
use crate::block::BLOCK_BYTES;
use crate::plan::{foresee, there};
use crate::sync::Asked;
use crate::volumes::walk;
use leeward_model::name::PointId;
use std::fs;

/// How far the volume at the target has moved away from point `rp-1`.
fn moved(sites: &Sites) -> u64 {
    let request = request("rp-1", None, &[]);
    let held = sites.points.existing(&request.group, &request.point).unwrap();
    let walked = walk(&sites.west, "pv-1", &crate::bed::place("shop/pv-1")).unwrap();
    compare(&sites.west, &walked, Some(&Here::new(&sites.points, &held))).unwrap().moved.changed_bytes
}

#[test]
fn what_differs_is_counted_and_what_is_the_same_is_nothing() {
    let sites = sites();
    let bytes = vec![5; 10 * BLOCK_BYTES as usize + 7];
    for export in [sites.east("shop/pv-1"), sites.west("shop/pv-1")] {
        put(&export.join("disk.img"), &bytes);
        put(&export.join("none"), b"");
    }
    sites.sync(&request("rp-1", None, &["pv-1"])).unwrap();
    assert_eq!(moved(&sites), 0);
    let disk = sites.west("shop/pv-1/disk.img");
    flip(&disk);
    assert_eq!(moved(&sites), BLOCK_BYTES);
    let mut zeroed = bytes.clone();
    zeroed[..BLOCK_BYTES as usize].fill(0);
    for (file, expected) in [
        (zeroed.as_slice(), BLOCK_BYTES),
        (&bytes[..10 * BLOCK_BYTES as usize], 7),
        (&[bytes.clone(), vec![0]].concat(), 8),
        (&[bytes.clone(), vec![0; 2 * BLOCK_BYTES as usize]].concat(), BLOCK_BYTES),
        (&[], bytes.len() as u64),
    ] {
        put(&disk, file);
        assert_eq!(moved(&sites), expected, "{} bytes", file.len());
    }
    put(&disk, &bytes);
    assert_eq!(moved(&sites), 0);
    fs::remove_file(sites.west("shop/pv-1/none")).unwrap();
    assert_eq!(moved(&sites), 1, "an empty file that is gone is a difference");
    put(&sites.west("shop/pv-1/none"), b"");
    put(&sites.west("shop/pv-1/more"), &[0; 9]);
    assert_eq!(moved(&sites), 9);
}

#[test]
fn a_plan_says_what_a_sync_then_does() {
    let sites = sites();
    put(&sites.east("shop/pv-1/disk.img"), &[5; 300_000]);
    put(&sites.east("shop/pv-2/disk.img"), &[6; 300_000]);
    let plan = |request: &_, base: Option<&str>| {
        let asked = Asked::parse(request).unwrap();
        let base = base.map(|base| PointId::parse(base).unwrap());
        let held = base.map(|base| sites.points.existing(&request.group, &base).unwrap());
        let here = held.as_ref().map(|held| Here::new(&sites.points, held));
        let base = here.as_ref().map(|here| here as &dyn ManifestSource<_>);
        foresee(&sites.east, request, &asked, base, 7, None).unwrap()
    };
    let first = request("rp-1", None, &["pv-2", "pv-1"]);
    let foreseen = plan(&first, None);
    let keys: Vec<&str> = foreseen.volumes.iter().map(|moved| moved.key.as_str()).collect();
    assert_eq!((keys, foreseen.free_bytes, foreseen.there), (vec!["pv-2", "pv-1"], 7, false));
    assert_eq!(foreseen.changed_bytes, sites.sync(&first).unwrap().cost().written);
    assert!(there(&first, 7).there);
    flip(&sites.east("shop/pv-2/disk.img"));
    let second = request("rp-2", Some("rp-1"), &["pv-1", "pv-2"]);
    let foreseen = plan(&second, Some("rp-1"));
    assert_eq!((foreseen.volumes[0].changed_bytes, foreseen.volumes[1].changed_bytes), (0, BLOCK_BYTES));
    assert!(foreseen.volumes[0].last_written.is_some());
    assert_eq!(foreseen.changed_bytes, sites.sync(&second).unwrap().cost().written);
}
