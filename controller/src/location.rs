//! Locations: whether each can be used, who owns it, and which Backups this cluster has of it.
//!
//! Every location has a loop of its own, so that a store that does not answer holds up nobody else: look (open the repository, list its snapshots), say what
//! was seen ([`judge`], pure), settle who owns it ([`owner`]), then [`sync`] and [`sweep`]. Everybody else asks [`may_write`] or [`can_write`] before
//! anything is written; the latter believes a status only of what this process has seen itself ([`looks`]).
//!
//! ```text
//! new, changed, or time ──▶ open ──▶ list ──▶ owner ──▶ status ──▶ sync ──▶ sweep ──▶ wait
//!                             │                           ▲
//!                             └── could not: why ─────────┘
//! ```
//!
//! Sync goes both ways for one thing: whether a Backup is held ([`hold`]).

pub mod hold;
mod judge;
mod look;
mod looks;
mod owner;
mod secrets;
mod sweep;
pub mod sync;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::condition;
use api::location::BackupStorageLocationStatus;
use api::{BackupRepository, BackupRepositorySpec, BackupStorageLocation, duration, words};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::PostParams;
use kube::{Resource, ResourceExt};
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub use judge::{chosen, explain, may_write};
pub use looks::Looks;

use self::judge::Seen;
use self::look::{Look, Probed};
use self::secrets::Secrets;
use crate::context::{Context, engine_now, is_conflict, is_servers_trouble, now};
use crate::tasks::Tasks;
use crate::watched::change;

/// How often a location is looked at unless it says otherwise, and how often it is compared with our Backups.
const PERIOD: Duration = Duration::from_secs(60);
/// One that cannot be used is looked at more often: somebody is mending it.
const PERIOD_UNAVAILABLE: Duration = Duration::from_secs(15);
/// A store that says nothing for so long is called unavailable; the question stays open.
const ANSWER_WITHIN: Duration = Duration::from_secs(45);
/// Locations that are looked after at once.
const LOCATIONS: usize = 256;

/// Whether this cluster can write to a location at this moment: it may, the store answers, and this process has seen that it is the owner.
///
/// # Errors
/// Says why not, and what to do.
pub fn can_write(context: &Context, location: &BackupStorageLocation) -> Result<(), String> {
    judge::can_write(location, context.looks.is_ours(location))
}

/// Looks after every location, until the process ends.
pub async fn run(context: Arc<Context>) {
    let secrets = Secrets::start(context.client.clone(), &context.args.namespace);
    let tasks = Tasks::new(LOCATIONS);
    let mut changes = context.watches.locations.changes();
    loop {
        changes.mark_unchanged();
        for location in context.watches.locations.all() {
            let uid = location.uid().unwrap_or_default();
            tasks.start(
                &uid,
                care(Arc::clone(&context), secrets.clone(), location.name_any(), uid.clone()),
            );
        }
        change(&mut changes, Duration::from_secs(30)).await;
    }
}

/// What is known of a location between two looks.
struct Known {
    /// The spec's generation and the versions of its Secrets.
    version: Option<(Option<i64>, String)>,
    /// A question that was not answered yet.
    asked: Option<JoinHandle<anyhow::Result<Look>>>,
    /// When it is to be looked at next.
    look_at: Instant,
    /// When it is to be compared next.
    sync_at: Instant,
    /// Backups whose spec.hold the repository is to be told, and which were known when it was last compared.
    unsaid: BTreeSet<(String, Option<i64>)>,
    /// What the store was seen to do.
    probed: Probed,
}

/// Looks after one location until it is gone.
async fn care(context: Arc<Context>, secrets: Secrets, name: String, uid: String) {
    let mut changes = context.watches.locations.changes();
    let mut changed_secrets = secrets.changes();
    let mut backups = context.watches.backups.changes();
    let mut known = Known {
        version: None,
        asked: None,
        look_at: Instant::now(),
        sync_at: Instant::now(),
        unsaid: BTreeSet::new(),
        probed: Probed::default(),
    };
    loop {
        changes.mark_unchanged();
        changed_secrets.mark_unchanged();
        backups.mark_unchanged();
        let location = context.watches.locations.get(&context.args.namespace, &name);
        let Some(location) = location.filter(|location| location.uid().as_deref() == Some(&uid)) else {
            context.repositories.forget(&name).await;
            context.looks.forget(&uid);
            return;
        };
        let version = (location.metadata.generation, secrets.of(&location.spec));
        if known.version.as_ref() != Some(&version) {
            known.version = Some(version);
            known.look_at = Instant::now();
            // What was asked with other credentials says nothing.
            if let Some(asked) = known.asked.take() {
                asked.abort();
            }
        }
        // A hold is not to be lost with the cluster a moment later. What could not be written is tried again with the next comparison.
        let unsaid = hold::unsaid(&context.watches.backups.all(), &name);
        if !unsaid.is_subset(&known.unsaid) {
            (known.look_at, known.sync_at) = (Instant::now(), Instant::now());
        }
        known.unsaid = unsaid;
        if known.look_at <= Instant::now() {
            turn(&context, &location, &mut known).await;
        }
        tokio::select! {
            () = change(&mut changes, Duration::from_secs(30)) => {}
            () = change(&mut changed_secrets, Duration::from_secs(30)) => {}
            () = change(&mut backups, Duration::from_secs(30)) => {}
            () = tokio::time::sleep_until(known.look_at) => {}
        }
    }
}

/// Looks at a location once, says what was seen, and does what follows.
async fn turn(context: &Arc<Context>, location: &Arc<BackupStorageLocation>, known: &mut Known) {
    let probed = known.probed.clone();
    let (inner, spec) = (Arc::clone(context), Arc::clone(location));
    let mut asked = known
        .asked
        .take()
        .unwrap_or_else(|| tokio::spawn(async move { look::look(&inner, &spec, probed).await }));
    let look = match tokio::time::timeout(ANSWER_WITHIN, &mut asked).await {
        Ok(Ok(Ok(look))) => Ok(look),
        // Nothing was learnt of the store.
        Ok(Ok(Err(error))) if is_servers_trouble(&error) => {
            tracing::warn!("{} could not be looked at: {error:#}", location.name_any());
            known.look_at = Instant::now() + Duration::from_secs(1);
            return;
        }
        Ok(Ok(Err(error))) => {
            if judge::needs_opening(&error) {
                context.repositories.forget(&location.name_any()).await;
            }
            Err(explain(&error, &location.spec))
        }
        Ok(Err(died)) => Err(format!("Looking at it died: {died}")),
        Err(_) => {
            known.asked = Some(asked);
            Err(format!(
                "The store has not answered for {}. Check spec.url, spec.options.endpoint and the network; it is tried on",
                duration::text(ANSWER_WITHIN)
            ))
        }
    };
    let period = duration::of(location.spec.validation_frequency.as_deref(), PERIOD).max(Duration::from_secs(1));
    let look = match look {
        Ok(look) => {
            known.look_at = Instant::now() + period;
            look
        }
        Err(why) => {
            known.look_at = Instant::now() + period.min(PERIOD_UNAVAILABLE);
            context.looks.note(location, None);
            say(context, location, &Seen::Failed(why), None).await;
            return;
        }
    };
    known.probed = look.probed.clone();
    // Before it is said: whoever reads the status may act at once.
    context.looks.note(location, Some(look.is_ours()));
    say(context, location, &look.seen, None).await;
    if let Err(error) = stand_for(context, location, &look).await {
        tracing::warn!(
            "The BackupRepository of {} could not be made: {}",
            location.name_any(),
            crate::context::say(&error)
        );
    }
    let every = duration::of(location.spec.sync_period.as_deref(), PERIOD);
    let takes_over = !every.is_zero();
    if known.sync_at <= Instant::now() {
        known.sync_at = Instant::now() + if takes_over { every } else { PERIOD };
        match compare(context, location, &look, takes_over).await {
            Ok(()) if !takes_over => {}
            Ok(()) => say(context, location, &look.seen, Some(Time(now()))).await,
            Err(error) => {
                known.sync_at = Instant::now();
                tracing::warn!(
                    "The Backups of {} could not be compared with those there: {error:#}",
                    location.name_any()
                );
            }
        }
    }
    known.look_at = known
        .look_at
        .min(known.sync_at.max(Instant::now() + Duration::from_secs(1)));
}

/// Compares our Backups with those there, and clears away what is left over. Backups that this cluster does not know come only if it `takes_over`.
async fn compare(
    context: &Arc<Context>,
    location: &BackupStorageLocation,
    look: &Look,
    takes_over: bool,
) -> anyhow::Result<()> {
    let saved = sync::saved(&look.listing.snapshots);
    let whole = look.listing.damaged.is_empty();
    let deletions = context.watches.deletions.all();
    let mut plan = sync::plan(&saved, &look.backups, &deletions, &location.name_any(), whole);
    if !takes_over {
        plan.create.clear();
    }
    let here = std::mem::take(&mut plan.here);
    let acted = sync::act(context, &look.opened, plan).await;
    if let Ok((made, removed)) = &acted
        && *made + *removed > 0
    {
        tracing::info!(
            "Backups of {}: {made} taken over, {removed} removed whose data is gone",
            location.name_any()
        );
    }
    let side = hold::Side {
        refusal: (!look.is_ours()).then(|| refusal(context, location)),
        whole,
    };
    let held = hold::compare(context, &look.opened, &here, &side).await;
    let swept = match whole && look.is_ours() {
        true => clear(context, look).await,
        false => Ok(()),
    };
    // One backup that cannot be taken over keeps no other one from being held, and none of them anything from being cleared away.
    let failed = [acted.map(drop), held, swept].into_iter().filter_map(Result::err);
    failed
        .reduce(|first, next| anyhow::anyhow!("{first:#}; and {next:#}"))
        .map_or(Ok(()), Err)
}

/// Clears away what is left over.
async fn clear(context: &Arc<Context>, look: &Look) -> anyhow::Result<()> {
    let orphans = sweep::orphans(
        &look.listing.snapshots,
        &look.backups,
        &look.restores,
        &context.cluster,
        engine_now(),
    );
    sweep::forget(&look.opened, orphans).await?;
    sweep::readers(context, &look.opened).await
}

/// Why nothing is written to a location that was just seen not to be ours.
fn refusal(context: &Context, location: &BackupStorageLocation) -> String {
    let newest = context.watches.locations.named(&location.name_any());
    let newest = newest.as_deref().unwrap_or(location);
    may_write(newest)
        .err()
        .unwrap_or_else(|| format!("Another cluster owns the location {}", location.name_any()))
}

/// Writes the status, when it says something else than before or is old.
async fn say(context: &Context, location: &BackupStorageLocation, seen: &Seen, synced: Option<Time>) {
    let looked_at = location.metadata.generation;
    // The newest that is known, or a look would take back what the one before has said.
    let newest = context
        .watches
        .locations
        .get(&context.args.namespace, &location.name_any());
    let location = newest
        .as_deref()
        .filter(|newest| newest.uid() == location.uid())
        .unwrap_or(location);
    if location.metadata.generation != looked_at {
        // It was changed while it was looked at: what was decided of the spec before says nothing of this one, which is looked at next.
        return;
    }
    let before = location.status.clone().unwrap_or_default();
    let mut after = judge::judge(location, seen, now());
    if let Some(synced) = synced {
        after.last_synced_time = Some(synced);
    }
    if judge::says_the_same(&before, &after) && !is_older(&before, &after) {
        return;
    }
    let available = |status: &BackupStorageLocationStatus| condition::holds(&status.conditions, "Available");
    if available(&before) != available(&after) {
        let note = after
            .message
            .clone()
            .unwrap_or_else(|| "The store answers and the repository is open".to_owned());
        let reason = if available(&after) { "Available" } else { "Unavailable" };
        context.event(location, !available(&after), reason, note).await;
    }
    if let Some(patch) = crate::merge::patch(&before, &after)
        && let Err(error) = context
            .patch_status::<BackupStorageLocation>(&location.name_any(), &patch)
            .await
    {
        tracing::warn!(
            "The status of {} could not be written: {}",
            location.name_any(),
            crate::context::say(&error)
        );
    }
}

/// Whether the times in a status are worth another write: once a minute.
fn is_older(before: &BackupStorageLocationStatus, after: &BackupStorageLocationStatus) -> bool {
    let older = |before: &Option<Time>, after: &Option<Time>| match (before, after) {
        (Some(before), Some(after)) => after.0.as_second() - before.0.as_second() >= 55,
        (None, Some(_)) => true,
        (_, None) => false,
    };
    older(&before.last_validation_time, &after.last_validation_time)
        || older(&before.last_synced_time, &after.last_synced_time)
}

/// Makes the BackupRepository of a location; it goes with its location, and no data does.
async fn stand_for(context: &Context, location: &BackupStorageLocation, look: &Look) -> kube::Result<()> {
    let name = location.name_any();
    let id = look.opened.repository.id().to_string();
    let known = context.watches.repositories.get(&context.args.namespace, &name);
    if known.as_ref().is_some_and(|known| {
        known
            .status
            .as_ref()
            .is_some_and(|status| status.repository_id.as_ref() == Some(&id))
    }) {
        return Ok(());
    }
    if known.is_none() {
        let spec = BackupRepositorySpec {
            storage_location: name.clone(),
            ..BackupRepositorySpec::default()
        };
        let mut repository = BackupRepository::new(&name, spec);
        repository.metadata.labels = Some([(words::LOCATION.to_owned(), words::label_value(&name))].into());
        repository.metadata.owner_references = location.controller_owner_ref(&()).map(|owner| vec![owner]);
        match context
            .api::<BackupRepository>()
            .create(&PostParams::default(), &repository)
            .await
        {
            Err(error) if !is_conflict(&error) => return Err(error),
            _ => {}
        }
    }
    context
        .patch_status::<BackupRepository>(&name, &serde_json::json!({ "repositoryID": id }))
        .await
}
