//! Whether a restore is to stop: its Restore says so, or is gone.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use tokio::sync::watch;

use crate::context::Context;
use crate::watched::change;

/// A sign that all that work on one restore see.
#[derive(Clone)]
pub struct Stop(watch::Receiver<bool>);

/// The restore was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl Stop {
    /// Looks at a Restore from now on, for as long as the sign is looked at.
    pub fn look(context: &Arc<Context>, name: &str, uid: &str) -> Self {
        let (sender, receiver) = watch::channel(false);
        let (context, name, uid) = (Arc::clone(context), name.to_owned(), uid.to_owned());
        tokio::spawn(async move {
            let mut changes = context.watches.restores.changes();
            loop {
                let restore = context.watches.restores.named(&name);
                let wanted =
                    restore.is_some_and(|restore| restore.uid().as_deref() == Some(&uid) && !restore.spec.cancel);
                if !wanted {
                    let _ = sender.send(true);
                    return;
                }
                tokio::select! {
                    () = sender.closed() => return,
                    () = change(&mut changes, Duration::from_secs(5)) => {}
                }
            }
        });
        Self(receiver)
    }

    /// Whether it is to stop.
    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is to stop.
    pub async fn asked(&self) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|asked| *asked).await.is_err() {
            // Nobody can ask any more.
            std::future::pending::<()>().await;
        }
    }

    /// Does something, unless the restore is stopped meanwhile: then it is left where it is.
    ///
    /// # Errors
    /// When the restore was stopped.
    pub async fn or<T>(&self, work: impl Future<Output = T>) -> Result<T, Stopped> {
        tokio::select! {
            biased;
            () = self.asked() => Err(Stopped),
            done = work => Ok(done),
        }
    }

    /// Waits for so long.
    ///
    /// # Errors
    /// When the restore was stopped.
    pub async fn sleep(&self, duration: Duration) -> Result<(), Stopped> {
        self.or(tokio::time::sleep(duration)).await
    }
}
