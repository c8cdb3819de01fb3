//! A PodVolumeBackup or a PodVolumeRestore: what the two have in common.

use std::fmt;

use api::volume::{PodVolumeStatus, VolumePhase, VolumePlace};
use api::{PodVolumeBackup, PodVolumeRestore};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;

/// What is done with a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It is read.
    Backup,
    /// It is filled.
    Restore,
}

/// One volume that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Volume {
    /// It is read.
    Backup(PodVolumeBackup),
    /// It is filled.
    Restore(PodVolumeRestore),
}

impl From<PodVolumeBackup> for Volume {
    fn from(backup: PodVolumeBackup) -> Self {
        Self::Backup(backup)
    }
}

impl From<PodVolumeRestore> for Volume {
    fn from(restore: PodVolumeRestore) -> Self {
        Self::Restore(restore)
    }
}

impl Volume {
    /// What is done with it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Backup(_) => Kind::Backup,
            Self::Restore(_) => Kind::Restore,
        }
    }

    /// The object's metadata.
    pub fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Backup(backup) => &backup.metadata,
            Self::Restore(restore) => &restore.metadata,
        }
    }

    /// The object's name.
    pub fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }

    /// The object's UID: another object of the same name is another volume to us.
    pub fn uid(&self) -> &str {
        self.meta().uid.as_deref().unwrap_or_default()
    }

    /// When it was asked for.
    pub fn created(&self) -> Timestamp {
        self.meta()
            .creation_timestamp
            .as_ref()
            .map_or(Timestamp::MIN, |time| time.0)
    }

    /// What an event about it refers to.
    pub fn reference(&self) -> ObjectReference {
        match self {
            Self::Backup(backup) => backup.object_ref(&()),
            Self::Restore(restore) => restore.object_ref(&()),
        }
    }

    /// Where the kubelet has it.
    pub fn place(&self) -> &VolumePlace {
        match self {
            Self::Backup(backup) => &backup.spec.place,
            Self::Restore(restore) => &restore.spec.place,
        }
    }

    /// What the snapshot is of.
    pub fn source(&self) -> &str {
        match self {
            Self::Backup(backup) => &backup.spec.source,
            Self::Restore(restore) => &restore.spec.source,
        }
    }

    /// Whether it is to be stopped: somebody has said so, or the object is about to go.
    pub fn is_canceled(&self) -> bool {
        let cancel = match self {
            Self::Backup(backup) => backup.spec.cancel,
            Self::Restore(restore) => restore.spec.cancel,
        };
        cancel || self.meta().deletion_timestamp.is_some()
    }

    /// What has been said of it.
    pub fn status(&self) -> Option<&PodVolumeStatus> {
        match self {
            Self::Backup(backup) => backup.status.as_ref(),
            Self::Restore(restore) => restore.status.as_ref(),
        }
    }

    /// Where it is.
    pub fn phase(&self) -> VolumePhase {
        self.status().map_or(VolumePhase::New, |status| status.phase)
    }
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Backup(_) => "PodVolumeBackup",
            Self::Restore(_) => "PodVolumeRestore",
        };
        write!(f, "{kind} {}", self.name())
    }
}

#[cfg(test)]
pub mod samples {
    //! Objects for tests.

    use api::volume::{PodVolumeBackupSpec, PodVolumeRestoreSpec, VolumeMode};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    /// A volume of the pod `uid-1`, by its mode and its folder.
    pub fn place(mode: VolumeMode, folder: &str) -> VolumePlace {
        VolumePlace {
            pod_namespace: "shop".into(),
            pod_name: "db-0".into(),
            pod_uid: "uid-1".into(),
            volume: "data".into(),
            folder: folder.into(),
            mode,
            host_path: None,
        }
    }

    /// A PodVolumeBackup that was made at this second.
    pub fn backup(name: &str, second: i64, status: Option<PodVolumeStatus>) -> Volume {
        let spec = PodVolumeBackupSpec {
            node: "node".into(),
            place: place(VolumeMode::Filesystem, "pvc-1"),
            backup_name: "nightly".into(),
            backup_uid: "backup-uid".into(),
            source: "claims/shop/data".into(),
            cluster_id: "cluster".into(),
            storage_location: "default".into(),
            cancel: false,
        };
        let mut backup = PodVolumeBackup::new(name, spec);
        dress(&mut backup.metadata, name, second);
        backup.status = status;
        Volume::Backup(backup)
    }

    /// A PodVolumeRestore that was made at this second.
    pub fn restore(name: &str, second: i64, source: &str, snapshot_id: &str) -> Volume {
        let spec = PodVolumeRestoreSpec {
            node: "node".into(),
            place: place(VolumeMode::Filesystem, "pvc-1"),
            restore_name: "again".into(),
            restore_uid: "restore-uid".into(),
            source: source.into(),
            snapshot_id: snapshot_id.into(),
            storage_location: "default".into(),
            cancel: false,
        };
        let mut restore = PodVolumeRestore::new(name, spec);
        dress(&mut restore.metadata, name, second);
        Volume::Restore(restore)
    }

    fn dress(metadata: &mut ObjectMeta, name: &str, second: i64) {
        metadata.uid = Some(format!("uid-of-{name}"));
        metadata.namespace = Some("ararat".into());
        metadata.creation_timestamp = Timestamp::from_second(second).ok().map(Time);
    }

    /// A status of this phase.
    pub fn status(phase: VolumePhase) -> Option<PodVolumeStatus> {
        Some(PodVolumeStatus {
            phase,
            ..PodVolumeStatus::default()
        })
    }
}
