//! Conditional writes as the witness needs them: exactly one creator wins, and no update is lost.

#![allow(clippy::unwrap_used, reason = "a test fails by panic")]

use std::sync::Arc;

use leeward_lab_s3::{Credentials, Server};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, UpdateVersion};
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;

struct Running {
    store: Arc<AmazonS3>,
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
    _root: tempfile::TempDir,
}

async fn start() -> Running {
    let root = tempfile::tempdir().unwrap();
    let credentials = Credentials { access_key: "key".into(), secret_key: "secret".into() };
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), root.path(), "leeward", credentials).await.unwrap();
    let address = server.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(server.run(async move {
        let _ = stopped.await;
    }));
    Running { store: Arc::new(client(address, "secret")), address, stop, task, _root: root }
}

fn client(address: std::net::SocketAddr, secret: &str) -> AmazonS3 {
    AmazonS3Builder::new()
        .with_endpoint(format!("http://{address}"))
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_bucket_name("leeward")
        .with_access_key_id("key")
        .with_secret_access_key(secret)
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_creators_one_wins() {
    let s3 = start().await;
    for round in 0..5 {
        let path = Path::from(format!("leeward/witness-{round}"));
        let creators: Vec<_> = (0..50)
            .map(|number| {
                let (store, path) = (s3.store.clone(), path.clone());
                tokio::spawn(async move {
                    let body = format!("creator {number}").repeat(500);
                    store.put_opts(&path, body.into(), PutMode::Create.into()).await.map(|_| number)
                })
            })
            .collect();
        let mut winners = Vec::new();
        for creator in creators {
            match creator.await.unwrap() {
                Ok(number) => winners.push(number),
                Err(Error::AlreadyExists { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(winners.len(), 1, "winners: {winners:?}");
        let body = s3.store.get(&path).await.unwrap().bytes().await.unwrap();
        assert!(body.starts_with(format!("creator {}c", winners[0]).as_bytes()), "the winner's body is the one kept");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_update_is_lost() {
    let s3 = start().await;
    let path = Path::from("leeward/counter");
    s3.store.put(&path, "0".into()).await.unwrap();
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let (store, path) = (s3.store.clone(), path.clone());
            tokio::spawn(async move {
                let mut done = 0;
                while done < 10 {
                    let got = store.get(&path).await.unwrap();
                    let version = UpdateVersion { e_tag: got.meta.e_tag.clone(), version: None };
                    let value: u32 = std::str::from_utf8(&got.bytes().await.unwrap()).unwrap().parse().unwrap();
                    match store.put_opts(&path, (value + 1).to_string().into(), PutMode::Update(version).into()).await {
                        Ok(_) => done += 1,
                        Err(Error::Precondition { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(s3.store.get(&path).await.unwrap().bytes().await.unwrap(), "80");
}

#[tokio::test]
async fn a_writer_that_was_cut_off_blocks_nobody_and_writes_nothing() {
    let s3 = start().await;
    let path = Path::from("leeward/witness");
    let url = {
        use object_store::signer::Signer as _;
        s3.store.signed_url("PUT".parse().unwrap(), &path, std::time::Duration::from_secs(60)).await.unwrap()
    };
    let mut cut_off = tokio::net::TcpStream::connect(s3.address).await.unwrap();
    let head = format!(
        "PUT {}?{} HTTP/1.1\r\nhost: {}\r\ncontent-length: 1000\r\n\r\nhalf a body",
        url.path(),
        url.query().unwrap(),
        s3.address
    );
    cut_off.write_all(head.as_bytes()).await.unwrap();
    cut_off.flush().await.unwrap();
    // The other site's write passes while the first still hangs in the middle of its body.
    s3.store.put_opts(&path, "west".into(), PutMode::Create.into()).await.unwrap();
    drop(cut_off);
    assert_eq!(s3.store.get(&path).await.unwrap().bytes().await.unwrap(), "west");
}

#[tokio::test]
async fn a_wrong_secret_is_refused_and_the_server_stops_when_told() {
    let s3 = start().await;
    let refused = client(s3.address, "wrong").put(&Path::from("a"), "b".into()).await.unwrap_err();
    assert!(matches!(refused, Error::PermissionDenied { .. } | Error::Unauthenticated { .. }), "{refused}");
    s3.stop.send(()).unwrap();
    s3.task.await.unwrap();
    assert!(tokio::net::TcpStream::connect(s3.address).await.is_err());
}
