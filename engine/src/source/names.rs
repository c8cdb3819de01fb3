//! The names in a folder, sorted: one listing, or one of several passes over a folder too large to hold.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{FileType, RawDir};
use rustix::io::Errno;

/// Bytes that one system call may fill with names.
const LISTING_BYTES: usize = 128 * 1024;

/// Sorted names without repetition. Names are in one buffer; a million take about 40 MB.
#[derive(Debug, Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    list: Vec<Name>,
    /// There are names above the last one, for another pass.
    pub(super) more: bool,
}

#[derive(Clone, Copy, Debug)]
struct Name {
    /// The eight bytes after what all names share: decides most comparisons without touching the names.
    key: u64,
    offset: u32,
    length: u16,
    kind: FileType,
}

/// What the kernel fills; kept by a thread from folder to folder.
#[derive(Debug)]
pub(super) struct ListingBuffer(Vec<u8>);

impl ListingBuffer {
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(LISTING_BYTES))
    }
}

impl Names {
    /// Reads the names of an open folder that are above `after`: at most `most` of them, the lowest.
    ///
    /// When the system fails midway, what it gave is there, and the error beside it.
    pub(super) fn read(
        folder: impl AsFd,
        buffer: &mut ListingBuffer,
        after: Option<&[u8]>,
        most: usize,
    ) -> (Self, Option<io::Error>) {
        let mut names = Self::default();
        let mut failure = None;
        // The highest name that can still be among the lowest; those above it wait for the next pass.
        let mut ceiling: Option<Vec<u8>> = None;
        let mut listing = RawDir::new(folder, buffer.0.spare_capacity_mut());
        while let Some(entry) = listing.next() {
            match entry {
                Ok(entry) => {
                    let name = entry.file_name().to_bytes();
                    let ours = name != b"." && name != b".." && !name.is_empty() && !name.contains(&b'/');
                    let wanted = after.is_none_or(|after| name > after)
                        && ceiling.as_deref().is_none_or(|ceiling| name <= ceiling);
                    if ours && wanted {
                        names.push(name, entry.file_type());
                    }
                }
                Err(Errno::INTR) => {}
                Err(error) => {
                    failure = Some(error.into());
                    break;
                }
            }
            if names.list.len() >= most.saturating_mul(2) {
                names.keep_lowest(most);
                ceiling = names.list.last().map(|name| name.of(&names.bytes).to_vec());
            }
        }
        names.keep_lowest(most);
        (names, failure)
    }

    /// Names that are known without listing, e.g. those that lead to a source.
    pub(super) fn known<'a>(list: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut names = Self::default();
        list.for_each(|name| names.push(name, FileType::Unknown));
        names.sort();
        names
    }

    /// Adds names that must be there whether the folder lists them or not: those of this pass, which began `after`.
    pub(super) fn add<'a>(&mut self, list: impl Iterator<Item = &'a [u8]>, after: Option<&[u8]>) {
        let before = self.list.len();
        let last = self
            .list
            .last()
            .filter(|_| self.more)
            .map(|name| name.of(&self.bytes).to_vec());
        list.filter(|name| after.is_none_or(|after| *name > after))
            .filter(|name| last.as_deref().is_none_or(|last| *name <= last))
            .for_each(|name| self.push(name, FileType::Unknown));
        if self.list.len() > before {
            self.sort();
        }
    }

    /// Leaves only the names that pass.
    pub(super) fn retain(&mut self, keep: impl Fn(&[u8]) -> bool) {
        let bytes = std::mem::take(&mut self.bytes);
        self.list.retain(|name| keep(name.of(&bytes)));
        self.bytes = bytes;
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// The name at a place, and its type if the folder tells.
    pub(super) fn get(&self, at: usize) -> Option<(&[u8], FileType)> {
        self.list.get(at).map(|name| (name.of(&self.bytes), name.kind))
    }

    pub(super) fn contains(&self, wanted: &[u8]) -> bool {
        self.list
            .binary_search_by(|name| name.of(&self.bytes).cmp(wanted))
            .is_ok()
    }

    fn push(&mut self, name: &[u8], kind: FileType) {
        let (Ok(offset), Ok(length)) = (u32::try_from(self.bytes.len()), u16::try_from(name.len())) else {
            return;
        };
        self.bytes.extend_from_slice(name);
        self.list.push(Name {
            key: 0,
            offset,
            length,
            kind,
        });
    }

    /// Sorts and drops repetitions: a folder that changes while it is listed may show a name twice.
    fn sort(&mut self) {
        let bytes = &self.bytes;
        let shared = self.list.first().map_or(0, |first| {
            let first = first.of(bytes);
            self.list.iter().fold(first.len(), |shared, name| {
                let same = name.of(bytes).iter().zip(first).take(shared);
                same.take_while(|(left, right)| left == right).count()
            })
        });
        for name in &mut self.list {
            name.key = name
                .of(bytes)
                .iter()
                .skip(shared)
                .chain(std::iter::repeat(&0))
                .take(8)
                .fold(0, |key, byte| key << 8 | u64::from(*byte));
        }
        let order = |left: &Name, right: &Name| {
            left.key
                .cmp(&right.key)
                .then_with(|| left.of(bytes).cmp(right.of(bytes)))
        };
        self.list.sort_unstable_by(order);
        self.list.dedup_by(|left, right| left.of(bytes) == right.of(bytes));
    }

    /// Sorts, and drops all but the `most` lowest names and the bytes of the others.
    fn keep_lowest(&mut self, most: usize) {
        self.sort();
        if self.list.len() <= most {
            return;
        }
        self.more = true;
        let mut kept = Self {
            more: true,
            ..Self::default()
        };
        for name in self.list.iter().take(most) {
            kept.push(name.of(&self.bytes), name.kind);
        }
        *self = kept;
    }
}

impl Name {
    fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let start = self.offset as usize;
        bytes.get(start..start + usize::from(self.length)).unwrap_or_default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    fn of(names: &Names) -> Vec<Vec<u8>> {
        (0..names.len()).map(|at| names.get(at).unwrap().0.to_vec()).collect()
    }

    #[test]
    fn names_come_out_in_byte_order_without_repetition() {
        let given: [&[u8]; 9] = [
            b"b",
            b"a.b",
            b"a",
            b"ab",
            b"\xff",
            b"a\n",
            b"a",
            b"file-000000010",
            b"file-000000009",
        ];
        let mut expected: Vec<Vec<u8>> = given.iter().map(|name| name.to_vec()).collect();
        expected.sort();
        expected.dedup();
        let names = Names::known(given.into_iter());
        assert_eq!(of(&names), expected);
        assert!(expected.iter().all(|name| names.contains(name)));
        assert!(!names.contains(b"file-"));
    }

    #[test]
    fn a_long_prefix_that_all_names_share_does_not_disturb_the_order() {
        let given: Vec<Vec<u8>> = (0..1_000)
            .rev()
            .map(|at| format!("a-rather-long-prefix-{at:07}").into_bytes())
            .collect();
        let names = Names::known(given.iter().map(Vec::as_slice));
        let mut expected = given.clone();
        expected.sort();
        assert_eq!(of(&names), expected);
    }

    #[test]
    fn a_folder_too_large_is_read_in_passes() {
        let folder = tempfile::tempdir().unwrap();
        for at in 0..250 {
            std::fs::write(folder.path().join(format!("{at:03}")), "").unwrap();
        }
        let mut buffer = ListingBuffer::new();
        let mut all = Vec::new();
        loop {
            let open = std::fs::File::open(folder.path()).unwrap();
            let (names, failure) = Names::read(&open, &mut buffer, all.last().map(Vec::as_slice), 60);
            assert!(failure.is_none());
            assert!(names.len() <= 60);
            all.extend(of(&names));
            if !names.more {
                break;
            }
        }
        assert_eq!(
            all,
            (0..250).map(|at| format!("{at:03}").into_bytes()).collect::<Vec<_>>()
        );
    }
}
