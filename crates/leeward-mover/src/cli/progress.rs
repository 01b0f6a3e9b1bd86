//! What is told of a transfer on stderr: a bar for people, and one line for each disk.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use leeward_mover::place::Place;
use leeward_mover::scan::Scanned;
use leeward_mover::watch::Watch;
use std::time::Duration;

const BAR: &str = "{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";

/// Tells it. The bar is drawn on a terminal only.
pub(crate) struct Told(ProgressBar);

impl Told {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(4));
        // A style of ours that could not be read would still leave the default one.
        Self(ProgressStyle::with_template(BAR).map(|style| bar.clone().with_style(style)).unwrap_or(bar))
    }

    /// A line that does not get in the bar's way.
    fn line(&self, line: &str) {
        if self.0.is_hidden() { eprintln!("{line}") } else { self.0.println(line) }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

impl Watch for Told {
    fn begun(&self, bytes: u64) {
        self.0.set_length(bytes);
    }

    fn passed(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    fn done(&self, disk: &Place, scanned: &Scanned, took: Duration) {
        let Scanned { read, written, zeroed } = scanned;
        self.line(&format!(
            "disk=\"{}\" read_bytes={read} changed_bytes={written} zeroed_bytes={zeroed} seconds={:.1}",
            disk.as_str().escape_debug(),
            took.as_secs_f64()
        ));
    }
}
