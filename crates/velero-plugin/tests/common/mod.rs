//! What the tests of a whole plug-in process share.

#![allow(dead_code, reason = "each test binary uses its own part")]

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use velero_plugin::harness::{Host, HostError, Refused};

pub(crate) const SPECIMEN: &str = env!("CARGO_BIN_EXE_velero-plugin-specimen");

pub(crate) async fn start() -> Host {
    Host::start(
        SPECIMEN,
        &["--log-level=info", "--features=EnableCSI", "--restore-resource-priorities", "a,b", "--bare"],
    )
    .await
    .unwrap()
}

pub(crate) fn backup() -> Value {
    json!({"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "b1"}, "status": {"phase": "InProgress"}})
}

pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, HostError>) -> Refused {
    match result {
        Err(HostError::Refused(refused)) => refused,
        other => panic!("expected an error status, got {other:?}"),
    }
}

/// The first log line with `text`. The line is written before the call that caused it is answered, but read beside it.
pub(crate) async fn logged(host: &Host, text: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        if let Some(line) = host.log().iter().find(|l| l.contains(text)) {
            return serde_json::from_str(line).unwrap();
        }
        assert!(Instant::now() < deadline, "no line with {text:?} in {:?}", host.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
