//! Restoring onto a block device.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use engine::verbs::restore::{RestoreOptions, Selection};
use engine::words::Error;

use crate::bench::{Bench, noise};
use crate::verb::{run, to, try_restore};

#[test]
fn a_device_that_is_none_or_too_small_is_refused_before_anything_is_written() {
    let Some(device) = LoopDevice::new(8 << 20) else { return };
    let bench = Bench::new();
    let image = fs::File::create(bench.path("image")).unwrap();
    image.write_all_at(&noise(1, 1_000_000), 1_000_000).unwrap();
    image.write_all_at(&noise(2, 10_000), 4_190_000).unwrap();
    image.set_len(6_000_000).unwrap();
    bench.write("toobig", noise(3, 9 << 20));
    bench.backup();
    fs::write(&device.backing, vec![0xff; 8 << 20]).unwrap();
    let target = Path::new(&device.name);
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

/// A loop device over a file, where this machine has them.
struct LoopDevice {
    name: String,
    backing: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

impl LoopDevice {
    fn new(size: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let backing = folder.path().join("backing");
        fs::File::create(&backing).unwrap().set_len(size).unwrap();
        let output = std::process::Command::new("losetup")
            .args(["--show", "-f"])
            .arg(&backing)
            .output()
            .ok()?;
        let name = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        output.status.success().then_some(Self {
            name,
            backing,
            _folder: folder,
        })
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = std::process::Command::new("losetup").args(["-d", &self.name]).status();
    }
}
