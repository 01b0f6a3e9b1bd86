use super::*;
use crate::bed::{Sites, flip, put, request, sites};
use crate::refusal::VerbError;
use leeward_model::mover::RefusalKind;
use leeward_model::name::PointId;
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

/// A server that sees each file only after some questions.
struct Server(Cell<u32>);

impl Shown for Server {
    fn has_two_names(&self, _: &str, _: &str) -> bool {
        self.0.set(self.0.get().saturating_sub(1));
        self.0.get() == 0
    }
}

/// A site whose point `rp-1` holds `disk.img` and `a/b`, not presented yet.
fn site() -> (Sites, mover::Present) {
    let sites = sites();
    put(&sites.east("shop/pv-1/disk.img"), &[7; 100_000]);
    put(&sites.east("shop/pv-1/a/b"), b"deep");
    put(&sites.east("shop/pv-1/none"), b"");
    fs::set_permissions(sites.east("shop/pv-1"), fs::Permissions::from_mode(0o2770)).unwrap();
    fs::set_permissions(sites.east("shop/pv-1/a"), fs::Permissions::from_mode(0o711)).unwrap();
    fs::set_permissions(sites.east("shop/pv-1/disk.img"), fs::Permissions::from_mode(0o606)).unwrap();
    let made = crate::answer::point(&sites.sync(&request("rp-1", None, &["pv-1"])).unwrap().point);
    let present = mover::Present {
        group: made.group,
        point: made.point,
        key: "pv-1".to_owned(),
        folder: "live/shop/pv-1".to_owned(),
        files: made.volumes[0].files.clone(),
        url: None,
    };
    (sites, present)
}

fn show(sites: &Sites, request: &mover::Present) -> Result<(), PresentError> {
    present(&sites.west, &sites.points, request, &Server(Cell::new(1)))
}

fn live(sites: &Sites, file: &str) -> PathBuf {
    sites.west("live/shop/pv-1").join(file)
}

fn kept(sites: &Sites, file: &str) -> Option<Vec<u8>> {
    fs::read(sites.west(".leeward/given-up/rp-1/pv-1").join(file)).ok()
}

#[test]
fn the_point_s_files_are_there_with_owners_and_folders() {
    let (sites, request) = site();
    show(&sites, &request).unwrap();
    assert!(fs::read(live(&sites, "disk.img")).unwrap() == vec![7; 100_000]);
    assert_eq!(fs::read(live(&sites, "a/b")).unwrap(), b"deep");
    assert_eq!(fs::read(live(&sites, "none")).unwrap(), b"");
    let mode = |file: &str| fs::metadata(live(&sites, file)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(""), mode("a"), mode("disk.img")), (0o2770, 0o711, 0o606));
    assert!(!live(&sites, ".leeward-present").exists());
    let inode = || fs::metadata(live(&sites, "disk.img")).unwrap().ino();
    let before = inode();
    show(&sites, &request).unwrap();
    assert_eq!(inode(), before, "what is right already is left alone");
    assert!(kept(&sites, "disk.img").is_none());
    sites.points.verify(&request.group, &request.point).unwrap();
}

#[test]
fn what_is_replaced_is_kept_and_nothing_else_is_touched() {
    let (sites, request) = site();
    put(&live(&sites, "disk.img"), b"live");
    put(&live(&sites, "a/b"), b"live too");
    put(&live(&sites, "other"), b"not the point's");
    put(&live(&sites, ".leeward-present/9"), b"left by a crash");
    for _ in 0..2 {
        show(&sites, &request).unwrap();
        assert!(fs::read(live(&sites, "disk.img")).unwrap() == vec![7; 100_000]);
        assert_eq!(kept(&sites, "disk.img").unwrap(), b"live");
        assert_eq!(kept(&sites, "a/b").unwrap(), b"live too");
        assert!(kept(&sites, "disk.img.~1~").is_none());
    }
    for (content, number) in [(b"ran on", 1), (b"again!", 2)] {
        put(&live(&sites, "disk.img"), content);
        show(&sites, &request).unwrap();
        assert_eq!(kept(&sites, "disk.img").unwrap(), content);
        assert!(kept(&sites, &format!("disk.img.~{number}~")).is_some());
    }
    put(&live(&sites, "disk.img"), b"again!");
    show(&sites, &request).unwrap();
    assert!(kept(&sites, "disk.img.~3~").is_none(), "the newest kept is the same");
    assert_eq!(kept(&sites, "disk.img.~1~").unwrap(), b"live");
    assert_eq!(fs::read(live(&sites, "other")).unwrap(), b"not the point's");
    // A process that writes the replaced file has it still, and not the new one.
    assert!(fs::read(live(&sites, "disk.img")).unwrap() == vec![7; 100_000]);
}

#[test]
fn a_damaged_point_replaces_nothing() {
    let (sites, request) = site();
    put(&live(&sites, "a/b"), b"live");
    flip(&sites.west(".leeward/points/shop/rp-1/pv-1/disk.img"));
    let refused = show(&sites, &request);
    assert!(matches!(refused, Err(PresentError::Differs { ref file, .. }) if file == "disk.img"), "{refused:?}");
    assert_eq!(fs::read(live(&sites, "a/b")).unwrap(), b"live");
    assert!(!live(&sites, ".leeward-present").exists() && !live(&sites, "disk.img").exists());
    fs::remove_file(sites.west(".leeward/points/shop/rp-1/pv-1/disk.img")).unwrap();
    let refused = show(&sites, &request);
    assert!(matches!(refused, Err(PresentError::Differs { .. })), "{refused:?}");
}

#[test]
fn what_the_point_does_not_hold_is_refused() {
    let (sites, good) = site();
    let kind = |change: &dyn Fn(&mut mover::Present)| {
        let mut wrong = good.clone();
        change(&mut wrong);
        let refusal = VerbError::from(show(&sites, &wrong).unwrap_err()).refusal(None);
        (refusal.kind, refusal.code)
    };
    let is = |kind, code: &str| (kind, code.to_owned());
    assert_eq!(kind(&|wrong| wrong.key = "pv-2".to_owned()), is(RefusalKind::NoPoint, "LW-0714"));
    assert_eq!(kind(&|wrong| wrong.point = PointId::parse("rp-9").unwrap()), is(RefusalKind::NoPoint, "LW-0707"));
    assert_eq!(kind(&|wrong| wrong.folder = "../x".to_owned()), is(RefusalKind::Request, "LW-0717"));
    assert_eq!(kind(&|wrong| wrong.folder = ".leeward/points".to_owned()), is(RefusalKind::Request, "LW-0717"));
    assert_eq!(kind(&|wrong| wrong.files[0].name = "../x".to_owned()), is(RefusalKind::Request, "LW-0723"));
    assert_eq!(kind(&|wrong| wrong.files[0].name = "x".to_owned()), is(RefusalKind::Differs, "LW-0726"));
    assert_eq!(kind(&|wrong| wrong.files[0].fingerprint = "00".repeat(32)), is(RefusalKind::Differs, "LW-0726"));
    assert!(!sites.west("live").exists(), "nothing was begun");
}

#[test]
fn links_are_not_followed_and_what_is_no_file_is_not_replaced() {
    let (sites, request) = site();
    let outside = sites.east("outside");
    fs::create_dir_all(&outside).unwrap();
    put(&outside.join("disk.img"), b"outside");
    fs::create_dir_all(live(&sites, "")).unwrap();
    let in_the_way = || {
        let refused = show(&sites, &request);
        assert!(matches!(refused, Err(PresentError::InTheWay { .. })), "{refused:?}");
    };
    symlink(outside.join("disk.img"), live(&sites, "disk.img")).unwrap();
    in_the_way();
    fs::remove_file(live(&sites, "disk.img")).unwrap();
    fs::create_dir(live(&sites, "disk.img")).unwrap();
    in_the_way();
    fs::remove_dir(live(&sites, "disk.img")).unwrap();
    put(&live(&sites, "a"), b"a file in place of a folder");
    in_the_way();
    fs::remove_file(live(&sites, "a")).unwrap();
    symlink(&outside, live(&sites, "a")).unwrap();
    in_the_way();
    fs::remove_file(live(&sites, "a")).unwrap();
    show(&sites, &request).unwrap();
    fs::remove_dir_all(sites.west("live")).unwrap();
    symlink(&outside, sites.west("live")).unwrap();
    assert!(show(&sites, &request).is_err());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(fs::read(outside.join("disk.img")).unwrap(), b"outside");
}

#[test]
fn a_server_that_remembers_is_waited_for() {
    let (sites, mut request) = site();
    request.url = Some("nfs://server/export/live/shop/pv-1".to_owned());
    let server = Server(Cell::new(3));
    present(&sites.west, &sites.points, &request, &server).unwrap();
    assert_eq!(server.0.get(), 0);
    assert!(!live(&sites, ".leeward-present").exists());
    assert_eq!(fs::metadata(live(&sites, "disk.img")).unwrap().nlink(), 1);
}
