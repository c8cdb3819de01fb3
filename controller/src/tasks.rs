//! Long work, one task an object: whoever looks at the objects starts what is not under way, and never the same twice.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Tasks by the UID of their object.
pub struct Tasks {
    running: Mutex<HashMap<String, JoinHandle<()>>>,
    slots: Arc<Semaphore>,
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
        running.retain(|_, task| !task.is_finished());
        if running.contains_key(uid) {
            return;
        }
        let slots = Arc::clone(&self.slots);
        let task = tokio::spawn(async move {
            // The slots are never closed.
            let _slot = slots.acquire_owned().await;
            work.await;
        });
        running.insert(uid.to_owned(), task);
    }

    /// Whether a task for an object is under way.
    pub fn is_running(&self, uid: &str) -> bool {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.get(uid).is_some_and(|task| !task.is_finished())
    }

    /// Ends the task of an object where it stands, e.g. because the object is gone.
    pub fn abort(&self, uid: &str) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = running.remove(uid) {
            task.abort();
        }
    }

    /// The objects that tasks are under way for.
    pub fn uids(&self) -> Vec<String> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running
            .iter()
            .filter(|(_, task)| !task.is_finished())
            .map(|(uid, _)| uid.clone())
            .collect()
    }
}
