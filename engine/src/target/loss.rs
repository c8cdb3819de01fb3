//! What could not be given back exactly: counted by kind, with one example each, so that a million refusals are one line.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The kinds of loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LossKind {
    /// Owner or group; an ordinary user cannot give files away.
    Owner,
    /// Set-user-id or set-group-id were left out, because the owner or group they speak of could not be set.
    SetId,
    /// Permissions.
    Mode,
    /// Modification time.
    Time,
    /// Extended attributes in the name space of users.
    UserAttribute,
    /// ACLs, capabilities, labels and other attributes of the system.
    SystemAttribute,
    /// A hard link that became a file of its own.
    HardLink,
    /// The target folder itself was not empty, and its owner or permissions differ: they were left as they are.
    TargetFolder,
}

impl LossKind {
    /// What is lost, in words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Owner => "owner or group",
            Self::SetId => "set-user-id or set-group-id",
            Self::Mode => "permissions",
            Self::Time => "modification time",
            Self::UserAttribute => "extended attributes",
            Self::SystemAttribute => "ACLs, capabilities or other system attributes",
            Self::HardLink => "hard links (restored as files of their own)",
            Self::TargetFolder => "metadata of the target folder itself (it was not empty)",
        }
    }
}

/// One kind of loss: how often, and the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// What was lost.
    pub kind: LossKind,
    /// How many items.
    pub count: u64,
    /// The first item's path in the target.
    pub first: Vec<u8>,
    /// What the system said about it.
    pub why: String,
}

/// Collects losses from many threads.
#[derive(Debug, Default)]
pub struct Losses(Mutex<BTreeMap<LossKind, Loss>>);

impl Losses {
    /// Counts one; `path` is asked for only the first time.
    pub fn add(&self, kind: LossKind, path: impl FnOnce() -> Vec<u8>, why: impl std::fmt::Display) {
        let mut losses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        losses
            .entry(kind)
            .and_modify(|loss| loss.count += 1)
            .or_insert_with(|| Loss {
                kind,
                count: 1,
                first: path(),
                why: why.to_string(),
            });
    }

    /// All of them, in the order of their kinds.
    pub fn list(&self) -> Vec<Loss> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_counted_and_its_first_case_is_kept() {
        let losses = Losses::default();
        losses.add(LossKind::Owner, || b"a".to_vec(), "Operation not permitted");
        losses.add(LossKind::Owner, || b"b".to_vec(), "other");
        losses.add(LossKind::Time, || b"c".to_vec(), "why");
        let list = losses.list();
        assert_eq!(list.len(), 2);
        assert_eq!(
            (list[0].count, &list[0].first[..], list[0].why.as_str()),
            (2, &b"a"[..], "Operation not permitted")
        );
    }
}
