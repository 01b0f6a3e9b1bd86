//! The report as one page: no scripts, nothing loaded, light and dark, screen and paper.

use super::style::STYLE;
use super::text::{clock, count, escape, maybe_number, maybe_seconds, offset, seconds, since};
use super::{DemoReport, EventKind, Objective, StoryRow, Verdict, timeline};
use std::fmt::Write as _;

/// Renders the page. Every text of the report is escaped.
#[must_use]
pub fn html(report: &DemoReport) -> String {
    let title = escape(&report.title);
    let mut page = String::with_capacity(32 * 1024);
    // The policy makes the browser itself refuse whatever would be loaded or run.
    page.push_str("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.push_str(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
    );
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    // Writing to a String cannot fail, here and below.
    let _ = write!(page, "<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n");
    header(&mut page, report, &title);
    story(&mut page, report);
    drawing(&mut page, report);
    volumes(&mut page, report);
    objectives(&mut page, report);
    checks(&mut page, report);
    events(&mut page, report);
    let _ = write!(
        page,
        "<footer>From {} to {}. Times in this page count from the start.</footer>\n</main>\n</body>\n</html>\n",
        clock(report.started),
        clock(report.finished)
    );
    page
}

fn header(page: &mut String, report: &DemoReport, title: &str) {
    let verdict = report.verdict();
    let headline = match verdict {
        Verdict::Passed => "✓ Passed",
        Verdict::Failed => "✗ Failed",
        Verdict::Skipped => "– Nothing was proven",
    };
    let sites: Vec<String> = report.sites.iter().map(|s| escape(s.as_str())).collect();
    let _ = write!(
        page,
        "<header class=\"{}\">\n<p class=\"eyebrow\">{} · sites {}</p>\n<h1>{title}</h1>\n<p class=\"verdict\">{headline}</p>\n<p class=\"sentence\">{}{}</p>\n",
        verdict.word(),
        clock(report.started),
        if sites.is_empty() { "–".to_owned() } else { sites.join(" and ") },
        escape(&report.sentence()),
        report.losses().map_or_else(String::new, |losses| format!("<br>{}", escape(&losses)))
    );
    let faults = report.faults();
    if !faults.is_empty() {
        page.push_str("<ul>");
        for fault in faults {
            let _ = write!(page, "<li>{}</li>", escape(&fault));
        }
        page.push_str("</ul>\n");
    }
    page.push_str("<dl>");
    let facts = [
        ("Records lost", maybe_number(report.records_lost())),
        ("Longest outage", maybe_seconds(report.longest_outage())),
        ("Volumes moved", report.volumes.len().to_string()),
        ("Took", seconds(since(report.started, report.finished))),
    ];
    for (what, value) in facts {
        let _ = write!(page, "<div><dt>{what}</dt><dd>{value}</dd></div>");
    }
    page.push_str("</dl>\n</header>\n");
}

/// A section with a table; says so if there is nothing to show.
fn section(page: &mut String, title: &str, about: &str, head: &[(&str, &str)], rows: &[String]) {
    let _ = write!(page, "<section>\n<h2>{title}</h2>\n<p>{about}</p>\n<div class=\"card\">");
    if rows.is_empty() {
        page.push_str("<p class=\"empty\">None.</p>");
    } else {
        page.push_str("<table><thead><tr>");
        for (name, class) in head {
            let _ = write!(page, "<th scope=\"col\" class=\"{class}\">{name}</th>");
        }
        page.push_str("</tr></thead>\n<tbody>\n");
        for row in rows {
            page.push_str(row);
            page.push('\n');
        }
        page.push_str("</tbody></table>");
    }
    page.push_str("</div>\n</section>\n");
}

fn mark(verdict: Verdict) -> String {
    format!("<span class=\"mark {0}\">{1} {0}</span>", verdict.word(), verdict.sign())
}

fn story(page: &mut String, report: &DemoReport) {
    let row = |row: &StoryRow| {
        format!(
            "<tr class=\"{}\"><th scope=\"row\">{}</th><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            row.verdict.word(),
            escape(&row.part),
            escape(&row.what),
            if row.verdict == Verdict::Skipped { "–".to_owned() } else { seconds(row.seconds) },
            maybe_number(row.records_before),
            maybe_number(row.records_after),
            maybe_number(row.records_lost),
            maybe_seconds(row.seconds_lost),
            mark(row.verdict)
        )
    };
    let head = [
        ("Part", ""),
        ("What was done", ""),
        ("Took", "n"),
        ("Records before", "n"),
        ("after", "n"),
        ("lost", "n"),
        ("Data lost", "n"),
        ("Verdict", ""),
    ];
    let about = "Records are counted by the machines themselves: before, those they were told are safe; after, those found unbroken on their disks.";
    section(page, "What was done", about, &head, &report.rows.iter().map(row).collect::<Vec<_>>());
}

fn drawing(page: &mut String, report: &DemoReport) {
    let drawing = timeline::svg(report);
    if drawing.is_empty() {
        return;
    }
    let outages = report.events.iter().filter(|e| e.kind == EventKind::Outage).count();
    let _ = write!(
        page,
        "<section>\n<h2>When it happened</h2>\n<p>{} in which machines did not answer, in red.</p>\n<div class=\"card\">{drawing}</div>\n</section>\n",
        count(outages as u64, "window")
    );
}

fn volumes(page: &mut String, report: &DemoReport) {
    let rows: Vec<String> = report
        .volumes
        .iter()
        .map(|volume| {
            format!(
                "<tr><th scope=\"row\" class=\"claim\">{}</th><td><code>{}</code></td><td><code>{}</code></td><td><span aria-hidden=\"true\">→ </span><code>{}</code></td></tr>",
                escape(&volume.claim),
                escape(&volume.pv),
                escape(&volume.before),
                escape(&volume.after)
            )
        })
        .collect();
    let head = [("Claim", ""), ("Volume", ""), ("Before", ""), ("After", "")];
    section(page, "What moved where", "Each volume keeps its name and gets the address of its copy.", &head, &rows);
}

fn objectives(page: &mut String, report: &DemoReport) {
    let row = |objective: &Objective| {
        let verdict = if objective.kept() { Verdict::Passed } else { Verdict::Failed };
        let promised = objective.rpo_target_seconds.is_some() || objective.rto_target_seconds.is_some();
        format!(
            "<tr class=\"{}\"><th scope=\"row\">{}</th><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            verdict.word(),
            escape(&objective.part),
            maybe_seconds(objective.rpo_seconds),
            maybe_seconds(objective.rpo_target_seconds),
            maybe_seconds(objective.rto_seconds),
            maybe_seconds(objective.rto_target_seconds),
            if promised { mark(verdict) } else { "–".to_owned() }
        )
    };
    let head = [("Part", ""), ("RPO", "n"), ("promised", "n"), ("RTO", "n"), ("promised", "n"), ("Verdict", "")];
    let about = "RPO: how old the data was that came over. RTO: how long the machines did not answer.";
    section(page, "What it cost", about, &head, &report.objectives.iter().map(row).collect::<Vec<_>>());
}

fn checks(page: &mut String, report: &DemoReport) {
    let rows: Vec<String> = report
        .checks
        .iter()
        .map(|check| {
            let verdict = if check.passed { Verdict::Passed } else { Verdict::Failed };
            format!(
                "<tr class=\"{}\"><td>{}</td><td>{}<pre>{}</pre></td></tr>",
                verdict.word(),
                mark(verdict),
                escape(&check.claim),
                escape(check.evidence.trim())
            )
        })
        .collect();
    let about = "Each claim with what shows it.";
    section(page, "What proves it", about, &[("Verdict", ""), ("Claim and evidence", "")], &rows);
}

fn events(page: &mut String, report: &DemoReport) {
    let mut events: Vec<_> = report.events.iter().collect();
    events.sort_by_key(|event| event.at);
    let rows: Vec<String> = events
        .iter()
        .map(|event| {
            let site = event.site.as_ref().map_or_else(String::new, |site| {
                let color = report.sites.iter().position(|s| s == site).map_or_else(String::new, |at| format!(" c{}", at % 4));
                format!("<span class=\"site{color}\">{}</span>", escape(site.as_str()))
            });
            let kind = match event.kind {
                EventKind::Part => "part",
                EventKind::Step => "step",
                EventKind::Outage => "outage",
                EventKind::Fault => "fault",
                EventKind::Note => "note",
            };
            format!(
                "<tr class=\"{kind}\"><td class=\"n mono\">{}</td><td>{site}</td><td class=\"kind\">{kind}</td><td>{}</td><td class=\"n\">{}</td></tr>",
                offset(since(report.started, event.at)),
                escape(&event.text),
                if event.seconds > 0.0 { seconds(event.seconds) } else { String::new() }
            )
        })
        .collect();
    let head = [("Time", "n"), ("Site", ""), ("Kind", ""), ("What happened", ""), ("Lasted", "n")];
    section(page, "Step by step", "Everything in order.", &head, &rows);
}
