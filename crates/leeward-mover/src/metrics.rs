//! Figures for Prometheus: over HTTP, as text.

use crate::serve::Meters;
use leeward_model::name::GroupName;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What the format is called: version 0.0.4 of Prometheus' text.
const FORMAT: &str = "text/plain; version=0.0.4";

/// What is told.
#[derive(Debug, Default)]
pub struct Figures {
    /// For each group the seconds since its newest point became whole, and how many there are.
    points: BTreeMap<String, (f64, u64)>,
    lag: BTreeMap<GroupName, u64>,
    saved: BTreeMap<GroupName, u64>,
    /// For each peer what was received and sent.
    links: BTreeMap<String, (u64, u64)>,
}

impl Figures {
    /// What there is to tell. Looks at the points' folder.
    #[must_use]
    pub fn now(points: &Path, lag: BTreeMap<GroupName, u64>, saved: BTreeMap<GroupName, u64>, meters: &Meters) -> Self {
        let links = meters.iter().map(|(site, meter)| (site.to_string(), (meter.received(), meter.sent())));
        Self { points: ages(points), lag, saved, links: links.collect() }
    }

    /// In Prometheus' words.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let points = || self.points.iter();
        let links = || self.links.iter();
        family(
            &mut text,
            ("leeward_mover_point_age_seconds", "gauge", "Since the group's newest recovery point here became whole."),
            ("group", points().map(|(group, (age, _))| (group.clone(), format!("{age:.0}")))),
        );
        family(
            &mut text,
            ("leeward_mover_points", "gauge", "Whole recovery points of the group here."),
            ("group", points().map(|(group, (_, count))| (group.clone(), count.to_string()))),
        );
        family(
            &mut text,
            (
                "leeward_mover_lag_bytes",
                "gauge",
                "Of the disks, holes included, that the point being made still lacks.",
            ),
            ("group", self.lag.iter().map(|(group, bytes)| (group.to_string(), bytes.to_string()))),
        );
        family(
            &mut text,
            (
                "leeward_mover_saved_bytes_total",
                "counter",
                "Of what the group's disks take up at their site, what did not have to come for the points made here.",
            ),
            ("group", self.saved.iter().map(|(group, bytes)| (group.to_string(), bytes.to_string()))),
        );
        family(
            &mut text,
            ("leeward_mover_received_bytes_total", "counter", "Received from the peer, encryption not counted."),
            ("peer", links().map(|(peer, (received, _))| (peer.clone(), received.to_string()))),
        );
        family(
            &mut text,
            ("leeward_mover_sent_bytes_total", "counter", "Sent to the peer, encryption not counted."),
            ("peer", links().map(|(peer, (_, sent))| (peer.clone(), sent.to_string()))),
        );
        text
    }
}

/// A metric and its values. Labels are names that were checked: none has a character that would have to be escaped.
fn family(
    text: &mut String,
    (name, kind, help): (&str, &str, &str),
    (label, values): (&str, impl Iterator<Item = (String, String)>),
) {
    // Writing to a string does not fail.
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    for (of, value) in values {
        let _ = writeln!(text, "{name}{{{label}=\"{of}\"}} {value}");
    }
}

/// By group: how old the newest point is, and how many there are.
fn ages(points: &Path) -> BTreeMap<String, (f64, u64)> {
    let now = SystemTime::now();
    let mut ages = BTreeMap::new();
    for (group, folder) in entries(points) {
        if GroupName::parse(&group).is_err() {
            continue;
        }
        let whole = entries(&folder).filter(|(name, _)| !name.contains('.'));
        let made = whole.filter_map(|(_, point)| point.join(crate::points::RECORD).metadata().ok()?.modified().ok());
        let seconds: Vec<f64> = made.map(|made| now.duration_since(made).unwrap_or_default().as_secs_f64()).collect();
        if let Some(newest) = seconds.iter().copied().reduce(f64::min) {
            ages.insert(group, (newest, seconds.len() as u64));
        }
    }
    ages
}

fn entries(folder: &Path) -> impl Iterator<Item = (String, std::path::PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
}

/// Tells them to whoever asks for `/metrics`, until `stop` is true.
pub async fn serve(
    listener: TcpListener,
    figures: Arc<dyn Fn() -> Figures + Send + Sync>,
    mut stop: watch::Receiver<bool>,
) {
    let tell = move || {
        let figures = figures.clone();
        async move {
            let text = tokio::task::spawn_blocking(move || figures().text()).await;
            ([("content-type", FORMAT)], text.unwrap_or_default())
        }
    };
    let router = axum::Router::new().route("/metrics", axum::routing::get(tell));
    let served = axum::serve(listener, router).with_graceful_shutdown(async move {
        let _never_closed = stop.wait_for(|stop| *stop).await;
    });
    if let Err(error) = served.await {
        eprintln!("leeward-mover: metrics are no longer served: {error} [LW-0750]");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_prometheus() {
        let folder = tempfile::tempdir().unwrap();
        for point in ["shop/rp-1", "shop/rp-2", "shop/rp-3.partial", "Not-A-Group/rp-1"] {
            let point = folder.path().join(point);
            std::fs::create_dir_all(&point).unwrap();
            std::fs::write(point.join(".point.json"), "{}").unwrap();
        }
        let group = GroupName::parse("shop").unwrap();
        let saved = [(group.clone(), 9)].into();
        let text = Figures::now(folder.path(), [(group, 7)].into(), saved, &Meters::default()).text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.contains(&"leeward_mover_points{group=\"shop\"} 2"), "{text}");
        assert!(lines.contains(&"leeward_mover_lag_bytes{group=\"shop\"} 7"), "{text}");
        assert!(lines.contains(&"leeward_mover_saved_bytes_total{group=\"shop\"} 9"), "{text}");
        assert!(lines.contains(&"# TYPE leeward_mover_received_bytes_total counter"), "{text}");
        assert!(!text.contains("Not-A-Group"), "{text}");
    }
}
