//! Whatever a plug-in logs or prints, Velero survives it.

#![allow(clippy::unwrap_used)] // Helpers of tests, not only tests.

mod common;

use common::{backup, logged, start};
use serde_json::json;
use velero_plugin::harness::LogLine;

#[tokio::test]
async fn no_line_crashes_velero_or_is_lost_to_it() {
    let host = start().await;
    let item = json!({"kind": "X", "metadata": {"name": "a\u{0}\n", "namespace": "shop"}});
    host.execute_backup("example.io/hostile-log", &item, &backup()).await.unwrap();
    let last = logged(&host, "still here").await;
    assert_eq!((&last["name"], &last["namespace"]), (&json!("a\u{0}\n"), &json!("shop")));
    // Beside the log's own lines, what came by way of stderr.
    logged(&host, "the end").await;

    let (mut entries, mut raw) = (Vec::new(), Vec::new());
    for line in host.log() {
        match LogLine::read(&line) {
            LogLine::Entry { level, message, fields } => {
                assert_eq!(level, "info", "a warning or an error would count: {message}");
                if fields.get("stream") == Some(&json!("stderr")) { raw.push(message) } else { entries.push(message) }
            }
            other => panic!("{other:?}: {}", line.chars().take(200).collect::<String>()),
        }
    }
    let odd = "\u{feff}\u{202e}\"\\{}\n\u{ffff}";
    assert_eq!(entries.len(), 4);
    assert_eq!((&*entries[0], &*entries[1], &*entries[3]), (odd, "odd fields", "still here"));
    assert!(entries[2].starts_with("ü\"\nü") && entries[2].ends_with('…') && entries[2].len() > 4000);
    assert_eq!(raw[0], r#"{"@level":"error","@message":7}"#);
    assert_eq!(raw[1], r#"{"@level":"warn","@message":"m","name":null}"#);
    assert_eq!(raw[2], "\u{fffd}\u{fffd}\u{fffd}( not text");
    assert_eq!(raw.pop().unwrap(), "the end");
    assert!(raw[3..].concat() == "z".repeat(200_000), "in pieces, but whole");
    let (status, took) = host.shutdown().await.unwrap();
    assert!(status.success() && took.as_millis() < 1000, "{took:?}");
}
