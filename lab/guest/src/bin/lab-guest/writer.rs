//! Appends records to one disk.

use crate::{clock::Clock, disk::Disk, terminal::Terminal};
use leeward_lab_guest::{chain::ChainReport, console::Line};
use std::{
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

/// Between two attempts at a write that failed.
const RETRY: Duration = Duration::from_secs(1);

/// Raised once, when the host asks the guest to stop.
#[derive(Default)]
pub(crate) struct StopSign {
    raised: Mutex<bool>,
    changed: Condvar,
}

impl StopSign {
    pub(crate) fn raise(&self) {
        if let Ok(mut raised) = self.raised.lock() {
            *raised = true;
        }
        self.changed.notify_all();
    }

    /// Waits until it is raised.
    pub(crate) fn wait(&self) {
        if let Ok(raised) = self.raised.lock() {
            drop(self.changed.wait_while(raised, |raised| !*raised));
        }
    }

    /// Waits until it is raised (true) or `until` has come (false).
    fn raised_before(&self, until: Instant) -> bool {
        let Ok(raised) = self.raised.lock() else { return true };
        let left = until.saturating_duration_since(Instant::now());
        self.changed.wait_timeout_while(raised, left, |raised| !*raised).map_or(true, |(raised, _)| *raised)
    }
}

pub(crate) struct Writer {
    pub(crate) disk: Disk,
    pub(crate) chain: ChainReport,
    pub(crate) vm: String,
    pub(crate) site: String,
    pub(crate) interval: Duration,
    pub(crate) clock: Arc<Clock>,
    pub(crate) terminal: Arc<Terminal>,
    pub(crate) stop: Arc<StopSign>,
}

impl Writer {
    /// Writes until the stop sign is up or the disk is full. A record is printed only after its write was acknowledged,
    /// so whatever the host has seen on the console must be on the disk.
    pub(crate) fn run(mut self) {
        let disk = self.disk.serial().to_owned();
        let mut next = Instant::now();
        while !self.stop.raised_before(next) {
            next = (next + self.interval).max(Instant::now());
            let mut grown = self.chain.clone();
            let record = grown.append(&self.site, &self.vm, self.clock.now());
            let number = record.number;
            if number >= self.disk.blocks() {
                self.terminal.print(&Line::Full { disk });
                return;
            }
            match self.disk.write(number, &record.to_block()) {
                Ok(()) => {
                    self.chain = grown;
                    self.terminal.print(&Line::Record { disk: disk.clone(), number, time: record.time });
                }
                Err(error) => {
                    let detail = error.to_string();
                    self.terminal.print(&Line::Error { disk: disk.clone(), number, detail });
                    next = Instant::now() + RETRY;
                }
            }
        }
    }
}
