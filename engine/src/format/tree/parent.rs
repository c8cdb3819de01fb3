//! Parents: the ids of leaves or of other parents, with what is below each (FORMAT.md, 6.2).

use std::cmp::Ordering;

use bytes::Bytes;

use super::varint::{self, Decoded, Input, Malformed};
use super::{kinds, path};
use crate::words::BlobId;

/// No tree has more parents above each other.
pub const HEIGHT_MAX: u8 = 16;

/// A leaf or parent, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its blob.
    pub id: BlobId,
    /// How many entries are below; at least one.
    pub entries: u64,
    /// The sum of the sizes of the files below, `u64::MAX` if it is more.
    pub bytes: u64,
    /// The path of the first entry below.
    pub first: Bytes,
}

/// A list of leaves or parents, in the order of their paths; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// 1 over leaves; more over parents, of one less each.
    pub height: u8,
    /// What is below, in order.
    pub children: Vec<Child>,
}

impl Parent {
    /// Reads a parent.
    ///
    /// # Errors
    /// [`Malformed`] for everything that FORMAT.md refuses.
    pub fn parse(blob: &Bytes) -> Decoded<Self> {
        const TOO_MANY: Malformed = Malformed("it has more than 2^64 entries below");
        let mut input = Input::new(blob);
        if input.byte()? != kinds::PARENT {
            return Err(Malformed("it is not a parent"));
        }
        let height = input.byte()?;
        if !(1..=HEIGHT_MAX).contains(&height) {
            return Err(Malformed("its height is not between 1 and 16"));
        }
        let count = input.number()?;
        if count == 0 {
            return Err(Malformed("it is a parent of nothing"));
        }
        let length_min = BlobId::LENGTH + 3;
        let mut children: Vec<Child> = Vec::with_capacity((count as usize).min(blob.len() / length_min));
        let mut entries = 0u64;
        for _ in 0..count {
            let child = Child {
                id: BlobId(input.array()?),
                entries: input.number()?,
                bytes: input.number()?,
                first: blob.slice_ref(input.bytes()?),
            };
            path::check(&child.first, 0)?;
            if child.entries == 0 {
                return Err(Malformed("a child of it has no entries"));
            }
            entries = entries.checked_add(child.entries).ok_or(TOO_MANY)?;
            if let Some(before) = children.last()
                && path::compare(&before.first, &child.first) != Ordering::Less
            {
                return Err(Malformed("its paths do not rise"));
            }
            children.push(child);
        }
        if !input.is_empty() {
            return Err(Malformed("it is longer than what is in it"));
        }
        Ok(Self { height, children })
    }

    /// How many entries are below.
    pub fn entries(&self) -> u64 {
        self.children
            .iter()
            .fold(0, |sum, child| sum.saturating_add(child.entries))
    }

    /// The sum of the sizes of the files below, `u64::MAX` if it is more.
    pub fn bytes(&self) -> u64 {
        self.children
            .iter()
            .fold(0, |sum, child| sum.saturating_add(child.bytes))
    }
}

/// Collects the children of one parent. The caller cuts.
#[derive(Debug, Default)]
pub struct ParentWriter {
    children: Vec<u8>,
    count: u64,
    entries: u64,
    bytes: u64,
    first: Vec<u8>,
    last: Option<BlobId>,
}

impl ParentWriter {
    /// Adds a child.
    pub fn push(&mut self, child: &Child) {
        let out = &mut self.children;
        out.extend_from_slice(&child.id.0);
        varint::put(out, child.entries);
        varint::put(out, child.bytes);
        varint::put(out, child.first.len() as u64);
        out.extend_from_slice(&child.first);
        if self.count == 0 {
            self.first.clear();
            self.first.extend_from_slice(&child.first);
        }
        self.count += 1;
        self.entries = self.entries.saturating_add(child.entries);
        self.bytes = self.bytes.saturating_add(child.bytes);
        self.last = Some(child.id);
    }

    /// How many children it has.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// About how many bytes the parent has so far.
    pub fn size(&self) -> usize {
        self.children.len()
    }

    /// How many entries are below.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The sum of the sizes of the files below, `u64::MAX` if it is more.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The child that was added last.
    pub fn last(&self) -> Option<BlobId> {
        self.last
    }

    /// The parent's bytes and the first path below; the writer is empty again.
    pub fn finish(&mut self, height: u8) -> (Vec<u8>, Bytes) {
        let mut blob = Vec::with_capacity(self.children.len() + 12);
        blob.extend_from_slice(&[kinds::PARENT, height]);
        varint::put(&mut blob, self.count);
        blob.extend_from_slice(&self.children);
        self.children.clear();
        (self.count, self.entries, self.bytes, self.last) = (0, 0, 0, None);
        (blob, Bytes::copy_from_slice(&self.first))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn child(path: &str, entries: u64) -> Child {
        Child {
            id: BlobId([path.len() as u8; 32]),
            entries,
            bytes: 7,
            first: Bytes::copy_from_slice(path.as_bytes()),
        }
    }

    fn encode(height: u8, children: &[Child]) -> Bytes {
        let mut writer = ParentWriter::default();
        children.iter().for_each(|child| writer.push(child));
        writer.finish(height).0.into()
    }

    #[test]
    fn a_parent_comes_back() {
        let children = [child("", 1), child("a", 3), child("a/b", 1000)];
        let parent = Parent::parse(&encode(2, &children)).unwrap();
        assert_eq!((parent.height, parent.entries(), parent.bytes()), (2, 1004, 21));
        assert_eq!(parent.children, children);
    }

    #[test]
    fn parents_of_disorder_or_of_nothing_are_refused() {
        let good = child("a", 1);
        assert!(Parent::parse(&encode(1, std::slice::from_ref(&good))).is_ok());
        for (height, children) in [
            (0, vec![good.clone()]),
            (17, vec![good.clone()]),
            (1, vec![]),
            (1, vec![child("b", 1), child("a", 1)]),
            (1, vec![good.clone(), good.clone()]),
            (1, vec![child("a", 0)]),
            (1, vec![child("a/../b", 1)]),
            (1, vec![child("a", u64::MAX), child("b", 1)]),
        ] {
            assert!(
                Parent::parse(&encode(height, &children)).is_err(),
                "{height} {children:?}"
            );
        }
        let mut longer = encode(1, &[good]).to_vec();
        longer.push(0);
        assert!(Parent::parse(&longer.into()).is_err());
    }
}
