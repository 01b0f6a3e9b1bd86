//! A peer that is let in, and says what no mover says.

use crate::raw::{Client, call, client};
use crate::site::{Pair, request};
use leeward_mover::wire::proto::disk_request::Is;
use leeward_mover::wire::proto::{
    Begin, CommitRequest, DiskRequest, Finish, HelloRequest, ManifestRequest, OpenReply, OpenRequest, PointsRequest,
    WantManifest, Write, Zero, open_reply,
};
use leeward_mover::wire::refusal;
use serde_json::{Value, json};
use tonic::{Status, Streaming};

const SIZE: u64 = 100_000;

fn order(point: &str, disk: &str, size: u64) -> Value {
    let identity = json!({"size": size, "inode": [1, 2], "modified": [1, 0], "changed": [1, 0]});
    json!({
        "group": "shop", "point": point, "base": null, "from": "east", "epoch": 1,
        "volumes": {"db": {"about": null, "seed": null, "allocated": 0}}, "carried": [], "folders": {},
        "disks": {disk: identity},
    })
}

async fn open(client: &mut Client, order: &Value) -> Result<(String, Streaming<OpenReply>), Status> {
    let request = OpenRequest { order: order.to_string().into() };
    let mut stream = client.open(call(request, "1")).await?.into_inner();
    match stream.message().await?.unwrap().is {
        Some(open_reply::Is::Session(session)) => Ok((session, stream)),
        other => panic!("{other:?}"),
    }
}

/// Sends all that, and gives the refusal's code.
async fn say(client: &mut Client, messages: Vec<Is>) -> String {
    let messages = messages.into_iter().map(|is| DiskRequest { is: Some(is) });
    let outcome = async {
        let mut replies = client.disk(call(tokio_stream::iter(messages), "1")).await?.into_inner();
        while replies.message().await?.is_some() {}
        Ok::<(), Status>(())
    };
    code(&outcome.await.unwrap_err())
}

fn code(status: &Status) -> String {
    refusal::read(status).map_or_else(|| format!("{status:?}"), |refusal| refusal.code)
}

fn write(offset: u64, bytes: Vec<u8>, unpacked: u32) -> Is {
    Is::Write(Write { offset, bytes: bytes.into(), unpacked })
}

fn finish(fingerprint: &[u8]) -> Is {
    Is::Finish(Finish { fingerprint: fingerprint.to_vec().into(), user: 0, group: 0, mode: 0o600 })
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused_and_harms_nobody() {
    let pair = Pair::new();
    let mut client = client(&pair.east, pair.serving.address).await;
    let (session, held) = open(&mut client, &order("rp-1", "db/disk.img", SIZE)).await.unwrap();
    let begin = || Is::Begin(Begin { session: session.clone(), disk: "db/disk.img".to_owned() });
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
    let block = vec![7; 16 << 10];
    for (what, messages) in [
        ("a change before it says of which disk", vec![write(0, block.clone(), 0)]),
        ("another disk", vec![Is::Begin(Begin { session: session.clone(), disk: "db/other".to_owned() })]),
        (
            "a disk that leads out",
            vec![Is::Begin(Begin { session: session.clone(), disk: "../../etc/passwd".to_owned() })],
        ),
        ("twice the same", vec![begin(), begin()]),
        ("beyond the end", vec![begin(), write(1 << 40, block.clone(), 0)]),
        ("beyond any end", vec![begin(), write(u64::MAX - 100, block.clone(), 0)]),
        ("inside a block", vec![begin(), write(1, block.clone(), 0)]),
        ("backwards", vec![begin(), write(32 << 10, block.clone(), 0), write(0, block.clone(), 0)]),
        ("twice", vec![begin(), write(0, block.clone(), 0), write(0, block.clone(), 0)]),
        ("nothing", vec![begin(), write(0, Vec::new(), 0)]),
        ("too much", vec![begin(), write(0, vec![7; 2 << 20], 0)]),
        ("a bomb", vec![begin(), write(0, bomb.clone(), 1 << 20)]),
        ("a bomb that says so", vec![begin(), write(0, bomb, u32::MAX)]),
        ("no frame", vec![begin(), write(0, block.clone(), 100)]),
        ("zeros from the end", vec![begin(), Is::Zero(Zero { start: 1 << 63, end: 0 })]),
        ("zeros without end", vec![begin(), Is::Zero(Zero { start: 0, end: u64::MAX })]),
        ("a late manifest", vec![begin(), write(0, block.clone(), 0), Is::Manifest(WantManifest {})]),
        ("no fingerprint", vec![begin(), finish(&[1; 31])]),
        ("no end", vec![begin(), write(0, block.clone(), 0)]),
    ] {
        assert_eq!(say(&mut client, messages).await, "LW-0704", "{what}");
    }
    assert_eq!(say(&mut client, vec![begin(), finish(&[1; 32])]).await, "LW-0708");
    let huge = say(&mut client, vec![begin(), write(0, vec![7; 64 << 20], 0)]).await;
    assert!(huge.contains("OutOfRange") || huge.contains("LW-0704"), "{huge}");
    let unfinished = client.commit(call(CommitRequest { session: session.clone() }, "1")).await.unwrap_err();
    assert_eq!(code(&unfinished), "LW-0704");
    drop(held);
    assert!(pair.serving.peak() <= 96 << 10, "{} KiB", pair.serving.peak());
    // All others are served as before.
    std::fs::write(pair.east.file("db", "disk.img"), "one").unwrap();
    pair.east.sync(&request("rp-2", None, &["db"])).unwrap();
    pair.assert_same("rp-2", "db", "disk.img");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_cannot_be_are_refused() {
    let pair = Pair::new();
    let mut client = client(&pair.east, pair.serving.address).await;
    let mut foreign = order("rp-1", "db/disk.img", SIZE);
    foreign["from"] = "west".into();
    for (order, expected) in [
        (json!("what"), "LW-0704"),
        (order("rp-1", "../disk.img", SIZE), "LW-0704"),
        (order("rp-1", "/etc/passwd", SIZE), "LW-0704"),
        (order("../rp-1", "db/disk.img", SIZE), "LW-0101"),
        (order("rp-1", "other/disk.img", SIZE), "LW-0704"),
        (foreign, "LW-0754"),
    ] {
        assert_eq!(code(&open(&mut client, &order).await.unwrap_err()), expected, "{order}");
    }
    let (session, _held) = open(&mut client, &order("rp-1", "db/disk.img", 1 << 63)).await.unwrap();
    let begin = vec![Is::Begin(Begin { session, disk: "db/disk.img".to_owned() })];
    let huge = say(&mut client, begin).await;
    assert!(["LW-0701", "LW-0702"].contains(&huge.as_str()), "{huge}");
    let nobody = vec![Is::Begin(Begin { session: "x".repeat(9999), disk: "db/disk.img".to_owned() })];
    assert_eq!(say(&mut client, nobody).await, "LW-0755");
    let manifest = ManifestRequest { group: "shop".into(), point: "rp-9".into(), disk: "db/disk.img".into() };
    let mut parts = client.manifest(call(manifest, "1")).await.unwrap().into_inner();
    assert_eq!(code(&parts.message().await.unwrap_err()), "LW-0707");
    assert!(!pair.west.export().join("../../etc").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn other_versions_are_refused_and_both_are_named() {
    let pair = Pair::new();
    let mut client = client(&pair.east, pair.serving.address).await;
    let hello = HelloRequest { oldest: 7, newest: 9, site: "east".to_owned() };
    let refused = refusal::read(&client.hello(call(hello, "9")).await.unwrap_err()).unwrap();
    assert!(refused.code == "LW-0743" && refused.text.contains("version 1 ") && refused.text.contains("7 to 9"));
    for version in ["2", "0", "x", "-1"] {
        let points = client.points(call(PointsRequest { group: "shop".to_owned() }, version)).await;
        assert_eq!(code(&points.unwrap_err()), "LW-0743", "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sender_waits_for_the_first() {
    let pair = Pair::new();
    std::fs::write(pair.east.file("db", "disk.img"), "one").unwrap();
    let mut first = client(&pair.east, pair.serving.address).await;
    let (_, held) = open(&mut first, &order("rp-1", "db/disk.img", SIZE)).await.unwrap();
    let mut second = pair.east.begin(&request("rp-2", None, &["db"]));
    // It is kept waiting while the first one's questions are answered.
    for _ in 0..20 {
        first.points(call(PointsRequest { group: "shop".to_owned() }, "1")).await.unwrap();
        assert!(second.try_wait().unwrap().is_none(), "it did not wait");
    }
    drop((held, first));
    let done = tokio::task::spawn_blocking(move || second.wait_with_output().unwrap()).await.unwrap();
    crate::site::answer(&done).unwrap();
    pair.assert_same("rp-2", "db", "disk.img");
}
