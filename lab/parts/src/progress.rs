//! [`Progress`]: tells a person who waits what is being done and for how long still.
//!
//! Everything goes to stderr. On a terminal the last line counts the seconds of what is under way; elsewhere (a CI log)
//! there is one line at the start and one at the end of each activity, nothing in between.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A cheap handle; clones talk to the same screen.
#[derive(Debug, Clone)]
pub struct Progress {
    shared: Arc<Shared>,
}

/// One piece of work in a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    /// What it makes.
    pub name: String,
    /// How long it took when last measured; nothing when it is there already.
    pub takes: Option<Duration>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug)]
struct State {
    sink: Sink,
    active: Vec<Active>,
    next: u64,
    counting: bool,
    counter_shown: bool,
}

#[derive(Debug)]
struct Active {
    id: u64,
    name: String,
    started: Instant,
    takes: Option<Duration>,
}

#[derive(Debug)]
enum Sink {
    Terminal,
    Lines,
    Memory(Vec<String>),
}

impl Progress {
    /// Talks on stderr.
    pub fn stderr() -> Self {
        Self::with(if std::io::stderr().is_terminal() { Sink::Terminal } else { Sink::Lines })
    }

    /// Keeps its lines to itself, for [`Progress::lines`].
    pub fn memory() -> Self {
        Self::with(Sink::Memory(Vec::new()))
    }

    fn with(sink: Sink) -> Self {
        let state = State { sink, active: Vec::new(), next: 0, counting: false, counter_shown: false };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), ended: Condvar::new() }) }
    }

    /// What was said so far; empty unless made by [`Progress::memory`].
    pub fn lines(&self) -> Vec<String> {
        match &self.lock().sink {
            Sink::Memory(lines) => lines.clone(),
            Sink::Terminal | Sink::Lines => Vec::new(),
        }
    }

    /// Says what is about to be done and how long it takes.
    pub fn plan(&self, title: &str, work: &[Forecast]) {
        let (ready, todo): (Vec<_>, Vec<_>) = work.iter().partition(|item| item.takes.is_none());
        let cached = ready.iter().map(|item| item.name.as_str()).collect::<Vec<_>>().join(", ");
        if todo.is_empty() {
            return self.note(&format!("{title}: all there (cached: {cached})"));
        }
        let total = todo.iter().filter_map(|item| item.takes).sum();
        self.note(&format!("{title}: {} to make, about {}", todo.len(), rough(total)));
        for item in todo {
            self.note(&format!("  {:24} about {}", item.name, rough(item.takes.unwrap_or_default())));
        }
        if !cached.is_empty() {
            self.note(&format!("  cached: {cached}"));
        }
    }

    /// Says one line.
    pub fn note(&self, line: &str) {
        self.lock().say(line);
    }

    /// Says that `name` begins. Its end is said by what is done with the returned value.
    pub fn start(&self, name: &str, takes: Option<Duration>) -> Activity {
        let mut state = self.lock();
        let about = takes.map(|takes| format!(" (about {})", rough(takes))).unwrap_or_default();
        state.say(&format!("{name} ...{about}"));
        let id = state.next;
        state.next += 1;
        let started = Instant::now();
        state.active.push(Active { id, name: name.to_owned(), started, takes });
        if matches!(state.sink, Sink::Terminal) && !state.counting {
            state.counting = true;
            let shared = Arc::clone(&self.shared);
            thread::spawn(move || shared.count());
        }
        Activity { progress: self.clone(), id, name: name.to_owned(), started, said: false }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere must not silence the reports about it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Redraws the counter every second until nothing is under way.
    fn count(&self) {
        let mut state = self.lock();
        while !state.active.is_empty() {
            state.draw();
            let (guard, _) =
                self.ended.wait_timeout(state, Duration::from_secs(1)).unwrap_or_else(PoisonError::into_inner);
            state = guard;
        }
        state.counting = false;
    }
}

impl State {
    fn say(&mut self, line: &str) {
        self.clear();
        match &mut self.sink {
            Sink::Memory(lines) => lines.push(line.to_owned()),
            Sink::Terminal | Sink::Lines => eprintln!("{line}"),
        }
        self.draw();
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.counter_shown) {
            eprint!("\r\x1b[2K");
        }
    }

    fn draw(&mut self) {
        if !matches!(self.sink, Sink::Terminal) || self.active.is_empty() {
            return;
        }
        let counters: Vec<_> = self
            .active
            .iter()
            .map(|a| {
                let of = a.takes.map(|takes| format!(" of about {}", rough(takes))).unwrap_or_default();
                format!("{} {} s{of}", a.name, a.started.elapsed().as_secs())
            })
            .collect();
        eprint!("\r\x1b[2K{}", counters.join(" | "));
        // A counter that cannot be drawn is no reason to stop working.
        let _ = std::io::stderr().flush();
        self.counter_shown = true;
    }
}

/// Work under way. Dropped without a word, it counts as failed.
#[derive(Debug)]
pub struct Activity {
    progress: Progress,
    id: u64,
    name: String,
    started: Instant,
    said: bool,
}

impl Activity {
    /// It is done; returns how long it took.
    pub fn done(mut self) -> Duration {
        let took = self.started.elapsed();
        self.end(&format!("done in {}", seconds(took)));
        took
    }

    fn end(&mut self, how: &str) {
        self.said = true;
        let mut state = self.progress.lock();
        state.active.retain(|active| active.id != self.id);
        state.say(&format!("{} {how}", self.name));
        self.progress.shared.ended.notify_all();
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        if !self.said {
            let took = self.started.elapsed();
            self.end(&format!("FAILED after {}", seconds(took)));
        }
    }
}

fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(10) {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} s", time.as_secs())
    }
}

/// A length of time as one would say it.
fn rough(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{} s", seconds.max(1)),
        seconds => format!("{} min", (seconds + 30) / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plan_names_what_is_to_be_made_and_what_is_cached() {
        let progress = Progress::memory();
        let item =
            |name: &str, takes: Option<u64>| Forecast { name: name.into(), takes: takes.map(Duration::from_secs) };
        progress.plan("lab parts", &[item("kube", Some(249)), item("csi", None), item("velero", Some(118))]);
        assert_eq!(
            progress.lines(),
            [
                "lab parts: 2 to make, about 6 min",
                "  kube                     about 4 min",
                "  velero                   about 118 s",
                "  cached: csi",
            ]
        );
    }

    #[test]
    fn nothing_to_do_is_one_line() {
        let progress = Progress::memory();
        progress.plan("lab parts", &[Forecast { name: "kube".into(), takes: None }]);
        assert_eq!(progress.lines(), ["lab parts: all there (cached: kube)"]);
    }

    #[test]
    fn an_activity_that_is_dropped_has_failed() {
        let progress = Progress::memory();
        let good = progress.start("csi", Some(Duration::from_secs(57)));
        let bad = progress.start("kube", None);
        good.done();
        drop(bad);
        let lines = progress.lines();
        assert_eq!(lines[0], "csi ... (about 57 s)");
        assert!(lines[2].starts_with("csi done in 0."), "{lines:?}");
        assert!(lines[3].starts_with("kube FAILED after "), "{lines:?}");
    }
}
