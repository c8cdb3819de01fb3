//! The folder of runs: which can be used again, and which are in the way.
//!
//! A run's file is named by a hash of the names of the segments in it. Names are never used twice, so a file with the right name is right for ever, and
//! processes that come upon it, write it or remove it at the same time do not disturb one another: whoever has opened a file keeps it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::block::Bytes;
use super::run::Run;

/// What may lie in the folder beyond twice the bytes in use: runs of an older view that another process may be using, and what was left behind.
const SPARE_BYTES: u64 = 64 << 20;
const ENDING: &str = "run";

/// A folder with runs.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes the folder if need be, for its owner alone. `None` when it cannot be used: then there is no cache.
    pub(super) fn open(path: &Path) -> Option<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(path).ok()?;
        Some(Self(path.to_owned()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The file for a run of these segments.
    pub(super) fn name_for(names: &[String]) -> String {
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.sort_unstable();
        let mut hasher = blake3::Hasher::new_derive_key("ararat index run, layout 1");
        for name in names {
            hasher
                .update(&(name.len() as u64).to_le_bytes())
                .update(name.as_bytes());
        }
        let hash = data_encoding::HEXLOWER.encode(&hasher.finalize().as_bytes()[..16]);
        format!("{hash}.{ENDING}")
    }

    /// The largest runs that hold nothing but wanted segments, none of them twice. Damaged ones are removed.
    pub(super) fn usable(&self, wanted: &HashSet<&str>) -> Vec<Run> {
        let mut runs: Vec<Run> = self
            .files()
            .into_iter()
            .filter(|file| file.path.extension().is_some_and(|ending| ending == ENDING))
            .filter_map(|file| Run::open(Bytes::File(File::open(&file.path).ok()?, file.path)).ok())
            .filter(|run| run.names.iter().all(|name| wanted.contains(name.as_str())))
            .collect();
        runs.sort_by_key(|run| std::cmp::Reverse((run.names.len(), run.entry_count())));
        let mut held: HashSet<String> = HashSet::new();
        runs.retain(|run| {
            let free = run.names.iter().all(|name| !held.contains(name));
            if free {
                held.extend(run.names.iter().cloned());
            }
            free
        });
        runs
    }

    /// Removes what is not in `used`, the oldest first, until no more than the spare bytes are left of it.
    pub(super) fn clean(&self, used: &[Run]) {
        let mut in_the_way = self.files();
        in_the_way.retain(|file| !used.iter().any(|run| run.path() == Some(&file.path)));
        let allowed = used.iter().map(Run::length).sum::<u64>().max(SPARE_BYTES);
        let mut bytes: u64 = in_the_way.iter().map(|file| file.bytes).sum();
        in_the_way.sort_by_key(|file| file.modified);
        for file in in_the_way {
            if bytes <= allowed {
                break;
            }
            let _ = fs::remove_file(&file.path);
            bytes -= file.bytes;
        }
    }

    fn files(&self) -> Vec<CacheFile> {
        let Ok(entries) = fs::read_dir(&self.0) else {
            return Vec::new();
        };
        let files = entries.flatten().filter_map(|entry| {
            let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            Some(CacheFile {
                path: entry.path(),
                bytes: metadata.len(),
                modified: metadata.modified().ok()?,
            })
        });
        files.collect()
    }
}

struct CacheFile {
    path: PathBuf,
    bytes: u64,
    /// As the file system has it: only the order matters.
    modified: SystemTime,
}
