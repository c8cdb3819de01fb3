//! A volume is read: its folder becomes the root of a snapshot, or its device the file `data` of one.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use api::archive::{KIND_VOLUME, LABEL_KIND, LABEL_NAME, LABEL_SOURCE, LABEL_UID};
use api::volume::{PodVolumeBackupSpec, VolumeProgress};
use engine::format::envelope::Access;
use engine::source::SourceOptions;
use engine::verbs::backup::{BackupOptions, BackupReport, Input, OwnerNames, ParentChoice, backup};
use engine::words::Error;
use tempfile::TempDir;

use super::{Cut, Outcome, Task, failures, is_block, phase_of};
use crate::decide::Stop;
use crate::machine::{machine, now};
use crate::place::Found;
use crate::repositories::volume_key;

/// The name of a device in its snapshot: the same whatever the volume is called, so that the next snapshot finds it.
pub const DEVICE_NAME: &str = "data";

/// Names of owners mean nothing here: the image knows none, and those of the pods are others.
const NO_NAMES: OwnerNames = OwnerNames {
    user: |_| None,
    group: |_| None,
};

impl Task {
    /// Reads the volume.
    pub(super) fn backup(&self, spec: &PodVolumeBackupSpec, found: &Found) -> Result<Outcome, Cut> {
        let repository = self.open(Access::Write)?;
        let fail = |error: &Error| self.failure(error);
        let (input, here, _link) = self.input(found).map_err(|error| fail(&error))?;
        let options = BackupOptions {
            clock: now,
            time: None,
            host: spec.cluster_id.clone().into_bytes(),
            user: b"ararat-agent".to_vec(),
            tags: Vec::new(),
            labels: labels(spec),
            description: String::new(),
            machine: machine(&self.node),
            parent: ParentChoice::Newest,
            ignore_ctime: false,
            ignore_inode: false,
            skip_if_unchanged: false,
            dry_run: false,
            estimate: true,
            level: None,
            workers: self.counter.share().threads_max(),
            uploads: 2,
            volume_key: volume_key(&self.told).map_err(|error| fail(&error))?,
            source: SourceOptions {
                one_file_system: true,
                here,
                ..SourceOptions::default()
            },
            source_name: Some(spec.source.clone().into_bytes()),
            names: NO_NAMES,
        };
        let report = backup(&repository, input, &options, &*self.counter).map_err(|error| fail(&error))?;
        // What was taken away meanwhile looks like files that were deleted: such a snapshot is nobody's.
        if !found.is_still_there() {
            self.counter.stop(Stop::Vanished);
        }
        match self.counter.stopped() {
            Some(Stop::Vanished) => Err(Cut::Stopped(Stop::Vanished)),
            Some(stop) if report.interrupted => Err(Cut::Stopped(stop)),
            // Whoever asked to stop came too late: it is whole.
            Some(_) | None => Ok(outcome(&report)),
        }
    }

    /// What the engine is to read, and where that starts. A device is reached by a link of the right name, which lives as long as the folder.
    fn input(&self, found: &Found) -> Result<(Input, PathBuf, Option<TempDir>), Error> {
        if !is_block(found) {
            return Ok((Input::Paths(vec![PathBuf::from(".")]), found.path.clone(), None));
        }
        let within = &self.repositories.cache_dir;
        let failed = |error| Error::io("make a link in", within, error);
        let folder = tempfile::tempdir_in(within).map_err(failed)?;
        let device = std::path::absolute(&found.path).map_err(|error| Error::io("find", &found.path, error))?;
        symlink(device, folder.path().join(DEVICE_NAME)).map_err(failed)?;
        let here = std::path::absolute(folder.path()).map_err(failed)?;
        Ok((Input::Paths(vec![PathBuf::from(DEVICE_NAME)]), here, Some(folder)))
    }
}

fn labels(spec: &PodVolumeBackupSpec) -> Vec<(String, String)> {
    let labels = [
        (LABEL_KIND, KIND_VOLUME),
        (LABEL_NAME, &spec.backup_name),
        (LABEL_UID, &spec.backup_uid),
        (LABEL_SOURCE, &spec.source),
    ];
    labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn outcome(report: &BackupReport) -> Outcome {
    let counts = &report.counts;
    let files = counts.files + counts.folders + counts.others;
    let message = (counts.errors > 0).then(|| {
        format!(
            "{} of {files} items could not be read, changed or vanished while they were read, or were stored in part",
            counts.errors
        )
    });
    Outcome {
        phase: phase_of(counts.errors),
        message,
        snapshot_id: report.snapshot.map(|id| id.to_string()),
        parent_snapshot_id: report.parent.map(|id| id.to_string()),
        bytes_read: Some(counts.bytes_read),
        bytes_stored: Some(report.written.stored),
        errors: counts.errors,
        failures: failures(&report.errors),
        progress: Some(VolumeProgress {
            bytes_done: counts.bytes,
            bytes_total: counts.bytes,
            files_done: files,
            files_total: files,
            bytes_per_second: 0,
        }),
    }
}
