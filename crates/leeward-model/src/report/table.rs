//! The report as plain text, for a terminal or a log.

use super::text::{clock, line, maybe_number, maybe_seconds, seconds, since};
use super::{DemoReport, Verdict};
use std::fmt::Write as _;

/// Renders the report's tables. No colours, no control characters.
#[must_use]
pub fn table(report: &DemoReport) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(
        out,
        "{}\n{} {}: {}\n{}, took {}",
        line(&report.title),
        report.verdict().sign(),
        report.verdict().word().to_uppercase(),
        report.sentence(),
        clock(report.started),
        seconds(since(report.started, report.finished))
    );
    if let Some(losses) = report.losses() {
        let _ = writeln!(out, "{}", line(&losses));
    }
    for fault in report.faults() {
        let _ = writeln!(out, "{} {}", Verdict::Failed.sign(), line(&fault));
    }
    let story: Vec<Vec<String>> = report
        .rows
        .iter()
        .map(|row| {
            vec![
                line(&row.part),
                line(&row.what),
                if row.verdict == Verdict::Skipped { "–".to_owned() } else { seconds(row.seconds) },
                maybe_number(row.records_before),
                maybe_number(row.records_after),
                maybe_number(row.records_lost),
                maybe_seconds(row.seconds_lost),
                format!("{} {}", row.verdict.sign(), row.verdict.word()),
            ]
        })
        .collect();
    let head = ["PART", "WHAT", ">TOOK", ">BEFORE", ">AFTER", ">LOST", ">DATA LOST", "VERDICT"];
    columns(&mut out, &head, &story);

    let objectives: Vec<Vec<String>> = report
        .objectives
        .iter()
        .map(|o| {
            vec![
                line(&o.part),
                maybe_seconds(o.rpo_seconds),
                maybe_seconds(o.rpo_target_seconds),
                maybe_seconds(o.rto_seconds),
                maybe_seconds(o.rto_target_seconds),
                if o.kept() { String::new() } else { format!("{} missed", Verdict::Failed.sign()) },
            ]
        })
        .collect();
    columns(&mut out, &["PART", ">RPO", ">PROMISED", ">RTO", ">PROMISED", ""], &objectives);

    let volumes: Vec<Vec<String>> = report
        .volumes
        .iter()
        .map(|v| vec![line(&v.claim), line(&v.pv), line(&v.before), format!("-> {}", line(&v.after))])
        .collect();
    columns(&mut out, &["CLAIM", "VOLUME", "BEFORE", "AFTER"], &volumes);

    let checks: Vec<Vec<String>> = report
        .checks
        .iter()
        .map(|c| {
            let verdict = if c.passed { Verdict::Passed } else { Verdict::Failed };
            vec![verdict.sign().to_owned(), line(&c.claim), line(&c.evidence)]
        })
        .collect();
    columns(&mut out, &["", "CLAIM", "EVIDENCE"], &checks);
    out
}

/// Rows under their heads, two spaces apart; heads that start with `>` are of columns set to the right. Nothing if there
/// are no rows.
fn columns(out: &mut String, heads: &[&str], rows: &[Vec<String>]) {
    if rows.is_empty() {
        return;
    }
    let right: Vec<bool> = heads.iter().map(|h| h.starts_with('>')).collect();
    let heads: Vec<String> = heads.iter().map(|h| h.trim_start_matches('>').to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&heads).chain(rows).collect();
    let width = |at: usize| all.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    out.push('\n');
    for row in all {
        let cells: Vec<String> = row
            .iter()
            .enumerate()
            .map(|(at, cell)| {
                let pad = " ".repeat(widths[at] - cell.chars().count());
                if right[at] { format!("{pad}{cell}") } else { format!("{cell}{pad}") }
            })
            .collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
}
