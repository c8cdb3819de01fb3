//! The life of one volume: accepted, told, worked on, finished.
//!
//! ```text
//! slot free → Accepted, with a key of its own → the controller's handover → InProgress: the engine works on a thread → the last word
//!                     ↑________________ a handover that this key does not open
//! ```
//!
//! What must hold: whatever the object says meanwhile (canceled, gone, finished by somebody else) is obeyed within seconds; the thread that works keeps
//! its slot for as long as it runs, even when nobody waits for it any longer.

use std::sync::Arc;
use std::time::Duration;

use api::volume::VolumeProgress;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use crate::decide::{self, Stop};
use crate::handover::{Keys, Told};
use crate::place::Places;
use crate::progress::{Counter, Rate};
use crate::report::Reporter;
use crate::repositories::Repositories;
use crate::shares::Shares;
use crate::volume::Volume;
use crate::work::{Outcome, Task};
use crate::{status, work};

const HEARTBEAT: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_secs(1);
/// How often it is looked whether the object asks for what is sealed to the key.
const LOOK: Duration = Duration::from_secs(2);
/// So long a thread that was asked to stop is waited for: one that waits for a store sees it late.
const STOPS_WITHIN: Duration = Duration::from_secs(20);
/// The last word of an agent that is told to end itself is tried for so long; the next one would begin again.
const LAST_WORD_WITHIN: Duration = Duration::from_secs(8);
/// Handovers that could not be opened, after which it is given up.
const HANDOVERS_MAX: u32 = 10;

/// What all jobs of the agent share.
pub struct Shared {
    /// The node.
    pub node: String,
    /// Where volumes are.
    pub places: Places,
    /// Where repositories come from.
    pub repositories: Arc<Repositories>,
    /// Tells the API.
    pub reporter: Reporter,
    /// The node's processors.
    pub shares: Arc<Shares>,
}

/// A slot that is taken. When it is free again, a sign is given.
pub struct Slot {
    permit: Option<OwnedSemaphorePermit>,
    freed: mpsc::UnboundedSender<()>,
}

impl Slot {
    /// Takes a slot.
    pub fn new(permit: OwnedSemaphorePermit, freed: mpsc::UnboundedSender<()>) -> Self {
        Self {
            permit: Some(permit),
            freed,
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        drop(self.permit.take());
        // Nobody listens any longer when the agent ends.
        let _ = self.freed.send(());
    }
}

/// What a job hears while it runs.
#[derive(Clone)]
pub struct Signals {
    /// The object as it is; none when it is gone.
    pub seen: watch::Receiver<Option<Volume>>,
    /// Whether the agent is told to end.
    pub shutdown: watch::Receiver<bool>,
}

impl Signals {
    fn stop(&self) -> Option<Stop> {
        let stop = decide::stop(self.seen.borrow().as_ref());
        stop.or_else(|| self.shutdown.borrow().then_some(Stop::Shutdown))
    }

    /// Waits until the work is to stop.
    async fn stopped(&mut self) -> Stop {
        loop {
            if let Some(stop) = self.stop() {
                return stop;
            }
            self.changed().await;
        }
    }

    /// Waits until something changes.
    async fn changed(&mut self) {
        let heard = tokio::select! {
            heard = self.seen.changed() => heard,
            heard = self.shutdown.changed() => heard,
        };
        if heard.is_err() {
            // Who would say anything is gone, which only happens at the agent's end.
            std::future::pending::<()>().await;
        }
    }
}

/// One volume that is worked on.
pub struct Job {
    /// What all jobs share.
    pub shared: Arc<Shared>,
    /// The object as it was when its turn came.
    pub volume: Volume,
    /// What is heard meanwhile.
    pub signals: Signals,
}

impl Job {
    /// Says that a volume that was not begun is canceled.
    pub async fn cancel(self) {
        self.finish(&Outcome::stopped(Stop::Canceled)).await;
    }

    /// Works on the volume.
    pub async fn run(self, slot: Slot) {
        let slot = Arc::new(slot);
        let ended = match self.work(&slot).await {
            Ok(outcome) => outcome,
            Err(Stop::Canceled) => Outcome::stopped(Stop::Canceled),
            Err(Stop::Vanished) => Outcome::stopped(Stop::Vanished),
            Err(stop @ (Stop::Gone | Stop::Settled | Stop::Shutdown)) => {
                tracing::info!(volume = %self.volume, "Stopped: {stop:?}");
                return;
            }
        };
        self.finish(&ended).await;
        self.shared.repositories.forget_unused();
    }

    async fn work(&self, slot: &Arc<Slot>) -> Result<Outcome, Stop> {
        let keys = Keys::random();
        tracing::info!(volume = %self.volume, source = self.volume.source(), "Accepted");
        self.insist(&status::accepted(&self.volume, &keys.recipient, Timestamp::now()))
            .await?;
        let told = match self.told(keys).await? {
            Ok(told) => told,
            Err(why) => return Ok(Outcome::failed(why)),
        };
        // That it has begun is known before anything of the volume is touched.
        self.insist(&status::in_progress(&self.volume, Timestamp::now()))
            .await?;
        self.shared.reporter.tell_start(&self.volume);
        let counter = Arc::new(Counter::new(self.volume.to_string(), self.shared.shares.join()));
        let task = Task {
            volume: self.volume.clone(),
            told,
            node: self.shared.node.clone(),
            places: self.shared.places.clone(),
            repositories: Arc::clone(&self.shared.repositories),
            counter: Arc::clone(&counter),
        };
        match start(task, Arc::clone(slot)) {
            Ok(ended) => self.attend(&counter, ended).await,
            Err(error) => Ok(Outcome::failed(format!(
                "The agent could not start a thread ({error}); it lacks memory or processes"
            ))),
        }
    }

    /// Insists, unless the work is to stop.
    async fn insist(&self, status: &serde_json::Value) -> Result<(), Stop> {
        let mut signals = self.signals.clone();
        tokio::select! {
            heard = self.shared.reporter.insist(&self.volume, status) => heard,
            stop = signals.stopped() => Err(stop),
        }
    }

    /// Waits for a handover that the keys open; or says why it is given up.
    async fn told(&self, mut keys: Keys) -> Result<Result<Told, String>, Stop> {
        let mut signals = self.signals.clone();
        let mut beats = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        let mut looks = interval_at(Instant::now() + LOOK, LOOK);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut count, mut fresh) = (0, None);
        loop {
            if let Some(stop) = signals.stop() {
                return Err(stop);
            }
            let seen = signals.seen.borrow_and_update().clone();
            let seen = fresh.take().or(seen);
            if let Some(sealed) = seen.as_ref().and_then(|seen| decide::handover(seen, &keys.recipient)) {
                let why = match keys.open(self.volume.uid(), sealed) {
                    Ok(told) => return Ok(Ok(told)),
                    Err(why) => why,
                };
                tracing::warn!(volume = %self.volume, "{why}; asking for another one");
                count += 1;
                if count == HANDOVERS_MAX {
                    return Ok(Err(format!(
                        "{why}, and so were {HANDOVERS_MAX} in a row; look whether controller and agent are of one version"
                    )));
                }
                keys = self.ask_again(&why).await;
            }
            let is_asked = seen.is_some_and(|seen| decide::is_asked(&seen, &keys.recipient));
            tokio::select! {
                () = signals.changed() => {}
                _ = beats.tick() => {
                    let alive = status::heartbeat(Timestamp::now());
                    self.shared.reporter.say(&self.volume, &alive).await;
                }
                _ = looks.tick(), if !is_asked => {
                    // The watch is late; or an answer to an agent before this one has come after its question.
                    fresh = self.shared.reporter.look(&self.volume).await;
                    if fresh.as_ref().is_some_and(|fresh| !decide::is_asked(fresh, &keys.recipient)) {
                        keys = self.ask_again("An agent before this one was answered").await;
                    }
                }
            }
        }
    }

    /// Asks with fresh keys: the controller answers each only once.
    async fn ask_again(&self, why: &str) -> Keys {
        let keys = Keys::random();
        let asking = status::asking_again(&keys.recipient, why, Timestamp::now());
        self.shared.reporter.say(&self.volume, &asking).await;
        keys
    }

    /// Tells how far the thread is, until it has ended or nobody wants it any longer.
    async fn attend(
        &self,
        counter: &Counter,
        mut ended: oneshot::Receiver<Result<Outcome, Stop>>,
    ) -> Result<Outcome, Stop> {
        let mut signals = self.signals.clone();
        let mut ticks = interval_at(Instant::now() + TICK, TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said = Spoken::default();
        let mut stopping: Option<(Stop, Instant)> = None;
        loop {
            let late = stopping.map_or_else(|| Instant::now() + HEARTBEAT, |(_, late)| late);
            tokio::select! {
                outcome = &mut ended => {
                    return outcome.unwrap_or_else(|_| Ok(Outcome::failed("The agent's thread for this volume died, which is a bug; its log says more")));
                }
                stop = signals.stopped(), if stopping.is_none() => {
                    counter.stop(stop);
                    stopping = Some((stop, Instant::now() + STOPS_WITHIN));
                }
                () = sleep_until(late), if stopping.is_some() => {
                    tracing::warn!(volume = %self.volume, "It does not stop yet: most likely it waits for the store. Its slot stays taken until it does");
                    return Err(stopping.map_or(Stop::Shutdown, |(stop, _)| stop));
                }
                _ = ticks.tick() => {
                    let remark = counter.remarked();
                    if let Some(progress) = said.next(counter.so_far(), remark.as_deref()) {
                        let status = status::progress(&progress, remark.as_deref(), Timestamp::now());
                        self.shared.reporter.say(&self.volume, &status).await;
                    }
                }
            }
        }
    }

    /// The last word, until it is heard or the object is gone.
    async fn finish(&self, outcome: &Outcome) {
        let status = status::finished(&self.volume, outcome, Timestamp::now());
        let mut shutdown = self.signals.shutdown.clone();
        let told_to_end = async {
            // A sender that is gone is the agent's end, too.
            let _ = shutdown.wait_for(|told| *told).await;
            tokio::time::sleep(LAST_WORD_WITHIN).await;
        };
        let heard = tokio::select! {
            heard = self.shared.reporter.insist(&self.volume, &status) => heard,
            () = told_to_end => Err(Stop::Shutdown),
        };
        let message = outcome.message.as_deref();
        match heard {
            Ok(()) => {
                tracing::info!(volume = %self.volume, phase = ?outcome.phase, snapshot = outcome.snapshot_id, "Ended{}", message.map(|message| format!(": {message}")).unwrap_or_default());
                self.shared.reporter.tell_end(&self.volume, outcome.phase, message);
            }
            Err(stop) => {
                tracing::info!(volume = %self.volume, phase = ?outcome.phase, "Ended, and nobody was told: {stop:?}")
            }
        }
    }
}

/// What was said of the progress, and when.
#[derive(Default)]
struct Spoken {
    rate: Rate,
    since: Option<Instant>,
    last: Option<(VolumeProgress, Option<String>, Instant)>,
}

impl Spoken {
    /// What is to be said now: nothing when it is what was said, and that is not long ago.
    fn next(&mut self, progress: VolumeProgress, remark: Option<&str>) -> Option<VolumeProgress> {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        let rate = self.rate.add(now - since, progress.bytes_done);
        let is_same = self.last.as_ref().is_some_and(|(last, remarked, at)| {
            *last == progress && remarked.as_deref() == remark && now - *at < HEARTBEAT
        });
        if is_same {
            return None;
        }
        self.last = Some((progress, remark.map(str::to_owned), now));
        Some(VolumeProgress {
            bytes_per_second: rate,
            ..progress
        })
    }
}

/// Starts the thread that works. The slot is its own, too.
fn start(task: work::Task, slot: Arc<Slot>) -> std::io::Result<oneshot::Receiver<Result<Outcome, Stop>>> {
    let (sender, ended) = oneshot::channel();
    std::thread::Builder::new().name("volume".into()).spawn(move || {
        let outcome = task.run();
        // Keys and repository are let go before anybody is told.
        drop(task);
        let _ = sender.send(outcome);
        drop(slot);
    })?;
    Ok(ended)
}
