//! Threads that work on jobs while one thread finds more of them.
//!
//! What must hold: the finder waits while more is queued than `cost_max`, so that memory stays bounded; workers may queue jobs that follow from theirs,
//! never wait for room, and those go first; everything ends when the finder has closed the queue and the last job is done, or at once when it is stopped.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Jobs that wait, and how many are being worked on.
pub struct JobQueue<J> {
    state: Mutex<State<J>>,
    /// A job came, or the end.
    work: Condvar,
    /// There is room again, or the end.
    room: Condvar,
    /// Nothing is queued or being done.
    idle: Condvar,
    cost_max: usize,
}

struct State<J> {
    following: VecDeque<J>,
    found: VecDeque<(J, usize)>,
    cost: usize,
    busy: usize,
    closed: bool,
    stopped: bool,
}

impl<J: Send> JobQueue<J> {
    /// A queue that takes jobs of up to `cost_max` together (and at least one).
    pub fn new(cost_max: usize) -> Self {
        let state = State {
            following: VecDeque::new(),
            found: VecDeque::new(),
            cost: 0,
            busy: 0,
            closed: false,
            stopped: false,
        };
        Self {
            state: Mutex::new(state),
            work: Condvar::new(),
            room: Condvar::new(),
            idle: Condvar::new(),
            cost_max,
        }
    }

    /// Runs `find` on this thread and `work` on `threads` others, until all jobs are done. Gives what `find` gives.
    pub fn run<T>(&self, threads: usize, work: impl Fn(J) + Sync, find: impl FnOnce() -> T) -> T {
        std::thread::scope(|scope| {
            // Whatever happens to the finder, the workers end.
            let _close = Close(self);
            for _ in 0..threads.max(1) {
                scope.spawn(|| {
                    while let Some(job) = self.next() {
                        let _done = Done(self);
                        work(job);
                    }
                });
            }
            find()
        })
    }

    /// Queues a job that was found; waits for room first. Drops it when everything has been stopped.
    pub fn push(&self, job: J, cost: usize) {
        let mut state = self.lock();
        while !state.stopped && state.cost > 0 && state.cost + cost > self.cost_max {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if !state.stopped {
            state.cost += cost;
            state.found.push_back((job, cost));
            self.work.notify_one();
        }
    }

    /// Queues a job that follows from the one that is being done; it goes before those that were found.
    pub fn push_following(&self, job: J) {
        let mut state = self.lock();
        if !state.stopped {
            state.following.push_back(job);
            self.work.notify_one();
        }
    }

    /// Waits until everything that is queued, and what follows from it, is done; or stopped.
    pub fn wait_until_idle(&self) {
        let mut state = self.lock();
        while !state.stopped && (state.busy > 0 || !state.found.is_empty() || !state.following.is_empty()) {
            state = self.idle.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends everything as soon as the jobs in hand are done; those that wait are dropped.
    pub fn stop(&self) {
        let (following, found) = {
            let mut state = self.lock();
            state.stopped = true;
            state.cost = 0;
            self.work.notify_all();
            self.room.notify_all();
            self.idle.notify_all();
            (std::mem::take(&mut state.following), std::mem::take(&mut state.found))
        };
        // Dropping a job may dress folders: not while others wait for the lock.
        drop((following, found));
    }

    fn next(&self) -> Option<J> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(job) = state.following.pop_front() {
                state.busy += 1;
                return Some(job);
            }
            if let Some((job, cost)) = state.found.pop_front() {
                state.busy += 1;
                state.cost -= cost;
                self.room.notify_one();
                return Some(job);
            }
            if state.closed && state.busy == 0 {
                return None;
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Close<'a, J: Send>(&'a JobQueue<J>);

impl<J: Send> Drop for Close<'_, J> {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.work.notify_all();
    }
}

struct Done<'a, J: Send>(&'a JobQueue<J>);

impl<J: Send> Drop for Done<'_, J> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.busy -= 1;
        if state.busy == 0 {
            self.0.idle.notify_all();
            if state.closed {
                self.0.work.notify_all();
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_job_is_done_and_what_follows_from_it_too() {
        let queue = JobQueue::new(10);
        let done = AtomicUsize::new(0);
        let work = |job: usize| {
            done.fetch_add(1, Ordering::Relaxed);
            for _ in 0..job {
                queue.push_following(0);
            }
        };
        queue.run(3, work, || (0..100).for_each(|_| queue.push(3, 4)));
        assert_eq!(done.load(Ordering::Relaxed), 400);
    }

    #[test]
    fn the_finder_can_wait_for_all_that_is_queued_and_find_more() {
        let queue = JobQueue::new(10);
        let done = AtomicUsize::new(0);
        let work = |job: usize| {
            if job > 0 {
                queue.push_following(job - 1);
            }
            done.fetch_add(1, Ordering::Relaxed);
        };
        queue.run(2, work, || {
            for round in 1..=3 {
                (0..5).for_each(|_| queue.push(3, 1));
                queue.wait_until_idle();
                assert_eq!(done.load(Ordering::Relaxed), round * 20);
            }
        });
        let stopped = JobQueue::new(10);
        stopped.run(
            1,
            |_: ()| stopped.stop(),
            || {
                (0..5).for_each(|_| stopped.push((), 1));
                stopped.wait_until_idle();
            },
        );
    }

    #[test]
    fn a_job_that_costs_more_than_all_is_still_taken() {
        let queue = JobQueue::new(10);
        let done = AtomicUsize::new(0);
        queue.run(
            1,
            |job| _ = done.fetch_add(job, Ordering::Relaxed),
            || (0..5).for_each(|_| queue.push(1, 1000)),
        );
        assert_eq!(done.load(Ordering::Relaxed), 5);
    }

    #[test]
    fn a_stop_ends_the_finder_and_the_workers() {
        let queue = JobQueue::new(1);
        let done = AtomicUsize::new(0);
        let work = |_| {
            done.fetch_add(1, Ordering::Relaxed);
            queue.stop();
        };
        queue.run(1, work, || (0..1000).for_each(|job| queue.push(job, 1)));
        assert_eq!(done.load(Ordering::Relaxed), 1);
    }
}
