//! What a test needs that not every machine gives: block devices over files, and small file systems. Where it is missing, that is said aloud.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Says on the terminal that the running test is skipped, and why.
pub fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Not eprintln!, which the test harness keeps to itself as long as a test passes.
    writeln!(std::io::stderr(), "SKIPPED {test}: {why}").ok();
}

/// A loop device over a file. Detached when dropped.
pub struct LoopDevice {
    /// Of the device.
    pub path: String,
    /// Of the file below it.
    pub backing: PathBuf,
}

impl LoopDevice {
    /// A device over this file. None, said aloud, where nobody may make one.
    pub fn over(backing: &Path) -> Option<Self> {
        let made = Command::new("losetup").args(["--find", "--show"]).arg(backing).output();
        match made {
            Ok(output) if output.status.success() => Some(Self {
                path: String::from_utf8(output.stdout).unwrap().trim().to_owned(),
                backing: backing.to_owned(),
            }),
            Ok(_) | Err(_) => {
                skipped("this needs losetup and the right to it");
                None
            }
        }
    }

    /// A device over a new file of holes.
    pub fn new(backing: &Path, size: u64) -> Option<Self> {
        std::fs::File::create(backing).unwrap().set_len(size).unwrap();
        Self::over(backing)
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.path]).status();
    }
}

/// A small file system in memory. Unmounted when dropped.
pub struct Mount(PathBuf);

impl Mount {
    /// Mounted there with these options of tmpfs. None, said aloud, where nobody may mount.
    pub fn new(at: &Path, options: &str) -> Option<Self> {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at);
        if command.output().is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        skipped("this needs the right to mount");
        None
    }

    /// Gives it other options.
    pub fn remount(&self, options: &str) {
        let mut command = Command::new("mount");
        command.args(["-o", &format!("remount,{options}")]).arg(&self.0);
        assert!(command.status().unwrap().success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
