//! The agent of a node: it watches what is asked for, and gives each volume its turn.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use engine::words::id::random_bytes;
use futures::{Stream, StreamExt, stream};
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::args::RunArgs;
use crate::board::{Board, Change, Turn};
use crate::hold::told_to_end;
use crate::job::{Job, Shared, Signals, Slot};
use crate::place::Places;
use crate::report::Reporter;
use crate::repositories::Repositories;
use crate::shares::Shares;
use crate::volume::{Kind, Volume};

/// An agent that is told to end waits so long for what it works on to stop; the kubelet's patience is 30 s.
const ENDS_WITHIN: Duration = Duration::from_secs(24);

/// Runs until told to end.
///
/// # Errors
/// When it cannot begin: no API server is configured, or the cache cannot be written.
pub fn run_until_told_to_end(args: &RunArgs) -> Result<()> {
    // Whoever links two TLS providers must choose; object_store and we agree on this one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.context("Could not start")?;
    let ended = runtime.block_on(run(args));
    // A thread that still waits for its store does so through the runtime: it ends with the process, not before.
    std::mem::forget(runtime);
    ended
}

async fn run(args: &RunArgs) -> Result<()> {
    let cache_dir = &args.cache_dir;
    std::fs::create_dir_all(cache_dir).with_context(|| {
        format!(
            "The cache folder {} cannot be made; mount a volume there or name another one with --cache-dir",
            cache_dir.display()
        )
    })?;
    let client = Client::try_default().await;
    let client = client
        .context("It is not known how the API server is reached; the agent runs in a pod with a service account")?;
    serve(args, &client, told_to_end()).await
}

/// Works until `end`.
async fn serve(args: &RunArgs, client: &Client, end: impl Future<Output = Result<()>>) -> Result<()> {
    let reporter = Reporter::new(client, &args.namespace, &args.node);
    let (backups, restores) = (reporter.backups(), reporter.restores());
    let shared = Shared {
        node: args.node.clone(),
        places: Places::new(args.kubelet_dir.clone(), args.host_dir.clone()),
        repositories: Arc::new(Repositories::new(Handle::current(), args.cache_dir.clone())),
        reporter,
        shares: Shares::new(std::thread::available_parallelism().map_or(2, usize::from)),
    };
    let (mut node, mut ends, mut freed) = Node::new(shared, usize::from(args.slots));
    let seen = stream::select(
        seen(backups, Kind::Backup, &args.node),
        seen(restores, Kind::Restore, &args.node),
    );
    let mut seen = std::pin::pin!(seen);
    let mut end = std::pin::pin!(end);
    tracing::info!(
        node = args.node,
        namespace = args.namespace,
        slots = args.slots,
        "Watching for volumes"
    );
    loop {
        tokio::select! {
            told = &mut end => {
                told?;
                break;
            }
            Some(seen) = seen.next() => node.see(seen),
            Some(uid) = ends.recv() => node.end(&uid),
            Some(()) = freed.recv() => {}
        }
        node.give_turns();
    }
    node.shut_down(&mut ends).await;
    Ok(())
}

/// What the watch shows.
enum Seen {
    /// A list of all objects of a kind begins.
    Listing(Kind),
    /// An object is there, or has changed.
    There(Volume),
    /// An object is gone.
    Gone(Volume),
    /// The list has ended.
    Listed(Kind),
}

/// Everything of one kind that is this node's, for ever: a server that goes away is waited for, a watch that expires begins again with a list.
fn seen<K>(api: Api<K>, kind: Kind, node: &str) -> impl Stream<Item = Seen>
where
    K: Resource<DynamicType = ()> + Into<Volume> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let config = watcher::Config::default().fields(&format!("spec.node={node}"));
    watcher(api, config)
        .backoff(Patience::default())
        .filter_map(move |event| async move {
            match event {
                Ok(watcher::Event::Init) => Some(Seen::Listing(kind)),
                Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => {
                    Some(Seen::There(object.into()))
                }
                Ok(watcher::Event::Delete(object)) => Some(Seen::Gone(object.into())),
                Ok(watcher::Event::InitDone) => Some(Seen::Listed(kind)),
                Err(error) => {
                    tracing::warn!("Watching {} was interrupted, and goes on: {error}", K::plural(&()));
                    None
                }
            }
        })
}

/// How long a server that does not answer is left alone: from one second to eight, and not by all agents at the same moment. The client's own patience of
/// half a minute would be too long for somebody who wants to cancel.
#[derive(Default)]
struct Patience {
    failures: u32,
}

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let whole = 1000 * 2_u64.pow(self.failures.min(3));
        self.failures = self.failures.saturating_add(1);
        let chance = u64::from(u16::from_le_bytes(random_bytes()));
        Some(Duration::from_millis(
            whole / 2 + whole / 2 * chance / u64::from(u16::MAX),
        ))
    }
}

impl Backoff for Patience {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

struct Node {
    shared: Arc<Shared>,
    board: Board,
    /// Kinds that were listed once: before, nobody knows who is the oldest.
    listed: BTreeSet<Kind>,
    slots: Arc<Semaphore>,
    /// What tells each job how its object is now, by UID.
    jobs: BTreeMap<String, watch::Sender<Option<Volume>>>,
    shutdown: watch::Sender<bool>,
    ended: mpsc::UnboundedSender<String>,
    freed: mpsc::UnboundedSender<()>,
}

impl Node {
    /// Gives as well what tells of jobs that have ended and of slots that are free.
    fn new(shared: Shared, slots: usize) -> (Self, mpsc::UnboundedReceiver<String>, mpsc::UnboundedReceiver<()>) {
        let (ended, ends) = mpsc::unbounded_channel();
        let (freed, frees) = mpsc::unbounded_channel();
        let node = Self {
            shared: Arc::new(shared),
            board: Board::default(),
            listed: BTreeSet::new(),
            slots: Arc::new(Semaphore::new(slots)),
            jobs: BTreeMap::new(),
            shutdown: watch::channel(false).0,
            ended,
            freed,
        };
        (node, ends, frees)
    }

    fn see(&mut self, seen: Seen) {
        let changes = match seen {
            Seen::Listing(kind) => {
                self.board.begin_list(kind);
                Vec::new()
            }
            Seen::There(volume) => vec![self.board.apply(volume)],
            Seen::Gone(volume) => vec![self.board.delete(volume.uid())],
            Seen::Listed(kind) => {
                self.listed.insert(kind);
                self.board.end_list(kind)
            }
        };
        for Change { uid, volume } in changes {
            if let Some(job) = self.jobs.get(&uid) {
                job.send_replace(volume);
            }
        }
    }

    fn end(&mut self, uid: &str) {
        self.jobs.remove(uid);
        self.board.finish(uid);
    }

    fn give_turns(&mut self) {
        if self.listed.len() < 2 {
            return;
        }
        let free = self.slots.available_permits();
        let turns = self.board.turns(free);
        for turn in turns {
            self.begin(turn);
        }
    }

    fn begin(&mut self, Turn { volume, cancels }: Turn) {
        let uid = volume.uid().to_owned();
        let (sender, seen) = watch::channel(Some(volume.clone()));
        self.jobs.insert(uid.clone(), sender);
        let goodbye = Goodbye {
            uid,
            ended: self.ended.clone(),
        };
        let job = Job {
            shared: Arc::clone(&self.shared),
            volume,
            signals: Signals {
                seen,
                shutdown: self.shutdown.subscribe(),
            },
        };
        // As many turns were asked for as there are slots.
        let slot = match cancels {
            true => None,
            false => Arc::clone(&self.slots)
                .try_acquire_owned()
                .ok()
                .map(|permit| Slot::new(permit, self.freed.clone())),
        };
        tokio::spawn(async move {
            match slot {
                Some(slot) => job.run(slot).await,
                None if cancels => job.cancel().await,
                None => {}
            }
            drop(goodbye);
        });
    }

    /// Has everything stop, and waits for it.
    async fn shut_down(&mut self, ends: &mut mpsc::UnboundedReceiver<String>) {
        tracing::info!("Told to end; what is not done is begun again by the next agent");
        self.shutdown.send_replace(true);
        let all = async {
            while !self.jobs.is_empty() {
                match ends.recv().await {
                    Some(uid) => drop(self.jobs.remove(&uid)),
                    None => break,
                }
            }
        };
        if tokio::time::timeout(ENDS_WITHIN, all).await.is_err() {
            tracing::warn!("Not everything has stopped in time");
        }
    }
}

/// Says that a job has ended, however it did.
struct Goodbye {
    uid: String,
    ended: mpsc::UnboundedSender<String>,
}

impl Drop for Goodbye {
    fn drop(&mut self) {
        let _ = self.ended.send(std::mem::take(&mut self.uid));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
