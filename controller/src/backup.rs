//! Backups: what a Backup asks for becomes one commit in its repository.
//!
//! In reading order: [`work`] (the steps of one Backup), [`survey`] (what there is, and what saved objects need), [`groups`] (which volumes are read together, with
//! which hooks around them), [`volumes`] (hooks run and agents read), [`hooks`] (what is written down of them), [`collect`] (objects, kind by kind), [`commit`] (all of it, written once), [`ending`] (what is said in the end), [`waiting`] (who waits for a
//! location), [`plan`] (what a dry run says).

mod collect;
mod commit;
mod ending;
mod groups;
mod hooks;
mod placing;
mod plan;
mod survey;
mod volumes;
mod waiting;
mod work;

use std::sync::Arc;

use api::BackupPhase;
use kube::ResourceExt;

use self::waiting::Queue;
use crate::context::Context;
use crate::tasks::Tasks;
use crate::watched::change;

pub use plan::plan_lines;

/// Annotation on Backups that were found in a location: their status comes from there, and nothing is done for them.
pub const SYNCED: &str = "ararat.dev/synced";

/// Makes every Backup that is not done, until the process ends.
pub async fn run(context: Arc<Context>) {
    let tasks = Tasks::new(context.args.backups);
    let mut changes = context.watches.backups.changes();
    let mut locations = context.watches.locations.changes();
    let mut queue = Queue::default();
    loop {
        changes.mark_unchanged();
        locations.mark_unchanged();
        let mut backups = context.watches.backups.all();
        // A pod that waits to be thawed waits for nobody else.
        backups.sort_by_key(|backup| backup.status.as_ref().is_none_or(|status| status.open_hooks.is_empty()));
        for backup in &backups {
            let phase = backup.status.as_ref().map_or(BackupPhase::New, |status| status.phase);
            // One that was ended by a controller that died then still has its finalizer.
            let is_done = phase.is_final() && backup.finalizers().is_empty();
            if is_done || backup.annotations().contains_key(SYNCED) {
                continue;
            }
            let uid = backup.uid().unwrap_or_default();
            let work = work::work(Arc::clone(&context), Arc::clone(backup));
            // Whoever stops one that waits for its turn does not wait for it; and a pod that is frozen does not wait until others are done.
            let is_frozen = backup
                .status
                .as_ref()
                .is_some_and(|status| !status.open_hooks.is_empty());
            if backup.spec.cancel || backup.metadata.deletion_timestamp.is_some() {
                tasks.start_at_once(&uid, work);
            } else if queue.lets(&context, backup) {
                match is_frozen {
                    true => tasks.start_at_once(&uid, work),
                    false => tasks.start(&uid, work),
                };
            }
        }
        queue.keep(&backups);
        // Whoever deletes the object of a running backup wants it no more.
        for uid in tasks.uids() {
            if !backups.iter().any(|backup| backup.uid().as_deref() == Some(&uid)) {
                tasks.abort(&uid);
            }
        }
        let wait = queue.wait();
        tokio::select! {
            () = change(&mut changes, wait) => {}
            () = change(&mut locations, wait) => {}
        }
    }
}
