use super::*;
use crate::testing::site;

const HOSTILE: &str = "</title></style><script>alert(1)</script>\"' onload=x <img src=http://x>\u{1b}[2J\u{202e}";

fn at(seconds: i64) -> Timestamp {
    "2026-11-22T18:05:01Z".parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_secs(seconds)
}

fn event(at_second: i64, site_name: Option<&str>, kind: EventKind, text: &str, seconds: f64) -> TimelineEvent {
    TimelineEvent { at: at(at_second), site: site_name.map(site), kind, text: text.into(), seconds }
}

fn row(part: &str, what: &str, seconds: f64, records: Option<(u64, u64)>, seconds_lost: Option<f64>) -> StoryRow {
    StoryRow {
        part: part.into(),
        what: what.into(),
        seconds,
        records_before: records.map(|r| r.0),
        records_after: records.map(|r| r.1),
        records_lost: records.map(|r| r.0.saturating_sub(r.1)),
        seconds_lost,
        verdict: Verdict::Passed,
    }
}

/// A demonstration as the lab gives it.
fn sample() -> DemoReport {
    use EventKind::{Fault, Note, Outage, Part, Step};
    let volume = |claim: &str, pv: &str| VolumeMove {
        claim: format!("shop/{claim}"),
        pv: pv.into(),
        before: format!("nfs://10.77.0.1/export/{pv}"),
        after: format!("nfs://10.77.0.2/vault/{pv}"),
    };
    let check = |claim: &str, evidence: &str| Check { claim: claim.into(), passed: true, evidence: evidence.into() };
    let objective = |part: &str, rpo: f64, rto: f64| Objective {
        part: part.into(),
        rpo_seconds: Some(rpo),
        rpo_target_seconds: Some(60.0),
        rto_seconds: Some(rto),
        rto_target_seconds: Some(120.0),
    };
    DemoReport {
        title: "Two sites, one shop: there, back, and after a loss".into(),
        started: at(0),
        finished: at(412),
        sites: vec![site("east"), site("west")],
        events: vec![
            event(0, None, Part, "protect", 74.0),
            event(2, Some("east"), Note, "machines db and web write one record every 50 ms", 0.0),
            event(12, Some("east"), Step, "snapshot and promote 3 volumes", 9.0),
            event(21, Some("east"), Step, "back up 14 objects", 6.4),
            event(28, Some("east"), Step, "replicate 3 volumes, 412 MiB", 22.0),
            event(50, Some("west"), Step, "stage 2 machines, halted", 14.0),
            event(64, Some("west"), Step, "verify 3 disks", 9.6),
            event(74, None, Part, "migrate east to west", 83.0),
            event(80, Some("east"), Step, "stop machines", 8.0),
            event(81, None, Outage, "machines move", 52.0),
            event(88, Some("east"), Step, "fence: /export read-only", 2.1),
            event(91, Some("east"), Step, "final sync", 11.0),
            event(103, Some("west"), Step, "present 3 volumes", 6.0),
            event(110, Some("west"), Step, "start db, then web", 23.0),
            event(157, None, Part, "migrate back", 79.0),
            event(164, None, Outage, "machines move back", 47.0),
            event(166, Some("west"), Step, "stop, fence, final sync", 22.0),
            event(190, Some("east"), Step, "present and start", 21.0),
            event(236, None, Part, "lose east", 96.0),
            event(248, Some("east"), Fault, "network cut", 100.0),
            event(248, None, Outage, "site east lost", 71.0),
            event(262, Some("west"), Step, "probe east, take epoch 4", 5.5),
            event(268, Some("west"), Step, "present newest point rp-20261122-180855", 12.0),
            event(281, Some("west"), Step, "start db, then web", 38.0),
            event(332, None, Part, "east comes back", 80.0),
            event(350, Some("east"), Note, "east reads epoch 4 and halts its machines", 0.0),
            event(362, Some("west"), Step, "reprotect: replicate to east", 41.0),
        ],
        rows: vec![
            row(
                "protect",
                "The first recovery point of 3 volumes is made, copied and staged at west.",
                74.0,
                None,
                None,
            ),
            row("migrate", "The shop moves from east to west, planned.", 83.0, Some((21_480, 21_480)), Some(0.0)),
            row("failback", "The shop moves home.", 79.0, Some((38_011, 38_011)), Some(0.0)),
            row(
                "failover",
                "Site east is cut off; west takes over from the newest point.",
                96.0,
                Some((52_377, 51_690)),
                Some(34.4),
            ),
            StoryRow {
                verdict: Verdict::Skipped,
                ..row("test", "A test on clones, in a bubble network.", 0.0, None, None)
            },
        ],
        volumes: vec![
            volume("db-data", "pvc-6a1f2e04-9f4e-4c56-8a58-7f1f0a3d5b11"),
            volume("db-log", "pvc-c0d3c1a2-0f53-4f0e-b5a1-2f1f2b3c4d5e"),
            volume("web-disk", "web-disk"),
        ],
        objectives: vec![
            objective("migrate", 0.0, 52.0),
            objective("failback", 0.0, 47.0),
            objective("failover", 34.4, 71.0),
        ],
        checks: vec![
            check(
                "No acknowledged record was lost by a planned move.",
                "LW chain disk=db-data status=ok records=21480 first=1 last=21480 last_site=east",
            ),
            check(
                "The old site could not write while the new one ran.",
                "10.77.0.1:/export/web-disk: touch: Read-only file system",
            ),
            check(
                "Every disk at west had its fingerprint before power-on.",
                "db-data sha256 9f2c…41aa = 9f2c…41aa\ndb-log sha256 77b0…0c13 = 77b0…0c13\nweb-disk sha256 1b44…e210 = 1b44…e210",
            ),
            check(
                "A site that comes back does not start its machines.",
                "east: shop/db runStrategy=Halted, epoch 4 is west's",
            ),
        ],
    }
}

#[test]
fn golden_table() {
    insta::assert_snapshot!("table", table(&sample()));
}

/// With LEEWARD_SAMPLE_DIR set, pages are written there, for looking at.
#[test]
fn a_sample_page() {
    let page = html(&sample());
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    for text in [
        "✓ Passed",
        "4 of 5 parts passed, 1 skipped, 4 of 4 checks hold.",
        "nfs://10.77.0.2/vault/web-disk",
        "34 s",
        "52\u{202f}377",
        "<svg ",
    ] {
        assert!(page.contains(text), "{text}");
    }
    if let Some(dir) = std::env::var_os("LEEWARD_SAMPLE_DIR") {
        std::fs::write(std::path::Path::new(&dir).join("report.html"), &page).unwrap();
        let mut failed = sample();
        failed.checks[1].passed = false;
        failed.rows[1].verdict = Verdict::Failed;
        failed.objectives[2].rto_target_seconds = Some(60.0);
        std::fs::write(std::path::Path::new(&dir).join("failed.html"), html(&failed)).unwrap();
        std::fs::write(std::path::Path::new(&dir).join("hostile.html"), html(&hostile())).unwrap();
    }
}

#[test]
fn the_page_loads_and_runs_nothing() {
    let page = html(&sample());
    for forbidden in
        ["<script", "<link", "<img", "<iframe", "@import", "url(", "http://", "https://", "onload", "javascript:"]
    {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(page.contains("default-src 'none'"));
    assert!(page.contains("prefers-color-scheme:dark") && page.contains("@media print"));
}

/// The sample with hostile text wherever text can stand.
fn hostile() -> DemoReport {
    let mut report = sample();
    let bad = || HOSTILE.to_owned();
    report.title = bad();
    report.events.iter_mut().for_each(|e| e.text = bad());
    for row in &mut report.rows {
        (row.part, row.what) = (bad(), bad());
    }
    for volume in &mut report.volumes {
        *volume = VolumeMove { claim: bad(), pv: bad(), before: bad(), after: bad() };
    }
    report.objectives.iter_mut().for_each(|o| o.part = bad());
    for check in &mut report.checks {
        (check.claim, check.evidence) = (bad(), bad());
    }
    report
}

/// Tags of a page, without what is in their attributes.
fn tags(page: &str) -> Vec<&str> {
    page.split('<').skip(1).map(|t| t.split([' ', '>']).next().unwrap_or_default()).collect()
}

#[test]
fn hostile_text_stays_text() {
    let page = html(&hostile());
    assert_eq!(tags(&page), tags(&html(&sample())), "no text became a tag");
    assert!(!page.contains("<script") && !page.contains("<img"));
    assert!(!page.chars().any(|c| c.is_control() && c != '\n' || c == '\u{202e}'));
    // In attributes, where a quote would do.
    assert!(!page.contains("\"' onload"));
    let text = table(&hostile());
    assert!(!text.chars().any(|c| c.is_control() && c != '\n' || c == '\u{202e}'));
}

#[test]
fn odd_numbers_draw_no_nonsense() {
    let mut report = sample();
    for (event, seconds) in
        report.events.iter_mut().zip([f64::NAN, f64::INFINITY, -5.0, f64::MAX, 0.0].into_iter().cycle())
    {
        event.seconds = seconds;
    }
    report.finished = at(-10);
    let page = html(&report);
    assert!(!page.contains("NaN") && !page.contains("inf\"") && !page.contains("width=\"-"), "{page}");
    let empty = DemoReport {
        events: Vec::new(),
        rows: Vec::new(),
        volumes: Vec::new(),
        objectives: Vec::new(),
        checks: Vec::new(),
        sites: Vec::new(),
        ..report
    };
    assert!(html(&empty).contains("Nothing was proven") && table(&empty).contains("SKIPPED"));
}

#[test]
fn the_verdict_follows_from_the_evidence() {
    assert_eq!(sample().verdict(), Verdict::Passed);
    assert!(sample().faults().is_empty());
    assert_eq!(sample().losses().unwrap(), "Part failover lost 687 records, 34 s of data; promised: at most 1 min.");
    let mut report = sample();
    report.checks[0].passed = false;
    assert_eq!(report.verdict(), Verdict::Failed);
    assert!(html(&report).contains("<li>Does not hold: No acknowledged record"));
    assert!(table(&report).contains("✗ Does not hold: No acknowledged record"));
    let mut report = sample();
    report.rows[0].verdict = Verdict::Failed;
    assert_eq!(report.verdict(), Verdict::Failed);
    let mut report = sample();
    report.objectives[0].rto_seconds = Some(121.0);
    assert_eq!(report.verdict(), Verdict::Failed);
    assert!(report.sentence().ends_with("1 objective missed."));
    assert_eq!(report.faults(), ["Part migrate missed its objective: RTO 2 min 1 s, promised 2 min"]);
    let mut report = sample();
    report.checks.clear();
    assert_eq!(report.verdict(), Verdict::Skipped);
}

#[test]
fn a_report_survives_json() {
    let text = serde_json::to_string(&sample()).unwrap();
    assert_eq!(serde_json::from_str::<DemoReport>(&text).unwrap(), sample());
}
