//! The verbs as a program runs them: a request on stdin, one JSON value on stdout.

#![allow(clippy::unwrap_used, reason = "a test panics with what was broken")]

use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Exit code, the value on stdout, and stderr.
fn mover(config: &Path, verb: &str, request: &Value) -> (i32, Value, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_leeward-mover"))
        .args([verb, "--request", "-", "-o", "json", "--config"])
        .arg(config)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    let answer = serde_json::from_slice(&done.stdout).unwrap();
    (done.status.code().unwrap(), answer, String::from_utf8(done.stderr).unwrap())
}

fn done(config: &Path, verb: &str, request: &Value) -> Value {
    let (code, answer, talk) = mover(config, verb, request);
    assert_eq!(code, 0, "{verb}: {answer} {talk}");
    answer
}

fn sync(point: &str, base: Option<&str>) -> Value {
    let mut request = json!({
        "group": "shop", "point": point, "from": "east", "to": "east", "epoch": 1,
        "volumes": [{"key": "pv-1", "folder": "shop/pv-1", "about": {"at": point}}],
    });
    if let Some(base) = base {
        request["base"] = base.into();
    }
    request
}

#[test]
fn a_point_is_made_looked_at_presented_and_withdrawn() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("mover.yaml");
    fs::write(&config, "site: east\nexport: export\n").unwrap();
    let volume = folder.path().join("export/shop/pv-1");
    fs::create_dir_all(&volume).unwrap();
    fs::write(volume.join("disk\n.img"), vec![7; 100_000]).unwrap();

    let foreseen = done(&config, "plan", &sync("rp-1", None));
    assert_eq!((&foreseen["there"], &foreseen["changedBytes"]), (&json!(false), &json!(100_000)));
    let made = done(&config, "sync", &sync("rp-1", None));
    assert_eq!(made["cost"], json!({"readBytes": 100_000, "changedBytes": 100_000, "zeroedBytes": 0, "wireBytes": 0}));
    let point = &made["point"];
    assert_eq!(point["volumes"][0]["about"], json!({"at": "rp-1"}));
    assert_eq!(point["volumes"][0]["files"][0]["name"], "disk\n.img");
    let again = done(&config, "sync", &sync("rp-1", None));
    assert_eq!((&again["point"], &again["cost"]["readBytes"]), (point, &json!(0)));
    assert_eq!(done(&config, "points", &json!({"group": "shop"})), json!([point]));
    let of = json!({"group": "shop", "point": "rp-1"});
    assert_eq!(done(&config, "verify", &of), *point);

    fs::write(volume.join("disk\n.img"), vec![8; 100_000]).unwrap();
    let compared = json!({"group": "shop", "point": "rp-1", "at": "east", "volumes": [["pv-1", "shop/pv-1"]]});
    let moved = done(&config, "compare", &compared);
    assert_eq!((&moved[0]["key"], &moved[0]["changedBytes"]), (&json!("pv-1"), &json!(100_000)));
    done(&config, "sync", &sync("rp-2", Some("rp-1")));
    let files = &point["volumes"][0]["files"];
    let present = json!({"group": "shop", "point": "rp-1", "key": "pv-1", "folder": "shop/pv-1", "files": files});
    assert_eq!(done(&config, "present", &present), Value::Null);
    assert!(fs::read(volume.join("disk\n.img")).unwrap() == vec![7; 100_000]);
    assert_eq!(done(&config, "compare", &compared)[0]["changedBytes"], 0);

    assert_eq!(done(&config, "withdraw", &of), Value::Null);
    let (code, refusal, talk) = mover(&config, "verify", &of);
    assert_eq!((code, &refusal["error"]["kind"], &refusal["error"]["code"]), (3, &json!("noPoint"), &json!("LW-0707")));
    assert!(talk.contains("[LW-0707]"), "{talk}");
}

#[test]
fn what_cannot_be_done_is_said_in_the_same_form() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("mover.yaml");
    let (code, refusal, _) = mover(&config, "points", &json!({"group": "shop"}));
    assert_eq!((code, &refusal["error"]["code"]), (3, &json!("LW-0731")));
    fs::write(&config, "site: east\nexport: export\n").unwrap();
    let (code, refusal, _) = mover(&config, "points", &json!({"group": "shop"}));
    assert_eq!((code, &refusal["error"]["kind"], &refusal["error"]["code"]), (1, &json!("failed"), &json!("LW-0721")));
    fs::create_dir_all(folder.path().join("export/shop/pv-1")).unwrap();
    let mut elsewhere = sync("rp-1", None);
    elsewhere["to"] = "west".into();
    let mut foreign = sync("rp-1", None);
    foreign["from"] = "west".into();
    for (request, kind, code) in [
        (json!([]), "request", "LW-0722"),
        (json!({"group": "../shop"}), "request", "LW-0722"),
        (elsewhere, "request", "LW-0746"),
        (foreign, "request", "LW-0717"),
        (sync("rp-1", None), "empty", "LW-0719"),
    ] {
        let (exit, refusal, _) = mover(&config, "sync", &request);
        assert_eq!((exit, &refusal["error"]["kind"], &refusal["error"]["code"]), (3, &json!(kind), &json!(code)));
    }
}
