//! Long work, one task an object: whoever looks at the objects starts what is not under way, and never the same twice.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Tasks by the UID of their object.
pub struct Tasks {
    running: Mutex<HashMap<String, Task>>,
    slots: Arc<Semaphore>,
}

/// One of them.
struct Task {
    handle: JoinHandle<()>,
    /// Whether it has its slot.
    began: Arc<AtomicBool>,
}

impl Tasks {
    /// So many run at once; others wait their turn.
    pub fn new(slots: usize) -> Self {
        Self {
            running: Mutex::default(),
            slots: Arc::new(Semaphore::new(slots.max(1))),
        }
    }

    /// Starts a task for an object, unless one is under way.
    pub fn start(&self, uid: &str, work: impl Future<Output = ()> + Send + 'static) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, task| !task.handle.is_finished());
        if running.contains_key(uid) {
            return;
        }
        let slots = Arc::clone(&self.slots);
        let began = Arc::new(AtomicBool::new(false));
        let has_slot = Arc::clone(&began);
        let handle = tokio::spawn(async move {
            // The slots are never closed.
            let _slot = slots.acquire_owned().await;
            has_slot.store(true, Ordering::Relaxed);
            work.await;
        });
        running.insert(uid.to_owned(), Task { handle, began });
    }

    /// Starts a task that waits for no slot, also in the place of one for the same object that still waits for its own; one that works goes on.
    pub fn start_at_once(&self, uid: &str, work: impl Future<Output = ()> + Send + 'static) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, task| !task.handle.is_finished());
        if let Some(task) = running.get(uid) {
            if task.began.load(Ordering::Relaxed) {
                return;
            }
            task.handle.abort();
        }
        let task = Task {
            handle: tokio::spawn(work),
            began: Arc::new(AtomicBool::new(true)),
        };
        running.insert(uid.to_owned(), task);
    }

    /// Whether a task for an object is under way.
    pub fn is_running(&self, uid: &str) -> bool {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.get(uid).is_some_and(|task| !task.handle.is_finished())
    }

    /// Ends the task of an object where it stands, e.g. because the object is gone.
    pub fn abort(&self, uid: &str) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = running.remove(uid) {
            task.handle.abort();
        }
    }

    /// The objects that tasks are under way for.
    pub fn uids(&self) -> Vec<String> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running
            .iter()
            .filter(|(_, task)| !task.handle.is_finished())
            .map(|(uid, _)| uid.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[tokio::test]
    async fn what_cannot_wait_takes_the_place_of_what_waits_and_never_of_what_works() {
        let tasks = Tasks::new(1);
        let done = Arc::new(AtomicU32::new(0));
        let forever = std::future::pending::<()>;
        tasks.start("works", forever());
        tokio::task::yield_now().await;
        tasks.start("waits", forever());
        let count = Arc::clone(&done);
        tasks.start_at_once("works", async move { count.store(100, Ordering::Relaxed) });
        let count = Arc::clone(&done);
        tasks.start_at_once("waits", async move { count.store(1, Ordering::Relaxed) });
        while tasks.is_running("waits") {
            tokio::task::yield_now().await;
        }
        assert_eq!(done.load(Ordering::Relaxed), 1);
        assert!(tasks.is_running("works"));
    }
}
