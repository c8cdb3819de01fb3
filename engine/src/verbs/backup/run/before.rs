//! What earlier runs of the same source left: snapshots to take unchanged files from, and packs of those that did not end.

use super::super::change::Parent;
use super::super::options::{Continued, ParentChoice};
use super::Run;
use crate::format::end::Outcome;
use crate::format::open::SessionKind;
use crate::format::snapshot::Snapshot;
use crate::repository::{SnapshotFilter, View, Writer};
use crate::words::{Error, Result, SessionId, Timestamp};

impl<'r> Run<'r, '_> {
    /// Interrupted backups of this source whose packs can be used again.
    pub(super) fn find_continued(&mut self, writer: &Writer<'_>) {
        let view = writer.view();
        let newest = self.committed(view).into_iter().map(|(ended, _)| ended).max();
        for (session, state) in &view.sessions {
            let stopped = state.end.as_ref().is_none_or(|end| end.outcome != Outcome::Commit);
            if *session == writer.session() || !stopped || !state.open || state.unreadable {
                continue;
            }
            let Ok(open) = self.repository.session_open(view, *session) else {
                continue;
            };
            let machine = &self.options.machine;
            let here = open.host == machine.host && open.boot == machine.boot;
            // Where every program is process 1, a session of our number that is not ours is one of a dead program.
            let other = open.process != machine.process;
            let running = state.is_running() && here && other && (machine.is_running)(open.process);
            if open.source != self.source || open.kind != SessionKind::Backup || running {
                continue;
            }
            // A backup that has been committed since went on from it: nothing is left to be continued.
            if newest.is_some_and(|newest| open.started <= newest) {
                continue;
            }
            let Ok(packs) = view.index.packs_of(*session) else {
                continue;
            };
            let bytes = packs.iter().map(|pack| u64::from(pack.size)).sum();
            let packs = packs.len() as u64;
            if packs > 0 {
                let continued = Continued {
                    session: *session,
                    started: open.started,
                    packs,
                    bytes,
                };
                self.report.continued.push(continued);
                self.progress.note(&format!(
                    "Continuing an interrupted backup: {packs} packs ({} MiB) of session {} are used again",
                    bytes.div_ceil(1 << 20),
                    session.short()
                ));
            }
        }
    }

    /// The snapshots that unchanged files are taken from.
    pub(super) fn find_parent<'w>(&self, writer: &'w Writer<'r>) -> Result<Option<Parent<'w>>> {
        let view = writer.view();
        let candidates = match &self.options.parent {
            ParentChoice::None => return Ok(None),
            ParentChoice::This(wanted) => vec![self.repository.find_snapshot(wanted, &SnapshotFilter::default())?.id],
            ParentChoice::Newest => {
                let mut mine = self.committed(view);
                mine.sort_unstable_by(|left, right| right.cmp(left));
                mine.into_iter().map(|(_, session)| session).collect()
            }
        };
        // An interrupted backup has only read its beginning: it is asked first, and the complete one before it knows the rest.
        let mut snapshots: Vec<(SessionId, Snapshot)> = Vec::new();
        for session in candidates {
            let Some(end) = view.committed(session) else { continue };
            match self.repository.record(view, session, end) {
                Ok(record) if record.incomplete => {
                    if snapshots.is_empty() {
                        snapshots.push((session, record));
                    }
                }
                Ok(record) => {
                    snapshots.push((session, record));
                    break;
                }
                // A writer without the volume key of this source reads everything again.
                Err(Error::RoleTooSmall { .. }) => break,
                Err(error) => self.progress.note(&format!(
                    "The snapshot {} cannot serve as the parent: {error}",
                    session.short()
                )),
            }
        }
        let (ctime, inode) = (self.options.ignore_ctime, self.options.ignore_inode);
        Ok(Parent::new(writer, &snapshots, ctime, inode))
    }

    /// The snapshots of this source, by when they ended.
    fn committed(&self, view: &View) -> Vec<(Timestamp, SessionId)> {
        let mine = view
            .all_committed()
            .filter(|(_, end)| end.is_snapshot() && end.index.source == self.source);
        mine.map(|(session, end)| (end.index.ended, session)).collect()
    }
}
