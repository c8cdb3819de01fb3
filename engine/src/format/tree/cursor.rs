//! Looks up rising paths in a stored tree: what change detection asks of the snapshot before.

use std::cmp::Ordering;

use super::entry::Entry;
use super::path;
use super::reader::TreeReader;
use super::source::TreeSource;
use crate::words::{BlobId, Result};

/// Finds entries by path. Rising paths cost about one entry each, and leaves between them are not loaded; others cost a way down from the root.
#[derive(Debug)]
pub struct Cursor<S> {
    reader: TreeReader<S>,
    /// No entry lies between this path and the reader's next one.
    asked: Option<Vec<u8>>,
}

impl<S: TreeSource> Cursor<S> {
    /// Looks into the tree with that root. Nothing is loaded before it is asked for.
    pub fn new(source: S, root: BlobId) -> Self {
        Self {
            reader: TreeReader::new(source, root),
            asked: None,
        }
    }

    /// The entry at exactly that path, if there is one.
    ///
    /// # Errors
    /// What the source says, and [`crate::words::Error::Damaged`]; after an error nothing is found any more.
    pub fn find(&mut self, path: &[u8]) -> Result<Option<&Entry>> {
        let order = match self.reader.peek_path()? {
            Some(next) => path::compare(next, path),
            None => Ordering::Greater,
        };
        let known_absent = order == Ordering::Greater
            && self
                .asked
                .as_ref()
                .is_none_or(|asked| path::compare(asked, path) != Ordering::Greater);
        if known_absent {
            return Ok(None);
        }
        if order != Ordering::Equal {
            self.reader.seek(path)?;
            let asked = self.asked.get_or_insert_default();
            asked.clear();
            asked.extend_from_slice(path);
            if self.reader.peek_path()? != Some(path) {
                return Ok(None);
            }
        }
        self.reader.peek()
    }
}
