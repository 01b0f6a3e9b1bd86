//! A link that breaks in the middle.

use crate::proxy::Proxy;
use crate::site::{Pair, noise, request};
use serde_json::json;

const STRIDE: u64 = 1 << 20;

#[test]
fn after_a_cut_only_what_did_not_arrive_is_sent() {
    let pair = Pair::new();
    let bytes = noise(40 << 20);
    std::fs::write(pair.east.file("db", "disk.img"), &bytes).unwrap();
    let cut = 24 << 20;
    let proxy = Proxy::cut_once(pair.serving.address, cut);
    pair.east.configure("west", proxy.address, &json!({}));
    let request = request("rp-1", None, &["db"]);
    let broken = pair.east.sync(&request).unwrap_err();
    assert!(broken.starts_with("link") && broken.contains("LW-0744"), "{broken}");
    let before = proxy.passed();
    let second = pair.east.sync(&request).unwrap();
    pair.assert_same("rp-1", "db", "disk.img");
    // What was sent and not received whole: one stride, and the headers of frames and TLS records, less than one in a hundred.
    let twice = (proxy.passed() - before) + before;
    let all = bytes.len() as u64;
    assert!(twice <= all + all / 100 + 2 * STRIDE, "{twice} bytes for {all}");
    assert!(second["cost"]["changedBytes"].as_u64().unwrap() < all - cut + 2 * STRIDE, "{second}");
    assert_eq!(broken.matches("repeat to go on").count(), 1, "{broken}");
}
