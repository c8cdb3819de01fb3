//! What to do with an entry when something may be in its place. Pure: stat in, action out.

use crate::format::tree::{EntryKind, Metadata};
use crate::words::Timestamp;

/// When something that exists gives way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// Always; contents are compared and only what differs is fetched.
    Always,
    /// When size or modification time differ.
    #[default]
    IfChanged,
    /// When the snapshot's is newer by its modification time.
    IfNewer,
    /// Never; what exists stays as it is.
    Never,
}

/// What is in an entry's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Existing {
    /// Its type.
    pub kind: ExistingKind,
    /// Bytes.
    pub size: u64,
    /// When its content changed last.
    pub modified: Timestamp,
    /// The lower twelve bits of the mode.
    pub mode: u32,
    /// The owner's number.
    pub user: u32,
    /// The group's number.
    pub group: u32,
    /// Device number of its file system.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// How many names it has.
    pub links: u64,
}

/// The type of what exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExistingKind {
    /// A folder.
    Folder,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device and its number.
    CharacterDevice(u32, u32),
    /// A block device and its number.
    BlockDevice(u32, u32),
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing is there: make it.
    Create,
    /// Make it, and put it in the place of what is there.
    Replace,
    /// What is there has the right content: only its metadata is set. For folders: go in.
    Refresh,
    /// Leave what is there, and do not touch its metadata. For folders: go in.
    Keep,
    /// What is there must stay, and what is inside the entry has no place to go.
    Blocked,
}

impl Existing {
    /// Whether mode, owner and time are those of `metadata` already, as far as a stat can tell.
    pub fn matches(&self, metadata: &Metadata) -> bool {
        self.mode == metadata.mode
            && self.user == metadata.user
            && self.group == metadata.group
            && self.modified == metadata.modified
    }
}

/// Decides about one entry, given by its kind and metadata.
pub fn decide(kind: &EntryKind, metadata: &Metadata, existing: Option<&Existing>, overwrite: Overwrite) -> Action {
    let Some(existing) = existing else {
        return Action::Create;
    };
    let newer = metadata.modified > existing.modified;
    let may_replace = match overwrite {
        Overwrite::Always | Overwrite::IfChanged => true,
        Overwrite::IfNewer => newer,
        Overwrite::Never => false,
    };
    if matches!(kind, EntryKind::Folder) {
        return match (existing.kind, overwrite) {
            (ExistingKind::Folder, Overwrite::Never) => Action::Keep,
            (ExistingKind::Folder, _) => Action::Refresh,
            (_, _) if may_replace => Action::Replace,
            (_, _) => Action::Blocked,
        };
    }
    if !may_replace {
        return Action::Keep;
    }
    let same = match kind {
        EntryKind::Folder => false,
        EntryKind::File { size, .. } => {
            existing.kind == ExistingKind::File
                && overwrite == Overwrite::IfChanged
                && existing.size == *size
                && existing.modified == metadata.modified
        }
        // Whether a link points to the same place is seen when it is made.
        EntryKind::Symlink { .. } => false,
        EntryKind::Fifo => existing.kind == ExistingKind::Fifo,
        EntryKind::Socket => existing.kind == ExistingKind::Socket,
        EntryKind::CharacterDevice { major, minor } => existing.kind == ExistingKind::CharacterDevice(*major, *minor),
        EntryKind::BlockDevice { major, minor } => existing.kind == ExistingKind::BlockDevice(*major, *minor),
    };
    if same { Action::Refresh } else { Action::Replace }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;
    use crate::format::tree::Content;

    fn decide_at(kind: &EntryKind, modified: i64, existing: Option<&Existing>, overwrite: Overwrite) -> Action {
        decide(
            kind,
            &Metadata {
                modified: Timestamp(modified),
                ..Metadata::default()
            },
            existing,
            overwrite,
        )
    }

    fn existing(kind: ExistingKind, size: u64, modified: i64) -> Existing {
        Existing {
            kind,
            size,
            modified: Timestamp(modified),
            mode: 0,
            user: 0,
            group: 0,
            device: 1,
            inode: 2,
            links: 1,
        }
    }

    const FILE: EntryKind = EntryKind::File {
        size: 5,
        content: Content::Empty,
        link: None,
        from_device: false,
    };

    #[test]
    fn files_give_way_as_the_mode_says() {
        use {Action::*, Overwrite::*};
        let same = existing(ExistingKind::File, 5, 10);
        let older = existing(ExistingKind::File, 5, 9);
        let newer = existing(ExistingKind::File, 5, 11);
        let longer = existing(ExistingKind::File, 6, 10);
        for (overwrite, existing, expected) in [
            (Always, same, Replace),
            (IfChanged, same, Refresh),
            (IfChanged, older, Replace),
            (IfChanged, newer, Replace),
            (IfChanged, longer, Replace),
            (IfNewer, older, Replace),
            (IfNewer, same, Keep),
            (IfNewer, newer, Keep),
            (Never, older, Keep),
        ] {
            assert_eq!(
                decide_at(&FILE, 10, Some(&existing), overwrite),
                expected,
                "{overwrite:?} {existing:?}"
            );
        }
        assert_eq!(decide_at(&FILE, 10, None, Never), Create);
    }

    #[test]
    fn a_link_in_a_folders_place_is_replaced_or_blocks_but_is_never_entered() {
        let link = existing(ExistingKind::Symlink, 1, 50);
        let decide = |existing, overwrite| decide_at(&EntryKind::Folder, 10, Some(existing), overwrite);
        assert_eq!(decide(&link, Overwrite::Always), Action::Replace);
        assert_eq!(decide(&link, Overwrite::IfChanged), Action::Replace);
        assert_eq!(decide(&link, Overwrite::IfNewer), Action::Blocked);
        assert_eq!(decide(&link, Overwrite::Never), Action::Blocked);
        let there = existing(ExistingKind::Folder, 1, 50);
        assert_eq!(decide(&there, Overwrite::Never), Action::Keep);
        assert_eq!(decide(&there, Overwrite::IfNewer), Action::Refresh);
    }

    #[test]
    fn a_link_with_a_files_size_and_time_is_not_taken_for_the_file() {
        let link = existing(ExistingKind::Symlink, 5, 10);
        assert_eq!(decide_at(&FILE, 10, Some(&link), Overwrite::IfChanged), Action::Replace);
    }

    #[test]
    fn special_files_are_kept_when_they_are_the_same() {
        let device = EntryKind::CharacterDevice { major: 1, minor: 3 };
        let decide = |kind| decide_at(&device, 10, Some(&existing(kind, 0, 0)), Overwrite::Always);
        assert_eq!(decide(ExistingKind::CharacterDevice(1, 3)), Action::Refresh);
        assert_eq!(decide(ExistingKind::CharacterDevice(1, 5)), Action::Replace);
        assert_eq!(decide(ExistingKind::BlockDevice(1, 3)), Action::Replace);
    }
}
