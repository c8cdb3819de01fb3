//! A volume is filled: its folder becomes what the snapshot says, or its device.

use std::io;

use api::volume::{FOLDER_KEPT, PodVolumeRestoreSpec, VolumeProgress};
use engine::format::envelope::Access;
use engine::repository::{Repository, StoredSnapshot};
use engine::source::Pattern;
use engine::target::Overwrite;
use engine::verbs::restore::{RestoreOptions, RestoreReport, Selection, restore};
use engine::words::{Error, SessionId};

use super::{Cut, Outcome, Task, failures, is_block, phase_of};
use crate::decide::Stop;
use crate::marker::{self, BEGUN, Owner, RESTORED, Stage};
use crate::place::Found;

impl Task {
    /// Fills the volume.
    pub(super) fn restore(&self, spec: &PodVolumeRestoreSpec, found: &Found) -> Result<Outcome, Cut> {
        let fail = |error: &Error| self.failure(error);
        // The pod of such a volume waits for it in an init container, and goes on when the mark says so.
        let is_waited_for = spec.source.starts_with("pods/") && !is_block(found);
        // What is in a folder of the node is somebody's, unless our own mark says that it is ours.
        let is_on_host = is_waited_for && spec.place.host_path.is_some();
        let owner = Owner {
            restore_uid: spec.restore_uid.clone(),
            pod_uid: spec.place.pod_uid.clone(),
        };
        let unseen = |error| fail(&Error::io("look at", &found.path, error));
        let unmarked = |error| fail(&Error::io("mark", &found.path, error));
        let known = if is_on_host {
            let stage = marker::stage(&found.path, &owner).map_err(unseen)?;
            left_alone(stage, spec)
        } else if is_waited_for && self.was_finished(found, &owner).map_err(unseen)? {
            Some(filled_before(spec))
        } else {
            None
        };
        if let Some(outcome) = known {
            return Ok(outcome);
        }
        let repository = self.open(Access::Read)?;
        let snapshot = snapshot(&repository, &spec.snapshot_id).map_err(|error| fail(&error))?;
        let counts = snapshot.record.as_ref().map(|record| record.counts).unwrap_or_default();
        let files = counts.files + counts.folders + counts.others;
        self.counter.know(files, counts.bytes);
        if is_on_host {
            // Opening the repository may have taken minutes.
            let stage = marker::claim(&found.path, &owner).map_err(unmarked)?;
            if let Some(outcome) = left_alone(stage, spec) {
                return Ok(outcome);
            }
        } else if is_waited_for {
            marker::begin(&found.path, &owner).map_err(unmarked)?;
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
            marker::finish(&found.path).map_err(unmarked)?;
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

    /// Whether an agent before this one has filled a folder that is the pod's alone: then the pod may be running, and nothing in it is touched.
    fn was_finished(&self, found: &Found, owner: &Owner) -> io::Result<bool> {
        let was_begun = self
            .volume
            .status()
            .is_some_and(|status| status.start_timestamp.is_some());
        Ok(was_begun && marker::was_filled(&found.path, Some(&owner.pod_uid))?)
    }
}

/// What is said of a folder of the node that is not filled now.
fn left_alone(stage: Stage, spec: &PodVolumeRestoreSpec) -> Option<Outcome> {
    match stage {
        Stage::Empty | Stage::Begun => None,
        Stage::Restored => Some(filled_before(spec)),
        Stage::Data => Some(Outcome::failed(FOLDER_KEPT)),
        Stage::Foreign => Some(Outcome::failed(format!(
            "The folder of the node bears the mark {BEGUN} of another restore, which fills it now or was cut off: it stays as it is, and the pod waits as long \
             as the mark is there. If nobody fills it any longer, remove the mark, and the pod has what is in the folder; or empty the folder, the mark \
             included, and restore once more"
        ))),
    }
}

fn filled_before(spec: &PodVolumeRestoreSpec) -> Outcome {
    Outcome {
        phase: phase_of(0),
        message: Some("It was filled before the agent was started again".into()),
        snapshot_id: Some(spec.snapshot_id.clone()),
        ..Outcome::default()
    }
}

/// The volume becomes exactly what the snapshot says, whatever is there: contents are compared, not times, since a restore that was killed may have
/// left anything. `lost+found` at the root stays, which the engine sees to.
fn options(found: &Found, is_waited_for: bool) -> RestoreOptions {
    let marks = [BEGUN, RESTORED].map(|mark| Pattern::new(format!("/{mark}")));
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
