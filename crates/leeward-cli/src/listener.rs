//! Tells on stderr what a run does: plain lines, and on a terminal a line that shows what is going on now.

use indicatif::{ProgressBar, ProgressStyle};
use leeward_engine::progress::{Listener, Told};
use std::{io::IsTerminal, sync::Mutex, time::Duration};

/// Tells on stderr.
pub(crate) struct Teller {
    spinner: Option<ProgressBar>,
    place: Mutex<String>,
}

impl Teller {
    pub(crate) fn new() -> Self {
        let spinner = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { spinner, place: Mutex::new(String::new()) }
    }

    pub(crate) fn end(&self) {
        if let Some(bar) = &self.spinner {
            bar.finish_and_clear();
        }
    }

    fn line(&self, text: &str) {
        match &self.spinner {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    fn place(&self) -> String {
        self.place.lock().map(|place| place.clone()).unwrap_or_default()
    }
}

impl Listener for Teller {
    fn hear(&self, told: Told<'_>) {
        match told {
            Told::Started { step, number, of } => {
                if let Ok(mut place) = self.place.lock() {
                    *place = format!("[{number:>2}/{of}]");
                }
                match &self.spinner {
                    Some(bar) => {
                        bar.reset_elapsed();
                        bar.set_message(format!("{} {}", self.place(), step.title()));
                    }
                    None => self.line(&format!("{} {step}: {} …", self.place(), step.title())),
                }
            }
            Told::Note(text) => self.line(&format!("        {text}")),
            Told::Before { step } => self.line(&format!("        {step}: done before")),
            Told::Done { step, observed, took } => {
                let how = if observed { "found done" } else { "done" };
                self.line(&format!("{} {step}: {how} in {:.1} s", self.place(), took.as_secs_f64()));
            }
            Told::Failed { step } => self.line(&format!("{} {step}: failed", self.place())),
        }
    }
}
