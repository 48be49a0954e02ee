//! Work on many runs: so many at once as are allowed, and as fit into memory together.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use anyhow::Context;

/// Stack of a worker; only what is used of it is ever resident.
const STACK: usize = 64 << 20;

/// Bytes that several hold together. What is more than there is in all waits until nothing else is held, and then has all of it.
pub struct Room {
    all: u64,
    held: Mutex<u64>,
    freed: Condvar,
}

/// What is held of a [`Room`], until it is dropped.
pub struct Place<'r> {
    room: &'r Room,
    bytes: u64,
}

impl Room {
    /// Room for so many bytes.
    pub fn new(all: u64) -> Self {
        Self { all: all.max(1), held: Mutex::new(0), freed: Condvar::new() }
    }

    /// Waits until so many bytes are free.
    pub fn take(&self, bytes: u64) -> Place<'_> {
        let bytes = bytes.clamp(1, self.all);
        let mut held = lock(&self.held);
        while *held + bytes > self.all {
            held = self.freed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        *held += bytes;
        Place { room: self, bytes }
    }
}

impl Place<'_> {
    /// Waits until it can be so many bytes; gives back what it had first, so that two that grow do not wait for each other.
    pub fn resize(&mut self, bytes: u64) {
        self.give_back();
        let again = self.room.take(bytes);
        self.bytes = again.bytes;
        std::mem::forget(again);
    }

    fn give_back(&mut self) {
        *lock(&self.room.held) -= self.bytes;
        self.bytes = 0;
        self.room.freed.notify_all();
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Works that run at once where nobody says how many: one a core (or as many as `RAYON_NUM_THREADS` says).
pub fn cores() -> usize {
    rayon::current_num_threads()
}

/// Works on each item, `jobs` at once, begun in their order. What each gave goes to `done` on this thread, with its place among the
/// items, in the order in which they are ready.
///
/// Each work has its share of the cores, and keeps to it: a worker that waits for a part of its run takes up no part of another, which
/// would stack up runs on one thread.
///
/// # Errors
/// What `done` answers, which ends the work; threads that cannot be had.
pub fn each<T: Send, R: Send>(
    items: Vec<T>,
    jobs: usize,
    work: impl Fn(usize, T) -> R + Sync,
    mut done: impl FnMut(usize, R) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let jobs = jobs.min(items.len()).max(1);
    let share = (cores() / jobs).max(1);
    let left: Mutex<VecDeque<(usize, T)>> = Mutex::new(items.into_iter().enumerate().collect());
    let pools: Vec<rayon::ThreadPool> = (0..jobs)
        .map(|_| rayon::ThreadPoolBuilder::new().num_threads(share).stack_size(STACK).build())
        .collect::<Result<_, _>>()
        .context("worker threads")?;
    let (ready, results) = std::sync::mpsc::sync_channel(0);
    std::thread::scope(|scope| {
        for pool in &pools {
            let (left, work, ready) = (&left, &work, ready.clone());
            scope.spawn(move || {
                loop {
                    let Some((at, item)) = lock(left).pop_front() else { break };
                    let given = pool.install(|| work(at, item));
                    if ready.send((at, given)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(ready);
        // Workers that still send find the receiver gone, and end.
        results.into_iter().try_for_each(|(at, given)| done(at, given))
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn no_more_is_held_than_there_is_and_everything_gets_its_turn() {
        let room = Room::new(100);
        let (held, most) = (AtomicU64::new(0), AtomicU64::new(0));
        let needs: Vec<u64> = (0..60).map(|at| [10, 55, 90, 1_000][at % 4]).collect();
        let mut seen = Vec::new();
        let work = |_: usize, need: u64| {
            let mut place = room.take(1);
            place.resize(need);
            let now = held.fetch_add(need.min(100), Ordering::SeqCst) + need.min(100);
            most.fetch_max(now, Ordering::SeqCst);
            std::thread::yield_now();
            held.fetch_sub(need.min(100), Ordering::SeqCst);
            need
        };
        each(needs.clone(), 8, work, |at, need| {
            seen.push((at, need));
            Ok(())
        })
        .unwrap();
        seen.sort_unstable();
        assert!(most.load(Ordering::SeqCst) <= 100, "{most:?}");
        assert_eq!(seen.into_iter().map(|(_, need)| need).collect::<Vec<_>>(), needs);
        assert_eq!(*lock(&room.held), 0);
    }

    #[test]
    fn an_error_ends_the_work() {
        let worked = AtomicU64::new(0);
        let count = |_: usize, item: u64| {
            worked.fetch_add(1, Ordering::SeqCst);
            item
        };
        let end = each((0..1_000).collect(), 2, count, |_, item| {
            anyhow::ensure!(item < 3, "enough");
            Ok(())
        });
        assert_eq!(end.unwrap_err().to_string(), "enough");
        assert!(worked.load(Ordering::SeqCst) < 100, "{worked:?}");
    }
}
