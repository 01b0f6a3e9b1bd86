//! The wire contract, held by a real child process over its real socket.

#![allow(clippy::unwrap_used)] // Helpers of tests, not only tests.

mod common;

use common::{SPECIMEN, backup, logged, refused, start};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use velero_plugin::harness::{self, Host};

#[tokio::test]
async fn the_handshake_is_one_line_that_names_a_live_socket() {
    let host = start().await;
    let socket = host.socket().display().to_string();
    assert_eq!(host.handshake(), format!("1|2|unix|{socket}|grpc|\n"));
    assert!(Path::new(&socket).starts_with(std::env::temp_dir()));
    assert!(host.socket().exists());
    let gone = host.socket().to_owned();
    host.shutdown().await.unwrap();
    assert!(!gone.exists(), "the socket has to be removed");
}

#[tokio::test]
async fn health_knows_the_service_that_the_host_asks_for() {
    let host = start().await;
    assert!(host.healthy("plugin").await.unwrap());
    assert_eq!(refused(host.healthy("other").await).code, tonic::Code::NotFound);
}

#[tokio::test]
async fn selectors_arrive() {
    let host = start().await;
    let selector = host.backup_applies_to("example.io/echo").await.unwrap();
    assert_eq!(selector.included_resources, ["configmaps", "persistentvolumes"]);
    assert_eq!(selector.labels, "app=shop");
    let selector = host.restore_applies_to("example.io/restoring").await.unwrap();
    assert_eq!(selector.included_resources, ["virtualmachines.kubevirt.io"]);
}

#[tokio::test]
async fn fields_that_nobody_knows_survive() {
    let host = start().await;
    let item = json!({
        "apiVersion": "future.io/v9", "kind": "Thing", "metadata": {"name": "t", "namespace": "shop"},
        "spec": {"unknown": [{"deep": null}], "big": 18_446_744_073_709_551_615_u64, "neg": -1, "f": 0.5,
            "odd": [3.916_657_335_368_869_6e-29, 1.797_693_134_862_315_7e308, 5e-324, 0.1, 1e21], "ü": "\u{0}"}
    });
    let answer = host.execute_backup("example.io/echo", &item, &backup()).await.unwrap();
    assert_eq!(answer.item, item);
    let answer = host.execute_backup("example.io/annotate", &item, &backup()).await.unwrap();
    let mut expected = item;
    expected["metadata"]["annotations"] = json!({"example.io/backup": "b1"});
    assert_eq!(answer.item, expected);
    assert_eq!(answer.additional_items[0].name, "db-data");
    assert_eq!(answer.operation_id, "");
}

#[tokio::test]
async fn restores_change_leave_out_and_bring_items() {
    let host = start().await;
    let item = json!({"kind": "VirtualMachine", "metadata": {"name": "db"}, "spec": {}});
    let stored =
        json!({"kind": "VirtualMachine", "metadata": {"name": "db"}, "spec": {}, "status": {"phase": "Bound"}});
    let restore = json!({"kind": "Restore", "metadata": {"name": "r1"}});
    let answer = host.execute_restore("example.io/restoring", &item, &stored, &restore).await.unwrap();
    assert_eq!(answer.item["spec"], json!({"was": "Bound", "by": "r1"}));
    assert_eq!((answer.skip, answer.additional_items.len()), (false, 1));

    let out = json!({"kind": "VirtualMachine", "metadata": {"name": "db", "labels": {"leave": "out"}}});
    let answer = host.execute_restore("example.io/restoring", &out, &stored, &restore).await.unwrap();
    assert!(answer.skip);
    assert_eq!(answer.item, out, "Velero wants the whole item even then");
}

#[tokio::test]
async fn sixty_four_mebibytes_pass_both_ways() {
    let host = start().await;
    let item = json!({"kind": "ConfigMap", "metadata": {"name": "big"}, "data": {"x": "y".repeat(64 << 20)}});
    let answer = host.execute_backup("example.io/echo", &item, &backup()).await.unwrap();
    assert!(answer.item == item, "echoed");
    // Read, changed and written anew by the plug-in.
    let answer = host.execute_backup("example.io/annotate", &item, &backup()).await.unwrap();
    assert_eq!(answer.item["metadata"]["annotations"]["example.io/backup"], "b1");
    assert!(answer.item["data"] == item["data"], "changed");
}

#[tokio::test]
async fn an_unknown_name_is_told_with_the_known_ones() {
    let host = start().await;
    let item = json!({"kind": "ConfigMap"});
    let error = refused(host.execute_backup("example.io/nobody", &item, &backup()).await);
    assert_eq!(error.code, tonic::Code::NotFound);
    assert!(error.message.contains("example.io/nobody was not found"), "{}", error.message);
    assert!(error.message.contains("example.io/annotate"), "{}", error.message);
    let error = refused(host.execute_restore("example.io/echo", &item, &item, &item).await);
    assert!(error.message.contains("RestoreItemActionV2"), "a name counts for its kind only: {}", error.message);
}

#[tokio::test]
async fn an_error_brings_its_text_and_its_line() {
    let host = start().await;
    let error = refused(host.execute_backup("example.io/fail", &json!({"kind": "X"}), &backup()).await);
    assert_eq!((error.code, error.message.as_str()), (tonic::Code::Unknown, "invalid digit found in string"));
    let (file, line, function) = &error.stack[0];
    assert!(file.ends_with("specimen/main.rs") && *line > 0, "{file}:{line}");
    assert_eq!(function, "example.io/fail");
}

#[tokio::test]
async fn a_panic_fails_its_call_only_and_is_logged_as_json() {
    let host = start().await;
    let item = json!({"kind": "X", "metadata": {"name": "n7", "namespace": "shop"}});
    let error = refused(host.execute_backup("example.io/panic", &item, &backup()).await);
    assert_eq!(error.code, tonic::Code::Aborted);
    assert!(error.message.contains("specimen \"n7\" fell over"), "{}", error.message);
    assert!(error.stack[0].0.ends_with("specimen/main.rs"));
    host.execute_backup("example.io/echo", &item, &backup()).await.unwrap();
    let line = logged(&host, "panic: ").await;
    assert_eq!(
        (&line["@level"], &line["name"], &line["plugin"]),
        (&json!("error"), &json!("n7"), &json!("example.io/panic"))
    );
}

#[tokio::test]
async fn what_velero_would_choke_on_never_leaves() {
    let host = start().await;
    let error = refused(host.execute_backup("example.io/drop-kind", &json!({"kind": "X"}), &backup()).await);
    assert!(error.message.contains("without `kind`"), "{}", error.message);
}

#[tokio::test]
async fn log_lines_are_what_velero_parses() {
    let host = start().await;
    host.execute_backup("example.io/log", &json!({"kind": "X", "metadata": {"name": "a"}}), &backup()).await.unwrap();
    let line = logged(&host, "seen it").await;
    for (key, value) in line.as_object().unwrap() {
        assert!(value.is_string(), "{key}: {value}");
    }
    assert_eq!((&line["@level"], &line["@message"]), (&json!("info"), &json!("seen it")));
    assert!(line.get("@timestamp").is_none());
    assert!(!host.log().iter().any(|l| l.contains("too fine")), "--log-level=info");
    assert!(host.healthy("plugin").await.unwrap(), "a stray line on stdout breaks nothing");
}

#[tokio::test]
async fn shutdown_takes_less_than_a_second_even_with_calls_that_hang_or_block() {
    for name in ["example.io/echo", "example.io/hang", "example.io/block"] {
        let host = start().await;
        let client = host.client();
        let call = tokio::spawn(async move { client.execute_backup(name, &json!({"kind": "X"}), &backup()).await });
        if name != "example.io/echo" {
            logged(&host, "begun").await;
        }
        let (status, took) = host.shutdown().await.unwrap();
        assert!(status.success() && took < Duration::from_secs(1), "{name}: {status} after {took:?}");
        assert_eq!(call.await.unwrap().is_ok(), name == "example.io/echo");
    }
}

#[tokio::test]
async fn sigint_is_passed_over_and_sigterm_ends() {
    let mut host = start().await;
    let signal = |host: &Host, signal| {
        let pid = rustix::process::Pid::from_raw(i32::try_from(host.pid().unwrap()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    };
    signal(&host, rustix::process::Signal::INT);
    assert!(host.healthy("plugin").await.unwrap());
    assert!(host.healthy("plugin").await.unwrap());
    signal(&host, rustix::process::Signal::TERM);
    let status = tokio::time::timeout(Duration::from_secs(1), host.wait()).await.expect("SIGTERM ends it").unwrap();
    assert!(status.success() && !host.socket().exists());
}

#[tokio::test]
async fn it_ends_when_its_host_is_gone() {
    let mut child = harness::command(SPECIMEN.as_ref(), [""; 0]).kill_on_drop(false).spawn().unwrap();
    let mut stdout = tokio::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut stdout, &mut line).await.unwrap();
    // What a killed host leaves behind: closed pipes.
    drop(stdout);
    let status = tokio::time::timeout(Duration::from_secs(2), child.wait()).await.expect("it has to notice").unwrap();
    assert!(status.success());
}

/// Runs it to its end with just these variables set: (exit code, stdout, stderr).
fn run(variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let output = Command::new(SPECIMEN)
        .env_remove("VELERO_PLUGIN")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn by_hand_it_explains_itself_and_fails() {
    for variables in [vec![], vec![("VELERO_PLUGIN", "hullo")]] {
        let (code, stdout, stderr) = run(&variables);
        assert_eq!((code, stdout.as_str()), (Some(1), ""));
        assert!(stderr.contains("plug-in of Velero") && stderr.contains("example.io/annotate"), "{stderr}");
    }
}

#[test]
fn what_it_cannot_speak_it_refuses_as_a_log_line() {
    let (code, stdout, stderr) = run(&[("VELERO_PLUGIN", "hello"), ("PLUGIN_CLIENT_CERT", "-----BEGIN CERTIFICATE")]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    let line: Value = serde_json::from_str(&stderr).unwrap();
    assert_eq!(line["@level"], "error");
    assert!(line["@message"].as_str().unwrap().contains("mutual TLS"), "{line}");
}

#[test]
fn it_copies_itself_to_where_velero_looks() {
    let target = tempfile::tempdir().unwrap();
    let output =
        Command::new(SPECIMEN).env_remove("VELERO_PLUGIN").arg("--install-to").arg(target.path()).output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty());
    let copy = target.path().join("velero-plugin-specimen");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr, format!("installed {}\n", copy.display()));
    assert!(std::fs::read(&copy).unwrap() == std::fs::read(SPECIMEN).unwrap(), "the same bytes");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&copy).unwrap().permissions());
    assert_eq!((mode & 0o7777, std::fs::read_dir(target.path()).unwrap().count()), (0o755, 1));
}

#[test]
fn what_it_cannot_write_to_it_names() {
    for arguments in [&["--install-to", "/nowhere/target"][..], &["--install-to"]] {
        let output = Command::new(SPECIMEN).env_remove("VELERO_PLUGIN").args(arguments).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr.contains("--install-to") || stderr.contains("/nowhere/target"), "{stderr}");
    }
}
