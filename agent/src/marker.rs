//! Marks by which the agent and a pod that waits for its volumes understand each other, and by which an agent knows what it finds in a folder.
//!
//! ```text
//! agent:           makes BEGUN      fills the folder      renames BEGUN to RESTORED
//! init container:                                                                    sees RESTORED, removes it, ends
//! ```
//!
//! A mark says whose it is: two lines, `restore UID` and `pod UID`. One that says nothing is of an agent that wrote none, or did not come to it.
//!
//! What must hold: once the pod has gone on, nothing in the folder is touched again, whoever dies when. An agent that finds that a fill was begun and that
//! its mark is gone knows that it was finished, and that the folder is the pod's. An init container that is run again (the node was started anew) finds
//! the same, and does not wait for what will not come. No pod goes on while BEGUN is there, whosever it is: the folder is half of something.
//!
//! A volume that is the pod's alone is filled whatever is in it. A folder of the node may be anybody's: there nothing but [`Stage`] counts.

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// The folder is being filled.
pub const BEGUN: &str = ".ararat-restoring";
/// The folder is filled, and the pod has not gone on yet.
pub const RESTORED: &str = ".ararat-restored";
/// What file systems are born with.
const LOST_AND_FOUND: &str = "lost+found";
/// No mark is longer.
const MARK_BYTES_MAX: u64 = 4096;

/// Whose a mark is: the same in all attempts of a Restore at a pod, and for every agent that is started meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The Restore's UID.
    pub restore_uid: String,
    /// The UID of the pod that waits.
    pub pod_uid: String,
}

/// What a folder that may be anybody's is to one who would fill it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing is in it but `lost+found`, or the mark of somebody who has finished.
    Empty,
    /// The owner has begun: what is in it is the owner's.
    Begun,
    /// The owner has finished.
    Restored,
    /// Somebody else has begun, and may be at it or not.
    Foreign,
    /// What is in it is somebody's.
    Data,
}

impl Owner {
    fn text(&self) -> String {
        format!("restore {}\npod {}\n", self.restore_uid, self.pod_uid)
    }
}

/// Says what a folder is to its would-be owner.
pub fn stage(folder: &Path, owner: &Owner) -> io::Result<Stage> {
    let owner = owner.text();
    if let Some(text) = text_of(&folder.join(BEGUN))? {
        return Ok(if text == owner { Stage::Begun } else { Stage::Foreign });
    }
    if text_of(&folder.join(RESTORED))? == Some(owner) {
        return Ok(Stage::Restored);
    }
    Ok(if has_data(folder)? { Stage::Data } else { Stage::Empty })
}

/// Begins a folder that may be anybody's if it is empty, and says what it is then: never [`Stage::Empty`]. Of several who try it one begins.
pub fn claim(folder: &Path, owner: &Owner) -> io::Result<Stage> {
    let stage = stage(folder, owner)?;
    if stage != Stage::Empty {
        return Ok(stage);
    }
    let mark = folder.join(BEGUN);
    let file = match File::create_new(&mark) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(Stage::Foreign),
        made => made?,
    };
    // Somebody may have begun, finished and let a pod go on since it was looked; from here on, nobody does.
    match sign(file, folder, owner).and_then(|()| has_data(folder)) {
        Ok(false) => Ok(Stage::Begun),
        looked => {
            std::fs::remove_file(&mark)?;
            looked.map(|_| Stage::Data)
        }
    }
}

/// Begins a folder that is the pod's alone, whatever is in it. Nothing follows a link that somebody has put there.
pub fn begin(folder: &Path, owner: &Owner) -> io::Result<()> {
    let mark = folder.join(BEGUN);
    let file = match File::create_new(&mark) {
        // It is made the owner's where it stands: a moment without it would let the pod go on.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            File::from(rustix::fs::open(&mark, flags, Mode::empty())?)
        }
        made => made?,
    };
    sign(file, folder, owner)
}

/// Says that the folder is filled.
pub fn finish(folder: &Path) -> io::Result<()> {
    let mark = folder.join(BEGUN);
    // Whoever waits may be anybody. The file was made here, or opened as what it is: it is no link.
    std::fs::set_permissions(&mark, Permissions::from_mode(0o644))?;
    std::fs::rename(&mark, folder.join(RESTORED))?;
    File::open(folder)?.sync_all()
}

/// Whether the folder was filled for the pod with this UID, if that is known, now or before: its mark says so, or has been removed from what it stood
/// beside. Where nothing is, nothing was filled: an agent that finds this after a start of the node fills the folder anew, and there is nothing in it to
/// be spoiled.
pub fn was_filled(folder: &Path, pod_uid: Option<&str>) -> io::Result<bool> {
    if is_there(&folder.join(BEGUN))? {
        return Ok(false);
    }
    let restored = text_of(&folder.join(RESTORED))?;
    let is_filled = restored.is_some_and(|text| !is_of_another(&text, pod_uid)) || has_data(folder)?;
    // It may have been begun since, but not finished and begun again.
    Ok(is_filled && !is_there(&folder.join(BEGUN))?)
}

/// Whether the mark of a folder that was filled is to stay when the pod with this UID goes on: nothing else says that it was filled, or another pod has
/// yet to see it.
pub fn stays(folder: &Path, pod_uid: Option<&str>) -> io::Result<bool> {
    let restored = text_of(&folder.join(RESTORED))?;
    Ok(restored.is_some_and(|text| is_of_another(&text, pod_uid)) || !has_data(folder)?)
}

/// Writes whose a new mark is. It is on disk before anything else of the fill: half of the data without its mark would look like somebody's.
fn sign(mut mark: File, folder: &Path, owner: &Owner) -> io::Result<()> {
    mark.write_all(owner.text().as_bytes())?;
    mark.sync_all()?;
    File::open(folder)?.sync_all()
}

/// Whether a mark is of another pod than this one, as far as both are known.
fn is_of_another(text: &str, pod_uid: Option<&str>) -> bool {
    let of = text.lines().find_map(|line| line.strip_prefix("pod "));
    of.zip(pod_uid).is_some_and(|(of, pod_uid)| of != pod_uid)
}

/// Whether anything is in the folder but marks and `lost+found`. What only bears such a name counts.
fn has_data(folder: &Path) -> io::Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        let is_mark = kind.is_file() && (name == BEGUN || name == RESTORED);
        let is_born_with = kind.is_dir() && name == LOST_AND_FOUND;
        if !(is_mark || is_born_with) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a mark says, if it is there; nothing when it is no file. Whoever may write to the folder may have put anything there.
fn text_of(mark: &Path) -> io::Result<Option<String>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(mark, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        // A link, or a socket.
        Err(Errno::LOOP | Errno::NXIO) => return Ok(Some(String::new())),
        Err(error) => return Err(error.into()),
    };
    let mut text = Vec::new();
    if file.metadata()?.is_file() {
        file.take(MARK_BYTES_MAX).read_to_end(&mut text)?;
    }
    Ok(Some(String::from_utf8_lossy(&text).into_owned()))
}

/// Whether something has this path; a link counts for itself.
fn is_there(path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
pub mod samples {
    //! Owners for tests.

    use super::Owner;

    /// The owner that the sample of a PodVolumeRestore has.
    pub fn owner() -> Owner {
        of("restore-uid", "uid-1")
    }

    /// The owner of this Restore and this pod.
    pub fn of(restore_uid: &str, pod_uid: &str) -> Owner {
        Owner {
            restore_uid: restore_uid.into(),
            pod_uid: pod_uid.into(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::samples::{of, owner};
    use super::*;

    #[test]
    fn a_fill_is_finished_once_and_never_begun_again() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let was_filled = || {
            let known = was_filled(folder, Some("uid-1")).unwrap();
            assert_eq!(known, was_filled(folder, None).unwrap(), "it is the pod's own");
            known
        };
        begin(folder, &owner()).unwrap();
        std::fs::write(folder.join("data"), "data").unwrap();
        assert!(!was_filled());
        begin(folder, &owner()).unwrap();
        finish(folder).unwrap();
        assert!(was_filled(), "the pod has not seen it yet");
        assert!(!stays(folder, Some("uid-1")).unwrap());
        let mode = folder.join(RESTORED).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        std::fs::remove_file(folder.join(RESTORED)).unwrap();
        assert!(was_filled(), "the pod has gone on");
        std::fs::remove_file(folder.join("data")).unwrap();
        assert!(!was_filled(), "a folder that was lost is filled anew");
    }

    #[test]
    fn what_is_in_a_folder_says_whose_it_is() {
        use Stage::{Begun, Data, Empty, Foreign, Restored};
        let (own, other) = (owner().text(), of("older-uid", "uid-1").text());
        let twin = of("restore-uid", "uid-2").text();
        // What is in it, a slash for folders; what it is to its owner; whether the pod goes on.
        let table: [(&[(&str, &str)], Stage, bool); 16] = [
            (&[], Empty, false),
            (&[("lost+found/", "")], Empty, false),
            (&[(RESTORED, &twin)], Empty, false),
            (&[("lost+found/", ""), (RESTORED, &twin)], Empty, false),
            (&[(RESTORED, "")], Empty, true),
            (&[(RESTORED, &own)], Restored, true),
            (&[(RESTORED, &own), ("data", "")], Restored, true),
            (&[(RESTORED, &twin), ("data", "")], Data, true),
            (&[("data", "")], Data, true),
            (&[("lost+found", "a file")], Data, true),
            (&[(".ararat-restored/", "")], Data, true),
            (&[(BEGUN, &own), ("data", "")], Begun, false),
            (&[(BEGUN, &own), (RESTORED, &own)], Begun, false),
            (&[(BEGUN, &other), ("data", "")], Foreign, false),
            (&[(BEGUN, &twin)], Foreign, false),
            (&[(BEGUN, ""), ("data", "")], Foreign, false),
        ];
        for (content, expected, goes_on) in table {
            let folder = tempfile::tempdir().unwrap();
            for (name, text) in content {
                match name.strip_suffix('/') {
                    Some(name) => std::fs::create_dir(folder.path().join(name)).unwrap(),
                    None => std::fs::write(folder.path().join(name), text).unwrap(),
                }
            }
            assert_eq!(stage(folder.path(), &owner()).unwrap(), expected, "{content:?}");
            let filled = was_filled(folder.path(), Some("uid-1")).unwrap();
            assert_eq!(filled, goes_on, "{content:?}");
        }
    }

    #[test]
    fn one_of_two_begins_and_what_is_somebodys_is_not_even_marked() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let (first, second) = (owner(), of("restore-uid", "uid-2"));
        std::fs::create_dir(folder.join(LOST_AND_FOUND)).unwrap();
        std::thread::scope(|scope| {
            let tried = [&first, &second].map(|owner| scope.spawn(move || claim(folder, owner).unwrap()));
            let stages = tried.map(|tried| tried.join().unwrap());
            assert!(
                [[Stage::Begun, Stage::Foreign], [Stage::Foreign, Stage::Begun]].contains(&stages),
                "{stages:?}"
            );
        });
        std::fs::remove_file(folder.join(BEGUN)).unwrap();
        assert_eq!(claim(folder, &first).unwrap(), Stage::Begun);
        assert_eq!(
            claim(folder, &first).unwrap(),
            Stage::Begun,
            "an agent after it goes on"
        );
        std::fs::write(folder.join("data"), "data").unwrap();
        finish(folder).unwrap();
        assert_eq!(claim(folder, &first).unwrap(), Stage::Restored);
        assert_eq!(claim(folder, &second).unwrap(), Stage::Data);
        assert!(!folder.join(BEGUN).exists());
    }

    #[test]
    fn a_mark_that_somebody_has_made_of_something_else_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (marked, theirs) = (folder.path().join("marked"), folder.path().join("theirs"));
        std::fs::create_dir(&marked).unwrap();
        std::fs::write(&theirs, owner().text()).unwrap();
        std::os::unix::fs::symlink(&theirs, marked.join(BEGUN)).unwrap();
        assert_eq!(claim(&marked, &owner()).unwrap(), Stage::Foreign);
        assert!(begin(&marked, &of("other", "other")).is_err());
        assert_eq!(std::fs::read_to_string(&theirs).unwrap(), owner().text());
        std::fs::remove_file(marked.join(BEGUN)).unwrap();
        // Whoever opens a pipe to read waits for one who writes.
        let made = std::process::Command::new("mkfifo").arg(marked.join(RESTORED)).status();
        assert!(made.unwrap().success());
        assert_eq!(claim(&marked, &owner()).unwrap(), Stage::Data);
    }
}
