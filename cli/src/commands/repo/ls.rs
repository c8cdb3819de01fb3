//! `ararat repo ls`, `ararat repo diff`, `ararat repo stats`, `ararat repo cat`, `ararat repo tag`: looking, and a word about it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use anyhow::{Result, bail};
use engine::format::envelope::Access;
use engine::format::mark::MarkKind;
use engine::format::snapshot::Snapshot;
use engine::format::tree::diff::{Difference, TreeDiff};
use engine::format::tree::path::is_within;
use engine::format::tree::{Entry, EntryKind, TreeReader};
use engine::repository::{Repository, StoredSnapshot};
use engine::verbs::restore::Selection;
use engine::verbs::stats::stats;
use engine::words::{BlobId, Error};

use super::filter::FilterArgs;
use super::snapshots::snapshot_json;
use crate::output::progress::Shown;
use crate::output::show;
use crate::session::{self, Session};

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
fn find_whole(repository: &Repository, wanted: &str, verb: &str) -> Result<StoredSnapshot> {
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

/// List what is in a snapshot.
#[derive(clap::Args)]
pub struct Ls {
    /// The snapshot: an id or its beginning, latest, latest~N; and a path in it
    #[arg(value_name = "SNAPSHOT[:PATH]", default_value = "latest")]
    snapshot: OsString,
    /// Mode, owner, size and time as well
    #[arg(short, long)]
    long: bool,
    /// Also what is in the folders
    #[arg(short = 'R', long)]
    recursive: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

impl Ls {
    /// Lists.
    pub fn run(self, session: &Session) -> Result<u8> {
        let repository = session.open(Access::Read, false)?;
        let (snapshot, below) = find(&repository, &self.snapshot, &self.filter)?;
        let reader = TreeReader::new(&repository, root(&repository, &snapshot)?);
        let mut reader = if below.is_empty() {
            reader
        } else {
            reader.subtree(&below)?
        };
        let names = snapshot.record.as_ref().map(Names::of).unwrap_or_default();
        let mut any = false;
        while let Some(entry) = reader.next_entry()? {
            any = true;
            let rest = if below.is_empty() {
                Some(entry.path.as_slice())
            } else {
                entry.path.strip_prefix(below.as_slice())
            };
            let depth = rest.map_or(0, |rest| {
                rest.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).count()
            });
            if depth == 0 && matches!(entry.kind, EntryKind::Folder) {
                continue;
            }
            let entry = entry.clone();
            if !self.recursive && matches!(entry.kind, EntryKind::Folder) {
                // What is in it is not wanted. No name holds a byte below 1, so this is where its next sibling comes, or after.
                reader.seek(&[entry.path.as_slice(), &[1]].concat())?;
            }
            if session.global.json {
                show::json(&entry_json(&entry))?;
            } else if self.long {
                show::line(&names.long(&entry))?;
            } else {
                show::line(&name(&entry))?;
            }
        }
        if !any && !below.is_empty() {
            bail!(Error::Invalid(format!(
                "There is no {} in snapshot {}",
                show::path(&below),
                snapshot.id.short()
            )));
        }
        Ok(0)
    }
}

fn name(entry: &Entry) -> String {
    let ending = if matches!(entry.kind, EntryKind::Folder) {
        "/"
    } else {
        ""
    };
    format!("{}{ending}", show::path(&entry.path))
}

fn kind_word(kind: &EntryKind) -> (&'static str, char) {
    match kind {
        EntryKind::Folder => ("folder", 'd'),
        EntryKind::File { .. } => ("file", '-'),
        EntryKind::Symlink { .. } => ("symlink", 'l'),
        EntryKind::Fifo => ("fifo", 'p'),
        EntryKind::Socket => ("socket", 's'),
        EntryKind::CharacterDevice { .. } => ("character_device", 'c'),
        EntryKind::BlockDevice { .. } => ("block_device", 'b'),
    }
}

fn mode_text(kind: char, mode: u32) -> String {
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// The names that owners and groups had where the snapshot was made.
#[derive(Default)]
struct Names {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
    /// The longest of each.
    widths: (usize, usize),
}

impl Names {
    fn of(record: &Snapshot) -> Self {
        let named = |list: &[(u32, Vec<u8>)]| -> BTreeMap<u32, String> {
            list.iter().map(|(number, name)| (*number, show::path(name))).collect()
        };
        let longest = |names: &BTreeMap<u32, String>| names.values().map(|name| name.chars().count()).max();
        let (users, groups) = (named(&record.owners), named(&record.groups));
        let widths = (longest(&users).unwrap_or(0), longest(&groups).unwrap_or(0));
        Self { users, groups, widths }
    }

    fn long(&self, entry: &Entry) -> String {
        let metadata = &entry.metadata;
        let named = |names: &BTreeMap<u32, String>, number: u32| {
            let name = names.get(&number).filter(|name| !name.is_empty());
            name.cloned().unwrap_or_else(|| number.to_string())
        };
        let (user, group) = (named(&self.users, metadata.user), named(&self.groups, metadata.group));
        let mut text = format!(
            "{} {user:<users$} {group:<groups$} {:>12} {} {}",
            mode_text(kind_word(&entry.kind).1, metadata.mode),
            entry.size(),
            show::time(metadata.modified),
            name(entry),
            users = self.widths.0.max(5),
            groups = self.widths.1.max(5),
        );
        if let EntryKind::Symlink { target, .. } = &entry.kind {
            text.push_str(&format!(" -> {}", show::path(target)));
        }
        text
    }
}

/// An entry for programs.
pub fn entry_json(entry: &Entry) -> serde_json::Value {
    let metadata = &entry.metadata;
    let mut document = serde_json::json!({
        "path": show::path_json(&entry.path),
        "type": kind_word(&entry.kind).0,
        "size": entry.size(),
        "mode": metadata.mode,
        "uid": metadata.user,
        "gid": metadata.group,
        "mtime": show::time_json(metadata.modified),
        "inode": metadata.inode,
    });
    if let (EntryKind::Symlink { target, .. }, Some(fields)) = (&entry.kind, document.as_object_mut()) {
        fields.insert("target".into(), show::path_json(target));
    }
    document
}

/// Show what differs between two snapshots.
#[derive(clap::Args)]
pub struct Diff {
    /// The older snapshot; with a path, only what is there is compared, in both
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    before: OsString,
    /// The newer snapshot
    #[arg(value_name = "SNAPSHOT[:PATH]", default_value = "latest")]
    after: OsString,
    /// Also what differs in mode, owner, times or attributes alone
    #[arg(long)]
    metadata: bool,
}

impl Diff {
    /// Compares.
    pub fn run(self, session: &Session) -> Result<u8> {
        let repository = session.open(Access::Read, false)?;
        let filter = FilterArgs::default();
        let (before, within) = find(&repository, &self.before, &filter)?;
        let (after, other) = find(&repository, &self.after, &filter)?;
        let within = match (within.is_empty(), other.is_empty()) {
            (true, _) => other,
            (false, true) => within,
            (false, false) if within == other => within,
            (false, false) => bail!(Error::Invalid(format!(
                "diff compares one path in two snapshots, but `{}` and `{}` were given: name the same path, or name it once",
                show::path(&within),
                show::path(&other)
            ))),
        };
        let is_in = |snapshot: &StoredSnapshot| {
            let reader = TreeReader::new(&repository, root(&repository, snapshot)?);
            anyhow::Ok(reader.subtree(&within)?.peek()?.is_some())
        };
        if !within.is_empty() && !is_in(&before)? && !is_in(&after)? {
            bail!(Error::Invalid(format!(
                "There is no {} in snapshot {} nor in {}",
                show::path(&within),
                before.id.short(),
                after.id.short()
            )));
        }
        let (mut added, mut removed, mut changed) = (0u64, 0u64, 0u64);
        for difference in TreeDiff::new(&repository, root(&repository, &before)?, root(&repository, &after)?) {
            let (sign, entry, what) = match &difference? {
                Difference::Added(entry) => ('+', entry.clone(), "added"),
                Difference::Removed(entry) => ('-', entry.clone(), "removed"),
                Difference::Changed { after, change, .. } if change.kind => ('T', after.clone(), "type"),
                Difference::Changed { after, change, .. } if change.content => ('M', after.clone(), "content"),
                Difference::Changed { after, .. } if self.metadata => ('U', after.clone(), "metadata"),
                Difference::Changed { .. } => continue,
            };
            if !is_within(&entry.path, &within) {
                continue;
            }
            match sign {
                '+' => added += 1,
                '-' => removed += 1,
                _ => changed += 1,
            }
            if session.global.json {
                show::json(&serde_json::json!({ "change": what, "entry": entry_json(&entry) }))?;
            } else {
                show::line(&format!("{sign} {}", name(&entry)))?;
            }
        }
        if session.global.json {
            show::json(&serde_json::json!({ "added": added, "removed": removed, "changed": changed }))?;
        } else if !session.global.quiet {
            show::line(&format!("{added} added, {removed} removed, {changed} changed"))?;
        }
        Ok(0)
    }
}

/// Say how much there is, and what each snapshot alone holds.
#[derive(clap::Args)]
pub struct Stats {
    #[command(flatten)]
    filter: FilterArgs,
}

impl Stats {
    /// Counts.
    pub fn run(self, session: &Session) -> Result<u8> {
        let filter = self.filter.filter()?;
        let repository = session.open(Access::Read, false)?;
        let shown = Shown::new(session.global.quiet, session.global.json);
        let stats = stats(&repository, &filter, &shown);
        shown.finish();
        let stats = stats?;
        if session.global.json {
            show::json(&stats_json(&stats))?;
        } else {
            print_stats(&stats)?;
        }
        Ok(0)
    }
}

fn stats_json(stats: &engine::verbs::stats::Stats) -> serde_json::Value {
    let (files, used) = (stats.files, stats.used);
    serde_json::json!({
        "snapshots": stats.snapshots,
        "files": files.map(|files| files.files),
        "logical_bytes": files.map(|files| files.logical_bytes),
        "blobs": used.map(|used| used.blobs),
        "data_bytes": used.map(|used| used.data_bytes),
        "tree_bytes": used.map(|used| used.tree_bytes),
        "used_bytes": used.map(|used| used.stored_bytes),
        "packs": stats.packs,
        "stored_bytes": stats.stored_bytes,
        "deduplication": stats.deduplication(),
        "compression": stats.compression(),
        "reduction": stats.reduction(),
        "alone": stats.alone.iter().map(|(snapshot, bytes)| serde_json::json!({
            "snapshot": snapshot.id.to_string(), "bytes": bytes,
        })).collect::<Vec<_>>(),
    })
}

fn print_stats(stats: &engine::verbs::stats::Stats) -> Result<()> {
    let times = |ratio: Option<f64>| ratio.map_or_else(|| "unknown".to_owned(), |ratio| format!("{ratio:.2} times"));
    show::line(&format!("Snapshots      {}", stats.snapshots))?;
    show::line(&match stats.files {
        Some(files) => format!(
            "Files          {} in all, {}",
            files.files,
            show::bytes(files.logical_bytes)
        ),
        None => "Files          not visible with this key; a reader's or an owner's shows them".to_owned(),
    })?;
    match stats.used {
        Some(used) => {
            show::line(&format!(
                "Contents       {} without what occurs twice, and {} of trees",
                show::bytes(used.data_bytes),
                show::bytes(used.tree_bytes)
            ))?;
            show::line(&format!(
                "Used           {} in {} blobs",
                show::bytes(used.stored_bytes),
                used.blobs
            ))?;
        }
        None => show::line("Used           not visible with this key; a maintainer's or an owner's shows it")?,
    }
    show::line(&format!(
        "Stored         {} in {} packs",
        show::bytes(stats.stored_bytes),
        stats.packs
    ))?;
    if stats.snapshots > 0 {
        show::line(&format!("Deduplication  {}", times(stats.deduplication())))?;
        show::line(&format!("Compression    {}", times(stats.compression())))?;
        show::line(&format!("Reduction      {} in all", times(stats.reduction())))?;
    }
    let mut table = show::table(&["id", "time", "alone"]);
    show::to_the_right(&mut table, &[2]);
    for (snapshot, bytes) in &stats.alone {
        table.add_row([
            snapshot.id.short(),
            show::time(snapshot.summary.time),
            bytes.map_or_else(|| "not visible".to_owned(), show::bytes),
        ]);
    }
    show::line(&table.trim_fmt())
}

/// Print a snapshot's record, or the repository's config.
#[derive(clap::Args)]
pub struct Cat {
    /// A snapshot, or the word config
    what: String,
}

impl Cat {
    /// Prints.
    pub fn run(self, session: &Session) -> Result<u8> {
        let repository = session.open(Access::Read, false)?;
        let document = if self.what == "config" {
            let config = repository.config();
            serde_json::json!({
                "repository": config.repository.to_string(),
                "created": show::time_json(config.created),
                "root": data_encoding::HEXLOWER.encode(&config.root_public.0),
                "chunker": config.chunker,
                "pack_bytes": config.pack_bytes,
                "tree_pack_bytes": config.tree_pack_bytes,
                "padding": config.padding == 1,
            })
        } else {
            snapshot_json(&find_whole(&repository, &self.what, "cat")?)
        };
        if session.global.json {
            show::json(&document)?
        } else {
            show::line(&serde_json::to_string_pretty(&document)?)?
        };
        Ok(0)
    }
}

/// Change the tags of snapshots.
#[derive(clap::Args)]
pub struct Tag {
    /// The snapshots
    #[arg(required = true)]
    snapshots: Vec<String>,
    /// Add these
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    add: Vec<String>,
    /// Take these away
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    remove: Vec<String>,
    /// Put these in the place of all others
    #[arg(long, value_name = "TAG", value_delimiter = ',', conflicts_with_all = ["add", "remove"])]
    set: Option<Vec<String>>,
}

impl Tag {
    /// Changes them.
    pub fn run(self, session: &Session) -> Result<u8> {
        if self.add.is_empty() && self.remove.is_empty() && self.set.is_none() {
            bail!(Error::Invalid("Say which tags to --add, --remove or --set".into()));
        }
        let repository = session.open(Access::Maintain, false)?;
        for wanted in &self.snapshots {
            let snapshot = find_whole(&repository, wanted, "tag")?;
            let mut tags = self.set.clone().unwrap_or_else(|| snapshot.summary.tags.clone());
            tags.retain(|tag| !self.remove.contains(tag));
            for tag in &self.add {
                if !tags.contains(tag) {
                    tags.push(tag.clone());
                }
            }
            tags.retain(|tag| !tag.is_empty());
            repository.mark(snapshot.id, MarkKind::Tags { tags: tags.clone() }, session::now())?;
            if session.global.json {
                show::json(&serde_json::json!({ "snapshot": snapshot.id.to_string(), "tags": tags }))?;
            } else if !session.global.quiet {
                let has = match tags.len() {
                    0 => "no tags".to_owned(),
                    1 => format!("the tag {}", show::path(tags.concat().as_bytes())),
                    _ => format!("the tags {}", show::path(tags.join(", ").as_bytes())),
                };
                show::line(&format!("Snapshot {} has {has}", snapshot.id.short()))?;
            }
        }
        Ok(0)
    }
}
