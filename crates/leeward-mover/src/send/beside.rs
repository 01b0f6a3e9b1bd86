//! Reading beside writing: a disk that is written by this process is written by a thread of its own.

use crate::scan::{Change, STRIDE_BYTES, ScanError};
use crate::target::{Receiver, TargetError};
use std::ops::Range;
use std::sync::mpsc::{Receiver as Out, Sender, channel, sync_channel};
use std::thread::{self, ScopedJoinHandle};

/// Changes that wait. Each is at most a stride.
const QUEUE: usize = 2;

/// A change that owns its bytes.
enum Owned {
    Write { offset: u64, bytes: Vec<u8> },
    Zero { range: Range<u64> },
}

/// Does `scan`, and gives to `receiver` what that hands out.
pub(super) fn handing_on<R: Receiver, T>(
    receiver: &mut R,
    scan: impl FnOnce(&mut dyn FnMut(Change<'_>) -> Result<(), TargetError>) -> Result<T, ScanError<TargetError>>,
) -> Result<T, ScanError<TargetError>> {
    if !R::WORKS {
        return scan(&mut |change| receiver.apply(&change));
    }
    let (full, changes) = sync_channel(QUEUE);
    let (empty, buffers) = channel();
    thread::scope(|scope| {
        let mut applying = Some(scope.spawn(move || apply(receiver, &changes, &empty)));
        let mut end = || match applying.take().map(ScopedJoinHandle::join) {
            Some(Ok(applied)) => applied,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        };
        let scanned = scan(&mut |change| match full.send(own(&change, &buffers)) {
            Ok(()) => Ok(()),
            // It has ended before, and says why.
            Err(_) => end(),
        })?;
        drop(full);
        end().map_err(ScanError::Sink)?;
        Ok(scanned)
    })
}

fn apply(receiver: &mut impl Receiver, changes: &Out<Owned>, empty: &Sender<Vec<u8>>) -> Result<(), TargetError> {
    for change in changes {
        match change {
            Owned::Write { offset, bytes } => {
                receiver.apply(&Change::Write { offset, bytes: &bytes })?;
                // At the end nobody wants it any more.
                let _unused = empty.send(bytes);
            }
            Owned::Zero { range } => receiver.apply(&Change::Zero { range })?,
        }
    }
    Ok(())
}

/// The change, its bytes in a buffer that was used before if there is one.
fn own(change: &Change<'_>, buffers: &Out<Vec<u8>>) -> Owned {
    match change {
        Change::Write { offset, bytes } => {
            let mut buffer = buffers.try_recv().unwrap_or_else(|_| Vec::with_capacity(STRIDE_BYTES));
            buffer.clear();
            buffer.extend_from_slice(bytes);
            Owned::Write { offset: *offset, bytes: buffer }
        }
        Change::Zero { range } => Owned::Zero { range: range.clone() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::PointError;
    use crate::layer::Owner;
    use crate::manifest::Fingerprint;
    use crate::target::Blocks;
    use crate::working::Whole;
    use std::convert::Infallible;

    /// Takes down what comes, and fails at a byte.
    struct Notes {
        taken: Vec<(Range<u64>, Vec<u8>)>,
        fails_at: u64,
    }

    impl Receiver for Notes {
        const WORKS: bool = true;

        fn held(&self) -> Result<Fingerprint, TargetError> {
            unreachable!("it is not asked")
        }

        fn older(&mut self) -> Result<(u64, Blocks), TargetError> {
            unreachable!("it is not asked")
        }

        fn keep(&mut self) -> Box<dyn std::io::Write> {
            unreachable!("it is not asked")
        }

        fn apply(&mut self, change: &Change<'_>) -> Result<(), TargetError> {
            let (range, bytes) = match change {
                Change::Write { offset, bytes } => (*offset..offset + bytes.len() as u64, bytes.to_vec()),
                Change::Zero { range } => (range.clone(), Vec::new()),
            };
            if range.contains(&self.fails_at) {
                return Err(PointError::Request { what: "the test".to_owned() }.into());
            }
            self.taken.push((range, bytes));
            Ok(())
        }

        fn finish(self, _: Fingerprint, _: Owner) -> Result<Whole, TargetError> {
            unreachable!("it is not asked")
        }
    }

    fn scanned(notes: &mut Notes) -> Result<u64, ScanError<TargetError>> {
        handing_on(notes, |each| {
            for at in 0..100 {
                let change = match at % 3 {
                    0 => Change::Zero { range: at * 10..at * 10 + 10 },
                    _ => Change::Write { offset: at * 10, bytes: &[u8::try_from(at).unwrap(); 10] },
                };
                each(change).map_err(ScanError::Sink)?;
            }
            Ok(100)
        })
    }

    #[test]
    fn everything_comes_in_its_order_and_an_error_is_told_once() {
        let mut notes = Notes { taken: Vec::new(), fails_at: u64::MAX };
        assert_eq!(scanned(&mut notes).unwrap(), 100);
        assert_eq!(notes.taken.len(), 100);
        for (at, (range, bytes)) in (0..).zip(&notes.taken) {
            let expected = if at % 3 == 0 { Vec::new() } else { vec![u8::try_from(at).unwrap(); 10] };
            assert_eq!((range.start, bytes), (at * 10, &expected));
        }
        // In the middle it is met by the next change, at the end by nobody but the end.
        for fails_at in [505, 999] {
            let mut notes = Notes { taken: Vec::new(), fails_at };
            let Err(ScanError::Sink(TargetError::Here(PointError::Request { what }))) = scanned(&mut notes) else {
                panic!("it did not fail")
            };
            assert_eq!(what, "the test");
        }
        let unread = handing_on(&mut notes, |_| Err::<Infallible, _>(ScanError::Shrunk { end: 1 }));
        assert!(matches!(unread, Err(ScanError::Shrunk { .. })), "what cannot be read is told as ever");
    }
}
