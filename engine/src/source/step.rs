//! One step of the walk: a name becomes an item, an exclusion or an error, and a folder is entered.
//!
//! A folder is opened before it is looked at, so its metadata and its content are those of one inode, whatever
//! happens to its name meanwhile; a symbolic link that takes its place is never followed.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, OFlags, SeekFrom, Stat};
use rustix::io::Errno;

use super::folder::{Entered, Entering, Folder};
use super::found::{Found, FoundKind, LOOK, SourceError, kind_of, metadata_of};
use super::markers::obey_markers;
use super::names::Names;
use super::roots::Node;
use super::stretch::{Finds, Frame, Rules, Scratch, join};
use crate::format::tree::path::{NAME_MAX, PATH_MAX};

/// Why nothing below a name can be stored although a source is there.
const NO_FOLDER: &str = "it is no folder, but another source is to be stored below it";

/// One name, and all that is known about it.
struct Step<'a> {
    path: &'a [u8],
    name: &'a [u8],
    at: &'a Arc<Folder>,
    descriptor: BorrowedFd<'a>,
    node: Option<(usize, &'a Node)>,
    /// It is read itself; if not, it only leads to a source.
    read: bool,
    included: bool,
    device: u64,
    rules: &'a Rules,
}

/// Takes the next name of a frame; `path` is the frame's and becomes the item's. Gives the folder that it entered.
pub(super) fn take_name(
    frame: &mut Frame,
    path: &mut Vec<u8>,
    rules: &Rules,
    scratch: &mut Scratch,
    finds: &mut Finds,
) -> Option<Frame> {
    let place = frame.next;
    frame.next += 1;
    let frame = &*frame;
    let (name, hint) = frame.names.get(place)?;
    path.truncate(frame.path_length);
    join(path, name);
    if name.len() > NAME_MAX || path.len() > PATH_MAX {
        finds.fail(SourceError::new(
            path,
            "store",
            io::Error::other("its path is too long for a snapshot"),
        ));
        return None;
    }
    let node = frame.node.and_then(|at| rules.roots.below(at, name));
    let node = node.and_then(|at| Some((at, rules.roots.node(at)?)));
    let base = node.and_then(|(_, node)| node.base.as_ref());
    let handle = match base {
        Some(base) => base.handle(),
        None => frame.handle(),
    };
    let handle = match handle {
        Ok(handle) => handle,
        Err(error) => {
            finds.fail(SourceError::new(path, "read", error));
            return None;
        }
    };
    // A first name that is looked up elsewhere is no part of the folder that is stored at the root.
    let foreign =
        base.is_some_and(|base| (base.device(), base.inode()) != (frame.folder.device(), frame.folder.inode()));
    let step = Step {
        path,
        name,
        at: base.unwrap_or(&frame.folder),
        descriptor: handle.as_fd(),
        node,
        read: frame.whole && !foreign || node.is_some_and(|(_, node)| node.given),
        included: frame.included,
        device: frame.device,
        rules,
    };
    step.take(hint, scratch, finds).unwrap_or_else(|error| {
        finds.fail(error);
        None
    })
}

/// Begins the walk: the root of the snapshot, as an item if a source is stored there.
pub(super) fn take_root(rules: &Rules, scratch: &mut Scratch, finds: &mut Finds) -> io::Result<Option<Frame>> {
    let Some(node) = rules.roots.node(0) else {
        return Ok(None);
    };
    // Without a source at the root, names have bases of their own, and any folder will do as the frame's.
    let first = node
        .names()
        .next()
        .and_then(|name| rules.roots.node(rules.roots.below(0, name)?)?.base.as_ref());
    let Some(base) = node.base.as_ref().or(first) else {
        return Ok(None);
    };
    let handle = base.handle()?;
    let step = Step {
        path: b"",
        name: b".",
        at: base,
        descriptor: handle.as_fd(),
        node: Some((0, node)),
        read: node.given,
        included: false,
        device: base.device(),
        rules,
    };
    if !node.given {
        let names = Arc::new(Names::known(node.names()));
        return Ok(Some(step.frame(Arc::clone(base), None, names, false)));
    }
    Ok(step.take(FileType::Directory, scratch, finds).unwrap_or_else(|error| {
        finds.fail(error);
        None
    }))
}

impl Step<'_> {
    fn take(mut self, hint: FileType, scratch: &mut Scratch, finds: &mut Finds) -> Result<Option<Frame>, SourceError> {
        if !self.read {
            return self.pass(finds).map(Some);
        }
        let mut stat = None;
        let mut is_folder = hint == FileType::Directory;
        if hint == FileType::Unknown || self.given().is_some() {
            let seen = self.look()?;
            is_folder = FileType::from_raw_mode(seen.st_mode) == FileType::Directory;
            stat = Some(seen);
        }
        if !self.path.is_empty() && self.left_out(is_folder) {
            // What leads to a source is kept for its sake.
            if self.leads_on() && is_folder {
                self.read = false;
                return self.pass(finds).map(Some);
            }
            self.rules.count_excluded(1);
            return Ok(None);
        }
        if is_folder {
            match self.folder(scratch, finds)? {
                Outcome::Entered(frame) => return Ok(Some(*frame)),
                Outcome::Known => return Ok(None),
                Outcome::NoFolder => stat = None,
            }
        }
        let stat = match stat {
            Some(stat) => stat,
            None => self.look()?,
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            // It became a folder just now, or is one again.
            if let Outcome::Entered(frame) = self.folder(scratch, finds)? {
                return Ok(Some(*frame));
            }
            return Ok(None);
        }
        self.item(&stat, finds)?;
        Ok(None)
    }

    fn given(&self) -> Option<&Node> {
        self.node.map(|(_, node)| node).filter(|node| node.given)
    }

    fn leads_on(&self) -> bool {
        self.node.is_some_and(|(_, node)| node.leads_on())
    }

    fn follow(&self) -> bool {
        self.given().is_some_and(|node| node.follow)
    }

    /// Asks the patterns.
    fn left_out(&mut self, is_folder: bool) -> bool {
        let filter = &self.rules.filter;
        if filter.excludes(self.path, is_folder) {
            return true;
        }
        if filter.includes_only() {
            self.included = filter.includes(self.path, is_folder, self.included);
            return !self.included && !is_folder;
        }
        false
    }

    fn look(&self) -> Result<Stat, SourceError> {
        let flags = if self.follow() { AtFlags::NO_AUTOMOUNT } else { LOOK };
        rustix::fs::statat(self.descriptor, self.name, flags).map_err(|error| self.error("read", error))
    }

    fn error(&self, action: &'static str, source: impl Into<io::Error>) -> SourceError {
        let named = self.node.is_some();
        SourceError {
            named,
            ..SourceError::new(self.path, action, source)
        }
    }

    /// A folder that is only on the way to a source.
    fn pass(&self, finds: &mut Finds) -> Result<Frame, SourceError> {
        let Entered { folder, stat, spare } = self
            .at
            .enter(self.descriptor, self.name, Entering::Pass)
            .map_err(|error| self.error("open", error))?;
        finds.push(self.found(FoundKind::Folder, &stat, Some(&folder)));
        let names = Names::known(self.node.iter().flat_map(|(_, node)| node.names()));
        Ok(self.frame(folder, spare, Arc::new(names), false))
    }

    fn folder(&mut self, scratch: &mut Scratch, finds: &mut Finds) -> Result<Outcome, SourceError> {
        let crosses = |device: u64| self.rules.one_file_system && device != self.device && self.given().is_none();
        if self.rules.one_file_system && self.given().is_none() {
            // Not even opened: what is mounted there may hang.
            let stat = self.look()?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory && crosses(stat.st_dev) {
                if self.leads_on() {
                    return self.pass(finds).map(|frame| Outcome::Entered(Box::new(frame)));
                }
                finds.push(self.found(FoundKind::Folder, &stat, None));
                return Ok(Outcome::Known);
            }
        }
        let entering = if self.follow() {
            Entering::ListFollowing
        } else {
            Entering::List
        };
        let Entered { folder, stat, spare } = match self.at.enter(self.descriptor, self.name, entering) {
            Ok(entered) => entered,
            Err(error) if is_no_folder(&error) => return Ok(Outcome::NoFolder),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.error("open", error)),
            Err(error) => {
                let stat = self.look()?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    return Ok(Outcome::NoFolder);
                }
                finds.push(self.found(FoundKind::Folder, &stat, None));
                finds.fail(self.error("list", error));
                return Ok(Outcome::Known);
            }
        };
        if self.given().is_some() {
            self.device = stat.st_dev;
        } else if self.rules.left_out.contains(&(folder.device(), folder.inode())) {
            if self.leads_on() {
                self.read = false;
                return self.pass(finds).map(|frame| Outcome::Entered(Box::new(frame)));
            }
            self.rules.leave_out(self.path);
            return Ok(Outcome::Known);
        }
        finds.push(self.found(FoundKind::Folder, &stat, Some(&folder)));
        let names = {
            let open = match &spare {
                Some(descriptor) => Ok(super::folder::Handle::Kept(descriptor.as_fd())),
                None => folder.handle(),
            };
            let open = open.map_err(|error| self.error("list", error))?;
            let (mut names, failure) = Names::read(&open, &mut scratch.listing, None, self.rules.names_most);
            if let Some(error) = failure {
                finds.fail(self.error("list", error));
            }
            let left_out = obey_markers(&self.rules.filter.markers, &folder, open.as_fd(), &mut names);
            self.rules.count_excluded(left_out);
            if let Some((_, node)) = self.node {
                names.add(node.names(), None);
            }
            names
        };
        let more = names.more;
        let mut frame = self.frame(folder, spare, Arc::new(names), true);
        frame.again = more;
        Ok(Outcome::Entered(Box::new(frame)))
    }

    /// Anything but a folder.
    fn item(&self, stat: &Stat, finds: &mut Finds) -> Result<(), SourceError> {
        let target = || {
            let target = rustix::fs::readlinkat(self.descriptor, self.name, Vec::new())?;
            Ok(target.into_bytes())
        };
        let mut kind = kind_of(stat, target).map_err(|error| self.error("read", error))?;
        let mut stat = *stat;
        if self.given().is_some() {
            let device = match kind {
                FoundKind::BlockDevice { .. } => Some(stat),
                FoundKind::Symlink { .. } => self.block_device_behind(),
                FoundKind::Folder
                | FoundKind::File { .. }
                | FoundKind::Fifo
                | FoundKind::Socket
                | FoundKind::CharacterDevice { .. } => None,
            };
            if let Some(device) = device {
                stat = device;
                kind = self.device(&stat).map_err(|error| self.error("open", error))?;
            }
        }
        if let (
            FoundKind::File {
                size,
                from_device: false,
                ..
            },
            Some(most),
        ) = (&kind, self.rules.filter.larger_than)
            && *size > most
        {
            self.rules.count_excluded(1);
            return Ok(());
        }
        finds.push(self.found(kind, &stat, None));
        if self.leads_on() {
            finds.fail(self.error("store", io::Error::other(NO_FOLDER)));
        }
        Ok(())
    }

    fn block_device_behind(&self) -> Option<Stat> {
        let stat = rustix::fs::statat(self.descriptor, self.name, AtFlags::NO_AUTOMOUNT).ok()?;
        (FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice).then_some(stat)
    }

    /// A block device as a file: its end is its size.
    fn device(&self, stat: &Stat) -> io::Result<FoundKind> {
        let open = self
            .rules
            .descriptors
            .open(self.descriptor, self.name, OFlags::empty(), None)?;
        let size = rustix::fs::seek(&open, SeekFrom::End(0))?;
        Ok(FoundKind::File {
            size,
            allocated: size,
            links: 1,
            device: stat.st_dev,
            from_device: true,
        })
    }

    fn found(&self, kind: FoundKind, stat: &Stat, folder: Option<&Arc<Folder>>) -> Found {
        Found {
            path: self.path.to_vec(),
            kind,
            metadata: metadata_of(stat),
            at: Arc::clone(self.at),
            folder: folder.map(Arc::clone),
        }
    }

    fn frame(&self, folder: Arc<Folder>, spare: Option<std::os::fd::OwnedFd>, names: Arc<Names>, whole: bool) -> Frame {
        Frame {
            folder,
            spare,
            next: 0,
            end: names.len(),
            names,
            node: self.node.map(|(at, _)| at),
            whole,
            included: self.included,
            device: self.device,
            path_length: self.path.len(),
            again: false,
        }
    }
}

/// What became of a name that looked like a folder.
enum Outcome {
    Entered(Box<Frame>),
    /// It is delivered, and there is nothing to walk in it.
    Known,
    /// Something else is there now.
    NoFolder,
}

fn is_no_folder(error: &io::Error) -> bool {
    [Errno::NOTDIR, Errno::LOOP]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
