//! [`Progress`]: who is told what the lab does.

use std::sync::Mutex;
use std::time::Instant;

use crate::place::Place;

/// Is told each step, from several tasks at once.
pub trait Progress: Send + Sync {
    /// Something begins or is done; at a place, or for the whole lab.
    fn step(&self, place: Option<Place>, text: &str);
}

/// Writes each step as a line to standard error, with the seconds since the start.
#[derive(Debug)]
pub struct Lines {
    start: Instant,
    /// One line at a time.
    order: Mutex<()>,
}

impl Default for Lines {
    fn default() -> Self {
        Self { start: Instant::now(), order: Mutex::new(()) }
    }
}

impl Progress for Lines {
    fn step(&self, place: Option<Place>, text: &str) {
        let _order = self.order.lock();
        eprintln!("{:6.1} s  {:<6}  {text}", self.start.elapsed().as_secs_f64(), place.map_or("lab", Place::name));
    }
}

/// Says nothing.
#[derive(Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn step(&self, _place: Option<Place>, _text: &str) {}
}
