//! A mounted file system that becomes another one: larger, or read-only.

use std::path::Path;
use std::process::Command;

/// Gives what is mounted there other options.
pub fn remount(at: &Path, options: &str) {
    let mut command = Command::new("mount");
    command.args(["-o", &format!("remount,{options}")]).arg(at);
    assert!(command.status().unwrap().success());
}
