//! Restoring onto a block device.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::verbs::restore::{RestoreOptions, Selection, restore};
use engine::words::{Error, Progress};

use crate::bench::{Bench, noise};
use crate::loop_device::LoopDevice;
use crate::verb::{run, to, try_restore};

#[test]
fn a_device_that_is_none_or_too_small_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let backing = folder.path().join("backing");
    let Some(device) = LoopDevice::new(&backing, 8 << 20) else {
        return;
    };
    let bench = Bench::new();
    let image = fs::File::create(bench.path("image")).unwrap();
    image.write_all_at(&noise(1, 1_000_000), 1_000_000).unwrap();
    image.write_all_at(&noise(2, 10_000), 4_190_000).unwrap();
    image.set_len(6_000_000).unwrap();
    bench.write("toobig", noise(3, 9 << 20));
    bench.backup();
    fs::write(&backing, vec![0xff; 8 << 20]).unwrap();
    let target = Path::new(&device.path);
    let all = try_restore(&bench, &to(target)).unwrap_err();
    assert!(
        matches!(&all, Error::Invalid(text) if text.contains("takes a single file")),
        "{all}"
    );
    let big = RestoreOptions {
        selection: Selection::of_path(b"toobig"),
        ..to(target)
    };
    let big = try_restore(&bench, &big).unwrap_err();
    assert!(
        big.to_string().contains("has 8388608 bytes, but 9437184 are needed"),
        "{big}"
    );
    assert!(fs::read(target).unwrap().iter().all(|byte| *byte == 0xff));
    let report = run(
        &bench,
        &RestoreOptions {
            selection: Selection::of_path(b"image"),
            ..to(target)
        },
    );
    assert_eq!(report.bytes, 6_000_000);
    let bytes = fs::read(target).unwrap();
    assert!(bytes[..6_000_000] == fs::read(bench.path("image")).unwrap());
    assert!(
        bytes[6_000_000..].iter().all(|byte| *byte == 0xff),
        "nothing is written behind the end"
    );
}

/// `--verify` was not done on a device, and nobody was told.
#[test]
fn what_was_written_to_a_device_is_read_back_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let backing = folder.path().join("backing");
    let Some(device) = LoopDevice::new(&backing, 8 << 20) else {
        return;
    };
    let bench = Bench::new();
    let image = fs::File::create(bench.path("image")).unwrap();
    image.write_all_at(&noise(1, 3_000_000), 1_000_000).unwrap();
    image.set_len(6_000_000).unwrap();
    bench.backup();
    fs::write(&backing, vec![0xff; 8 << 20]).unwrap();
    let options = RestoreOptions {
        verify: true,
        ..to(Path::new(&device.path))
    };
    let report = run(&bench, &options);
    assert_eq!((report.verified, report.bytes), (1, 6_000_000));
    for offset in [10, 3_500_000, 5_999_999] {
        let repository = bench.open();
        let snapshot = repository.find_snapshot("latest", &Default::default()).unwrap();
        let spoiler = Spoiler {
            device: device.path.clone(),
            offset,
            bytes: AtomicU64::new(0),
        };
        let report = restore(&repository, &snapshot, &options, &spoiler).unwrap();
        assert_eq!((report.verified, report.failed), (0, 1), "{report:?}");
        let (path, why) = &report.failures[0];
        assert!(
            path == b"image" && why.starts_with("It differs from the snapshot when read back"),
            "{why}"
        );
        assert_eq!(spoiler.bytes.into_inner(), 6_000_000);
    }
}

/// Changes a byte of the device before it is read back, and counts what is shown as done.
struct Spoiler {
    device: String,
    offset: u64,
    bytes: AtomicU64,
}

impl Progress for Spoiler {
    fn stage(&self, name: &str, _items: &'static str) {
        if name == "Verifying" {
            let device = fs::File::options().write(true).open(&self.device).unwrap();
            device.write_all_at(b"!", self.offset).unwrap();
        }
    }

    fn done(&self, _: u64, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}
