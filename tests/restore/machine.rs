//! A loop device over a file: for tests of block devices, which root alone may make.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Detached when dropped.
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
                let test = std::thread::current().name().unwrap_or("a test").to_owned();
                // Not eprintln!, which the test harness keeps to itself as long as a test passes.
                writeln!(
                    std::io::stderr(),
                    "skipped {test}: this needs losetup and the right to it"
                )
                .ok();
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
