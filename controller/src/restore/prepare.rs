//! From a Restore to a work that can begin: the backup is opened, and the plan is made. Nothing is changed here.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, RwLock};

use anyhow::anyhow;
use api::Restore;
use api::selection::Selection;
use kube::ResourceExt;

use super::circumstances;
use super::hooks::{self, Hooks};
use super::mapping::Mapping;
use super::plan::Plan;
use super::rewrite::Circumstances;
use super::source::{Question, Source};
use super::stop::Stop;
use super::tally::Tally;
use super::validate::{self, Chosen};
use super::work::{Known, Work};
use crate::cluster::kinds::discover;
use crate::context::Context;
use crate::issues::Issues;

/// How a restore ended before its end.
pub enum Ended {
    /// What it says makes no sense.
    Invalid(Vec<String>),
    /// It was stopped.
    Stopped,
    /// It cannot be done.
    Failed(String),
    /// Trying again may help.
    Passing(anyhow::Error),
}

/// Opens the backup. Before anything is done, what keeps it from being opened is the user's to mend; afterwards it is waited for.
pub async fn open(context: &Arc<Context>, chosen: &Chosen, began: bool) -> Result<Arc<Source>, Ended> {
    let location = match validate::location(context, &chosen.location).await {
        Ok(location) => location,
        Err(why) if began => return Err(Ended::Passing(anyhow!(why))),
        Err(why) => return Err(Ended::Invalid(vec![why])),
    };
    let opened = context.repositories.open(&location).await.map_err(Ended::Passing)?;
    let source = Source::open(opened, chosen.snapshot.clone())
        .await
        .map_err(|error| judge(error, began))?;
    Ok(Arc::new(source))
}

/// Whether trying again may help.
pub fn judge(error: anyhow::Error, began: bool) -> Ended {
    use engine::words::{Error, StoreFailure};
    match error.downcast_ref::<Error>() {
        Some(Error::Interrupted) => Ended::Stopped,
        Some(Error::Store { failure, .. }) if !matches!(failure, StoreFailure::Full) => Ended::Passing(error),
        Some(Error::Missing { .. }) | None
            if error
                .downcast_ref::<kube::Error>()
                .is_some_and(crate::context::is_passing) =>
        {
            Ended::Passing(error)
        }
        _ if began => Ended::Failed(format!("{error:#}")),
        _ => Ended::Invalid(vec![format!("{error:#}")]),
    }
}

/// Reads the facts of the backup and of the cluster, and makes the plan.
pub async fn plan(
    context: &Arc<Context>,
    restore: &Arc<Restore>,
    stop: &Stop,
    chosen: &Chosen,
    source: Arc<Source>,
) -> Result<Arc<Work>, Ended> {
    let issues = Arc::new(Issues::default());
    let found = discover(&context.client)
        .await
        .map_err(|error| Ended::Passing(error.into()))?;
    for (group, why) in &found.broken {
        issues.warning("GroupUnavailable", group.clone(), why.clone());
    }
    let selection = Selection::of_restore(&restore.spec).map_err(Ended::Invalid)?;
    let cluster = circumstances::look(context, &found, &restore.spec)
        .await
        .map_err(|error| Ended::Passing(error.into()))?;
    let question = Question {
        selection: selection.clone(),
        found: found.clone(),
        installation: context.args.namespace.clone(),
        nodes: cluster.nodes.clone(),
        asked_for: source.record.spec.included_namespaces.clone(),
    };
    let asked = stop.clone();
    let began = restore
        .status
        .as_ref()
        .is_some_and(|status| status.start_timestamp.is_some());
    let gathered = source
        .gather(question, move || asked.is_asked())
        .await
        .map_err(|error| judge(error, began))?;
    for (path, why) in &gathered.damaged {
        issues.error("Damaged", path.clone(), why.clone());
    }
    let mapping = Mapping::new(&restore.spec);
    let errors = mapping.errors(&gathered.namespaces);
    if !errors.is_empty() {
        return Err(Ended::Invalid(errors));
    }
    let plan = Plan::new(gathered.facts, gathered.kinds, &selection, &mapping);
    let circumstances = Circumstances {
        volumes: RwLock::new(plan.volumes.clone()),
        ..cluster
    };
    let hooks = Hooks::new(&restore.spec.hooks).map_err(Ended::Invalid)?;
    let hooks_done = restore
        .status
        .as_ref()
        .map(|status| status.hooks_done.clone())
        .unwrap_or_default();
    let tally = Tally::default();
    tally.hooks_attempted.store(hooks_done.len() as u64, Ordering::Relaxed);
    let failed = hooks::tell_again(&issues, &hooks_done);
    tally.hooks_failed.store(failed, Ordering::Relaxed);
    Ok(Arc::new(Work {
        context: Arc::clone(context),
        name: restore.name_any(),
        uid: restore.uid().unwrap_or_default(),
        restore: Arc::clone(restore),
        backup: chosen.backup.clone(),
        source,
        plan: Arc::new(plan),
        circumstances,
        hooks,
        issues,
        tally: Arc::new(tally),
        stop: stop.clone(),
        found: RwLock::new(found),
        known: Mutex::new(Known {
            hooks_done,
            ..Known::default()
        }),
    }))
}

/// A work without a Restore that is being done: for what a dry run shows.
pub async fn preview(context: &Arc<Context>, restore: &Arc<Restore>) -> Result<Arc<Work>, String> {
    let text = |ended: Ended| match ended {
        Ended::Invalid(errors) => errors.join("; "),
        Ended::Stopped => "The restore was stopped".to_owned(),
        Ended::Failed(why) => why,
        Ended::Passing(error) => format!("{error:#}"),
    };
    let status = restore.status.clone().unwrap_or_default();
    let chosen = match (status.backup_name, status.snapshot_id, status.storage_location) {
        (Some(backup), Some(snapshot), Some(location)) => Chosen {
            backup,
            snapshot,
            location,
        },
        _ => validate::choose(context, restore)
            .await
            .map_err(|errors| errors.join("; "))?,
    };
    let source = open(context, &chosen, true).await.map_err(text)?;
    let stop = Stop::look(context, &restore.name_any(), &restore.uid().unwrap_or_default());
    plan(context, restore, &stop, &chosen, source).await.map_err(text)
}
