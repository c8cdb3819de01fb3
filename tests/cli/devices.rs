//! Block devices from the command line: backed up as one file each, and restored onto another device. As root alone, on loop devices.

use std::os::unix::fs::FileExt;

use crate::home::{Home, noise};
use crate::loop_device::LoopDevice;

fn write(device: &LoopDevice, offset: u64, bytes: &[u8]) {
    let device = std::fs::File::options().write(true).open(&device.path).unwrap();
    device.write_all_at(bytes, offset).unwrap();
    device.sync_all().unwrap();
}

fn read(device: &LoopDevice) -> Vec<u8> {
    std::fs::read(&device.path).unwrap()
}

const SIZE: u64 = 24 << 20;

/// A home and a device with noise in three places and holes between them.
fn with_device() -> Option<(Home, LoopDevice)> {
    let home = Home::with_repository();
    let device = LoopDevice::new(&home.path("first"), SIZE)?;
    write(&device, 0, &noise(1, 4096));
    write(&device, 3 << 20, &noise(2, 6 << 20));
    write(&device, SIZE - 5000, &noise(3, 5000));
    Some((home, device))
}

#[test]
fn a_device_comes_back_on_another_one_byte_for_byte() {
    let Some((home, device)) = with_device() else { return };
    let first = home.json(["backup", &device.path]);
    assert_eq!(
        (&first["counts"]["files"], &first["counts"]["bytes"]),
        (&1.into(), &SIZE.into()),
        "{first}"
    );
    // Zeros take no space in the repository.
    let stored = first["counts"]["bytes_stored"].as_u64().unwrap();
    assert!((6 << 20..8 << 20).contains(&stored), "{first}");
    let old = read(&device);

    write(&device, 5 << 20, &noise(4, 8192));
    write(&device, 20 << 20, &noise(5, 512));
    let new = read(&device);
    let second = home.json(["backup", &device.path]);
    assert_eq!(second["parent"], first["snapshot"]);
    let added = second["counts"]["bytes_new"].as_u64().unwrap();
    assert!(added > 0 && added < 4 << 20, "{second}");

    // What was on the target is overwritten, also where the snapshot has zeros.
    let Some(target) = LoopDevice::new(&home.path("second"), SIZE) else {
        return;
    };
    write(&target, 0, &noise(6, usize::try_from(SIZE).unwrap()));
    for (snapshot, bytes) in [("latest", &new), ("latest~1", &old), ("latest", &new)] {
        let what = format!("{snapshot}:{}", device.path);
        let restored = home.json(["restore", &what, "--target", &target.path, "--verify"]);
        assert_eq!(
            (&restored["verified"], &restored["failed"]),
            (&1.into(), &0.into()),
            "{restored}"
        );
        assert!(&read(&target) == bytes, "{snapshot} is not what it was");
    }
    // The backing file too: it was not a file of that name that was written, but the device.
    assert!(std::fs::read(home.path("second")).unwrap() == new);
    let old_device = format!("latest~1:{}", device.path);
    let output = home.command().args(["repo", "dump", &old_device]).output().unwrap();
    assert!(output.stdout == old);
    assert_eq!(home.json(["check", "--read-data"])["healthy"], true);
}

#[test]
fn a_device_that_is_too_small_is_refused_and_stays_as_it_was() {
    let Some((home, device)) = with_device() else { return };
    home.ok(["backup", &device.path]);
    let Some(small) = LoopDevice::new(&home.path("small"), SIZE / 2) else {
        return;
    };
    let what = format!("latest:{}", device.path);
    let ran = home.repo(["restore", &what, "--target", &small.path]);
    ran.ends(2)
        .says(&[&small.path, &(SIZE / 2).to_string(), &SIZE.to_string()]);
    assert!(read(&small).iter().all(|byte| *byte == 0));
    // Nor is a whole tree written onto a device.
    home.write("source/file", "x");
    home.write("source/other", "x");
    home.backup();
    home.repo(["restore", "latest", "--target", &small.path])
        .ends(2)
        .says(&["single file"]);
    assert!(read(&small).iter().all(|byte| *byte == 0));
    // As a folder it is a file like any other, without a device at hand.
    let target = home.path("restored");
    home.ok([
        "restore",
        &what.replace("latest", "latest~1"),
        "--target",
        target.to_str().unwrap(),
    ]);
    let file = target.join(device.path.rsplit('/').next().unwrap());
    assert!(std::fs::read(file).unwrap() == read(&device));
}
