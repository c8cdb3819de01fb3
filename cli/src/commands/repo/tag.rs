//! `ararat repo tag`

use anyhow::{Result, bail};
use engine::format::envelope::Access;
use engine::format::mark::MarkKind;
use engine::words::Error;

use super::filter::find_whole;
use crate::output::show;
use crate::session::{self, Session};

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
    /// Only say what tags they would have
    #[arg(short = 'n', long)]
    dry_run: bool,
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
            if !self.dry_run {
                repository.mark(snapshot.id, MarkKind::Tags { tags: tags.clone() }, session::now())?;
            }
            if session.global.json {
                show::json(&serde_json::json!({ "snapshot": snapshot.id.to_string(), "tags": tags }))?;
            } else if !session.global.quiet {
                let has = match tags.len() {
                    0 => "no tags".to_owned(),
                    1 => format!("the tag {}", show::path(tags.concat().as_bytes())),
                    _ => format!("the tags {}", show::path(tags.join(", ").as_bytes())),
                };
                let verb = if self.dry_run { "would have" } else { "has" };
                show::line(&format!("Snapshot {} {verb} {has}", snapshot.id.short()))?;
            }
        }
        Ok(0)
    }
}
