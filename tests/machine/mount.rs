//! A small file system in memory, which root alone may mount.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::skipped::skipped;

/// Unmounted when dropped.
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
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
