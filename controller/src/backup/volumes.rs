//! Volumes of a Backup: hooks run, agents read, and what became of each is recorded.
//!
//! What must hold: a pod whose pre hooks have begun is written down before they begin, and its post hooks run before that is taken back, whoever is the controller by
//! then. A volume is read by one PodVolumeBackup an attempt, whose name follows from the backup, the source and the attempt: who begins again finds what there is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::archive::VolumeRecord;
use api::backup::VolumeAction;
use api::volume::{PodVolumeBackupSpec, PodVolumeStatus, VolumePhase, VolumePlace};
use api::{PodVolumeBackup, words};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;
use tokio::time::Instant;

use super::groups::Group;
use super::work::{Work, unless};
use super::{hooks, placing};
use crate::context::{Context, is_conflict, is_not_found, is_passing, say};
use crate::volumes::agents::{self, NO_AGENT, Pulse, SILENCE, UNANSWERED};
use crate::volumes::choose::Choice;
use crate::volumes::facts::PodFacts;
use crate::volumes::holder::{self, Hold};
use crate::volumes::workload::Placing;
use crate::watched::change;

/// Groups that are under way at once. How many volumes are read at once is the agents' to say.
const GROUPS: usize = 16;
/// How often a volume is tried whose pod went away.
const ATTEMPTS: usize = 3;
/// How long a holder pod may take to start.
const HOLDER_TIMEOUT: Duration = Duration::from_secs(600);
/// How long an agent may take to stop.
const STOPPING: Duration = Duration::from_secs(20);

/// Reads all groups; gives the records of what was chosen, read or not.
pub(super) async fn read(work: &Work, groups: Vec<Group>) -> Vec<VolumeRecord> {
    let (ordered, free): (Vec<Group>, Vec<Group>) = groups.into_iter().partition(|group| group.place.is_some());
    let mut records = Vec::new();
    for group in ordered {
        records.extend(read_group(work, group).await);
    }
    let mut running =
        futures::stream::iter(free.into_iter().map(|group| read_group(work, group))).buffer_unordered(GROUPS);
    while let Some(more) = running.next().await {
        records.extend(more);
    }
    records.sort_by(|left, right| left.source.cmp(&right.source));
    records
}

async fn read_group(work: &Work, group: Group) -> Vec<VolumeRecord> {
    if let Some(why) = &group.refused {
        let refused = group.choices.iter().map(|choice| unread(work, choice, why.clone()));
        return refused.collect();
    }
    let key = group.key();
    let has_hooks = group.has_hooks() && !work.hooks_are_done(&key);
    // What was spared because a hook had failed stays spared, whoever is the controller now.
    let mut may_read = !work.hooks_have_failed(&key);
    if has_hooks {
        let is_open = work.hooks_are_open(&key);
        let has_begun = is_open && has_begun(work, &group);
        if is_open && !has_begun {
            // Whoever began them died before anything was read: the pod may be frozen. Thaw it, and begin anew.
            hooks::run(work, &group, &group.post, "post").await;
        }
        // A volume that is being read through another pod, which went away, says nothing of this one.
        if !has_begun {
            if work.is_cancelled() {
                return group.choices.into_iter().map(|choice| choice.record).collect();
            }
            if let Err(error) = work.open_hooks(&key).await {
                let why = format!("it was not read, because that its hooks begin could not be written down: {error:#}");
                let unread = group.choices.iter().map(|choice| unread(work, choice, why.clone()));
                return unread.collect();
            }
            may_read = hooks::run(work, &group, &group.pre, "pre").await;
        }
    }
    let pod = group.pod.as_ref();
    let records = futures::future::join_all(group.choices.iter().map(|choice| async {
        if choice.record.action == VolumeAction::Skip {
            return choice.record.clone();
        }
        if may_read {
            return read_volume(work, pod, !group.pre.is_empty(), choice).await;
        }
        unread(
            work,
            choice,
            "it was not read because a hook before it failed".to_owned(),
        )
    }))
    .await;
    if has_hooks {
        hooks::run(work, &group, &group.post, "post").await;
        work.close_hooks(&key, may_read).await;
    }
    records
}

/// The record of a volume that was to be read and was not, which is told.
fn unread(work: &Work, choice: &Choice, why: String) -> VolumeRecord {
    if choice.record.action == VolumeAction::Skip {
        return choice.record.clone();
    }
    work.issues
        .error("HookFailed", choice.record.source.clone(), why.clone());
    VolumeRecord {
        error: Some(why),
        ..choice.record.clone()
    }
}

/// Whether a volume of the group is being read, or was.
fn has_begun(work: &Work, group: &Group) -> bool {
    group.choices.iter().any(|choice| {
        choice.record.action == VolumeAction::FsBackup
            && work
                .context
                .watches
                .volume_backups
                .named(&volume_name(work, &choice.record.source, 0))
                .is_some()
    })
}

fn volume_name(work: &Work, source: &str, attempt: usize) -> String {
    let attempt = attempt.to_string();
    words::derived_name(&work.name, &[&work.uid, source, &attempt])
}

/// Has a volume read, and tries again when its pod went away meanwhile.
/// What was `prepared` by hooks is read through the pod in which they ran, and no other.
async fn read_volume(work: &Work, pod: Option<&PodFacts>, prepared: bool, choice: &Choice) -> VolumeRecord {
    let mut record = choice.record.clone();
    let mut pod = pod.cloned();
    for attempt in 0..ATTEMPTS {
        let name = volume_name(work, &record.source, attempt);
        let known = work.context.watches.volume_backups.named(&name);
        // Of an attempt that ended before the controller was restarted, the result counts.
        let status = match known
            .as_ref()
            .and_then(|known| known.status.clone())
            .filter(|status| status.phase.is_final())
        {
            Some(status) => Ok(status),
            None => attempt_to_read(work, pod.as_ref(), choice, &name, &mut record).await,
        };
        let why = match status {
            Ok(status) => match take(&mut record, &status) {
                Ok(()) => {
                    for failure in &record.failures {
                        work.issues
                            .error("VolumeIncomplete", record.source.clone(), failure.clone());
                    }
                    let more = record.errors.saturating_sub(record.failures.len() as u64);
                    if more > 0 {
                        work.issues.error(
                            "VolumeIncomplete",
                            record.source.clone(),
                            format!("{more} more files could not be read or changed while they were"),
                        );
                    }
                    return record;
                }
                Err(why) => why,
            },
            Err(why) => why,
        };
        if work.is_cancelled() {
            record.error = Some("the backup was cancelled".to_owned());
            return record;
        }
        let last = attempt + 1 == ATTEMPTS;
        let gone = match &record.claim {
            Some(claim) if !last => Some(reader_of(work, &record.namespace, claim).await),
            _ => None,
        };
        match gone {
            // The same pod still runs: trying again would end in the same way.
            Some(Some(reader)) if pod.as_ref().is_some_and(|pod| pod.uid == reader.uid) => {
                work.issues.error("VolumeFailed", record.source.clone(), why.clone());
                record.error = Some(why);
                return record;
            }
            Some(reader) if pod.is_some() && !prepared => {
                work.issues
                    .log(&format!("{}: {why}; its pod is gone, trying again", record.source));
                pod = reader;
            }
            Some(_) if pod.is_some() => {
                let why = format!("{why}; its pod went away after its hooks had run, and in another one they have not");
                work.issues.error("VolumeFailed", record.source.clone(), why.clone());
                record.error = Some(why);
                return record;
            }
            _ => {
                work.issues.error("VolumeFailed", record.source.clone(), why.clone());
                record.error = Some(why);
                return record;
            }
        }
    }
    record
}

/// Takes over what an agent said of a volume that it is done with.
fn take(record: &mut VolumeRecord, status: &PodVolumeStatus) -> Result<(), String> {
    let done = matches!(status.phase, VolumePhase::Completed | VolumePhase::PartiallyFailed);
    let Some(snapshot) = status.snapshot_id.clone().filter(|_| done) else {
        let message = status
            .message
            .clone()
            .unwrap_or_else(|| "the agent did not say why".to_owned());
        return Err(message);
    };
    let progress = status.progress.unwrap_or_default();
    record.snapshot_id = Some(snapshot);
    record.parent_snapshot_id.clone_from(&status.parent_snapshot_id);
    record.started = status.start_timestamp.as_ref().map(|time| time.0.to_string());
    record.ended = status.completion_timestamp.as_ref().map(|time| time.0.to_string());
    (record.bytes, record.files) = (progress.bytes_done, progress.files_done);
    record.bytes_read = status.bytes_read.unwrap_or_default();
    record.bytes_stored = status.bytes_stored.unwrap_or_default();
    record.errors = status.errors.unwrap_or_default();
    record.failures.clone_from(&status.failures);
    Ok(())
}

/// A running pod that mounts a claim now.
async fn reader_of(work: &Work, namespace: &str, claim: &str) -> Option<PodFacts> {
    let pods: Api<Pod> = Api::namespaced(work.context.client.clone(), namespace);
    let pods = pods.list(&ListParams::default()).await.ok()?;
    let pods = pods.items.iter().filter_map(|pod| serde_json::to_value(pod).ok());
    pods.map(|pod| PodFacts::of(&pod)).find(|pod| {
        pod.running && pod.node.is_some() && pod.volumes.iter().any(|volume| volume.claim.as_deref() == Some(claim))
    })
}

async fn attempt_to_read(
    work: &Work,
    pod: Option<&PodFacts>,
    choice: &Choice,
    name: &str,
    record: &mut VolumeRecord,
) -> Result<PodVolumeStatus, String> {
    let mut hold = Hold {
        namespace: record.namespace.clone(),
        claim: record.claim.clone().unwrap_or_default(),
        mode: record.mode,
        owner_kind: "Backup",
        owner_name: work.name.clone(),
        owner_uid: work.uid.clone(),
        placing: Placing::default(),
        taken: BTreeMap::new(),
    };
    let (node, place) = match pod {
        Some(pod) => {
            let mounted = pod.volumes.iter().find(|volume| {
                volume.claim == record.claim && (record.claim.is_some() || Some(&volume.name) == record.volume.as_ref())
            });
            let place = VolumePlace {
                pod_namespace: pod.namespace.clone(),
                pod_name: pod.name.clone(),
                pod_uid: pod.uid.clone(),
                volume: mounted.map(|volume| volume.name.clone()).unwrap_or_default(),
                folder: choice.folder.clone(),
                mode: record.mode,
                host_path: choice.host_path.clone(),
            };
            (pod.node.clone().unwrap_or_default(), place)
        }
        None => {
            let held = async {
                hold.placing = placing::of_claim(work, &hold.namespace, &hold.claim, &choice.folder).await;
                holder::hold(&work.context, &hold, Instant::now() + HOLDER_TIMEOUT).await
            };
            let held = unless(work.cancelled(), held).await;
            let held = held.unwrap_or_else(|| Err("the backup was cancelled".to_owned()));
            if held.is_err() {
                holder::release(&work.context, &hold.namespace, &holder::name(&hold)).await;
            }
            let held = held?;
            let place = VolumePlace {
                pod_namespace: hold.namespace.clone(),
                pod_name: held.pod,
                pod_uid: held.uid,
                volume: holder::VOLUME.to_owned(),
                folder: choice.folder.clone(),
                mode: record.mode,
                host_path: choice.host_path.clone(),
            };
            (held.node, place)
        }
    };
    record.pod = pod.map(|pod| pod.name.clone());
    record.volume = Some(place.volume.clone());
    let made = make(work, name, &node, place, &record.source).await;
    let status = match made {
        Ok(()) => wait(work, name, &node).await,
        Err(why) => Err(why),
    };
    if status.is_err() {
        // Nobody asks for it any more, and an agent that comes back would hold a slot for it.
        cancel(&work.context, name).await;
    }
    if pod.is_none() {
        holder::release(&work.context, &hold.namespace, &holder::name(&hold)).await;
    }
    status
}

async fn make(work: &Work, name: &str, node: &str, place: VolumePlace, source: &str) -> Result<(), String> {
    let volume = PodVolumeBackup {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(work.labels()),
            owner_references: Some(work.backup.controller_owner_ref(&()).into_iter().collect()),
            ..ObjectMeta::default()
        },
        spec: PodVolumeBackupSpec {
            node: node.to_owned(),
            place,
            backup_name: work.name.clone(),
            backup_uid: work.uid.clone(),
            source: source.to_owned(),
            cluster_id: work.context.cluster.clone(),
            storage_location: work.location.clone(),
            cancel: false,
        },
        status: None,
    };
    let volumes: Api<PodVolumeBackup> = work.context.api();
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

/// Waits until the agent is done with a volume.
async fn wait(work: &Work, name: &str, node: &str) -> Result<PodVolumeStatus, String> {
    let watched = &work.context.watches.volume_backups;
    let mut changes = watched.changes();
    let (began, mut looked, mut alone) = (Instant::now(), Instant::now(), None);
    let (mut pulse, mut unanswered) = (Pulse::new(Instant::now()), None);
    let mut stopping: Option<Instant> = None;
    loop {
        changes.mark_unchanged();
        let status = watched
            .named(name)
            .map(|volume| volume.status.clone().unwrap_or_default());
        match status {
            Some(status) if status.phase.is_final() => return Ok(status),
            Some(status) => {
                let silent = pulse.silent_for(status.heartbeat.as_ref(), Instant::now());
                if status.heartbeat.is_some() && silent > SILENCE {
                    return Err(format!(
                        "The agent of node {node} has said nothing for {} s",
                        silent.as_secs()
                    ));
                }
                if status.phase != VolumePhase::Accepted || status.handover.is_some() {
                    unanswered = None;
                } else if unanswered.get_or_insert_with(Instant::now).elapsed() > UNANSWERED {
                    let why = status
                        .message
                        .unwrap_or_else(|| "the controller's log says why".to_owned());
                    return Err(format!("The agent could not be told what it must know: {why}"));
                }
                if status.phase == VolumePhase::New && looked.elapsed() > Duration::from_secs(10) {
                    looked = Instant::now();
                    match agents::runs_on(&work.context, node).await {
                        false => {
                            let since = *alone.get_or_insert_with(Instant::now);
                            if since.elapsed() > NO_AGENT {
                                return Err(format!(
                                    "No agent runs on node {node}; look at the DaemonSet ararat-agent"
                                ));
                            }
                        }
                        true => alone = None,
                    }
                }
            }
            // The watch may be behind; an object that stays away was deleted by somebody.
            None if began.elapsed() > Duration::from_secs(30) => {
                return Err("The PodVolumeBackup was deleted while the volume was read".to_owned());
            }
            None => {}
        }
        if work.is_cancelled() {
            let since = *stopping.get_or_insert_with(Instant::now);
            if since.elapsed() > STOPPING {
                return Err("the backup was cancelled, and the agent did not stop in time".to_owned());
            }
            cancel(&work.context, name).await;
        }
        change(&mut changes, Duration::from_secs(1)).await;
    }
}

/// Has agents stop whatever they still do for a backup that has ended.
pub(super) async fn cancel_all(context: &Context, backup_uid: &str) {
    for volume in context.watches.volume_backups.all() {
        let is_final = volume.status.as_ref().is_some_and(|status| status.phase.is_final());
        if volume.spec.backup_uid == backup_uid && !is_final && !volume.spec.cancel {
            cancel(context, &volume.name_any()).await;
        }
    }
}

async fn cancel(context: &Context, name: &str) {
    let patch = Patch::Merge(json!({ "spec": { "cancel": true } }));
    let volumes: Api<PodVolumeBackup> = context.api();
    if let Err(error) = volumes.patch(name, &PatchParams::default(), &patch).await
        && !is_not_found(&error)
    {
        tracing::warn!("Could not stop the PodVolumeBackup {name}: {}", say(&error));
    }
}

/// Tells, about once a second, how far the agents are, until it is dropped.
pub(super) async fn tell_progress(work: Arc<Work>, total: u64, skipped: u64) {
    let mut before = None;
    let mut changes = work.context.watches.volume_backups.changes();
    loop {
        changes.mark_unchanged();
        let counts = counts(&work, total, skipped);
        if before != Some(counts) {
            let _ = work
                .context
                .patch_status::<api::Backup>(&work.name, &json!({ "volumes": counts }))
                .await;
            before = Some(counts);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        change(&mut changes, Duration::from_secs(10)).await;
    }
}

/// How far the agents are with a backup's volumes.
pub(super) fn counts(work: &Work, total: u64, skipped: u64) -> api::backup::VolumeCounts {
    let mut counts = api::backup::VolumeCounts {
        total,
        skipped,
        ..Default::default()
    };
    for volume in work.context.watches.volume_backups.all() {
        let Some(status) = volume.status.as_ref().filter(|_| volume.spec.backup_uid == work.uid) else {
            continue;
        };
        let progress = status.progress.unwrap_or_default();
        counts.bytes_done += progress.bytes_done;
        counts.bytes_total += progress.bytes_total;
        match status.phase {
            VolumePhase::Completed | VolumePhase::PartiallyFailed => counts.completed += 1,
            VolumePhase::Failed | VolumePhase::Canceled => counts.failed += 1,
            VolumePhase::New | VolumePhase::Accepted | VolumePhase::InProgress => {}
        }
    }
    counts
}
