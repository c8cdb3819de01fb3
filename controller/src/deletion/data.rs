//! The data of a backup is forgotten: its snapshot first, so that what is listed is always whole, then those of its volumes.

use std::sync::Arc;

use anyhow::Result;
use api::archive::{self, KIND_BACKUP, KIND_RESTORE, KIND_VOLUME};
use engine::format::mark::{MarkKind, marked_session};
use engine::repository::{Repository, SnapshotFilter, StoredSnapshot};
use engine::words::SessionId;

use crate::context::engine_now;
use crate::location::sync::{self, label};
use crate::repositories::{Opened, blocking};

/// Forgets all that bears a backup's UID, its snapshot `known` even if it cannot be read, and the records of these restores. Whoever does it twice does
/// nothing the second time.
///
/// # Errors
/// What the store says; what was marked until then stays marked.
pub async fn forget(opened: &Arc<Opened>, uid: &str, known: Option<SessionId>, restores: &[String]) -> Result<()> {
    let (opened, uid, restores) = (Arc::clone(opened), uid.to_owned(), restores.to_vec());
    blocking(move || {
        opened.writable()?;
        mark(&opened.repository, &uid, known, &restores)
    })
    .await?
}

/// Whether the repository says that a backup is held.
///
/// # Errors
/// What the store says.
pub async fn is_held(opened: &Arc<Opened>, uid: &str) -> Result<bool> {
    let (opened, uid) = (Arc::clone(opened), uid.to_owned());
    blocking(move || {
        let listing = opened.repository.listing(&SnapshotFilter::default())?;
        let is_damaged = |saved: &sync::Saved<'_>| {
            let mut damaged = listing.damaged.iter();
            saved.uid == uid && damaged.any(|damage| marked_session(&damage.name) == Some(saved.snapshot.id))
        };
        // What cannot be read may be the word that it is held.
        let unknown = sync::saved(&listing.snapshots).iter().any(is_damaged);
        Ok(unknown || any_held(&listing.snapshots, &uid))
    })
    .await?
}

fn any_held(snapshots: &[StoredSnapshot], uid: &str) -> bool {
    sync::saved(snapshots)
        .iter()
        .any(|saved| saved.uid == uid && saved.is_held())
}

fn mark(repository: &Repository, uid: &str, known: Option<SessionId>, restores: &[String]) -> Result<()> {
    let listing = repository.listing(&SnapshotFilter::default())?;
    let is_damaged = |known: &SessionId| listing.damaged.iter().any(|damage| damage.session() == Some(*known));
    let unreadable = known.filter(is_damaged);
    for snapshot in unreadable
        .into_iter()
        .chain(in_order(&listing.snapshots, uid, restores))
    {
        let reason = "its Backup was deleted".to_owned();
        repository.mark(snapshot, MarkKind::Forget { reason }, engine_now())?;
    }
    Ok(())
}

/// What is forgotten, in the order in which that is done.
fn in_order(snapshots: &[StoredSnapshot], uid: &str, restores: &[String]) -> Vec<SessionId> {
    let of = |kind: &'static str| {
        snapshots.iter().filter(move |snapshot| {
            label(snapshot, archive::LABEL_KIND) == Some(kind)
                && label(snapshot, archive::LABEL_UID).is_some_and(|of| match kind {
                    KIND_RESTORE => restores.iter().any(|restore| restore == of),
                    _ => of == uid,
                })
        })
    };
    of(KIND_BACKUP)
        .chain(of(KIND_VOLUME))
        .chain(of(KIND_RESTORE))
        .map(|snapshot| snapshot.id)
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use engine::format::snapshot::Summary;

    use super::*;
    use crate::trial;

    #[test]
    fn forgetting_a_backup_twice_leaves_the_others_as_they_are() {
        let repository = trial::repository("deletion");
        trial::save(&repository, KIND_VOLUME, "b1", 30, &[("data", "1")]);
        trial::save(&repository, KIND_BACKUP, "b1", 20, &[(archive::RECORD, "{}")]);
        let other = trial::save(&repository, KIND_BACKUP, "b2", 10, &[(archive::RECORD, "{}")]);
        for _ in 0..2 {
            mark(&repository, "b1", None, &[]).unwrap();
            let left: Vec<SessionId> = trial::snapshots(&repository)
                .iter()
                .map(|snapshot| snapshot.id)
                .collect();
            assert_eq!(left, [other]);
        }
    }

    #[test]
    fn what_the_repository_holds_is_seen_before_it_is_forgotten() {
        let repository = trial::repository("deletion-held");
        let held = trial::save(&repository, KIND_BACKUP, "b1", 20, &[(archive::RECORD, "{}")]);
        trial::save(&repository, KIND_BACKUP, "b2", 10, &[(archive::RECORD, "{}")]);
        let tags = vec![archive::TAG_HOLD.to_owned()];
        repository.mark(held, MarkKind::Tags { tags }, engine_now()).unwrap();
        let snapshots = trial::snapshots(&repository);
        assert_eq!(
            ["b1", "b2", "b3"].map(|uid| any_held(&snapshots, uid)),
            [true, false, false]
        );
    }

    #[test]
    fn a_backup_is_forgotten_before_its_volumes_and_nothing_else_is() {
        let snapshot = |number: u8, kind: &str, uid: &str| StoredSnapshot {
            id: SessionId([number; 16]),
            summary: Summary {
                labels: vec![
                    (archive::LABEL_KIND.to_owned(), kind.to_owned()),
                    (archive::LABEL_UID.to_owned(), uid.to_owned()),
                ],
                ..Summary::default()
            },
            record: None,
        };
        let snapshots = [
            snapshot(1, KIND_VOLUME, "b1"),
            snapshot(2, KIND_VOLUME, "b2"),
            snapshot(3, KIND_BACKUP, "b1"),
            snapshot(4, KIND_RESTORE, "r1"),
            snapshot(5, KIND_RESTORE, "r2"),
            snapshot(6, KIND_VOLUME, "b1"),
            snapshot(7, archive::KIND_OWNER, "b1"),
            snapshot(8, KIND_BACKUP, "b2"),
        ];
        let numbers: Vec<u8> = in_order(&snapshots, "b1", &["r1".to_owned()])
            .iter()
            .map(|id| id.0[0])
            .collect();
        assert_eq!(numbers, [3, 1, 6, 4]);
    }
}
