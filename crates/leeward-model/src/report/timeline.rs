//! The timeline: one drawing (SVG) in which the outages can be seen.
//!
//! From top to bottom: the parts of the story as bars, each site's steps and faults, the service as a green band with a
//! red gap for each outage. Red stripes run over the whole height, so that one sees what went on while machines were down.

use super::text::{clock, escape, offset, seconds, short, since};
use super::{DemoReport, EventKind, TimelineEvent};
use std::fmt::Write as _;

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 178.0;
const RIGHT: f64 = 84.0;
const TOP: f64 = 16.0;
const LANE: f64 = 30.0;
const LABEL_CHARS: usize = 24;

/// Maps seconds since the start to the drawing.
struct Scale {
    span: f64,
}

impl Scale {
    fn x(&self, at: f64) -> f64 {
        let share = (at / self.span).clamp(0.0, 1.0);
        LEFT + if share.is_finite() { share * (WIDTH - LEFT - RIGHT) } else { 0.0 }
    }

    /// Distance of the axis' marks: a number people count in, at most eight marks.
    fn step(&self) -> f64 {
        const STEPS: [f64; 13] = [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0];
        let fits = |step: &f64| self.span / step <= 8.0;
        STEPS.into_iter().find(fits).unwrap_or_else(|| {
            let mut step: f64 = 7200.0;
            while !fits(&step) {
                step *= 2.0;
            }
            step
        })
    }
}

/// The drawing; empty if there are no events.
pub(super) fn svg(report: &DemoReport) -> String {
    if report.events.is_empty() {
        return String::new();
    }
    let at = |event: &TimelineEvent| since(report.started, event.at);
    let end = |event: &TimelineEvent| at(event) + length(event);
    let last = report.events.iter().map(end).fold(since(report.started, report.finished), f64::max);
    let scale = Scale { span: if last.is_finite() { last.max(1.0) } else { 1.0 } };

    let parts: Vec<&TimelineEvent> = report.events.iter().filter(|e| e.kind == EventKind::Part).collect();
    let outages: Vec<&TimelineEvent> = report.events.iter().filter(|e| e.kind == EventKind::Outage).collect();
    let lane_top = |lane: usize| TOP + LANE * f64::from(u32::try_from(lane).unwrap_or(u32::MAX));
    let service_lane = parts.len() + report.sites.len();
    // The service lane has a line of text below its bar.
    let bottom = lane_top(service_lane + 1) + 14.0;

    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"Timeline of {} from {} to {}\">",
        bottom + 26.0,
        super::text::count(parts.len() as u64, "part"),
        clock(report.started),
        clock(report.finished)
    );
    axis(&mut out, &scale, bottom);
    for lane in (0..service_lane).step_by(2) {
        let _ =
            write!(out, "<rect class=\"lane\" x=\"0\" y=\"{}\" width=\"{WIDTH}\" height=\"{LANE}\"/>", lane_top(lane));
    }
    for outage in &outages {
        let (x, width) = bar(&scale, at(outage), length(outage), 2.0);
        let _ = write!(
            out,
            "<rect class=\"band\" x=\"{x:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{:.1}\"/>",
            bottom - TOP
        );
    }
    for (lane, part) in parts.iter().enumerate() {
        let y = lane_top(lane);
        label(&mut out, y, &part.text, "");
        let (x, width) = bar(&scale, at(part), length(part), 2.0);
        rect(&mut out, "part", x, y + 8.0, width, LANE - 16.0, part, at(part));
        let _ =
            write!(out, "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", x + width + 6.0, y + 19.0, seconds(part.seconds));
    }
    for (index, site) in report.sites.iter().enumerate() {
        let y = lane_top(parts.len() + index);
        let color = index % 4;
        label(&mut out, y, &format!("site {site}"), &format!("f{color}"));
        for event in report.events.iter().filter(|e| e.site.as_ref() == Some(site)) {
            site_event(&mut out, &scale, y, color, event, at(event));
        }
    }
    let y = lane_top(service_lane);
    label(&mut out, y, "machines answer", "");
    let (x, width) = bar(&scale, 0.0, scale.span, 0.0);
    let _ = write!(
        out,
        "<rect class=\"up\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"6\" rx=\"2\"/>",
        y + 12.0
    );
    let mut free_from = 0.0;
    for outage in &outages {
        let (x, width) = bar(&scale, at(outage), length(outage), 3.0);
        rect(&mut out, "down", x, y + 8.0, width, LANE - 16.0, outage, at(outage));
        // Only where the text of the outage before does not stand.
        if x >= free_from {
            let _ = write!(
                out,
                "<text class=\"down\" x=\"{x:.1}\" y=\"{:.1}\">{} out</text>",
                y + 36.0,
                seconds(outage.seconds)
            );
            free_from = x + 84.0;
        }
    }
    out.push_str("</svg>");
    out
}

/// The length that is drawn: finite and not negative.
fn length(event: &TimelineEvent) -> f64 {
    if event.seconds.is_finite() { event.seconds.max(0.0) } else { 0.0 }
}

/// Left border and width of a bar, at least `least` wide and not beyond the right border.
fn bar(scale: &Scale, at: f64, seconds: f64, least: f64) -> (f64, f64) {
    let (from, to) = (scale.x(at), scale.x(at + seconds));
    (from.min(WIDTH - RIGHT - least), (to - from).max(least))
}

fn axis(out: &mut String, scale: &Scale, bottom: f64) {
    let step = scale.step();
    let mut at = 0.0;
    while at <= scale.span {
        let x = scale.x(at);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{:.1}\"/><text class=\"dim\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 4.0,
            bottom + 19.0,
            offset(at)
        );
        at += step;
    }
}

fn label(out: &mut String, y: f64, text: &str, class: &str) {
    let _ = write!(
        out,
        "<text class=\"{class}\" x=\"10\" y=\"{:.1}\"><title>{}</title>{}</text>",
        y + 19.0,
        escape(text),
        escape(&short(text, LABEL_CHARS))
    );
}

#[allow(clippy::too_many_arguments)] // A rectangle has that many.
fn rect(out: &mut String, class: &str, x: f64, y: f64, width: f64, height: f64, event: &TimelineEvent, at: f64) {
    let _ = write!(
        out,
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\"><title>{} {} ({})</title></rect>",
        offset(at),
        escape(&event.text),
        seconds(event.seconds)
    );
}

fn site_event(out: &mut String, scale: &Scale, y: f64, color: usize, event: &TimelineEvent, at: f64) {
    let (x, width) = bar(scale, at, length(event), 2.0);
    match event.kind {
        EventKind::Step => rect(out, &format!("f{color}"), x, y + 11.0, width, LANE - 22.0, event, at),
        EventKind::Fault => {
            rect(out, "cut", x, y + 2.0, width, LANE - 4.0, event, at);
            let _ = write!(
                out,
                "<text class=\"down\" x=\"{:.1}\" y=\"{:.1}\">✗ {}</text>",
                x + 5.0,
                y + 19.0,
                // About seven units a character; a bar too short for words is overwritten to its right.
                escape(&short(&event.text, (1..).take_while(|n| f64::from(*n) * 7.0 < width).count().max(12)))
            );
        }
        EventKind::Note => {
            let _ = write!(
                out,
                "<circle class=\"f{color}\" cx=\"{x:.1}\" cy=\"{:.1}\" r=\"4\"><title>{} {}</title></circle>",
                y + LANE / 2.0,
                offset(at),
                escape(&event.text)
            );
        }
        // Drawn in lanes of their own.
        EventKind::Part | EventKind::Outage => {}
    }
}
