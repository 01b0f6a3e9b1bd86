//! Who is let in, and what is said to who is not.

use crate::raw::{FakeMover, serve_fake};
use crate::site::{Authority, Named, Pair, nowhere, request};
use serde_json::json;

/// What `sync` says when the sender has this certificate, and what the server says.
fn refused(pair: &Pair, named: Named<'_>) -> (String, String) {
    pair.east.certify(named);
    let error = pair.east.sync(&request("rp-1", None, &["db"])).unwrap_err();
    (error, pair.serving.says("LW-0759"))
}

#[test]
fn only_peers_are_let_in_and_each_is_told_why_not() {
    let pair = Pair::new();
    std::fs::write(pair.east.file("db", "disk.img"), "one").unwrap();
    let other = Authority::new();
    let ours = |name, expired| Named { authority: &pair.authority, name, expired };
    for (named, sender, server) in [
        (
            Named { authority: &other, ..ours("east.leeward", false) },
            "authority that is not trusted",
            "another authority|not in the file",
        ),
        (ours("east.leeward", true), "has expired", "has expired"),
        (ours("north.leeward", false), "none of the peers there", "none of the peers here"),
        (ours("leeward", false), "none of the peers there", "none of the peers here"),
    ] {
        let (error, line) = refused(&pair, named);
        assert!(error.starts_with("peer") && error.contains("LW-0742") && error.contains(sender), "{error}");
        assert!(server.split('|').any(|server| line.contains(server)), "{line}");
    }
    assert!(!pair.west.export().join(".leeward").exists(), "nothing was written for any of them");
    // A good certificate is taken, without a new start of either side.
    pair.east.certify(ours("east.leeward", false));
    pair.east.sync(&request("rp-1", None, &["db"])).unwrap();
}

#[test]
fn the_server_must_be_who_it_should_be() {
    let pair = Pair::new();
    std::fs::write(pair.east.file("db", "disk.img"), "one").unwrap();
    let other = Authority::new();
    let ours = |name, expired| Named { authority: &pair.authority, name, expired };
    for (named, why) in [
        (Named { authority: &other, ..ours("west.leeward", false) }, "not in the file of `tls.ca`"),
        (ours("west.leeward", true), "has expired"),
        (ours("east.leeward", false), "not for west.leeward"),
    ] {
        // The server takes it at the next connection.
        pair.west.certify(named);
        let error = pair.east.sync(&request("rp-1", None, &["db"])).unwrap_err();
        assert!(error.starts_with("peer") && error.contains("LW-0741") && error.contains(why), "{error}");
    }
    pair.west.certify(ours("west.leeward", false));
    pair.east.sync(&request("rp-1", None, &["db"])).unwrap();
    // Half a renewal changes nothing.
    std::fs::write(pair.west.folder.join("mover.key"), "no key").unwrap();
    pair.east.sync(&request("rp-2", None, &["db"])).unwrap();
    let line = pair.serving.says("going on with the old certificates");
    assert!(line.contains("LW-0747") && !line.contains("no key"), "{line}");
}

#[test]
fn who_is_not_there_or_not_known_is_named() {
    let pair = Pair::new();
    std::fs::write(pair.east.file("db", "disk.img"), "one").unwrap();
    let mut unknown = request("rp-1", None, &["db"]);
    unknown["to"] = "north".into();
    let error = pair.east.sync(&unknown).unwrap_err();
    assert!(error.contains("LW-0746") && error.contains("north"), "{error}");
    pair.east.configure("west", nowhere(), &json!({}));
    let error = pair.east.sync(&request("rp-1", None, &["db"])).unwrap_err();
    assert!(error.starts_with("link") && error.contains("LW-0740"), "{error}");
}

#[test]
fn another_version_or_another_site_is_refused_by_the_sender() {
    let pair = Pair::new();
    std::fs::write(pair.east.file("db", "disk.img"), "one").unwrap();
    for (fake, code, says) in [
        (FakeMover { oldest: 7, newest: 9, site: "west" }, "LW-0743", "speaks version 7 to 9"),
        (FakeMover { oldest: 1, newest: 1, site: "north" }, "LW-0751", "is of site north"),
    ] {
        let address = serve_fake(&pair.west, fake);
        pair.east.configure("west", address, &json!({}));
        let error = pair.east.sync(&request("rp-1", None, &["db"])).unwrap_err();
        assert!(error.starts_with("peer") && error.contains(code) && error.contains(says), "{error}");
    }
}
