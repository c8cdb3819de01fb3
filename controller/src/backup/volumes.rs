//! Volumes of a Backup: hooks run, agents read, and what became of each is recorded.
//!
//! What must hold: a pod whose pre hooks have begun is written down before they begin, and its post hooks run before that is taken back, whoever is the controller by
//! then. A volume is read by one PodVolumeBackup an attempt, whose name follows from the backup, the source and the attempt: who begins again finds what there is.

use std::sync::Arc;
use std::time::Duration;

use api::archive::VolumeRecord;
use api::backup::VolumeAction;
use api::hook::{ExecHook, OnError};
use api::volume::{PodVolumeBackupSpec, PodVolumeStatus, VolumePhase, VolumePlace};
use api::{PodVolumeBackup, words};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Resource};
use serde_json::json;
use tokio::time::Instant;

use super::groups::Group;
use super::work::Work;
use crate::cluster::exec;
use crate::context::{is_conflict, is_passing, now, say};
use crate::volumes::choose::Choice;
use crate::volumes::facts::PodFacts;
use crate::volumes::holder::{self, Hold};
use crate::watched::change;

/// Groups that are under way at once. How many volumes are read at once is the agents' to say.
const GROUPS: usize = 16;
/// How often a volume is tried whose pod went away.
const ATTEMPTS: usize = 3;
/// How long a holder pod may take to start.
const HOLDER_TIMEOUT: Duration = Duration::from_secs(600);
/// An agent that says nothing for so long is taken for lost.
const SILENCE: Duration = Duration::from_secs(300);
/// A node without an agent is waited for so long.
const NO_AGENT: Duration = Duration::from_secs(120);
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
    let key = group.key();
    let hooks = group.has_hooks() && !work.hooks_are_done(&key);
    let mut may_read = true;
    if hooks {
        if work.hooks_are_open(&key) && !has_begun(work, &group) {
            // Whoever began them died before anything was read: the pod may be frozen. Thaw it, and begin anew.
            run_hooks(work, &group, &group.post, "post").await;
        }
        if !has_begun(work, &group) {
            if work.is_cancelled() {
                return group.choices.into_iter().map(|choice| choice.record).collect();
            }
            work.open_hooks(&key).await;
            may_read = run_hooks(work, &group, &group.pre, "pre").await;
        }
    }
    let pod = group.pod.as_ref();
    let records = futures::future::join_all(group.choices.iter().map(|choice| async {
        if choice.record.action == VolumeAction::Skip {
            return choice.record.clone();
        }
        if may_read {
            return read_volume(work, pod, choice).await;
        }
        let why = "it was not read because a hook before it failed".to_owned();
        work.issues
            .error("HookFailed", choice.record.source.clone(), why.clone());
        VolumeRecord {
            error: Some(why),
            ..choice.record.clone()
        }
    }))
    .await;
    if hooks {
        run_hooks(work, &group, &group.post, "post").await;
        work.close_hooks(&key).await;
    }
    records
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

/// Runs hooks one after the other. False when one failed that must not; of those before the volumes the rest is then left out, those after it all run.
async fn run_hooks(work: &Work, group: &Group, hooks: &[(String, ExecHook)], moment: &str) -> bool {
    let Some(pod) = &group.pod else { return true };
    let mut good = true;
    for (name, hook) in hooks {
        let about = format!("{moment} hook {name} of pod {}/{}", pod.namespace, pod.name);
        work.issues.log(&format!("{about}: begins"));
        let outcome = run_hook(work, pod, hook, moment).await;
        work.count_hook(&about, outcome.as_ref().err().map(String::as_str))
            .await;
        match outcome {
            Ok(()) => work.issues.log(&format!("{about}: done")),
            Err(why) if hook.on_error == OnError::Continue => work.issues.warning("HookFailed", about, why),
            Err(why) => {
                work.issues.error("HookFailed", about, why);
                good = false;
                if moment == "pre" {
                    return false;
                }
            }
        }
    }
    good
}

/// Runs one hook. What thaws is tried again while the API server does not answer.
async fn run_hook(work: &Work, pod: &PodFacts, hook: &ExecHook, moment: &str) -> Result<(), String> {
    let client = &work.context.client;
    if moment == "post" {
        for _ in 0..60 {
            match client.apiserver_version().await {
                Err(error) if is_passing(&error) => tokio::time::sleep(Duration::from_secs(1)).await,
                _ => break,
            }
        }
    }
    exec::run(client, &pod.namespace, &pod.name, hook).await
}

fn volume_name(work: &Work, source: &str, attempt: usize) -> String {
    let attempt = attempt.to_string();
    words::derived_name(&work.name, &[&work.uid, source, &attempt])
}

/// Has a volume read, and tries again when its pod went away meanwhile.
async fn read_volume(work: &Work, pod: Option<&PodFacts>, choice: &Choice) -> VolumeRecord {
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
            Some(reader) if pod.is_some() => {
                work.issues
                    .log(&format!("{}: {why}; its pod is gone, trying again", record.source));
                pod = reader;
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
    let hold = Hold {
        namespace: record.namespace.clone(),
        claim: record.claim.clone().unwrap_or_default(),
        mode: record.mode,
        owner_kind: "Backup",
        owner_name: work.name.clone(),
        owner_uid: work.uid.clone(),
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
            let held = holder::hold(&work.context, &hold, Instant::now() + HOLDER_TIMEOUT).await?;
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
    let mut stopping: Option<Instant> = None;
    loop {
        changes.mark_unchanged();
        let status = watched
            .named(name)
            .map(|volume| volume.status.clone().unwrap_or_default());
        match status {
            Some(status) if status.phase.is_final() => return Ok(status),
            Some(status) => {
                if let Some(heartbeat) = &status.heartbeat {
                    let silent = now().duration_since(heartbeat.0).as_secs();
                    if silent > i64::try_from(SILENCE.as_secs()).unwrap_or(i64::MAX) && began.elapsed() > SILENCE {
                        return Err(format!("The agent of node {node} has said nothing for {silent} s"));
                    }
                }
                if status.phase == VolumePhase::New && looked.elapsed() > Duration::from_secs(10) {
                    looked = Instant::now();
                    match agent_runs_on(work, node).await {
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
            let cancel = Patch::Merge(json!({ "spec": { "cancel": true } }));
            let volumes: Api<PodVolumeBackup> = work.context.api();
            let _ = volumes.patch(name, &PatchParams::default(), &cancel).await;
        }
        change(&mut changes, Duration::from_secs(1)).await;
    }
}

async fn agent_runs_on(work: &Work, node: &str) -> bool {
    let pods: Api<Pod> = work.context.api();
    let selector = ListParams::default()
        .labels("app.kubernetes.io/component=agent")
        .fields(&format!("spec.nodeName={node}"));
    match pods.list(&selector).await {
        Ok(pods) => pods
            .items
            .iter()
            .any(|pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")),
        // Who cannot be asked is not said to be missing.
        Err(_) => true,
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
