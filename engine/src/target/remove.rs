//! Removing what is in a target but not in the snapshot, or in the way: never following a link, never entering another file system,
//! with few descriptors however deep it goes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::failure::{Failure, Tried};
use super::folder::Folder;
use super::name::check_name;

/// Deeper than this, a folder is first moved up to the top, so that no more descriptors than this are open.
const DEPTH_MAX: usize = 64;

/// The names in a folder, without `.` and `..`, as the system lists them.
pub(super) fn names(folder: impl AsFd) -> Result<impl Iterator<Item = Result<Vec<u8>, Errno>>, Errno> {
    Ok(Dir::read_from(folder)?
        .map(|entry| entry.map(|entry| entry.file_name().to_bytes().to_vec()))
        .filter(|name| !matches!(name.as_deref(), Ok(b"." | b".."))))
}

impl Folder {
    /// All names in the folder, sorted bytewise: as an entry stream has them. Nothing for a folder that this restore made.
    pub fn list(&self) -> Result<Names, Failure> {
        let mut list = Names::default();
        if self.is_fresh() {
            return Ok(list);
        }
        let descriptor = self.descriptor().tried("open the folder")?;
        for name in names(&descriptor).tried("read the folder")? {
            // What does not fit is not listed, and so never removed.
            let _ = list.push(&name.tried("read the folder")?);
        }
        list.sort();
        Ok(list)
    }

    /// Removes what has this name, with everything in it. Returns how many things were removed.
    pub fn remove(&self, name: &[u8]) -> Result<u64, Failure> {
        check_name(name).map_err(|bad| Failure::refused(bad.to_string()))?;
        let descriptor = self.descriptor().tried("open the folder")?;
        match rustix::fs::unlinkat(&descriptor, name, AtFlags::empty()) {
            Ok(()) => return Ok(1),
            Err(Errno::NOENT) => return Ok(0),
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(error) => return Err(error).tried("remove it"),
        }
        remove_folder(descriptor.as_fd(), name, || self.target().temporary_name())
    }

    /// Removes an empty folder. Fails when something is in it.
    pub fn remove_empty(&self, name: &[u8]) -> Result<(), Failure> {
        check_name(name).map_err(|bad| Failure::refused(bad.to_string()))?;
        let descriptor = self.descriptor().tried("open the folder")?;
        rustix::fs::unlinkat(&descriptor, name, AtFlags::REMOVEDIR).tried("remove the folder that is in its place")
    }
}

/// Many names in little memory.
#[derive(Clone, Debug, Default)]
pub struct Names {
    bytes: Vec<u8>,
    /// Where each name begins and how long it is.
    places: Vec<(u32, u16)>,
}

impl Names {
    /// Adds a name. Returns whether it fits: a folder of more than 4 GiB of names is too much.
    #[must_use]
    pub fn push(&mut self, name: &[u8]) -> bool {
        let (Ok(start), Ok(length)) = (u32::try_from(self.bytes.len()), u16::try_from(name.len())) else {
            return false;
        };
        self.bytes.extend_from_slice(name);
        self.places.push((start, length));
        true
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.places
            .sort_unstable_by(|left, right| slice(bytes, *left).cmp(slice(bytes, *right)));
    }

    /// Keeps the names that `keep` says yes to.
    pub fn retain(&mut self, keep: impl Fn(&[u8]) -> bool) {
        let bytes = &self.bytes;
        self.places.retain(|place| keep(slice(bytes, *place)));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Where a name is in a sorted list.
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        self.places
            .binary_search_by(|place| slice(&self.bytes, *place).cmp(name))
            .ok()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.places.iter().map(|place| slice(&self.bytes, *place))
    }

    /// The name at `index`, if there are so many.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        self.places.get(index).map(|place| slice(&self.bytes, *place))
    }
}

fn slice(bytes: &[u8], (start, length): (u32, u16)) -> &[u8] {
    &bytes[start as usize..start as usize + usize::from(length)]
}

struct Level {
    folder: OwnedFd,
    name: Vec<u8>,
    rest: Dir,
    /// Something was removed since the listing began, so that a second look may find more.
    again: bool,
}

fn open_level(parent: BorrowedFd<'_>, name: Vec<u8>, device: u64) -> Result<Level, Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = match rustix::fs::openat(parent, &name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            // Its owner may remove what it has locked.
            super::metadata::change_mode(parent, &name, 0o700).tried("open the folder to remove it")?;
            rustix::fs::openat(parent, &name, flags, Mode::empty())
        }
        opened => opened,
    }
    .tried("open the folder to remove it")?;
    if rustix::fs::fstat(&folder).tried("look at the folder to remove")?.st_dev != device {
        return Err(Failure::refused(
            "Another file system is mounted there, so it is not removed",
        ));
    }
    let rest = Dir::read_from(&folder).tried("read the folder to remove")?;
    Ok(Level {
        folder,
        name,
        rest,
        again: false,
    })
}

fn remove_folder(parent: BorrowedFd<'_>, name: &[u8], temporary_name: impl Fn() -> Vec<u8>) -> Result<u64, Failure> {
    let device = rustix::fs::fstat(parent).tried("look at the folder")?.st_dev;
    let mut removed = 0;
    let mut levels = Vec::new();
    let mut level = open_level(parent, name.to_vec(), device)?;
    loop {
        if let Some(entry) = level.rest.next() {
            let entry = entry.tried("read the folder to remove")?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let unknown = entry.file_type() == FileType::Unknown;
            if !(entry.file_type().is_dir() || unknown && is_folder(&level.folder, name)?) {
                rustix::fs::unlinkat(&level.folder, name, AtFlags::empty()).tried("remove it")?;
                (removed, level.again) = (removed + 1, true);
            } else if levels.len() < DEPTH_MAX {
                let below = open_level(level.folder.as_fd(), name.to_vec(), device)?;
                levels.push(std::mem::replace(&mut level, below));
            } else if let Some(top) = levels.first_mut() {
                // Too deep: it continues at the top, which sees it in its second look.
                rustix::fs::renameat(&level.folder, name, &top.folder, temporary_name())
                    .tried("move a deep folder to remove it")?;
                (level.again, top.again) = (true, true);
            }
            continue;
        }
        // The end of the listing. Some file systems leave entries out while others are removed, so a second look may find more.
        let above = levels.last().map_or(parent, |above| above.folder.as_fd());
        match rustix::fs::unlinkat(above, &level.name, AtFlags::REMOVEDIR) {
            Ok(()) => {
                removed += 1;
                let Some(above) = levels.pop() else { return Ok(removed) };
                level = above;
                level.again = true;
            }
            Err(Errno::NOTEMPTY | Errno::EXIST) if level.again => {
                level.again = false;
                level.rest = Dir::read_from(&level.folder).tried("read the folder to remove")?;
            }
            Err(error) => return Err(error).tried("remove the folder"),
        }
    }
}

fn is_folder(folder: &OwnedFd, name: &[u8]) -> Result<bool, Failure> {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).tried("look at what to remove")?;
    Ok(FileType::from_raw_mode(stat.st_mode).is_dir())
}
