//! A volume is filled: its folder becomes what the snapshot says, or its device.

use api::volume::{FOLDER_KEPT, PodVolumeRestoreSpec, VolumeProgress};
use engine::format::envelope::Access;
use engine::repository::{Repository, StoredSnapshot};
use engine::source::Pattern;
use engine::target::Overwrite;
use engine::verbs::restore::{RestoreOptions, RestoreReport, Selection, restore};
use engine::words::{Error, SessionId};

use super::{Cut, Outcome, Task, failures, is_block, phase_of};
use crate::decide::Stop;
use crate::marker;
use crate::place::Found;

impl Task {
    /// Fills the volume.
    pub(super) fn restore(&self, spec: &PodVolumeRestoreSpec, found: &Found) -> Result<Outcome, Cut> {
        let fail = |error: &Error| self.failure(error);
        // The pod of such a volume waits for it in an init container, and goes on when the mark says so.
        let is_waited_for = spec.source.starts_with("pods/") && !is_block(found);
        if is_waited_for && self.was_finished(found).map_err(|error| fail(&error))? {
            return Ok(Outcome {
                phase: phase_of(0),
                message: Some("It was filled before the agent was started again".into()),
                snapshot_id: Some(spec.snapshot_id.clone()),
                ..Outcome::default()
            });
        }
        // What is in a folder of the node is somebody's; with the mark of a restore that was killed in it, it is ours.
        let is_foreign = is_waited_for && spec.place.host_path.is_some();
        if is_foreign && self.was_filled(found).map_err(|error| fail(&error))? {
            return Ok(Outcome::failed(FOLDER_KEPT));
        }
        let repository = self.open(Access::Read)?;
        let snapshot = snapshot(&repository, &spec.snapshot_id).map_err(|error| fail(&error))?;
        let counts = snapshot.record.as_ref().map(|record| record.counts).unwrap_or_default();
        let files = counts.files + counts.folders + counts.others;
        self.counter.know(files, counts.bytes);
        let marked = |error| Error::io("mark", &found.path, error);
        if is_waited_for {
            marker::begin(&found.path).map_err(|error| fail(&marked(error)))?;
        }
        let report = restore(&repository, &snapshot, &options(found, is_waited_for), &*self.counter);
        if !found.is_still_there() {
            self.counter.stop(Stop::Vanished);
        }
        let report = report.map_err(|error| fail(&error))?;
        if self.counter.stopped() == Some(Stop::Vanished) {
            return Err(Cut::Stopped(Stop::Vanished));
        }
        if is_waited_for {
            // From here on the folder is the pod's.
            marker::finish(&found.path).map_err(|error| fail(&marked(error)))?;
        }
        Ok(Outcome {
            snapshot_id: Some(spec.snapshot_id.clone()),
            progress: Some(VolumeProgress {
                bytes_done: counts.bytes,
                bytes_total: counts.bytes,
                files_done: files - report.failed.min(files),
                files_total: files,
                bytes_per_second: 0,
            }),
            ..outcome(&report)
        })
    }

    /// Whether an agent before this one has filled the folder: then the pod may be running, and nothing in it is touched.
    fn was_finished(&self, found: &Found) -> Result<bool, Error> {
        let was_begun = self
            .volume
            .status()
            .is_some_and(|status| status.start_timestamp.is_some());
        if !was_begun {
            return Ok(false);
        }
        self.was_filled(found)
    }

    fn was_filled(&self, found: &Found) -> Result<bool, Error> {
        marker::was_filled(&found.path).map_err(|error| Error::io("look at", &found.path, error))
    }
}

/// The volume becomes exactly what the snapshot says, whatever is there: contents are compared, not times, since a restore that was killed may have
/// left anything. `lost+found` at the root stays, which the engine sees to.
fn options(found: &Found, is_waited_for: bool) -> RestoreOptions {
    let marks = [marker::BEGUN, marker::RESTORED].map(|mark| Pattern::new(format!("/{mark}")));
    RestoreOptions {
        target: found.path.clone(),
        selection: Selection {
            excludes: if is_waited_for { marks.into() } else { Vec::new() },
            ..Selection::default()
        },
        overwrite: Overwrite::Always,
        in_place: false,
        delete: !is_block(found),
        sparse: true,
        sync: true,
        ..RestoreOptions::default()
    }
}

/// The snapshot with this id, without looking at any other.
fn snapshot(repository: &Repository, id: &str) -> Result<StoredSnapshot, Error> {
    let missing = || Error::NoSnapshot {
        wanted: id.to_owned(),
        hint: "; it was deleted since the Restore began, or the location is another one".to_owned(),
    };
    let session: SessionId = id.parse().map_err(|_| missing())?;
    let view = repository.refresh()?;
    let end = view.committed(session).ok_or_else(missing)?;
    let record = repository.record(&view, session, end)?;
    Ok(StoredSnapshot {
        id: session,
        summary: record.summary(),
        record: Some(record),
    })
}

fn outcome(report: &RestoreReport) -> Outcome {
    let mut remarks = Vec::new();
    if report.failed > 0 {
        remarks.push(format!("{} items could not be restored", report.failed));
    }
    remarks.extend(report.losses.iter().map(|loss| {
        let (kind, first) = (loss.kind.text(), String::from_utf8_lossy(&loss.first));
        format!(
            "Not given back exactly: {kind} of {} items, first of {first}: {}",
            loss.count, loss.why
        )
    }));
    Outcome {
        phase: phase_of(report.failed),
        message: (!remarks.is_empty()).then(|| remarks.join("; ")),
        errors: report.failed,
        failures: failures(&report.failures),
        ..Outcome::default()
    }
}
