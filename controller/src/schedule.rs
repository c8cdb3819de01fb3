//! Schedules: Backups at times. [`due`] decides, purely, what one of them does at this moment; here it is done.
//!
//! A backup bears the name of its time, so that a time is never done twice, whoever leads: the Backup is made first, and what stands in the Schedule's status
//! afterwards is only what is looked at next.

mod due;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::condition::{self, Condition, Said};
use api::{Backup, Schedule, cron, words};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::PostParams;

use self::due::{Run, VALID};
use crate::context::{Context, is_conflict, now, say};
use crate::location::{self, sync};
use crate::watched::change;

/// Annotation on a Backup that was asked for with spec.runNow: what stood there.
const RUN_NOW: &str = "ararat.dev/run-now";
/// A schedule is looked at this often, whatever is next.
const PERIOD: Duration = Duration::from_secs(60);
/// How long until something that failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// What was done for a Schedule here, and may not be seen in it yet.
#[derive(Default)]
struct Memory {
    /// The last time that was dealt with.
    dealt_with: Option<Timestamp>,
    /// The last spec.runNow that was obeyed.
    run_now: Option<String>,
}

/// Makes the Backups of every Schedule, until the process ends.
pub async fn run(context: Arc<Context>) {
    let mut schedules = context.watches.schedules.changes();
    let mut backups = context.watches.backups.changes();
    let mut memory: HashMap<String, Memory> = HashMap::new();
    loop {
        schedules.mark_unchanged();
        backups.mark_unchanged();
        let mut next = now().checked_add(PERIOD).unwrap_or(Timestamp::MAX);
        for schedule in context.watches.schedules.all() {
            let memory = memory.entry(schedule.uid().unwrap_or_default()).or_default();
            match turn(&context, &schedule, memory).await {
                Ok(Some(time)) => next = next.min(time),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(
                        "The Schedule {} could not be obeyed: {}",
                        schedule.name_any(),
                        say(&error)
                    );
                    next = next.min(now().checked_add(RETRY).unwrap_or(Timestamp::MAX));
                }
            }
        }
        // The wall clock may be set; it is looked at again at once when the time has come, and never later than a minute.
        let wait = Duration::try_from(next.duration_since(now()))
            .unwrap_or_default()
            .min(PERIOD);
        tokio::select! {
            () = change(&mut schedules, wait) => {}
            () = change(&mut backups, wait) => {}
        }
    }
}

/// Does what a Schedule asks for at this moment, and gives the next time.
async fn turn(context: &Context, schedule: &Schedule, memory: &mut Memory) -> kube::Result<Option<Timestamp>> {
    let present = now();
    let name = schedule.name_any();
    let label = words::label_value(&name);
    let backups = context.watches.backups.all();
    // Schedules of other clusters may have the same name, and their backups are found in locations that both read.
    let own: Vec<&Arc<Backup>> = backups
        .iter()
        .filter(|backup| backup.labels().get(words::SCHEDULE_NAME) == Some(&label))
        .filter(|backup| sync::is_of(backup, &context.cluster))
        .collect();
    let unfinished = own.iter().find(|backup| is_unfinished(backup));
    let asked = schedule.spec.run_now.as_ref();
    let was_made = asked.is_some()
        && (memory.run_now.as_ref() == asked || own.iter().any(|backup| backup.annotations().get(RUN_NOW) == asked));
    let refusal = refusal(context, schedule);
    let facts = due::Facts {
        dealt_with: memory.dealt_with,
        backups: own.iter().map(|backup| backup.name_any()).collect(),
        unfinished: unfinished.map(|backup| backup.name_any()),
        run_now_was_made: was_made,
        refusal,
        now: present,
    };
    let before = schedule.status.clone().unwrap_or_default();
    let mut after = before.clone();
    after.observed_generation = schedule.metadata.generation;
    let outlook = match due::decide(schedule, &facts) {
        Ok(outlook) => outlook,
        Err(why) => {
            if condition::find(&before.conditions, VALID).is_none_or(|said| said.status != "False") {
                context.event(schedule, true, "Invalid", why.clone()).await;
            }
            after.next_backup = None;
            set_valid(&mut after.conditions, schedule, None, why);
            return write(context, &name, &before, &after).await.map(|()| None);
        }
    };
    set_valid(
        &mut after.conditions,
        schedule,
        Some(outlook.since),
        due::described(&schedule.spec),
    );
    if let Some((time, why)) = &outlook.skipped {
        memory.dealt_with = Some(*time);
        after.last_skipped = Some(Time(*time));
        context
            .event(
                schedule,
                true,
                "Skipped",
                format!("The backup of {time} is left out: {why}"),
            )
            .await;
    }
    if let Some(run) = &outlook.run {
        let made = make(context, schedule, run).await?;
        after.last_backup = Some(Time(run.time));
        after.last_backup_name = Some(made);
        memory.dealt_with = Some(run.time);
        if run.run_now.is_some() {
            memory.run_now.clone_from(&run.run_now);
        }
    }
    if outlook.run_now_is_done {
        after.run_now = schedule.spec.run_now.clone();
    }
    after.next_backup = outlook.next.map(Time);
    write(context, &name, &before, &after).await?;
    Ok(outlook.next)
}

/// Makes the Backup of one time, and gives its name: another one than usual, when the backup of another cluster has that.
async fn make(context: &Context, schedule: &Schedule, run: &Run) -> kube::Result<String> {
    let api = context.api::<Backup>();
    let usual = backup_of(schedule, run, &context.args.namespace);
    let mut unusual = usual.clone();
    unusual.metadata.name = Some(words::derived_name(&run.name, &[&context.cluster]));
    for backup in [usual, unusual] {
        let name = backup.name_any();
        match api.create(&PostParams::default(), &backup).await {
            Ok(_) => {
                let note = format!("Made the Backup {name}{}", run.because);
                tracing::info!("Schedule {}: {note}", schedule.name_any());
                context.event(schedule, false, "BackupMade", note).await;
                return Ok(name);
            }
            Err(error) if is_conflict(&error) => {
                let known = api.get_opt(&name).await?;
                // It was made before, and whoever made it died before it was written down.
                if known.is_none_or(|known| sync::is_of(&known, &context.cluster)) {
                    return Ok(name);
                }
            }
            Err(error) => return Err(error),
        }
    }
    // Both names are of backups from elsewhere, which only somebody who wants it so can bring about.
    Ok(run.name.clone())
}

/// Whether a backup is still to be made, or is being made; one that was found in a location never is.
fn is_unfinished(backup: &Backup) -> bool {
    let is_final = backup.status.as_ref().is_some_and(|status| status.phase.is_final());
    !is_final && !sync::is_synced(backup)
}

/// Why no backups are made in the Schedule's location, as long as that is so.
fn refusal(context: &Context, schedule: &Schedule) -> Option<String> {
    let locations = context.watches.locations.all();
    let location = location::chosen(&locations, schedule.spec.template.storage_location.as_deref()).ok()?;
    location::may_write(&location).err()
}

async fn write(
    context: &Context,
    name: &str,
    before: &api::ScheduleStatus,
    after: &api::ScheduleStatus,
) -> kube::Result<()> {
    match crate::merge::patch(before, after) {
        Some(patch) => context.patch_status::<Schedule>(name, &patch).await,
        None => Ok(()),
    }
}

/// Says whether the timetable is valid, and since when: times before that are not its own.
fn set_valid(conditions: &mut Vec<Condition>, schedule: &Schedule, since: Option<Timestamp>, message: String) {
    let said = Said {
        kind: VALID,
        holds: since.is_some(),
        reason: if since.is_some() { "Understood" } else { "NotUnderstood" },
        message,
        generation: schedule.metadata.generation,
    };
    condition::set(conditions, &said, now());
    if let Some(since) = since
        && let Some(valid) = conditions.iter_mut().find(|said| said.type_ == VALID)
    {
        valid.last_transition_time = Time(since);
    }
}

/// The Backup of one time.
fn backup_of(schedule: &Schedule, run: &Run, namespace: &str) -> Backup {
    let mut backup = Backup::new(&run.name, schedule.spec.template.clone());
    backup.metadata.namespace = Some(namespace.to_owned());
    let mut labels = schedule.metadata.labels.clone().unwrap_or_default();
    labels.insert(
        words::SCHEDULE_NAME.to_owned(),
        words::label_value(&schedule.name_any()),
    );
    backup.metadata.labels = Some(labels);
    let mut annotations = schedule.metadata.annotations.clone().unwrap_or_default();
    annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    annotations.extend(run.run_now.iter().map(|asked| (RUN_NOW.to_owned(), asked.clone())));
    backup.metadata.annotations = (!annotations.is_empty()).then_some(annotations);
    backup
}

/// The name of a Schedule's backup for a time.
fn name_at(schedule: &Schedule, time: Timestamp) -> String {
    cron::name_at(&schedule.name_any(), time)
}
