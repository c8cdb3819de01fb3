//! Files with several names: what the first name's reading gave serves the others, for as long as it is certain that they are the same file.
//!
//! What must hold: an inode number says nothing by itself, since it is given to a new file when the old one is gone. Content is handed on only to a
//! name that shows the size and the times that the content was read under. Memory is bounded: a file is forgotten when its last name has come, and the
//! oldest one when there are too many. Whoever asks for a file that is not known reads it.

use std::collections::{HashMap, VecDeque};

use crate::format::tree::{Content, Entry, EntryKind, Extent, Metadata};
use crate::source::{Found, FoundKind};
use crate::words::Timestamp;

/// Bytes that the files may occupy, about.
const WEIGHT_MAX: usize = 24 << 20;

/// Device and inode number.
type Key = (u64, u64);

/// What the first name of a file gave.
#[derive(Clone, Debug)]
pub(super) struct LinkedFile {
    pub(super) size: u64,
    pub(super) content: Content,
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
    modified: Timestamp,
    changed: Timestamp,
    /// Names that have not come yet, as far as the inode's count says.
    left: u64,
}

/// The files with several names that were met and may be met again.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// Nothing while the first name is on its way, or after it failed.
    files: HashMap<Key, Option<LinkedFile>>,
    /// The order in which they came.
    order: VecDeque<Key>,
    weight: usize,
}

impl Links {
    /// Announces a name; true when another one came before it, which may serve.
    pub(super) fn meet(&mut self, key: Key) -> bool {
        if self.files.contains_key(&key) {
            return true;
        }
        self.files.insert(key, None);
        self.order.push_back(key);
        self.weight += weight(None);
        self.shrink();
        false
    }

    /// Keeps what an entry with several names has.
    pub(super) fn keep(&mut self, entry: &Entry) {
        let EntryKind::File {
            size,
            content,
            link: Some(link),
            ..
        } = &entry.kind
        else {
            return;
        };
        let Metadata {
            modified,
            changed,
            attributes,
            ..
        } = &entry.metadata;
        let key = (link.device, entry.metadata.inode);
        let file = LinkedFile {
            size: *size,
            content: content.clone(),
            attributes: attributes.clone(),
            modified: *modified,
            changed: *changed,
            left: link.links.saturating_sub(1),
        };
        self.weight += weight(Some(&file));
        match self.files.insert(key, Some(file)) {
            Some(before) => self.weight = self.weight.saturating_sub(weight(before.as_ref())),
            None => self.order.push_back(key),
        }
        self.shrink();
    }

    /// What a name that was announced before has: that of the first one, if it is the same file as then.
    pub(super) fn take(&mut self, found: &Found) -> Option<LinkedFile> {
        let FoundKind::File { size, device, .. } = found.kind else {
            return None;
        };
        let key = (device, found.metadata.inode);
        let file = self.files.get_mut(&key)?.as_mut()?;
        let now = (size, found.metadata.modified, found.metadata.changed);
        if (file.size, file.modified, file.changed) != now {
            return None;
        }
        file.left = file.left.saturating_sub(1);
        if file.left > 0 {
            return Some(file.clone());
        }
        let file = self.files.remove(&key).flatten();
        self.weight = self.weight.saturating_sub(weight(file.as_ref()));
        file
    }

    fn shrink(&mut self) {
        while self.weight > WEIGHT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            if let Some(file) = self.files.remove(&oldest) {
                self.weight = self.weight.saturating_sub(weight(file.as_ref()));
            }
        }
        // Most were forgotten with their last names.
        if self.order.len() > 2 * self.files.len() + 1024 {
            self.order.retain(|key| self.files.contains_key(key));
        }
    }
}

/// Bytes that a file occupies, about.
fn weight(file: Option<&LinkedFile>) -> usize {
    let frame = size_of::<(Key, Option<LinkedFile>)>() + size_of::<Key>();
    let Some(file) = file else { return frame };
    let extents = match &file.content {
        Content::Chunks(extents) => extents.len() * size_of::<Extent>(),
        Content::Empty | Content::Slab { .. } | Content::List { .. } => 0,
    };
    let attributes = file.attributes.iter();
    frame
        + extents
        + attributes
            .map(|(name, value)| 48 + name.len() + value.len())
            .sum::<usize>()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::format::tree::HardLink;
    use crate::source::{SourceOptions, Walk};

    /// Two names of one file were met and read, and both are gone; the next new file gets the number of their inode.
    #[test]
    fn an_inode_number_that_was_given_to_another_file_brings_no_old_content() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("first"), "old content").unwrap();
        std::fs::hard_link(folder.path().join("first"), folder.path().join("second")).unwrap();
        let walk = Walk::new(&[folder.path().to_owned()], SourceOptions::default()).unwrap();
        let found: Vec<Found> = walk.flatten().map(Result::unwrap).collect();
        let [first, second] = &found[found.len() - 2..] else {
            unreachable!()
        };
        let mut links = Links::default();
        let key = (first.link().unwrap().device, first.metadata.inode);
        assert!(!links.meet(key) && links.meet(key));
        assert!(links.take(second).is_none(), "it has not been read yet");
        links.keep(&first.clone().into_entry(Content::Empty));

        let mut later = second.clone();
        later.metadata.changed.0 += 1;
        assert!(links.take(&later).is_none());
        let mut longer = second.clone();
        if let FoundKind::File { size, .. } = &mut longer.kind {
            *size += 1;
        }
        assert!(links.take(&longer).is_none());
        assert!(links.take(second).is_some());
        // Both names have come.
        assert!(links.files.is_empty());
    }

    fn entry(inode: u64, links: u64, extents: usize) -> Entry {
        let hole = Extent::Hole { length: 1 };
        Entry {
            path: b"name".to_vec(),
            kind: EntryKind::File {
                size: extents as u64,
                content: Content::Chunks(vec![hole; extents]),
                link: Some(HardLink { links, device: 1 }),
                from_device: false,
            },
            metadata: Metadata {
                inode,
                ..Metadata::default()
            },
        }
    }

    #[test]
    fn files_with_several_names_take_a_bounded_amount_of_memory() {
        let mut links = Links::default();
        for inode in 0..10_000 {
            assert!(!links.meet((1, inode)));
            links.keep(&entry(inode, 3, 1000));
            assert!(links.weight <= WEIGHT_MAX);
        }
        assert!(
            links.files.len() > 100 && links.files.len() < 2000,
            "{}",
            links.files.len()
        );
        assert!(links.order.len() <= 2 * links.files.len() + 1024);
        let sum: usize = links.files.values().map(|file| weight(file.as_ref())).sum();
        assert_eq!(links.weight, sum);
        // What was forgotten is as if it had never been met: it is read.
        assert!(!links.meet((1, 0)));
    }
}
