//! Which snapshots are meant, and which belong together: for every verb that takes snapshots.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use engine::format::snapshot::Summary;
use engine::repository::{Repository, SnapshotFilter, StoredSnapshot};
use engine::verbs::backup::source_path;
use engine::verbs::forget::GroupBy;
use engine::verbs::restore::Selection;
use engine::words::{BlobId, Error};

use crate::output::show;

/// Which snapshots are meant.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct FilterArgs {
    /// Only of this host (may be repeated: any of them)
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Only with all of these comma-separated tags (may be repeated: any of the lists)
    #[arg(long, value_name = "TAG[,TAG]")]
    tag: Vec<String>,
    /// Only with this label (may be repeated: all of them)
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Only with this source (may be repeated: all of them)
    #[arg(long, value_name = "PATH")]
    path: Vec<std::path::PathBuf>,
}

impl FilterArgs {
    /// As the engine wants it.
    pub fn filter(&self) -> Result<SnapshotFilter> {
        Ok(SnapshotFilter {
            hosts: self.host.iter().map(|host| host.clone().into_bytes()).collect(),
            tags: tag_lists(&self.tag)?,
            paths: self.path.iter().map(|path| source_names(path)).collect::<Result<_>>()?,
            labels: labels(&self.label)?,
            until: None,
        })
    }
}

/// The snapshot and the path in it that a person means by `SNAPSHOT[:PATH]`.
pub fn find(repository: &Repository, wanted: &OsStr, filter: &FilterArgs) -> Result<(StoredSnapshot, Vec<u8>)> {
    let wanted = wanted.as_bytes();
    let colon = wanted.iter().position(|byte| *byte == b':').unwrap_or(wanted.len());
    // No snapshot has a name that is not text.
    let snapshot = String::from_utf8_lossy(&wanted[..colon]);
    let found = repository.find_snapshot(&snapshot, &filter.filter()?)?;
    Ok((
        found,
        Selection::of_path(wanted.get(colon + 1..).unwrap_or_default()).within,
    ))
}

/// The snapshot that a person means, where a path in it means nothing.
pub fn find_whole(repository: &Repository, wanted: &str, verb: &str) -> Result<StoredSnapshot> {
    let (snapshot, path) = find(repository, OsStr::new(wanted), &FilterArgs::default())?;
    if !path.is_empty() {
        bail!(Error::Invalid(format!(
            "{verb} takes a whole snapshot, but `{wanted}` names a path in one; leave out `:{}`",
            show::path(&path)
        )));
    }
    Ok(snapshot)
}

/// The root of a snapshot's tree.
pub fn root(repository: &Repository, snapshot: &StoredSnapshot) -> Result<BlobId> {
    let record = snapshot
        .record
        .as_ref()
        .ok_or_else(|| repository.role_too_small("a reader or an owner"))?;
    Ok(record.root.0)
}

/// The names that a source may be stored by: as backup would tidy it, or as standard input was called.
fn source_names(path: &Path) -> Result<Vec<Vec<u8>>> {
    if path.as_os_str().is_empty() {
        bail!(Error::Invalid("The source to look for is empty".into()));
    }
    let here = std::env::current_dir().context("The current folder is gone")?;
    let given = path.as_os_str().as_bytes();
    let mut names = vec![source_path(path, &here)];
    if path.is_relative() {
        names.push(given.to_vec());
    }
    Ok(names)
}

/// Lists of tags, each of words between commas. An empty word is a variable that is not set, and never meant.
pub fn tag_lists(given: &[String]) -> Result<Vec<Vec<String>>> {
    let lists = given.iter().map(|text| {
        let tags: Vec<String> = text.split(',').map(str::to_owned).collect();
        if tags.iter().any(String::is_empty) {
            bail!(Error::Invalid(format!("`{text}` has an empty tag")));
        }
        Ok(tags)
    });
    lists.collect()
}

/// Labels from NAME=VALUE.
pub fn labels(given: &[String]) -> Result<Vec<(String, String)>> {
    let labels = given.iter().map(|label| match label.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => bail!(Error::Invalid(format!("`{label}` is no NAME=VALUE"))),
    });
    labels.collect()
}

/// What snapshots of one group have in common, from a list of words.
pub fn group_by(list: &str) -> Result<GroupBy, String> {
    let mut group_by = GroupBy {
        host: false,
        paths: false,
        tags: false,
    };
    for word in list.split(',').filter(|word| !word.is_empty()) {
        match word {
            "host" | "hosts" => group_by.host = true,
            "path" | "paths" => group_by.paths = true,
            "tag" | "tags" => group_by.tags = true,
            _ => return Err(format!("`{word}` is none of host, paths, tags")),
        }
    }
    Ok(group_by)
}

/// A group by what its snapshots have in common: "/srv on web1 with daily".
pub fn heading(summary: &Summary, group_by: GroupBy) -> String {
    let mut words = Vec::new();
    if group_by.paths {
        let paths: Vec<String> = summary.paths.iter().map(|path| show::path(path)).collect();
        words.push(paths.join(" "));
    }
    if group_by.host {
        words.push(format!("on {}", show::path(&summary.host)));
    }
    if group_by.tags {
        let mut tags: Vec<String> = summary.tags.iter().map(|tag| show::path(tag.as_bytes())).collect();
        tags.sort();
        words.push(if tags.is_empty() {
            "without tags".to_owned()
        } else {
            format!("with {}", tags.join(", "))
        });
    }
    if words.is_empty() {
        "All together".to_owned()
    } else {
        words.join(" ")
    }
}
