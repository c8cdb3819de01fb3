//! `ararat repo diff`

use std::ffi::OsString;

use anyhow::{Result, bail};
use engine::format::envelope::Access;
use engine::format::tree::TreeReader;
use engine::format::tree::diff::{Difference, TreeDiff};
use engine::format::tree::path::is_within;
use engine::repository::StoredSnapshot;
use engine::words::Error;

use super::filter::{FilterArgs, find, root};
use super::ls::{entry_json, name};
use crate::output::show;
use crate::session::Session;

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
