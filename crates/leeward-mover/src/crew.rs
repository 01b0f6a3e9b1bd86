//! Several threads that work off a list of disks.
//!
//! One thread takes the largest first, the others the smallest: a huge image is begun at once and does not come last, and all
//! others do not wait for it.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Whether work that was begun shall end early, for another part of it has failed.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// Whether it shall.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does `work` for each of `jobs`, at most `threads` at a time. Each job comes with its size.
///
/// # Errors
/// The first error. By then [`Stop`] is set, no job is begun any more, and those that were have ended.
pub fn work_off<J: Send, D: Send, E: Send>(
    jobs: Vec<(u64, J)>,
    threads: NonZeroUsize,
    stop: &Stop,
    work: impl Fn(J) -> Result<D, E> + Sync,
) -> Result<Vec<D>, E> {
    let threads = threads.get().min(jobs.len());
    let mut jobs: VecDeque<(u64, J)> = jobs.into();
    jobs.make_contiguous().sort_by_key(|(size, _)| *size);
    let (jobs, done, failed) = (Mutex::new(jobs), Mutex::new(Vec::new()), Mutex::new(None));
    let one = |largest: bool| {
        while !stop.is_set() {
            let next = {
                let mut jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner);
                if largest { jobs.pop_back() } else { jobs.pop_front() }
            };
            let Some((_, job)) = next else { return };
            match work(job) {
                Ok(result) => done.lock().unwrap_or_else(PoisonError::into_inner).push(result),
                Err(error) => {
                    // Those that end because they were stopped come later.
                    failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    stop.set();
                }
            }
        }
    };
    thread::scope(|scope| {
        let one = &one;
        for thread in 1..threads {
            scope.spawn(move || one(thread == 1));
        }
        one(false);
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(done.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    fn threads(count: usize) -> NonZeroUsize {
        NonZeroUsize::new(count).unwrap()
    }

    #[test]
    fn the_largest_and_the_smallest_are_begun_first() {
        let (stop, begun, barrier) = (Stop::default(), Mutex::new(Vec::new()), Barrier::new(3));
        let jobs = (1..=9).map(|size| (size, size)).collect();
        let mut done = work_off(jobs, threads(3), &stop, |size| {
            begun.lock().unwrap().push(size);
            // Nobody begins a second before all have begun their first.
            barrier.wait();
            Ok::<_, ()>(size)
        })
        .unwrap();
        done.sort_unstable();
        assert_eq!(done, (1..=9).collect::<Vec<_>>());
        let mut first = begun.into_inner().unwrap()[..3].to_vec();
        first.sort_unstable();
        assert_eq!(first, [1, 2, 9]);
    }

    #[test]
    fn the_first_error_ends_all() {
        let (stop, jobs) = (Stop::default(), (0..1000).map(|size| (size, size)).collect());
        let error = work_off(jobs, threads(4), &stop, |size| {
            if size == 3 {
                return Err("three");
            }
            while size > 3 && !stop.is_set() {
                thread::yield_now();
            }
            if stop.is_set() { Err("stopped") } else { Ok(()) }
        });
        assert_eq!(error.unwrap_err(), "three");
        assert!(
            work_off(Vec::<(u64, ())>::new(), threads(4), &Stop::default(), |()| Ok::<_, ()>(())).unwrap().is_empty()
        );
    }
}
