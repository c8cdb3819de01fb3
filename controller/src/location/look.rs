//! One look at a location: the repository is opened, its snapshots are listed, and who owns it is settled.

use std::sync::{Arc, Weak};

use anyhow::{Result, bail};
use api::condition;
use api::location::AccessMode;
use api::{Backup, BackupStorageLocation, Restore};
use engine::repository::SnapshotFilter;
use engine::repository::snapshots::Listing;
use engine::store::Store;
use engine::store::probe::{ProbeReport, Verdict, probe};

use super::judge::Seen;
use super::owner::{self, Decision, Facts};
use crate::context::{Context, engine_now};
use crate::repositories::{Opened, blocking};

/// No probe takes so long: what is older was left by one that was killed.
const PROBE_SECONDS: i64 = 3600;

/// What a store was seen to do, since the repository was opened.
#[derive(Clone, Default)]
pub struct Probed {
    of: Weak<Opened>,
    report: Option<ProbeReport>,
}

/// What a look has shown.
pub struct Look {
    /// The repository.
    pub opened: Arc<Opened>,
    /// Its snapshots, oldest first, and what cannot be read.
    pub listing: Listing,
    /// The Backups of this cluster as they were before the snapshots were listed: what one of them names must be among these.
    pub backups: Vec<Arc<Backup>>,
    /// Likewise its Restores.
    pub restores: Vec<Arc<Restore>>,
    /// What is to be said of the location.
    pub seen: Seen,
    /// What the store was seen to do.
    pub probed: Probed,
    decision: Decision,
}

impl Look {
    /// Whether this cluster owns the location and writes there.
    pub fn is_ours(&self) -> bool {
        let ours = matches!(self.decision, Decision::Ours | Decision::Claim | Decision::TakeOver);
        ours && self.opened.spec.access_mode == AccessMode::ReadWrite
    }
}

/// Looks once. The store is probed once for each time that the repository was opened to be written.
///
/// # Errors
/// Why the location cannot be used.
pub async fn look(context: &Context, location: &BackupStorageLocation, probed: Probed) -> Result<Look> {
    let opened = context.repositories.open(location).await?;
    let (backups, restores) = (context.watches.backups.all(), context.watches.restores.all());
    let conditions = location.status.iter().flat_map(|status| &status.conditions);
    let before = condition::find(conditions, owner::CONDITION).cloned();
    let generation = location.metadata.generation;
    let (cluster, pod) = (context.cluster.clone(), context.args.pod.clone());
    blocking(move || {
        let read_write = opened.spec.access_mode == AccessMode::ReadWrite;
        let probed = match probed.report {
            Some(report) if probed.of.ptr_eq(&Arc::downgrade(&opened)) => Probed {
                report: Some(report),
                of: probed.of,
            },
            _ => Probed {
                report: read_write.then(|| tried(opened.repository.store())).transpose()?,
                of: Arc::downgrade(&opened),
            },
        };
        let repository = &opened.repository;
        let listing = repository.listing(&SnapshotFilter::default())?;
        let record = owner::newest(&listing.snapshots);
        let mut said = record.map(|record| owner::read_record(repository, record)).transpose()?.map(|owner| owner.cluster);
        let decision = owner::decide(&Facts {
            cluster: &cluster,
            owner: said.as_deref(),
            read_write,
            take_over: opened.spec.take_over,
            generation,
            before: before.as_ref(),
        });
        if matches!(decision, Decision::Claim | Decision::TakeOver) {
            if let Some(damage) = listing.damaged.first() {
                // The record that cannot be read may be the one that counts.
                bail!("Nobody can tell who owns the repository, for something in it cannot be read: {}", damage.message);
            }
            if decision == Decision::TakeOver {
                tracing::info!("Taking over {} from cluster {}", opened.location, said.unwrap_or_default());
            }
            said = Some(owner::write(repository, &cluster, &pod, &listing.snapshots)?.cluster);
        }
        let mut notes = notes(probed.report.as_ref())?;
        if let Some(damage) = listing.damaged.first() {
            notes.push(format!(
                "Something in the repository cannot be read, and its backups are not listed: {}; `ararat repo check` says what is hurt",
                damage.message
            ));
        }
        let seen = Seen::Open {
            repository: repository.id().to_string(),
            owner: said,
            decision,
            notes,
        };
        Ok(Look {
            opened,
            listing,
            backups,
            restores,
            seen,
            probed,
            decision,
        })
    })
    .await?
}

/// Probes a store, and clears away what probes of killed controllers have left.
fn tried(store: &Store) -> engine::words::Result<ProbeReport> {
    let report = probe(store)?;
    let now = engine_now();
    let left = store.list("probe/")?.into_iter();
    let left = left.filter(|object| now.seconds_since(object.modified) > PROBE_SECONDS);
    let left: Vec<_> = left.map(|object| object.name).collect();
    if report.deletes {
        store.delete(&left)?;
    }
    Ok(report)
}

/// What is worth knowing of a store.
///
/// # Errors
/// When it cannot be used at all.
fn notes(report: Option<&ProbeReport>) -> Result<Vec<String>> {
    let Some(report) = report else { return Ok(Vec::new()) };
    let mut notes = Vec::new();
    match report.verdict() {
        Verdict::Everything => {}
        Verdict::ExclusiveMaintenance => notes.push(
            "This store lets a second writer replace an object: backups and restores work, but space is not given back by itself; stop Ararat and run \
             `ararat repo prune --exclusive` when nothing else uses the repository"
                .to_owned(),
        ),
        Verdict::NoMaintenance => notes.push(
            "This store does not show at once what was written: backups and restores work, but space is never given back; copy the repository to a store that does"
                .to_owned(),
        ),
        Verdict::Nothing => bail!("This store cannot give parts of objects and cannot be used; choose another one"),
    }
    if !report.deletes {
        notes.push(
            "The credentials may not delete objects: backups and restores work, but space is not given back".to_owned(),
        );
    }
    Ok(notes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use engine::store::probe::Latency;

    use super::*;

    #[test]
    fn a_store_that_does_less_is_told_and_one_that_does_nothing_is_refused() {
        let good = ProbeReport {
            create_if_absent: true,
            read_after_write: true,
            list_after_write: true,
            ranges: true,
            deletes: true,
            latency: Latency::default(),
        };
        assert!(notes(None).unwrap().is_empty());
        assert!(notes(Some(&good)).unwrap().is_empty());
        let said = |report: ProbeReport| notes(Some(&report)).unwrap().join(" ");
        assert!(
            said(ProbeReport {
                create_if_absent: false,
                ..good.clone()
            })
            .contains("--exclusive")
        );
        assert!(
            said(ProbeReport {
                list_after_write: false,
                ..good.clone()
            })
            .contains("never given back")
        );
        assert!(
            said(ProbeReport {
                deletes: false,
                ..good.clone()
            })
            .contains("may not delete")
        );
        assert!(notes(Some(&ProbeReport { ranges: false, ..good })).is_err());
    }
}
