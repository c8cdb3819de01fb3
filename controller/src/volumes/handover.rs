//! What agents are told: for every volume that an agent has accepted, the store's credentials and a key of the repository, sealed to the key that the agent has
//! drawn for it. Nothing of it is readable by anybody else who can read our objects.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, anyhow};
use api::volume::PodVolumeStatus;
use api::{PodVolumeBackup, PodVolumeRestore, handover};
use engine::crypto::hpke::wrap;
use engine::crypto::key_text;
use kube::{Resource, ResourceExt};
use serde_json::json;

use crate::context::{Context, say};
use crate::tasks::Tasks;
use crate::watched::change;

/// Questions that are answered at once: a location that does not open holds up no other.
const AT_ONCE: usize = 32;

/// Seals for whoever has accepted, until the process ends.
pub async fn run(context: Arc<Context>) {
    let mut backups = context.watches.volume_backups.changes();
    let mut restores = context.watches.volume_restores.changes();
    let desk = Desk {
        tasks: Tasks::new(AT_ONCE),
        answered: Answered::default(),
    };
    loop {
        backups.mark_unchanged();
        restores.mark_unchanged();
        let (saved, filled) = (
            context.watches.volume_backups.all(),
            context.watches.volume_restores.all(),
        );
        let uids = saved.iter().map(|volume| volume.uid());
        desk.forget_others(&uids.chain(filled.iter().map(|volume| volume.uid())).flatten().collect());
        for volume in saved {
            let (inner, asked, status) = (Arc::clone(&context), Arc::clone(&volume), volume.status.clone());
            let answer = async move { for_backup(&inner, &asked).await };
            desk.answer(&context, volume, status, answer);
        }
        for volume in filled {
            let (inner, asked, status) = (Arc::clone(&context), Arc::clone(&volume), volume.status.clone());
            let answer = async move { for_restore(&inner, &asked).await };
            desk.answer(&context, volume, status, answer);
        }
        tokio::select! {
            () = change(&mut backups, Duration::from_secs(10)) => {}
            () = change(&mut restores, Duration::from_secs(10)) => {}
        }
    }
}

/// The keys of agents that were answered, by the UID of what they asked for.
type Answered = Arc<Mutex<HashMap<String, String>>>;

/// Where agents ask.
struct Desk {
    tasks: Tasks,
    /// The watch may show a question for a while after its answer, and an answer that comes after the work is done would stay.
    answered: Answered,
}

impl Desk {
    /// Forgets the answers to volumes that are not here any more.
    fn forget_others(&self, here: &HashSet<String>) {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.retain(|uid, _| here.contains(uid));
    }

    /// Has a volume's agent answered, if it waits for that and nobody is at it.
    fn answer<K>(
        &self,
        context: &Arc<Context>,
        volume: Arc<K>,
        status: Option<PodVolumeStatus>,
        answer: impl Future<Output = Result<bool>> + Send + 'static,
    ) where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + serde::de::DeserializeOwned
            + std::fmt::Debug
            + Send
            + Sync
            + 'static,
    {
        let Some((uid, recipient)) = asks(&*volume, status.as_ref()) else {
            return;
        };
        let known = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(&uid) == Some(&recipient) {
            return;
        }
        let (context, answered) = (Arc::clone(context), Arc::clone(&self.answered));
        self.tasks.start(&uid.clone(), async move {
            let result = answer.await;
            told(&context, &*volume, status.as_ref(), result, (uid, recipient), &answered).await;
        });
    }
}

/// Remembers an answer; why there is none is written where whoever waits for it looks.
async fn told<K>(
    context: &Context,
    volume: &K,
    status: Option<&PodVolumeStatus>,
    result: Result<bool>,
    (uid, recipient): (String, String),
    answered: &Answered,
) where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    let error = match result {
        Ok(false) => return,
        Ok(true) => {
            let mut answered = answered.lock().unwrap_or_else(PoisonError::into_inner);
            answered.insert(uid, recipient);
            return;
        }
        Err(error) => format!("{error:#}"),
    };
    let name = volume.name_any();
    tracing::warn!("Could not hand over to the agent for {name}: {error}");
    if status.and_then(|status| status.message.as_ref()) != Some(&error) {
        // That it cannot be written either is in the log.
        let _ = context
            .patch_status_as_seen(volume, &json!({ "message": error }))
            .await
            .inspect_err(|error| tracing::warn!("{name}: {}", say(error)));
    }
}

/// The UID and the agent's key, when an agent waits for credentials.
fn asks(volume: &impl Resource, status: Option<&PodVolumeStatus>) -> Option<(String, String)> {
    let status = status.filter(|status| status.handover.is_none() && !status.phase.is_final())?;
    Some((volume.meta().uid.clone()?, status.recipient.clone()?))
}

/// Gives whether it was answered, or is not to be.
async fn for_backup(context: &Context, volume: &PodVolumeBackup) -> Result<bool> {
    let backup = context.watches.backups.named(&volume.spec.backup_name);
    let backup = backup.filter(|backup| backup.uid().as_deref() == Some(&volume.spec.backup_uid));
    if backup.is_none_or(|backup| backup.status.as_ref().is_some_and(|status| status.phase.is_final())) {
        return Ok(true);
    }
    let opened = open(context, &volume.spec.storage_location).await?;
    let handover = context.repositories.for_backup(&opened, &volume.spec.source).await?;
    seal(context, volume, volume.status.as_ref(), &handover).await
}

/// Likewise.
async fn for_restore(context: &Context, volume: &PodVolumeRestore) -> Result<bool> {
    let restore = context.watches.restores.named(&volume.spec.restore_name);
    let restore = restore.filter(|restore| restore.uid().as_deref() == Some(&volume.spec.restore_uid));
    if restore.is_none_or(|restore| restore.status.as_ref().is_some_and(|status| status.phase.is_final())) {
        return Ok(true);
    }
    let opened = open(context, &volume.spec.storage_location).await?;
    let handover = context
        .repositories
        .for_restore(&opened, &volume.spec.restore_uid)
        .await?;
    seal(context, volume, volume.status.as_ref(), &handover).await
}

async fn open(context: &Context, location: &str) -> Result<Arc<crate::repositories::Opened>> {
    let location = context
        .watches
        .locations
        .named(location)
        .ok_or_else(|| anyhow!("The location {location} is not there"))?;
    context.repositories.open(&location).await
}

async fn seal<K>(
    context: &Context,
    volume: &K,
    status: Option<&PodVolumeStatus>,
    handover: &handover::Handover,
) -> Result<bool>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    let Some(recipient) = status.and_then(|status| status.recipient.clone()) else {
        return Ok(true);
    };
    let public = key_text::recipient_from_text(&recipient)?;
    let uid = volume.uid().unwrap_or_default();
    let text = zeroize::Zeroizing::new(serde_json::to_vec(handover)?);
    let sealed =
        wrap(public, &handover::info(&uid), &text).map_err(|_| anyhow!("The agent's key cannot be sealed to"))?;
    let sealed = data_encoding::BASE64.encode(&sealed);
    // The recipient goes with it: an agent that has drawn another key meanwhile asks again.
    let change = json!({ "handover": sealed, "recipient": recipient, "message": null });
    // One that has ended meanwhile keeps its last word, and no key stays on it.
    Ok(context.patch_status_as_seen(volume, &change).await?)
}
