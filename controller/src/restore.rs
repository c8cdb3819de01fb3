//! Restores: what a Restore asks for comes back from a Backup, into this cluster. Plan, graph, apply.
//!
//! In reading order: [`mod@run`] (the steps of one Restore), [`prepare`] (until it can begin), [`report`] (what is said of it) and [`work`] (what everybody on it is given); [`validate`] (whether it can be done); [`source`] (the backup as it is
//! read); the plan: [`facts`] (what is kept of an object), [`rules`] (what never comes back), [`plan`] (what becomes of each), [`order`] (and when); what changes on the way:
//! [`mapping`], [`circumstances`], [`rewrite`]; how it is made: [`levels`] (the whole, in its order), [`apply`] (many at once), [`refusal`] (what the
//! server's no means), [`existing`] (what is there already), [`diff`], [`owners`], [`requests`]; [`volumes`] and [`hooks`]; [`tally`], [`stop`] and [`record`]; and
//! [`preview`], what a dry run shows.
//!
//! What must hold: what a restore has made carries its UID, so it can begin again at any time and comes to the same end; nothing that was there is deleted unless the user
//! said so and its data comes back; and nothing that may start pods is made before the data of its namespace is there.

mod apply;
mod circumstances;
mod diff;
mod existing;
mod facts;
mod fields;
mod hooks;
mod levels;
mod mapping;
mod order;
mod owners;
mod plan;
mod prepare;
mod preview;
mod record;
mod refusal;
mod report;
mod requests;
mod rewrite;
mod rules;
mod source;
mod stop;
mod tally;
mod validate;
mod volumes;
mod work;

mod run;

use std::sync::Arc;
use std::time::Duration;

use api::RestorePhase;
use kube::ResourceExt;

use crate::context::Context;
use crate::tasks::Tasks;
use crate::watched::change;

pub use preview::plan_lines;

/// Does every Restore that is not done, until the process ends. One whose object is gone stops by itself.
pub async fn run(context: Arc<Context>) {
    let tasks = Tasks::new(context.args.restores);
    let mut changes = context.watches.restores.changes();
    loop {
        changes.mark_unchanged();
        for restore in context.watches.restores.all() {
            let phase = restore.status.as_ref().map_or(RestorePhase::New, |status| status.phase);
            if !phase.is_final() {
                let uid = restore.uid().unwrap_or_default();
                tasks.start(&uid, run::run(Arc::clone(&context), restore));
            }
        }
        change(&mut changes, Duration::from_secs(30)).await;
    }
}
