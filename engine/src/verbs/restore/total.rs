//! How much is within a path of a snapshot, from what the tree's parents say of what is below them: only the leaves at both ends are read.

use std::cmp::Ordering;

use crate::format::tree::path::{compare, is_within};
use crate::format::tree::{Node, TreeReader, TreeSource};
use crate::words::{BlobId, Result};

/// Entries at and below the path, and the sum of the sizes of the files among them.
///
/// # Errors
/// What the source says; damage.
pub(super) fn total<S: TreeSource + Clone>(source: &S, root: BlobId, within: &[u8]) -> Result<(u64, u64)> {
    let (mut entries, mut bytes) = (0u64, 0u64);
    let mut nodes = vec![(root, Node::load(source, &root)?)];
    while let Some((id, node)) = nodes.pop() {
        let parent = match node {
            Node::Parent(parent) => parent,
            Node::Leaf(_) => {
                let mut reader = TreeReader::new(source.clone(), id).subtree(within)?;
                while let Some(entry) = reader.next_entry()? {
                    entries += 1;
                    bytes = bytes.saturating_add(entry.size());
                }
                continue;
            }
        };
        for (at, child) in parent.children.iter().enumerate() {
            let next = parent.children.get(at + 1).map(|next| &next.first[..]);
            let begins_inside = is_within(&child.first, within);
            let is_before = next.is_some_and(|next| compare(next, within) != Ordering::Greater);
            let is_behind = !begins_inside && compare(&child.first, within) == Ordering::Greater;
            if is_before || is_behind {
                continue;
            }
            if begins_inside && next.is_some_and(|next| is_within(next, within)) {
                entries = entries.saturating_add(child.entries);
                bytes = bytes.saturating_add(child.bytes);
            } else {
                nodes.push((child.id, Node::load_child(source, parent.height, child)?));
            }
        }
    }
    Ok((entries, bytes))
}
