//! Which volumes and snapshots are being worked on.
//!
//! Laws: one writer, or any number of readers, for each name; whoever comes too late is refused at once and does not
//! queue. CSI wants it so (ABORTED; the sidecars come again with growing pauses), and a queue would be filled by the
//! repeats of one slow request. A guard belongs to the work and not to the request: a caller that hangs up does not
//! set a name free that is still being written.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::name::EntryName;

/// What is locked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A volume's folder.
    Volume(EntryName),
    /// A snapshot's folder.
    Snapshot(EntryName),
    /// Snapshots of one moment.
    Group(EntryName),
}

/// The table of what is locked.
#[derive(Clone, Debug, Default)]
pub struct Locks(Arc<Mutex<HashMap<Key, Use>>>);

#[derive(Debug)]
enum Use {
    Written,
    /// By how many.
    Read(usize),
}

/// Holds a name until dropped.
#[derive(Debug)]
pub struct Guard {
    table: Locks,
    key: Key,
}

impl Locks {
    /// Takes a name for writing; `None` if anyone holds it.
    pub fn write(&self, key: Key) -> Option<Guard> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.contains_key(&key) {
            return None;
        }
        table.insert(key.clone(), Use::Written);
        Some(Guard { table: self.clone(), key })
    }

    /// Takes a name for reading; `None` if anyone writes it.
    pub fn read(&self, key: Key) -> Option<Guard> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match table.entry(key.clone()).or_insert(Use::Read(0)) {
            Use::Written => return None,
            Use::Read(readers) => *readers += 1,
        }
        Some(Guard { table: self.clone(), key })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut table = self.table.0.lock().unwrap_or_else(PoisonError::into_inner);
        match table.get_mut(&self.key) {
            Some(Use::Read(readers)) if *readers > 1 => *readers -= 1,
            _ => {
                table.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(name: &str) -> Key {
        Key::Volume(EntryName::parse(name).unwrap())
    }

    #[test]
    fn a_writer_is_alone_and_readers_are_not() {
        let locks = Locks::default();
        let writer = locks.write(volume("a")).unwrap();
        assert!(locks.write(volume("a")).is_none());
        assert!(locks.read(volume("a")).is_none());
        assert!(locks.write(volume("b")).is_some());
        assert!(locks.write(Key::Snapshot(EntryName::parse("a").unwrap())).is_some(), "another kind of thing");
        drop(writer);

        let first = locks.read(volume("a")).unwrap();
        let second = locks.read(volume("a")).unwrap();
        drop(first);
        assert!(locks.write(volume("a")).is_none(), "one reader is left");
        drop(second);
        assert!(locks.write(volume("a")).is_some());
    }
}
