//! Block devices from the command line: backed up as one file each, and restored onto another device. As root alone, on loop devices.

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::home::{Home, noise};

/// A loop device over a file, detached when dropped.
struct LoopDevice {
    name: String,
    backing: PathBuf,
}

impl LoopDevice {
    /// None, said aloud, where nobody may make one.
    fn new(home: &Home, backing: &str, size: u64) -> Option<Self> {
        let backing = home.write(backing, "");
        std::fs::File::create(&backing).unwrap().set_len(size).unwrap();
        let mut command = std::process::Command::new("losetup");
        let made = command.args(["--show", "-f"]).arg(&backing).output();
        match made {
            Ok(output) if output.status.success() => Some(Self {
                name: String::from_utf8(output.stdout).unwrap().trim().to_owned(),
                backing,
            }),
            _ => {
                let test = std::thread::current().name().unwrap_or("a test").to_owned();
                // Not eprintln!, which the test harness keeps to itself as long as a test passes.
                let why = "this needs losetup and the right to it";
                writeln!(std::io::stderr(), "SKIPPED {test}: {why}").ok();
                None
            }
        }
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        let device = std::fs::File::options().write(true).open(&self.name).unwrap();
        device.write_all_at(bytes, offset).unwrap();
        device.sync_all().unwrap();
    }

    fn read(&self) -> Vec<u8> {
        std::fs::read(&self.name).unwrap()
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = std::process::Command::new("losetup").args(["-d", &self.name]).status();
    }
}

const SIZE: u64 = 24 << 20;

/// A home and a device with noise in three places and holes between them.
fn with_device() -> Option<(Home, LoopDevice)> {
    let home = Home::with_repository();
    let device = LoopDevice::new(&home, "first", SIZE)?;
    device.write(0, &noise(1, 4096));
    device.write(3 << 20, &noise(2, 6 << 20));
    device.write(SIZE - 5000, &noise(3, 5000));
    Some((home, device))
}

#[test]
fn a_device_comes_back_on_another_one_byte_for_byte() {
    let Some((home, device)) = with_device() else { return };
    let first = home.json(["backup", &device.name]);
    assert_eq!(
        (&first["counts"]["files"], &first["counts"]["bytes"]),
        (&1.into(), &SIZE.into()),
        "{first}"
    );
    // Zeros take no space in the repository.
    let stored = first["counts"]["bytes_stored"].as_u64().unwrap();
    assert!((6 << 20..8 << 20).contains(&stored), "{first}");
    let old = device.read();

    device.write(5 << 20, &noise(4, 8192));
    device.write(20 << 20, &noise(5, 512));
    let new = device.read();
    let second = home.json(["backup", &device.name]);
    assert_eq!(second["parent"], first["snapshot"]);
    let added = second["counts"]["bytes_new"].as_u64().unwrap();
    assert!(added > 0 && added < 4 << 20, "{second}");

    // What was on the target is overwritten, also where the snapshot has zeros.
    let Some(target) = LoopDevice::new(&home, "second", SIZE) else {
        return;
    };
    target.write(0, &noise(6, usize::try_from(SIZE).unwrap()));
    for (snapshot, bytes) in [("latest", &new), ("latest~1", &old), ("latest", &new)] {
        let what = format!("{snapshot}:{}", device.name);
        let restored = home.json(["restore", &what, "--target", &target.name, "--verify"]);
        assert_eq!(
            (&restored["verified"], &restored["failed"]),
            (&1.into(), &0.into()),
            "{restored}"
        );
        assert!(&target.read() == bytes, "{snapshot} is not what it was");
    }
    // The backing file too: it was not a file of that name that was written, but the device.
    assert!(std::fs::read(&target.backing).unwrap() == new);
    let old_device = format!("latest~1:{}", device.name);
    let output = home.command().args(["repo", "dump", &old_device]).output().unwrap();
    assert!(output.stdout == old);
    assert_eq!(home.json(["check", "--read-data"])["healthy"], true);
}

#[test]
fn a_device_that_is_too_small_is_refused_and_stays_as_it_was() {
    let Some((home, device)) = with_device() else { return };
    home.ok(["backup", &device.name]);
    let Some(small) = LoopDevice::new(&home, "small", SIZE / 2) else {
        return;
    };
    let what = format!("latest:{}", device.name);
    let ran = home.repo(["restore", &what, "--target", &small.name]);
    ran.ends(2)
        .says(&[&small.name, &(SIZE / 2).to_string(), &SIZE.to_string()]);
    assert!(small.read().iter().all(|byte| *byte == 0));
    // Nor is a whole tree written onto a device.
    home.write("source/file", "x");
    home.write("source/other", "x");
    home.backup();
    home.repo(["restore", "latest", "--target", &small.name])
        .ends(2)
        .says(&["single file"]);
    assert!(small.read().iter().all(|byte| *byte == 0));
    // As a folder it is a file like any other, without a device at hand.
    let target = home.path("restored");
    home.ok([
        "restore",
        &what.replace("latest", "latest~1"),
        "--target",
        target.to_str().unwrap(),
    ]);
    let file = target.join(device.name.rsplit('/').next().unwrap());
    assert!(std::fs::read(file).unwrap() == device.read());
}
