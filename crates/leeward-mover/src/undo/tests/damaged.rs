//! Logs that somebody damaged cost the points that need them, and no others.

use super::*;
use crate::error::PointError;

fn log(sites: &Sites, number: usize, suffix: &str) -> std::path::PathBuf {
    sites.west(&format!(".leeward/points/shop/rp-{number}/.undo/pv/disk.img{suffix}"))
}

fn change_head(sites: &Sites, number: usize, change: impl FnOnce(&mut serde_json::Value)) {
    let place = log(sites, number, HEAD);
    let mut head = serde_json::from_slice(&fs::read(&place).unwrap()).unwrap();
    change(&mut head);
    fs::write(place, head.to_string()).unwrap();
}

fn verify(sites: &Sites, number: usize) -> Result<(), PointError> {
    let point = PointId::parse(format!("rp-{number}")).unwrap();
    sites.points.verify(&GroupName::parse("shop").unwrap(), &point).map(drop)
}

fn withdraw(sites: &Sites, number: usize) -> Result<(), PointError> {
    let point = PointId::parse(format!("rp-{number}")).unwrap();
    sites.points.withdraw(&GroupName::parse("shop").unwrap(), &point)
}

/// Two points, of which the second was written over the first.
fn two() -> Sites {
    let sites = sites();
    make(&sites, 0, &[1; 3 * BLOCK]);
    make(&sites, 1, &[2; 3 * BLOCK]);
    sites
}

#[test]
fn a_head_that_cannot_be_is_refused() {
    for (field, value) in [("size", u64::MAX.into()), ("size", (1_u64 << 62).into()), ("next", "rp-0".into())] {
        let sites = two();
        change_head(&sites, 0, |head| head[field] = value);
        let said = verify(&sites, 0);
        assert!(matches!(said, Err(PointError::Record { .. })), "{field}: {said:?}");
        assert!(withdraw(&sites, 0).is_err());
        verify(&sites, 1).unwrap();
    }
}

#[test]
fn a_log_of_another_length_is_not_the_point_s() {
    let sites = two();
    change_head(&sites, 0, |head| head["size"] = (3 * BLOCK + 1).into());
    assert!(matches!(verify(&sites, 0), Err(PointError::Touched { .. })));
}

#[test]
fn what_a_log_puts_over_a_file_that_nobody_wrote_is_not_built_upon() {
    let sites = sites();
    let mut image = [1; 3 * BLOCK];
    make(&sites, 0, &image);
    make(&sites, 1, &image);
    fs::write(log(&sites, 0, BITS), [0xff]).unwrap();
    withdraw(&sites, 1).unwrap();
    image[5] = 7;
    make_from(&sites, 2, Some(0), &image);
    verify(&sites, 2).unwrap();
}

#[test]
fn a_point_whose_base_forgot_it_is_not_written_over() {
    // The base leads elsewhere: what its log saved must not go back into the file.
    let sites = two();
    change_head(&sites, 0, |head| head["next"] = "rp-8".into());
    make_from(&sites, 2, Some(0), &[3; 3 * BLOCK]);
    for number in 0..3 {
        verify(&sites, number).unwrap();
    }
    // The base leads nowhere: the file must not be joined a second time.
    let sites = super::sites();
    make(&sites, 0, &[1; BLOCK]);
    make(&sites, 1, &[1; BLOCK]);
    fs::remove_file(log(&sites, 0, HEAD)).unwrap();
    make_from(&sites, 2, Some(0), &[3; BLOCK]);
    for number in 0..3 {
        verify(&sites, number).unwrap();
    }
}

#[test]
fn logs_in_a_circle_are_refused() {
    let sites = two();
    make(&sites, 2, &[3; 3 * BLOCK]);
    change_head(&sites, 1, |head| head["next"] = "rp-0".into());
    for number in 0..2 {
        assert!(matches!(verify(&sites, number), Err(PointError::Record { .. })));
    }
    assert!(matches!(withdraw(&sites, 1), Err(PointError::Record { .. })));
    verify(&sites, 2).unwrap();
}

#[test]
fn somebody_else_s_files_may_be_called_anything() {
    let sites = two();
    let name = "x".repeat(255);
    for folder in ["", "rp-0/.undo", "rp-0/.undo/pv"] {
        fs::write(sites.west(&format!(".leeward/points/shop/{folder}/{name}")), "").unwrap();
        fs::create_dir(sites.west(&format!(".leeward/points/shop/{folder}/y{}", &name[1..]))).unwrap();
    }
    withdraw(&sites, 0).unwrap();
    make(&sites, 2, &[3; 3 * BLOCK]);
    withdraw(&sites, 2).unwrap();
    make(&sites, 2, &[3; 3 * BLOCK]);
    for number in 1..3 {
        verify(&sites, number).unwrap();
    }
}
