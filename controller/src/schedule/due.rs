//! What a Schedule does at a moment. Pure.
//!
//! A timetable's own times begin after its last backup, after a time that was left out, and after the moment since which it is valid; that is when it was made,
//! or changed. A pause is no such moment: what it has missed is made up for, once, if the Schedule says so.

use api::condition;
use api::cron::Times;
use api::schedule::ScheduleSpec;
use api::{Schedule, ScheduleStatus};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// The condition that says whether the timetable is understood; its last change is when the timetable came.
pub const VALID: &str = "Valid";
/// A time is still met when it is found so much later: a controller that changes its leader does not miss it.
const GRACE: SignedDuration = SignedDuration::from_secs(60);

/// What decides, besides the Schedule.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The last time that was dealt with, whether or not the Schedule's status shows it already.
    pub dealt_with: Option<Timestamp>,
    /// The names of the schedule's backups.
    pub backups: Vec<String>,
    /// One of them that is not done.
    pub unfinished: Option<String>,
    /// There is a Backup for this spec.runNow already.
    pub run_now_was_made: bool,
    /// Why nothing is written to the location, as long as that is so.
    pub refusal: Option<String>,
    /// The present.
    pub now: Timestamp,
}

/// A Backup that is made now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The time that it is made for.
    pub time: Timestamp,
    /// Its name.
    pub name: String,
    /// Why, as the end of a sentence; nothing when simply its time has come.
    pub because: String,
    /// The spec.runNow that it obeys.
    pub run_now: Option<String>,
}

/// What a Schedule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// Since when the timetable is valid.
    pub since: Timestamp,
    /// A Backup that is made now.
    pub run: Option<Run>,
    /// A time that is left out, and why.
    pub skipped: Option<(Timestamp, String)>,
    /// The spec.runNow is obeyed.
    pub run_now_is_done: bool,
    /// The next time; none while it is paused, and when there is none.
    pub next: Option<Timestamp>,
}

/// The timetable, for people, and to tell by whether it was changed.
pub fn described(spec: &ScheduleSpec) -> String {
    match &spec.time_zone {
        Some(zone) => format!("{} ({zone})", spec.schedule),
        None => spec.schedule.clone(),
    }
}

/// Decides.
///
/// # Errors
/// What is wrong with the timetable, and what to write.
pub fn decide(schedule: &Schedule, facts: &Facts) -> Result<Outlook, String> {
    let spec = &schedule.spec;
    let times = Times::parse(&spec.schedule, spec.time_zone.as_deref())?;
    let status = schedule.status.clone().unwrap_or_default();
    let since = since(schedule, &status, facts.now);
    let last = [status.last_backup.as_ref(), status.last_skipped.as_ref()];
    let last = last
        .into_iter()
        .flatten()
        .map(|time| time.0)
        .chain(facts.dealt_with)
        .fold(since, Timestamp::max);
    let mut outlook = Outlook {
        since,
        run: None,
        skipped: None,
        run_now_is_done: false,
        next: None,
    };
    let mut reached = last;
    if !spec.paused
        && let Some((time, count)) = times.due(last, facts.now)
    {
        reached = time;
        let is_late = facts.now.duration_since(time) > GRACE;
        // It was made, and whoever made it died before that was written down.
        let was_made = facts.backups.contains(&super::name_at(schedule, time));
        match (&facts.refusal, &facts.unfinished) {
            _ if was_made => outlook.run = Some(run(schedule, time, String::new(), None)),
            (Some(why), _) => outlook.skipped = Some((time, why.clone())),
            (None, Some(unfinished)) => outlook.skipped = Some((time, format!("the backup {unfinished} is not done"))),
            (None, None) if is_late && !spec.catch_up => {
                outlook.skipped = Some((time, "it was missed, and spec.catchUp is false".to_owned()));
            }
            (None, None) => {
                let because = match (is_late, count) {
                    (false, _) => String::new(),
                    (true, 0 | 1) => ", whose time was missed".to_owned(),
                    (true, count) => format!(", which makes up for {count} times that were missed"),
                };
                outlook.run = Some(run(schedule, time, because, None));
            }
        }
    }
    if let Some(asked) = spec
        .run_now
        .as_ref()
        .filter(|asked| status.run_now.as_ref() != Some(asked))
    {
        let now = Timestamp::from_second(facts.now.as_second()).unwrap_or(facts.now);
        match &mut outlook.run {
            _ if facts.run_now_was_made => outlook.run_now_is_done = true,
            // Its time has come as well: one backup does for both.
            Some(run) => {
                run.run_now = Some(asked.clone());
                outlook.run_now_is_done = true;
            }
            // It waits until the one before is done, or the location is writable.
            None if facts.unfinished.is_some() || facts.refusal.is_some() => {}
            None => {
                outlook.run = Some(run(
                    schedule,
                    now,
                    ", as spec.runNow asks".to_owned(),
                    Some(asked.clone()),
                ));
                outlook.run_now_is_done = true;
                reached = reached.max(now);
            }
        }
    }
    outlook.next = if spec.paused { None } else { times.next(reached) };
    Ok(outlook)
}

fn run(schedule: &Schedule, time: Timestamp, because: String, run_now: Option<String>) -> Run {
    Run {
        time,
        name: super::name_at(schedule, time),
        because,
        run_now,
    }
}

/// Since when the timetable is valid: as it was said before, unless it is another one now; at first, since the Schedule was made.
fn since(schedule: &Schedule, status: &ScheduleStatus, now: Timestamp) -> Timestamp {
    match condition::find(&status.conditions, VALID) {
        Some(valid) if valid.status == "True" && valid.message == described(&schedule.spec) => {
            valid.last_transition_time.0
        }
        Some(_) => now,
        None => schedule
            .metadata
            .creation_timestamp
            .as_ref()
            .map_or(now, |created| created.0),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
#[path = "due/tests.rs"]
mod tests;
