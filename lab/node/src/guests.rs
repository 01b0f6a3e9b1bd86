//! All guests of this node, and finding them again after a restart.
//!
//! Laws:
//! - Of one virtual machine there is never more than one QEMU here, whatever instance it belongs to.
//! - A guest that has ended stays known until its instance is gone: its end must be reported once, also by a node that
//!   was restarted in between.

use crate::{
    accel::Accel,
    console::lines_from,
    guest::{Guest, attach},
    observed::Observed,
    process::Handle,
    qemu::{self, Boot, StartError},
    record::{Record, StateDir, key},
    retry::IoRetry,
};
use leeward_lab_guest::console::parse_line;
use std::{
    collections::HashMap,
    fs::{self, OpenOptions},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// How guests are run.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// Command line.
    pub(crate) boot: Boot,
    /// Processor.
    pub(crate) accel: Accel,
    /// Shortest and longest wait before a guest goes on after an I/O error.
    pub(crate) io_retry: (Duration, Duration),
}

pub(crate) struct Guests {
    rules: Rules,
    state: Arc<StateDir>,
    known: Mutex<HashMap<String, Slot>>,
    changes: watch::Sender<u64>,
}

#[derive(Clone)]
enum Slot {
    Starting,
    Known(Arc<Guest>),
}

impl Guests {
    /// Finds the guests that an earlier run of this program left.
    pub(crate) async fn adopt(rules: Rules, state: StateDir) -> io::Result<Guests> {
        let guests =
            Guests { rules, state: Arc::new(state), known: Mutex::new(HashMap::new()), changes: watch::channel(0).0 };
        for record in guests.state.load_all()? {
            let key = record.key();
            if record.process.is_none() && guests.undo_start(&record).await? {
                tracing::info!(guest = key, uid = record.uid, "its start was interrupted, undone");
                continue;
            }
            let guest = guests.take_over(record)?;
            let alive = guest.observed().is_alive();
            tracing::info!(guest = key, uid = guest.record.uid, alive, "found again");
            guests.lock().insert(key, Slot::Known(Arc::new(guest)));
        }
        Ok(guests)
    }

    /// The guest of this instance.
    pub(crate) fn get(&self, namespace: &str, name: &str, uid: &str) -> Option<Arc<Guest>> {
        match self.lock().get(&key(namespace, name)) {
            Some(Slot::Known(guest)) if guest.record.uid == uid => Some(Arc::clone(guest)),
            _ => None,
        }
    }

    /// All guests.
    pub(crate) fn all(&self) -> Vec<Arc<Guest>> {
        let known = self.lock();
        known
            .values()
            .filter_map(|slot| if let Slot::Known(guest) = slot { Some(Arc::clone(guest)) } else { None })
            .collect()
    }

    /// Starts a guest, or takes over the QEMU that an interrupted start of the same instance left. `false` if another
    /// instance of the same virtual machine is still here; it has been told to stop if its own is gone, so try later.
    pub(crate) async fn start(&self, mut record: Record) -> Result<bool, StartError> {
        let key = record.key();
        let previous = {
            let mut known = self.lock();
            match known.get(&key) {
                Some(Slot::Starting) => return Ok(false),
                Some(Slot::Known(guest)) if guest.observed().is_alive() => return Ok(guest.record.uid == record.uid),
                _ => known.insert(key.clone(), Slot::Starting),
            }
        };
        drop(previous);
        let result = self.run(&mut record).await;
        match result {
            Ok(guest) => {
                self.lock().insert(key, Slot::Known(Arc::new(guest)));
                self.touch();
                Ok(true)
            }
            Err(error) => {
                self.lock().remove(&key);
                if let Err(error) = self.state.forget(&key) {
                    tracing::warn!(guest = key, %error, "cannot remove the files of a guest that did not start");
                }
                Err(error)
            }
        }
    }

    async fn run(&self, record: &mut Record) -> Result<Guest, StartError> {
        let key = record.key();
        let files = |source| StartError::Files { key: key.clone(), source };
        let log = self.state.file(&key, ".console.log");
        OpenOptions::new().create(true).append(true).open(&log).map_err(files)?;
        record.console_offset = fs::metadata(&log).map_err(files)?.len();
        self.state.save(record).map_err(files)?;
        qemu::start(&self.rules.boot, self.rules.accel, &self.state, record).await?;
        record.process = self.state.process(record);
        self.state.save(record).map_err(files)?;
        self.take_over(record.clone()).map_err(files)
    }

    /// Undoes a start of which this program did not see the end, so that it is made again: `false` if the guest came
    /// up all the same. A QEMU that has no `.pid` file yet would otherwise come up unknown to anybody, and hold the disks.
    async fn undo_start(&self, record: &Record) -> io::Result<bool> {
        if self.state.process(record).is_some() {
            return Ok(false);
        }
        for identity in self.state.starting(record)? {
            if let Some(handle) = Handle::open(identity)? {
                handle.kill()?;
                handle.ended().await;
            }
        }
        let printed = lines_from(&self.state.file(&record.key(), ".console.log"), record.console_offset)?;
        if printed.iter().any(|line| parse_line(line).is_some()) {
            return Ok(false);
        }
        self.state.forget(&record.key())?;
        Ok(true)
    }

    fn take_over(&self, mut record: Record) -> io::Result<Guest> {
        let identity = self.state.process(&record);
        if let Some(handle) = identity.map(Handle::open).transpose()?.flatten() {
            record.process = identity;
            self.state.save(&record)?;
            let (first, max) = self.rules.io_retry;
            let changes = self.changes.clone();
            let changed = move || changes.send_modify(|count| *count += 1);
            return attach(record, handle, Arc::clone(&self.state), IoRetry::new(first, max), changed);
        }
        let mut observed = Observed::default();
        for line in lines_from(&self.state.file(&record.key(), ".console.log"), record.console_offset)? {
            observed.console(&line);
        }
        observed.end(record.killed);
        Ok(Guest::ended(record, observed))
    }

    /// Forgets an ended guest whose instance is gone.
    pub(crate) fn forget(&self, guest: &Guest) -> io::Result<()> {
        let key = guest.record.key();
        let mut known = self.lock();
        match known.get(&key) {
            Some(Slot::Known(current)) if current.record.uid == guest.record.uid && !current.observed().is_alive() => {
                known.remove(&key);
                self.state.forget(&key)
            }
            _ => Ok(()),
        }
    }

    /// Says that something changed that others may wait for.
    pub(crate) fn touch(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Counts changes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        // Nothing is done under the lock that could leave the map half changed.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
