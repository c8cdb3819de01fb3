//! Files by which the agent and a pod that waits for its emptyDir volumes understand each other.
//!
//! ```text
//! agent:           makes BEGUN      fills the folder      renames BEGUN to RESTORED
//! init container:                                                                    sees RESTORED, removes it, ends
//! ```
//!
//! What must hold: once the pod has gone on, nothing in the folder is touched again, whoever dies when. An agent that finds that a fill was begun and that
//! its mark is gone knows that it was finished, and that the folder is the pod's. An init container that is run again (the node was started anew) finds
//! the same, and does not wait for what will not come.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The folder is being filled.
pub const BEGUN: &str = ".ararat-restoring";
/// The folder is filled, and the pod has not gone on yet.
pub const RESTORED: &str = ".ararat-restored";

/// Whether the folder was filled, now or before: its mark says so, or has been removed from what it stood beside. Where nothing is, nothing was filled: an
/// agent that finds this after a start of the node fills the folder anew, and there is nothing in it to be spoiled.
pub fn was_filled(folder: &Path) -> io::Result<bool> {
    if is_there(&folder.join(BEGUN))? {
        return Ok(false);
    }
    let any = std::fs::read_dir(folder)?.next().is_some();
    // It may have been begun since, but not finished and begun again.
    Ok(any && !is_there(&folder.join(BEGUN))?)
}

/// Whether something has this path; a link counts for itself.
fn is_there(path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Says that the folder is being filled. Nothing follows a link that somebody has put there.
pub fn begin(folder: &Path) -> io::Result<()> {
    let mark = folder.join(BEGUN);
    match File::create_new(&mark) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}

/// Says that the folder is filled.
pub fn finish(folder: &Path) -> io::Result<()> {
    let mark = folder.join(BEGUN);
    // Whoever waits may be anybody. The file was made here: it is no link.
    std::fs::set_permissions(&mark, Permissions::from_mode(0o644))?;
    std::fs::rename(&mark, folder.join(RESTORED))?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_fill_is_finished_once_and_never_begun_again() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        begin(folder).unwrap();
        std::fs::write(folder.join("data"), "data").unwrap();
        assert!(!was_filled(folder).unwrap());
        begin(folder).unwrap();
        finish(folder).unwrap();
        assert!(was_filled(folder).unwrap(), "the pod has not seen it yet");
        let mode = folder.join(RESTORED).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        std::fs::remove_file(folder.join(RESTORED)).unwrap();
        assert!(was_filled(folder).unwrap(), "the pod has gone on");
        std::fs::remove_file(folder.join("data")).unwrap();
        assert!(!was_filled(folder).unwrap(), "a folder that was lost is filled anew");
    }
}
