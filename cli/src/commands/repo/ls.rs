//! `ararat repo ls`

use std::collections::BTreeMap;
use std::ffi::OsString;

use anyhow::{Result, bail};
use engine::format::envelope::Access;
use engine::format::snapshot::Snapshot;
use engine::format::tree::{Entry, EntryKind, TreeReader};
use engine::words::Error;

use super::filter::{FilterArgs, find, root};
use crate::output::show;
use crate::session::Session;

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

/// An entry's name for people.
pub fn name(entry: &Entry) -> String {
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
