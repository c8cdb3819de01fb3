//! Data comes back into volumes: into claims before anybody else mounts them, through holder pods; and into the volumes of a pod's own while its init container waits.
//!
//! A volume is filled by one PodVolumeRestore an attempt, whose name follows from the Restore, the volume and the attempt: a controller that begins again finds what there
//! is. An attempt that ended because its pod or node went away is followed by another, in a pod of its own; one that failed for a reason of the data is not.

mod lost;
mod place;
mod placing;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::archive::VolumeRecord;
use api::volume::{FOLDER_KEPT, PodVolumeRestoreSpec, PodVolumeStatus, VolumePhase, VolumePlace};
use api::{PodVolumeRestore, words};
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;
use tokio::time::Instant;

pub use self::lost::tell as tell_lost;
use self::place::{Found, Lost};
pub use self::placing::place as place_by_workloads;
use super::tally::count;
use super::work::Work;
use crate::context::{Context, is_conflict, is_passing, say};
use crate::volumes::agents::{self, NO_AGENT, Pulse, SILENCE, UNANSWERED};
use crate::volumes::workload::Placing;
use crate::watched::change;

/// How often a volume is tried whose pod or node went away.
const ATTEMPTS: usize = 3;
/// How long an agent may take to stop.
const STOPPING: Duration = Duration::from_secs(20);

/// Which volume is filled.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its namespace here.
    pub namespace: String,
    /// The claim; for a volume of a pod's own, its pod.
    pub name: String,
    /// What was saved.
    pub record: VolumeRecord,
    /// Where the claim may be.
    pub placing: Placing,
    /// Other claims of the same workload that had better be on other nodes.
    pub siblings: BTreeSet<String>,
}

impl Target {
    /// Of a record whose volume is that of a claim, or a pod, with this name in this namespace.
    pub fn new(namespace: &str, name: &str, record: &VolumeRecord) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            record: record.clone(),
            placing: Placing::default(),
            siblings: BTreeSet::new(),
        }
    }

    /// What it is called in issues.
    pub fn about(&self) -> String {
        match (&self.record.claim, &self.record.volume) {
            (None, Some(volume)) => format!("pods/{}/{}/{volume}", self.namespace, self.name),
            _ => format!("claims/{}/{}", self.namespace, self.name),
        }
    }

    fn is_claim(&self) -> bool {
        self.record.claim.is_some()
    }
}

/// How an attempt ended.
enum Ended {
    /// The agent is done with it, in this folder of the kubelet.
    Done(Box<PodVolumeStatus>, String),
    /// Its pod or node went away, or the agent is silent: another attempt may succeed.
    Gone(String),
    /// It cannot be done.
    Failed(&'static str, String),
    /// What is there is somebody's, and stays.
    Kept(String),
    /// The restore was stopped.
    Stopped,
}

/// Fills a volume, and says what went wrong. Gives the folder that the kubelet has for it, which is named after the PersistentVolume of a claim, if its data is there,
/// or in its place what whoever mounts it is to have.
pub async fn fill(work: Arc<Work>, target: Target) -> Option<String> {
    let (about, is_claim) = (target.about(), target.is_claim());
    let filled = fill_by_attempts(&work, target).await;
    if filled.is_none() && !is_claim && !work.stop.is_asked() {
        work.issues.warning(
            "PodWaits",
            about,
            "A pod that has not begun yet does not start without this data: it stays in its first init container; delete the pod, or restore it once more with \
             existingResourcePolicy Recreate",
        );
    }
    filled
}

async fn fill_by_attempts(work: &Arc<Work>, target: Target) -> Option<String> {
    let about = target.about();
    let mut last = String::new();
    for attempt in 0..ATTEMPTS {
        let ended = self::attempt(work, &target, attempt).await;
        // Whoever made the pod, and however it ended: neither the next attempt nor the application shall meet it.
        place::release(work, &target).await;
        match ended {
            Ended::Done(status, folder) => return done(work, &about, &status).then_some(folder),
            Ended::Gone(why) => {
                work.issues.log(&format!("{about}: {why}; trying again"));
                last = why;
            }
            Ended::Failed(reason, why) => {
                work.issues.error(reason, about, why);
                count(&work.tally.volumes_failed);
                return None;
            }
            Ended::Kept(why) => {
                work.issues.warning("HostPathKept", about, why);
                count(&work.tally.volumes_skipped);
                return Some(String::new());
            }
            Ended::Stopped => return None,
        }
    }
    work.issues.error("VolumeFailed", about, last);
    count(&work.tally.volumes_failed);
    None
}

/// Takes over what the agent said.
fn done(work: &Work, about: &str, status: &PodVolumeStatus) -> bool {
    let message = status
        .message
        .clone()
        .unwrap_or_else(|| "the agent did not say why".to_owned());
    match status.phase {
        VolumePhase::Completed => {
            count(&work.tally.volumes_completed);
            true
        }
        VolumePhase::PartiallyFailed => {
            for failure in &status.failures {
                work.issues.error("VolumeIncomplete", about, failure.clone());
            }
            let more = status
                .errors
                .unwrap_or_default()
                .saturating_sub(status.failures.len() as u64);
            if more > 0 {
                work.issues.error(
                    "VolumeIncomplete",
                    about,
                    format!("{more} more files could not be restored"),
                );
            }
            count(&work.tally.volumes_failed);
            true
        }
        VolumePhase::Failed
        | VolumePhase::Canceled
        | VolumePhase::New
        | VolumePhase::Accepted
        | VolumePhase::InProgress => {
            work.issues.error("VolumeFailed", about, message);
            count(&work.tally.volumes_failed);
            false
        }
    }
}

/// The name of an attempt.
fn attempt_name(work: &Work, target: &Target, attempt: usize) -> String {
    words::derived_name(&work.name, &[&work.uid, &target.about(), &attempt.to_string()])
}

async fn attempt(work: &Work, target: &Target, attempt: usize) -> Ended {
    let name = attempt_name(work, target, attempt);
    let volumes: Api<PodVolumeRestore> = work.context.api();
    // What the watch shows may be behind what a controller before this one has made.
    let known = match volumes.get_opt(&name).await {
        Ok(known) => known,
        Err(error) if is_passing(&error) => work
            .context
            .watches
            .volume_restores
            .named(&name)
            .map(|known| (*known).clone()),
        Err(error) => return Ended::Failed("VolumeFailed", format!("The agent could not be asked: {}", say(&error))),
    };
    if let Some(status) = known
        .as_ref()
        .and_then(|known| known.status.clone())
        .filter(|status| status.phase.is_final())
    {
        let place = known.as_ref().map(|known| known.spec.place.clone()).unwrap_or_default();
        return finished(work, target, &place, status).await;
    }
    let found = tokio::select! {
        () = work.stop.asked() => Err(Lost::Stopped),
        found = place::find(work, target) => found,
    };
    let found = match found {
        Ok(found) => found,
        Err(Lost::Stopped) => return Ended::Stopped,
        Err(Lost::Never(reason, why)) => return Ended::Failed(reason, why),
        Err(Lost::Kept(why)) => return Ended::Kept(why),
    };
    if let Some(known) = &known
        && known.spec.place.pod_uid != found.place.pod_uid
    {
        let _ = cancel(work, &name).await;
        return Ended::Gone("the pod that it was filled through is gone".to_owned());
    }
    if known.is_none()
        && let Err(why) = make(work, target, &name, &found).await
    {
        return Ended::Failed("VolumeFailed", why);
    }
    match wait(work, target, &name, &found).await {
        Ended::Done(status, _) => finished(work, target, &found.place, *status).await,
        other @ (Ended::Gone(_) | Ended::Failed(..) | Ended::Kept(_) | Ended::Stopped) => other,
    }
}

/// What a final word of an agent means: a failure whose pod is gone is worth another attempt.
async fn finished(work: &Work, target: &Target, place: &VolumePlace, status: PodVolumeStatus) -> Ended {
    let failed = matches!(status.phase, VolumePhase::Failed | VolumePhase::Canceled);
    if failed && work.stop.is_asked() {
        return Ended::Stopped;
    }
    if !target.is_claim() && is_kept(&status) {
        return Ended::Kept(FOLDER_KEPT.to_owned());
    }
    if failed && target.is_claim() && place::is_gone(work, target, Some(&place.pod_uid)).await {
        return Ended::Gone(
            status
                .message
                .unwrap_or_else(|| "the pod that it was filled through is gone".to_owned()),
        );
    }
    Ended::Done(Box::new(status), place.folder.clone())
}

/// Whether the agent has left a folder of its node alone, for something was in it.
fn is_kept(status: &PodVolumeStatus) -> bool {
    status.phase == VolumePhase::Failed && status.message.as_deref() == Some(FOLDER_KEPT)
}

async fn make(work: &Work, target: &Target, name: &str, found: &Found) -> Result<(), String> {
    let volume = PodVolumeRestore {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some([(words::RESTORE_NAME.to_owned(), words::label_value(&work.name))].into()),
            owner_references: Some(work.restore.controller_owner_ref(&()).into_iter().collect()),
            ..ObjectMeta::default()
        },
        spec: PodVolumeRestoreSpec {
            node: found.node.clone(),
            place: found.place.clone(),
            restore_name: work.name.clone(),
            restore_uid: work.uid.clone(),
            source: target.record.source.clone(),
            snapshot_id: target.record.snapshot_id.clone().unwrap_or_default(),
            storage_location: work.source.opened.location.clone(),
            cancel: false,
        },
        status: None,
    };
    let volumes: Api<PodVolumeRestore> = work.context.api();
    for _ in 0..60 {
        match volumes.create(&PostParams::default(), &volume).await {
            Ok(_) => return Ok(()),
            Err(error) if is_conflict(&error) => return Ok(()),
            Err(error) if is_passing(&error) => tokio::time::sleep(Duration::from_secs(1)).await,
            Err(error) => return Err(format!("The agent could not be asked: {}", say(&error))),
        }
    }
    Err("The agent could not be asked: the API server does not answer".to_owned())
}

async fn cancel(work: &Work, name: &str) -> kube::Result<()> {
    let volumes: Api<PodVolumeRestore> = work.context.api();
    let patch = Patch::Merge(json!({ "spec": { "cancel": true } }));
    volumes.patch(name, &PatchParams::default(), &patch).await.map(|_| ())
}

/// Waits until the agent is done with a volume.
async fn wait(work: &Work, target: &Target, name: &str, found: &Found) -> Ended {
    let watched = &work.context.watches.volume_restores;
    let mut changes = watched.changes();
    let (began, mut looked, mut alone) = (Instant::now(), Instant::now(), None);
    let (mut pulse, mut unanswered) = (Pulse::new(Instant::now()), None);
    let mut stopping: Option<Instant> = None;
    loop {
        changes.mark_unchanged();
        match watched
            .named(name)
            .map(|volume| volume.status.clone().unwrap_or_default())
        {
            Some(status) if status.phase.is_final() => {
                return Ended::Done(Box::new(status), found.place.folder.clone());
            }
            Some(status) => {
                let silent = pulse.silent_for(status.heartbeat.as_ref(), Instant::now());
                if status.heartbeat.is_some() && silent > SILENCE {
                    let _ = cancel(work, name).await;
                    return Ended::Gone(format!(
                        "the agent of node {} has said nothing for {} s",
                        found.node,
                        silent.as_secs()
                    ));
                }
                if status.phase != VolumePhase::Accepted || status.handover.is_some() {
                    unanswered = None;
                } else if unanswered.get_or_insert_with(Instant::now).elapsed() > UNANSWERED {
                    let _ = cancel(work, name).await;
                    let why = status
                        .message
                        .unwrap_or_else(|| "the controller's log says why".to_owned());
                    return Ended::Failed(
                        "VolumeFailed",
                        format!("The agent could not be told what it must know: {why}"),
                    );
                }
                if looked.elapsed() > Duration::from_secs(5) {
                    looked = Instant::now();
                    if place::is_gone(work, target, Some(&found.place.pod_uid)).await {
                        let _ = cancel(work, name).await;
                        return Ended::Gone(format!(
                            "the pod {} on node {} went away",
                            found.place.pod_name, found.node
                        ));
                    }
                    if status.phase != VolumePhase::New || agents::runs_on(&work.context, &found.node).await {
                        alone = None;
                    } else if alone.get_or_insert_with(Instant::now).elapsed() > NO_AGENT {
                        let _ = cancel(work, name).await;
                        let why = format!(
                            "No agent runs on node {}; look at the DaemonSet ararat-agent",
                            found.node
                        );
                        return Ended::Failed("AgentMissing", why);
                    }
                }
            }
            // It went with its Restore.
            None if work.stop.is_asked() => return Ended::Stopped,
            // The watch may be behind; an object that stays away was deleted by somebody.
            None if began.elapsed() > Duration::from_secs(30) => {
                return Ended::Gone("its PodVolumeRestore was deleted".to_owned());
            }
            None => {}
        }
        if work.stop.is_asked() {
            let since = *stopping.get_or_insert_with(Instant::now);
            if since.elapsed() > STOPPING {
                return Ended::Stopped;
            }
            let _ = cancel(work, name).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let next = change(&mut changes, Duration::from_secs(1));
        if stopping.is_some() {
            next.await;
        } else {
            let _ = work.stop.or(next).await;
        }
    }
}

/// Bytes done and bytes known of all volumes of a restore, as the agents have said.
pub fn bytes(work: &Work) -> (u64, u64) {
    let volumes = work.context.watches.volume_restores.all();
    // Of a volume that is tried again, the new attempt counts.
    let counts = |status: &&PodVolumeStatus| !matches!(status.phase, VolumePhase::Failed | VolumePhase::Canceled);
    let ours = volumes.iter().filter(|volume| volume.spec.restore_uid == work.uid);
    let progress = ours.filter_map(|volume| volume.status.as_ref().filter(counts)?.progress);
    progress.fold((0, 0), |(done, total), progress| {
        (
            done + progress.bytes_done,
            total + progress.bytes_total.max(progress.bytes_done),
        )
    })
}

/// Has the agents stop whatever they still do for a restore that has ended.
pub async fn cancel_all(context: &Context, restore_uid: &str) {
    let volumes: Api<PodVolumeRestore> = context.api();
    for volume in context.watches.volume_restores.all() {
        let is_final = volume.status.as_ref().is_some_and(|status| status.phase.is_final());
        if volume.spec.restore_uid == restore_uid && !is_final && !volume.spec.cancel {
            let patch = Patch::Merge(json!({ "spec": { "cancel": true } }));
            if let Err(error) = volumes.patch(&volume.name_any(), &PatchParams::default(), &patch).await {
                tracing::warn!(
                    "Could not stop the PodVolumeRestore {}: {}",
                    volume.name_any(),
                    say(&error)
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_empty_is_no_failure_and_any_other_trouble_is() {
        let status = |phase, message: &str| PodVolumeStatus {
            phase,
            message: Some(message.to_owned()),
            ..PodVolumeStatus::default()
        };
        assert!(is_kept(&status(VolumePhase::Failed, FOLDER_KEPT)));
        assert!(!is_kept(&status(VolumePhase::Failed, "No space left")));
        assert!(!is_kept(&status(VolumePhase::Completed, FOLDER_KEPT)));
    }
}
