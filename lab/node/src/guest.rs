//! One running guest: a task that watches QEMU's process, control socket and console, lets the guest go on after I/O
//! errors, and stops it when told to.
//!
//! Stopping follows virt-handler: the guest is asked, and asked again (one that still boots does not hear); after its
//! grace period QEMU is told to quit, and if storage keeps it from doing so, its process is killed.

use crate::{
    console::{Tail, Voice},
    observed::{IoPause, Observed},
    process::Handle,
    qmp::{Event, Qmp, QmpError},
    record::{Record, StateDir},
    retry::IoRetry,
};
use std::{future, io, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

/// Between two requests to stop.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// From telling QEMU to quit until its process is killed.
const QUIT: Duration = Duration::from_secs(3);
/// Between two attempts to reach the control socket of a QEMU that lives but does not answer.
const RECONNECT: Duration = Duration::from_secs(2);
/// A guest that was let go on while its storage still refuses writes runs for some milliseconds. Nobody should take
/// that for the end of the pause.
const SETTLE: Duration = Duration::from_millis(500);

/// The registry's side of a guest.
#[derive(Debug)]
pub(crate) struct Guest {
    /// As it was when the guest was started or found.
    pub(crate) record: Record,
    observed: watch::Receiver<Observed>,
    stop: mpsc::UnboundedSender<Duration>,
}

impl Guest {
    /// A guest that has ended before this program could look.
    pub(crate) fn ended(record: Record, observed: Observed) -> Guest {
        Guest { record, observed: watch::channel(observed).1, stop: mpsc::unbounded_channel().0 }
    }

    /// What is known now.
    pub(crate) fn observed(&self) -> Observed {
        self.observed.borrow().clone()
    }

    /// Asks the guest to stop within `grace`. A second call may only shorten the time.
    pub(crate) fn stop(&self, grace: Duration) {
        // Nobody listens once it has ended, which is what was asked for.
        let _ = self.stop.send(grace);
    }

    /// Waits until QEMU has ended.
    pub(crate) async fn wait_ended(&self) {
        let mut observed = self.observed.clone();
        // An error means that the task is gone, which it is only after QEMU.
        let _ = observed.wait_for(|observed| !observed.is_alive()).await;
    }
}

/// Takes over a running QEMU. `changed` is called after each change of what is known.
pub(crate) fn attach(
    record: Record,
    process: Handle,
    state: Arc<StateDir>,
    retry: IoRetry,
    changed: impl Fn() + Send + 'static,
) -> io::Result<Guest> {
    let tail = Tail::open(&state.file(&record.key(), ".console.log"), record.console_offset)?;
    let (sender, observed) = watch::channel(Observed::default());
    let (stop, requests) = mpsc::unbounded_channel();
    let guest = Guest { record: record.clone(), observed, stop };
    let task = Task {
        voice: Voice::new(state.socket(&record.key(), ".serial")),
        record,
        process,
        state,
        tail,
        qmp: None,
        reconnect: Some(Instant::now()),
        retry,
        resume: None,
        settle: None,
        io_error: None,
        stopping: None,
        observed: sender,
    };
    tokio::spawn(task.run(requests, changed));
    Ok(guest)
}

struct Task {
    record: Record,
    process: Handle,
    state: Arc<StateDir>,
    tail: Tail,
    voice: Voice,
    qmp: Option<Qmp>,
    /// When to connect again; set exactly while `qmp` is not there.
    reconnect: Option<Instant>,
    retry: IoRetry,
    /// When to let the guest go on after an I/O error.
    resume: Option<Instant>,
    /// When a guest that was let go on counts as running.
    settle: Option<Instant>,
    io_error: Option<IoPause>,
    stopping: Option<Stopping>,
    observed: watch::Sender<Observed>,
}

struct Stopping {
    ask: Option<Instant>,
    quit: Option<Instant>,
    kill: Option<Instant>,
}

impl Task {
    async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Duration>, changed: impl Fn()) {
        let key = self.record.key();
        loop {
            let before = self.observed.borrow().clone();
            let timer = self.next_timer();
            tokio::select! {
                // What the guest printed last comes before the news of its end.
                biased;
                lines = self.tail.lines() => match lines {
                    Ok(lines) => self.took(&lines),
                    Err(error) => {
                        tracing::error!(guest = key, %error, "cannot read the console log");
                        tokio::time::sleep(RECONNECT).await;
                    }
                },
                () = self.process.ended() => break,
                event = next_event(&mut self.qmp) => self.told(event).await,
                Some(grace) = requests.recv() => self.ask_to_stop(grace),
                () = at(timer) => self.timer().await,
            }
            if *self.observed.borrow() != before {
                changed();
            }
        }
        if let Ok(lines) = self.tail.new_lines() {
            self.took(&lines);
        }
        self.observed.send_modify(|observed| observed.end(self.record.killed));
        tracing::info!(guest = key, outcome = ?self.observed.borrow().outcome, "ended");
        changed();
    }

    fn took(&mut self, lines: &[String]) {
        self.observed.send_if_modified(|observed| {
            let before = observed.clone();
            lines.iter().for_each(|line| observed.console(line));
            *observed != before
        });
    }

    async fn told(&mut self, event: Result<Event, QmpError>) {
        match event {
            Ok(Event::IoError { drive, reason }) => {
                self.io_error = Some(IoPause { drive: Some(drive), reason });
            }
            Ok(Event::Stop | Event::Resume) => self.look(false).await,
            Err(error) => self.lost(&error),
        }
    }

    /// Asks QEMU how it is and draws the conclusions. `settled`: it has been running for [`SETTLE`].
    async fn look(&mut self, settled: bool) {
        let Some(qmp) = &mut self.qmp else { return };
        match qmp.status().await {
            Ok(status) if status == "io-error" => {
                self.settle = None;
                let pause = self.io_error.clone().unwrap_or(IoPause { drive: None, reason: "I/O error".to_owned() });
                let new = self
                    .observed
                    .send_if_modified(|observed| observed.paused.replace(pause.clone()) != Some(pause.clone()));
                if new {
                    tracing::warn!(guest = self.record.key(), ?pause, "paused after an I/O error");
                }
                if self.stopping.is_none() && self.resume.is_none() {
                    self.resume = Some(self.retry.failed(Instant::now().into_std()).into());
                }
            }
            Ok(_) if self.observed.borrow().paused.is_some() && !settled => {
                self.settle.get_or_insert(Instant::now() + SETTLE);
            }
            Ok(_) => {
                self.io_error = None;
                self.resume = None;
                if self.observed.send_if_modified(|observed| observed.paused.take().is_some()) {
                    tracing::info!(guest = self.record.key(), "goes on");
                }
            }
            Err(error) => self.lost(&error),
        }
    }

    fn lost(&mut self, error: &QmpError) {
        // Also the first sign of a normal end.
        tracing::debug!(guest = self.record.key(), error = chain(error), "no control of QEMU, connecting again");
        self.qmp = None;
        self.reconnect = Some(Instant::now() + RECONNECT);
    }

    fn ask_to_stop(&mut self, grace: Duration) {
        let now = Instant::now();
        let quit = now + grace;
        match &mut self.stopping {
            Some(stopping) => stopping.quit = stopping.quit.map(|before| before.min(quit)),
            None => {
                tracing::info!(guest = self.record.key(), ?grace, "asked to stop");
                self.resume = None;
                self.stopping = Some(Stopping { ask: Some(now), quit: Some(quit), kill: None });
            }
        }
    }

    fn next_timer(&self) -> Option<Instant> {
        let stopping = self.stopping.as_ref();
        let stopping = stopping.into_iter().flat_map(|stopping| [stopping.ask, stopping.quit, stopping.kill]);
        stopping.chain([self.reconnect, self.resume, self.settle]).flatten().min()
    }

    async fn timer(&mut self) {
        let now = Instant::now();
        let due = |timer: &mut Option<Instant>| timer.take_if(|at| *at <= now).is_some();
        if due(&mut self.reconnect) {
            match Qmp::connect(&self.state.socket(&self.record.key(), ".qmp")).await {
                Ok(qmp) => {
                    self.qmp = Some(qmp);
                    self.look(false).await;
                }
                Err(error) => self.lost(&error),
            }
        }
        if due(&mut self.settle) {
            self.look(true).await;
        }
        if due(&mut self.resume)
            && let Some(qmp) = &mut self.qmp
        {
            match qmp.execute("cont").await {
                Ok(_) => {}
                Err(QmpError::Refused { .. }) => self.resume = Some(self.retry.failed(now.into_std()).into()),
                Err(error) => self.lost(&error),
            }
        }
        let Some(mut stopping) = self.stopping.take() else { return };
        if due(&mut stopping.ask) {
            stopping.ask = Some(now + ASK_AGAIN);
            if let Err(error) = self.voice.say("stop").await {
                tracing::warn!(guest = self.record.key(), %error, "cannot reach the console");
            }
        }
        if due(&mut stopping.quit) {
            stopping.ask = None;
            stopping.kill = Some(now + QUIT);
            self.record.killed = true;
            if let Err(error) = self.state.save(&self.record) {
                tracing::error!(guest = self.record.key(), %error, "cannot note that it is killed");
            }
            // It closes the socket instead of answering, or hangs; the kill comes either way.
            if let Some(qmp) = &mut self.qmp {
                let _ = qmp.execute("quit").await;
            }
        }
        if due(&mut stopping.kill)
            && let Err(error) = self.process.kill()
        {
            tracing::error!(guest = self.record.key(), %error, "cannot kill QEMU");
            stopping.kill = Some(now + QUIT);
        }
        self.stopping = Some(stopping);
    }
}

async fn next_event(qmp: &mut Option<Qmp>) -> Result<Event, QmpError> {
    match qmp {
        Some(qmp) => qmp.event().await,
        None => future::pending().await,
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => future::pending().await,
    }
}

/// An error with all its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
