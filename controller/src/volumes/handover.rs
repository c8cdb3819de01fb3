//! What agents are told: for every volume that an agent has accepted, the store's credentials and a key of the repository, sealed to the key that the agent has
//! drawn for it. Nothing of it is readable by anybody else who can read our objects.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use api::volume::PodVolumeStatus;
use api::{PodVolumeBackup, PodVolumeRestore, handover};
use engine::crypto::hpke::wrap;
use engine::crypto::key_text;
use kube::{Resource, ResourceExt};
use serde_json::json;

use crate::context::Context;
use crate::watched::change;

/// Seals for whoever has accepted, until the process ends.
pub async fn run(context: Arc<Context>) {
    let mut backups = context.watches.volume_backups.changes();
    let mut restores = context.watches.volume_restores.changes();
    // What was answered: the watch may show a question for a while after its answer, and an answer that comes after the work is done would stay.
    let mut answered: HashMap<String, String> = HashMap::new();
    loop {
        backups.mark_unchanged();
        restores.mark_unchanged();
        for volume in context.watches.volume_backups.all() {
            let Some((uid, recipient)) = asks(&*volume, volume.status.as_ref()) else {
                continue;
            };
            if answered.get(&uid) == Some(&recipient) {
                continue;
            }
            match for_backup(&context, &volume).await {
                Ok(()) => {
                    answered.insert(uid, recipient);
                }
                Err(error) => tracing::warn!("Could not hand over to the agent for {}: {error:#}", volume.name_any()),
            }
        }
        for volume in context.watches.volume_restores.all() {
            let Some((uid, recipient)) = asks(&*volume, volume.status.as_ref()) else {
                continue;
            };
            if answered.get(&uid) == Some(&recipient) {
                continue;
            }
            match for_restore(&context, &volume).await {
                Ok(()) => {
                    answered.insert(uid, recipient);
                }
                Err(error) => tracing::warn!("Could not hand over to the agent for {}: {error:#}", volume.name_any()),
            }
        }
        tokio::select! {
            () = change(&mut backups, Duration::from_secs(10)) => {}
            () = change(&mut restores, Duration::from_secs(10)) => {}
        }
    }
}

/// The UID and the agent's key, when an agent waits for credentials.
fn asks(volume: &impl Resource, status: Option<&PodVolumeStatus>) -> Option<(String, String)> {
    let status = status.filter(|status| status.handover.is_none() && !status.phase.is_final())?;
    Some((volume.meta().uid.clone()?, status.recipient.clone()?))
}

async fn for_backup(context: &Context, volume: &PodVolumeBackup) -> Result<()> {
    let backup = context.watches.backups.named(&volume.spec.backup_name);
    let backup = backup.filter(|backup| backup.uid().as_deref() == Some(&volume.spec.backup_uid));
    if backup.is_none_or(|backup| backup.status.as_ref().is_some_and(|status| status.phase.is_final())) {
        return Ok(());
    }
    let opened = open(context, &volume.spec.storage_location).await?;
    let handover = context.repositories.for_backup(&opened, &volume.spec.source).await?;
    seal(context, volume, volume.status.as_ref(), &handover).await
}

async fn for_restore(context: &Context, volume: &PodVolumeRestore) -> Result<()> {
    let restore = context.watches.restores.named(&volume.spec.restore_name);
    let restore = restore.filter(|restore| restore.uid().as_deref() == Some(&volume.spec.restore_uid));
    if restore.is_none_or(|restore| restore.status.as_ref().is_some_and(|status| status.phase.is_final())) {
        return Ok(());
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
) -> Result<()>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    let Some(recipient) = status.and_then(|status| status.recipient.clone()) else {
        return Ok(());
    };
    let public = key_text::recipient_from_text(&recipient)?;
    let uid = volume.uid().unwrap_or_default();
    let text = zeroize::Zeroizing::new(serde_json::to_vec(handover)?);
    let sealed =
        wrap(public, &handover::info(&uid), &text).map_err(|_| anyhow!("The agent's key cannot be sealed to"))?;
    let sealed = data_encoding::BASE64.encode(&sealed);
    // The recipient goes with it: an agent that has drawn another key meanwhile asks again.
    let change = json!({ "handover": sealed, "recipient": recipient });
    Ok(context.patch_status::<K>(&volume.name_any(), &change).await?)
}
