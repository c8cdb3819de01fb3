//! Volumes from a kubelet's folder into a repository and back, with the keys that the controller would give, and without a cluster.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use api::volume::{FOLDER_KEPT, PodVolumeStatus};
use engine::repository::SnapshotFilter;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::bench::{Bench, fill};
use crate::marker::samples::{of, owner};
use crate::marker::{self, BEGUN, RESTORED};
use crate::volume::samples;

const CLAIM: &str = "claims/shop/data";

/// Every path with its content, or what else it is, and its mode.
fn listing(folder: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        let metadata = path.symlink_metadata().unwrap();
        let content = match metadata.file_type() {
            kind if kind.is_dir() => {
                waiting.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                Vec::new()
            }
            kind if kind.is_symlink() => std::fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes(),
            kind if kind.is_file() => std::fs::read(&path).unwrap(),
            kind => vec![u8::from(kind.is_fifo())],
        };
        found.insert(
            path.strip_prefix(folder).unwrap().to_owned(),
            (metadata.mode(), content),
        );
    }
    found
}

#[test]
fn a_volume_comes_back_as_it_was_and_unchanged_moves_no_data() {
    let bench = Bench::new();
    let source = bench.volume("kubernetes.io~csi", "pvc-1");
    fill(&source);
    let first = bench.back_up();
    assert_eq!(
        (first.phase, first.errors, &first.message),
        (VolumePhase::Completed, 0, &None)
    );
    assert!(first.bytes_read.unwrap() > 12_000_000 && first.bytes_stored.unwrap() > 0);
    let progress = first.progress.unwrap();
    assert_eq!((progress.bytes_done, progress.files_done), (progress.bytes_total, 46));
    std::thread::sleep(Duration::from_millis(2100));
    let _ = bench.back_up();
    let unchanged = bench.back_up();
    assert_eq!(unchanged.bytes_read, Some(0));
    assert!(unchanged.bytes_stored.unwrap() < 10_000, "{unchanged:?}");
    assert!(unchanged.parent_snapshot_id.is_some());
    // Another pod has it now, and another volume of the kubelet's: it is the same source.
    let snapshots = bench.owner.snapshots(&SnapshotFilter::default()).unwrap();
    let record = snapshots[0].record.as_ref().unwrap();
    assert_eq!(
        (record.host.as_slice(), record.paths.as_slice()),
        (b"cluster".as_slice(), [CLAIM.as_bytes().to_vec()].as_slice())
    );
    let label = |name: &str| {
        record
            .labels
            .iter()
            .find(|(label, _)| label == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(label("ararat.dev/kind"), Some("volume"));
    assert_eq!(
        (label("ararat.dev/uid"), label("ararat.dev/source")),
        (Some("backup-uid"), Some(CLAIM))
    );
    // Into a volume that has something else already, as a restore that was killed leaves it.
    let target = bench.volume("kubernetes.io~csi", "pvc-2");
    std::fs::create_dir_all(target.join("lost+found")).unwrap();
    std::fs::write(target.join("surplus"), "not of the snapshot").unwrap();
    std::fs::create_dir_all(target.join("deep/1")).unwrap();
    let snapshot = unchanged.snapshot_id.unwrap();
    let restored = bench.restoring(CLAIM, &snapshot, "pvc-2").run().unwrap();
    assert_eq!(
        (restored.phase, restored.errors),
        (VolumePhase::Completed, 0),
        "{restored:?}"
    );
    assert_eq!(restored.snapshot_id.as_deref(), Some(snapshot.as_str()));
    // Contents are long: only names are shown.
    let (before, after) = (listing(&source), listing(&target));
    let differs = |path: &&PathBuf| before.get(*path) != after.get(*path);
    let differing: Vec<&PathBuf> = before.keys().chain(after.keys()).filter(differs).collect();
    assert!(differing.is_empty(), "{differing:?}");
}

#[test]
fn a_folder_that_vanishes_is_no_snapshot() {
    let bench = Bench::new();
    let source = bench.volume("kubernetes.io~csi", "pvc-1");
    fill(&source);
    let task = bench.task(samples::backup("b", 1, None), &bench.writer);
    let found = task.find().ok().unwrap();
    std::fs::rename(&source, source.with_file_name("taken-away")).unwrap();
    std::fs::create_dir(&source).unwrap();
    let Volume::Backup(backup) = &task.volume else {
        unreachable!("it is one")
    };
    let ended = task.backup(&backup.spec, &found);
    assert!(matches!(ended, Err(Cut::Stopped(Stop::Vanished))));
    let outcome = Outcome::stopped(Stop::Vanished);
    assert_eq!((outcome.phase, outcome.snapshot_id), (VolumePhase::Failed, None));
    assert!(outcome.message.unwrap().contains("was taken away"));
}

#[test]
fn a_canceled_backup_leaves_nothing_that_looks_whole_and_the_next_goes_on() {
    let bench = Bench::new();
    fill(&bench.volume("kubernetes.io~csi", "pvc-1"));
    let task = bench.task(samples::backup("b", 1, None), &bench.writer);
    let found = task.find().ok().unwrap();
    task.counter.stop(Stop::Canceled);
    let Volume::Backup(backup) = &task.volume else {
        unreachable!("it is one")
    };
    assert!(matches!(
        task.backup(&backup.spec, &found),
        Err(Cut::Stopped(Stop::Canceled))
    ));
    let snapshots = bench.owner.snapshots(&SnapshotFilter::default()).unwrap();
    assert!(snapshots.iter().all(|snapshot| snapshot.summary.incomplete));
    assert_eq!(bench.back_up().phase, VolumePhase::Completed);
}

#[test]
fn a_restore_that_is_canceled_or_lacks_its_snapshot_says_so() {
    let bench = Bench::new();
    fill(&bench.volume("kubernetes.io~csi", "pvc-1"));
    let snapshot = bench.back_up().snapshot_id.unwrap();
    bench.volume("kubernetes.io~csi", "pvc-2");
    let task = bench.restoring(CLAIM, &snapshot, "pvc-2");
    task.counter.stop(Stop::Canceled);
    assert_eq!(task.run().unwrap_err(), Stop::Canceled);
    for missing in ["00", "latest", &"00".repeat(16)] {
        let outcome = bench.restoring(CLAIM, missing, "pvc-2").run().unwrap();
        assert_eq!(outcome.phase, VolumePhase::Failed);
        assert!(outcome.message.unwrap().contains("There is no snapshot"));
    }
    let mut task = bench.restoring(CLAIM, &snapshot, "pvc-2");
    task.told = bench.task(samples::backup("b", 1, None), &bench.writer).told;
    let why = task.run().unwrap().message.unwrap();
    assert!(
        why.contains("a reader or an owner") && why.contains("BackupRepository"),
        "{why}"
    );
}

#[test]
fn a_pod_that_waits_is_told_and_its_folder_is_not_touched_again() {
    let bench = Bench::new();
    fill(&bench.volume("kubernetes.io~csi", "pvc-1"));
    let snapshot = bench.back_up().snapshot_id.unwrap();
    let target = bench.volume("kubernetes.io~empty-dir", "scratch");
    let source = "pods/shop/db-0/scratch";
    // An agent before this one was killed at it.
    marker::begin(&target, &owner()).unwrap();
    std::fs::write(target.join("half"), "half").unwrap();
    let mut task = bench.restoring(source, &snapshot, "scratch");
    let Volume::Restore(restore) = &mut task.volume else {
        unreachable!("it is one")
    };
    restore.status = Some(PodVolumeStatus {
        start_timestamp: Some(Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH)),
        ..PodVolumeStatus::default()
    });
    assert_eq!(task.run().unwrap().phase, VolumePhase::Completed);
    assert!(target.join(RESTORED).exists() && !target.join(BEGUN).exists());
    assert!(target.join("deep/1").exists() && !target.join("half").exists());
    // The pod goes on, and the agent dies before it has said that it is done.
    std::fs::remove_file(target.join(RESTORED)).unwrap();
    std::fs::write(target.join("deep/1"), "the pod's own").unwrap();
    assert_eq!(task.run().unwrap().phase, VolumePhase::Completed);
    assert_eq!(std::fs::read_to_string(target.join("deep/1")).unwrap(), "the pod's own");
    assert!(!target.join(RESTORED).exists());
}

/// An emptyDir is its pod's alone: what an agent before has begun is gone on with, whatever its mark says.
#[test]
fn a_volume_of_the_pods_own_is_filled_whosever_the_mark_in_it_is() {
    let bench = Bench::new();
    fill(&bench.volume("kubernetes.io~csi", "pvc-1"));
    let snapshot = bench.back_up().snapshot_id.unwrap();
    let target = bench.volume("kubernetes.io~empty-dir", "scratch");
    for mark in [
        "",
        "restore older-uid\npod uid-1\n",
        "restore older-uid\npod older-pod\n",
    ] {
        std::fs::write(target.join(BEGUN), mark).unwrap();
        std::fs::write(target.join("half"), "half").unwrap();
        let task = bench.restoring("pods/shop/db-0/scratch", &snapshot, "scratch");
        assert_eq!(task.run().unwrap().phase, VolumePhase::Completed);
        assert!(target.join("deep/1").exists() && !target.join("half").exists());
        assert!(marker::was_filled(&target, Some("uid-1")).unwrap());
        assert!(!marker::stays(&target, Some("uid-1")).unwrap(), "it is this pod's now");
    }
}

/// A folder of the node that a pod has as a volume, and the snapshot that it is filled from.
struct Host {
    bench: Bench,
    snapshot: String,
    folder: PathBuf,
}

impl Host {
    fn new() -> Self {
        let bench = Bench::new();
        fill(&bench.volume("kubernetes.io~csi", "pvc-1"));
        let snapshot = bench.back_up().snapshot_id.unwrap();
        let folder = bench.folder.path().join("host/srv/data");
        std::fs::create_dir_all(&folder).unwrap();
        Self {
            bench,
            snapshot,
            folder,
        }
    }

    /// What an agent says that fills it for its owner; one that died before has said that it began.
    fn restore_for(&self, owner: &marker::Owner, was_begun: bool) -> Outcome {
        let mut task = self.bench.restoring("pods/shop/db-0/host", &self.snapshot, "host");
        let Volume::Restore(restore) = &mut task.volume else {
            unreachable!("it is one")
        };
        restore.spec.place.host_path = Some("/srv/data".into());
        restore.spec.restore_uid.clone_from(&owner.restore_uid);
        restore.spec.place.pod_uid.clone_from(&owner.pod_uid);
        if was_begun {
            restore.status = Some(PodVolumeStatus {
                start_timestamp: Some(Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH)),
                ..PodVolumeStatus::default()
            });
        }
        task.places.host = Some(self.bench.folder.path().join("host"));
        task.run().unwrap()
    }

    fn restore(&self) -> Outcome {
        self.restore_for(&owner(), false)
    }

    /// It is not filled, for this reason, and nothing in it is touched.
    fn is_left(&self, owner: &marker::Owner, was_begun: bool, why: &str) {
        let before = listing(&self.folder);
        let kept = self.restore_for(owner, was_begun);
        assert_eq!(kept.phase, VolumePhase::Failed, "{kept:?}");
        let said = kept.message.unwrap();
        assert!(said.contains(why), "{said}");
        assert_eq!(said == FOLDER_KEPT, why == FOLDER_KEPT);
        assert!(listing(&self.folder) == before, "it was touched");
    }
}

/// The folder may be anybody's, whatever else its pod waits for.
#[test]
fn a_folder_of_the_node_is_filled_if_it_is_empty_and_left_if_it_is_not() {
    let host = Host::new();
    let folder = &host.folder;
    std::fs::write(folder.join("theirs"), "theirs").unwrap();
    let kept = host.restore();
    assert_eq!(
        (kept.phase, kept.message.as_deref()),
        (VolumePhase::Failed, Some(FOLDER_KEPT))
    );
    assert_eq!(listing(folder).len(), 2, "it was touched");
    std::fs::remove_file(folder.join("theirs")).unwrap();
    assert_eq!(host.restore().phase, VolumePhase::Completed);
    assert!(folder.join("deep/1").exists() && folder.join(RESTORED).exists());
    // An agent that was killed at it left its mark, and what it had written.
    std::fs::rename(folder.join(RESTORED), folder.join(BEGUN)).unwrap();
    std::fs::remove_file(folder.join("deep/1")).unwrap();
    std::fs::write(folder.join("half"), "half").unwrap();
    assert_eq!(host.restore().phase, VolumePhase::Completed);
    assert!(folder.join("deep/1").exists() && !folder.join("half").exists());
    assert!(folder.join(RESTORED).exists() && !folder.join(BEGUN).exists());
}

/// A fill failed and its mark stayed; somebody put data there by hand; weeks later another restore took the folder for its own, and deleted them.
#[test]
fn a_folder_of_the_node_that_another_restore_has_begun_is_left_and_its_mark_is_named() {
    let host = Host::new();
    std::fs::write(host.folder.join("theirs"), "theirs").unwrap();
    // An agent of before wrote nothing into its mark.
    for mark in [
        "restore older-uid\npod uid-1\n",
        "restore restore-uid\npod older-pod\n",
        "",
    ] {
        std::fs::write(host.folder.join(BEGUN), mark).unwrap();
        host.is_left(&owner(), false, BEGUN);
        host.is_left(&owner(), true, BEGUN);
    }
    // As the message says, once somebody has looked.
    std::fs::remove_file(host.folder.join(BEGUN)).unwrap();
    assert!(marker::was_filled(&host.folder, Some("uid-1")).unwrap());
}

/// Two pods of one Restore have the same folder: the second task went on where the first had begun, and deleted what the first pod wrote.
#[test]
fn a_folder_of_the_node_that_two_pods_have_is_filled_once() {
    let host = Host::new();
    let second = of("restore-uid", "uid-2");
    assert_eq!(marker::claim(&host.folder, &owner()).unwrap(), marker::Stage::Begun);
    host.is_left(&second, false, BEGUN);
    assert_eq!(host.restore().phase, VolumePhase::Completed);
    // The first pod goes on.
    std::fs::write(host.folder.join("deep/1"), "the pod's own").unwrap();
    std::fs::write(host.folder.join("new"), "the pod's own").unwrap();
    host.is_left(&second, false, FOLDER_KEPT);
    host.is_left(&second, true, FOLDER_KEPT);
}

/// A file system of its own has `lost+found`, and a mark that the pod before might not remove stays: the folder was taken for full.
#[test]
fn a_folder_of_the_node_with_nothing_but_traces_is_empty() {
    let host = Host::new();
    std::fs::create_dir(host.folder.join("lost+found")).unwrap();
    marker::begin(&host.folder, &of("older-uid", "older-pod")).unwrap();
    marker::finish(&host.folder).unwrap();
    assert!(
        !marker::was_filled(&host.folder, Some("uid-1")).unwrap(),
        "its pod waits"
    );
    assert_eq!(host.restore().phase, VolumePhase::Completed);
    assert!(host.folder.join("deep/1").exists() && host.folder.join("lost+found").exists());
    assert!(marker::was_filled(&host.folder, Some("uid-1")).unwrap());
}

/// An agent was killed after it had said that it began and before it said that it left the folder alone: the next one said that it was filled.
#[test]
fn a_folder_of_the_node_was_filled_before_only_if_our_own_mark_says_so() {
    let host = Host::new();
    std::fs::write(host.folder.join("theirs"), "theirs").unwrap();
    host.is_left(&owner(), true, FOLDER_KEPT);
    marker::begin(&host.folder, &of("older-uid", "uid-1")).unwrap();
    marker::finish(&host.folder).unwrap();
    host.is_left(&owner(), true, FOLDER_KEPT);
    std::fs::remove_file(host.folder.join("theirs")).unwrap();
    assert_eq!(host.restore().message, None);
    // The agent dies before its last word: the next one, or the next attempt, says it.
    std::fs::write(host.folder.join("deep/1"), "the pod's own").unwrap();
    for was_begun in [true, false] {
        let before = listing(&host.folder);
        let again = host.restore_for(&owner(), was_begun);
        assert_eq!(again.phase, VolumePhase::Completed);
        assert!(again.message.unwrap().contains("filled before"));
        assert!(listing(&host.folder) == before, "it was touched");
    }
}

#[test]
fn what_was_told_the_same_is_open_once_while_it_is_used() {
    let bench = Bench::new();
    let task = bench.task(samples::backup("b", 1, None), &bench.writer);
    let open = |told: &Told| task.repositories.open(told, Access::Write).unwrap();
    let (first, second) = (open(&task.told), open(&task.told));
    assert!(Arc::ptr_eq(&first, &second));
    let other = bench.task(samples::backup("b", 1, None), &bench.reader);
    assert!(!Arc::ptr_eq(&first, &open(&other.told)));
}

#[test]
fn the_status_lists_twenty_failures_each_with_its_path() {
    let failed: Vec<_> = (0..30)
        .map(|number| (format!("a/{number}").into_bytes(), "denied".to_owned()))
        .collect();
    let listed = failures(&failed);
    assert_eq!((listed.len(), listed[0].as_str()), (20, "a/0: denied"));
    assert_eq!(failures(&[(b"a".to_vec(), "a vanished".into())]), ["a vanished"]);
}

#[test]
fn a_store_that_does_not_answer_is_waited_for_until_somebody_cancels() {
    let bench = Bench::new();
    fill(&bench.volume("kubernetes.io~csi", "pvc-1"));
    let mut task = bench.task(samples::backup("b", 1, None), &bench.writer);
    let mut handover = bench.handover(&bench.writer);
    handover.url = "s3://bucket/prefix".into();
    // Nobody listens there.
    handover.options.insert("endpoint".into(), "http://127.0.0.1:9".into());
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        handover.environment.insert(name.into(), "hunter2".into());
    }
    task.told = Told::new(handover);
    let counter = Arc::clone(&task.counter);
    let works = std::thread::spawn(move || task.run());
    let since = Instant::now();
    while counter.remarked().is_none() && since.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let remark = counter.remarked().unwrap();
    assert!(
        remark.contains("cannot be reached") && remark.contains("trying again") && !remark.contains("hunter2"),
        "{remark}"
    );
    counter.stop(Stop::Canceled);
    assert_eq!(works.join().unwrap().unwrap_err(), Stop::Canceled);
}
