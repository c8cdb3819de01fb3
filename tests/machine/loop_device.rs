//! A block device over a file, which root alone may make.

use std::path::Path;
use std::process::Command;

use crate::skipped::skipped;

/// Detached when dropped.
pub struct LoopDevice {
    /// Of the device.
    pub path: String,
}

impl LoopDevice {
    /// A device of so many bytes over a new file of holes. None, said aloud, where nobody may make one.
    pub fn new(file: &Path, size: u64) -> Option<Self> {
        std::fs::File::create(file).unwrap().set_len(size).unwrap();
        let made = Command::new("losetup").args(["--find", "--show"]).arg(file).output();
        match made {
            Ok(output) if output.status.success() => Some(Self {
                path: String::from_utf8(output.stdout).unwrap().trim().to_owned(),
            }),
            Ok(_) | Err(_) => {
                skipped("this needs losetup and the right to it");
                None
            }
        }
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.path]).status();
    }
}
