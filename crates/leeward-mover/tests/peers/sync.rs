//! What is at the target is what was at the source.

use crate::site::{Pair, noise, peak, request};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

const BLOCK: u64 = 16 << 10;

/// Writes, makes holes and changes the size, at random.
fn change(file: &Path, lot: &mut StdRng) {
    let open = OpenOptions::new().create(true).truncate(false).write(true).open(file).unwrap();
    if lot.random_bool(0.3) {
        open.set_len(lot.random_range(0..8 << 20)).unwrap();
    }
    for _ in 0..lot.random_range(0..12) {
        let length = lot.random_range(0..300_000);
        let bytes = if lot.random_bool(0.7) { noise(length) } else { vec![0; length] };
        open.write_all_at(&bytes, lot.random_range(0..8 << 20)).unwrap();
    }
}

#[test]
fn random_images_arrive_as_they_are() {
    let pair = Pair::new();
    let seed = rand::rng().random();
    println!("seed {seed}");
    let mut lot = StdRng::seed_from_u64(seed);
    let files = [("db", "disk.img"), ("db", "wal.img"), ("web", "disk.img")];
    let mut base: Option<String> = None;
    for round in 0..12 {
        for (volume, file) in files {
            change(&pair.east.file(volume, file), &mut lot);
        }
        let point = format!("rp-{round}");
        pair.east.sync(&request(&point, base.as_deref(), &["db", "web"])).unwrap();
        for (volume, file) in files {
            pair.assert_same(&point, volume, file);
        }
        pair.west.verify(&point).unwrap();
        // Now and then the base is one that the cache does not know.
        if lot.random_bool(0.8) || base.is_none() {
            base = Some(point);
        }
    }
}

#[test]
fn images_of_nothing_of_a_byte_and_of_whole_blocks_arrive() {
    let pair = Pair::new();
    // Of no block or one there is no longer manifest than theirs.
    let sizes = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK].map(|size| usize::try_from(size).unwrap());
    let name = |size: usize| format!("{size}.img");
    for point in ["rp-1", "rp-2"] {
        for size in sizes {
            std::fs::write(pair.east.file("db", &name(size)), noise(size)).unwrap();
        }
        pair.east.sync(&request(point, None, &["db"])).unwrap();
        sizes.iter().for_each(|size| pair.assert_same(point, "db", &name(*size)));
        pair.west.verify(point).unwrap();
        std::fs::remove_dir_all(pair.east.export().join(".leeward/manifests")).unwrap();
    }
}

fn cost(answer: &Value, what: &str) -> u64 {
    answer["cost"][what].as_u64().unwrap()
}

#[test]
fn what_did_not_change_costs_one_read_and_no_more_than_a_greeting() {
    let pair = Pair::new();
    let image = OpenOptions::new().create_new(true).write(true).open(pair.east.file("db", "disk.img")).unwrap();
    image.set_len(256 << 20).unwrap();
    image.write_all_at(&noise(48 << 20), 100 << 20).unwrap();
    let first = pair.east.sync(&request("rp-1", None, &["db"])).unwrap();
    let sent = cost(&first, "wireBytes");
    assert!((48 << 20..50 << 20).contains(&sent), "{sent}");
    let second = pair.east.sync(&request("rp-2", Some("rp-1"), &["db"])).unwrap();
    assert!(cost(&second, "wireBytes") <= 64 << 10, "{second}");
    assert_eq!((cost(&second, "readBytes"), cost(&second, "changedBytes")), (48 << 20, 0));
    let again = pair.east.sync(&request("rp-2", Some("rp-1"), &["db"])).unwrap();
    assert_eq!(cost(&again, "readBytes"), 0, "a point that is there is not made again");
    // Without its cache the source asks for the manifest, 16 bytes for each block, and sends nothing else.
    std::fs::remove_dir_all(pair.east.export().join(".leeward/manifests")).unwrap();
    let third = pair.east.sync(&request("rp-3", Some("rp-2"), &["db"])).unwrap();
    let manifest = (48 << 20) / BLOCK * 16;
    assert!((manifest..manifest + (64 << 10)).contains(&cost(&third, "wireBytes")), "{third}");
    assert_eq!(cost(&third, "changedBytes"), 0);
    // One that is not the target's is not used.
    let kept = pair.east.export().join(".leeward/manifests/shop/db/disk.img.blocks");
    let mut torn = std::fs::read(&kept).unwrap();
    torn[100] ^= 1;
    std::fs::write(&kept, torn).unwrap();
    let fourth = pair.east.sync(&request("rp-4", Some("rp-3"), &["db"])).unwrap();
    assert!(cost(&fourth, "wireBytes") > manifest, "{fourth}");
    pair.assert_same("rp-4", "db", "disk.img");
}

#[test]
fn text_goes_compressed_and_noise_does_not() {
    let pair = Pair::new();
    let text = b"all work and no play makes jack a dull boy\n".repeat(400_000);
    std::fs::write(pair.east.file("text", "disk.img"), &text).unwrap();
    let sent = pair.east.sync(&request("rp-1", None, &["text"])).unwrap();
    assert_eq!(cost(&sent, "changedBytes"), text.len() as u64);
    assert!(cost(&sent, "wireBytes") < text.len() as u64 / 10, "{sent}");
    pair.assert_same("rp-1", "text", "disk.img");
}

#[test]
fn memory_does_not_grow_with_what_is_sent() {
    let pair = Pair::new();
    let names: Vec<String> = (0..6).map(|disk| format!("disk-{disk}.img")).collect();
    for name in &names {
        std::fs::write(pair.east.file("db", name), noise(40 << 20)).unwrap();
    }
    let mut child = pair.east.begin(&request("rp-1", None, &["db"]));
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        most = most.max(peak(child.id()));
        // What it had at most only grows; how often that is looked at decides nothing.
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(child.wait().unwrap().success());
    for name in &names {
        pair.assert_same("rp-1", "db", name);
    }
    println!("sender {most} KiB, receiver {} KiB", pair.serving.peak());
    assert!(most > 0 && most <= 96 << 10, "{most} KiB at the sender");
    assert!(pair.serving.peak() <= 96 << 10, "{} KiB at the receiver", pair.serving.peak());
}

#[test]
fn the_server_ends_when_it_is_asked_to_and_prunes_and_measures() {
    let metrics = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let pair = Pair::with(&json!({}), &json!({"keep": 2, "metrics": metrics.to_string()}));
    std::fs::write(pair.east.file("db", "disk.img"), "one").unwrap();
    for point in ["rp-1", "rp-2", "rp-3"] {
        pair.east.sync(&request(point, None, &["db"])).unwrap();
    }
    assert!(!pair.west.in_point("rp-1", "db", "disk.img").exists());
    assert!(pair.west.in_point("rp-2", "db", "disk.img").exists());
    let text = ask(metrics);
    for line in ["leeward_mover_points{group=\"shop\"} 2", "leeward_mover_point_age_seconds{group=\"shop\"} "] {
        assert!(text.contains(line), "{text}");
    }
    assert!(!text.contains("leeward_mover_received_bytes_total{peer=\"east\"} 0\n"), "{text}");
    let Pair { serving, .. } = pair;
    assert!(serving.terminate());
}

fn ask(metrics: std::net::SocketAddr) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(metrics).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn an_older_epoch_and_another_sites_disks_are_refused() {
    let pair = Pair::new();
    std::fs::write(pair.east.file("db", "disk.img"), "one").unwrap();
    let at = |point: &str, epoch: u64| {
        let mut request = request(point, None, &["db"]);
        request["epoch"] = epoch.into();
        pair.east.sync(&request)
    };
    at("rp-1", 5).unwrap();
    let older = at("rp-2", 4).unwrap_err();
    assert!(older.starts_with("oldEpoch") && older.contains("LW-0705"), "{older}");
    at("rp-2", 5).unwrap();
}
