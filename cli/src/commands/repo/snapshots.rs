//! `ararat repo snapshots`

use anyhow::Result;
use engine::format::envelope::Access;
use engine::repository::{SnapshotFilter, StoredSnapshot};

use crate::output::show;
use crate::session::Session;

/// Which snapshots are meant.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct FilterArgs {
    /// Only of this host (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub host: Vec<String>,
    /// Only with all of these comma-separated tags (may be repeated: any of the lists)
    #[arg(long, value_name = "TAG[,TAG]")]
    pub tag: Vec<String>,
    /// Only with this source (may be repeated: all of them)
    #[arg(long, value_name = "PATH")]
    pub path: Vec<std::path::PathBuf>,
}

impl FilterArgs {
    /// As the engine wants it.
    pub fn filter(&self) -> SnapshotFilter {
        use std::os::unix::ffi::OsStrExt;
        SnapshotFilter {
            hosts: self.host.iter().map(|host| host.clone().into_bytes()).collect(),
            tags: self
                .tag
                .iter()
                .map(|tags| tags.split(',').map(str::to_owned).collect())
                .collect(),
            paths: self
                .path
                .iter()
                .map(|path| path.as_os_str().as_bytes().to_vec())
                .collect(),
            ..SnapshotFilter::default()
        }
    }
}

/// List the snapshots, oldest first.
#[derive(clap::Args)]
pub struct Snapshots {
    #[command(flatten)]
    filter: FilterArgs,
    /// Only the newest so many
    #[arg(long, value_name = "N")]
    latest: Option<usize>,
}

/// A snapshot for programs.
pub fn snapshot_json(snapshot: &StoredSnapshot) -> serde_json::Value {
    let summary = &snapshot.summary;
    let mut document = serde_json::json!({
        "id": snapshot.id.to_string(),
        "time": show::time_json(summary.time),
        "host": String::from_utf8_lossy(&summary.host),
        "user": String::from_utf8_lossy(&summary.user),
        "paths": summary.paths.iter().map(|path| show::path_json(path)).collect::<Vec<_>>(),
        "tags": summary.tags,
        "labels": summary.labels.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "incomplete": summary.incomplete,
    });
    if let (Some(record), Some(fields)) = (&snapshot.record, document.as_object_mut()) {
        fields.insert("description".into(), record.description.clone().into());
        fields.insert("parent".into(), record.parent.map(|parent| parent.to_string()).into());
        fields.insert("root".into(), record.root.0.to_string().into());
        fields.insert("program".into(), record.program.clone().into());
        fields.insert("started".into(), show::time_json(record.started).into());
        fields.insert("ended".into(), show::time_json(record.ended).into());
        fields.insert("counts".into(), serde_json::to_value(record.counts).unwrap_or_default());
    }
    document
}

impl Snapshots {
    /// Lists them.
    pub fn run(self, session: &Session) -> Result<u8> {
        let repository = session.open(Access::Read, false)?;
        let mut found = repository.snapshots(&self.filter.filter())?;
        if let Some(latest) = self.latest {
            found.drain(..found.len().saturating_sub(latest));
        }
        if session.global.json {
            show::json(&found.iter().map(snapshot_json).collect::<Vec<_>>())?;
            return Ok(0);
        }
        let (incomplete, complete): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|snapshot| snapshot.summary.incomplete);
        print(&complete)?;
        show::line(&format!("{} snapshots", complete.len()))?;
        if !incomplete.is_empty() {
            show::line("\nInterrupted backups, which hold what had been read until then:")?;
            print(&incomplete)?;
        }
        Ok(0)
    }
}

fn print(snapshots: &[StoredSnapshot]) -> Result<()> {
    if snapshots.is_empty() {
        return Ok(());
    }
    let mut table = show::table(&["id", "time", "host", "files", "size", "tags", "paths"]);
    for snapshot in snapshots {
        let summary = &snapshot.summary;
        let counts = snapshot.record.as_ref().map(|record| record.counts);
        let paths: Vec<String> = summary.paths.iter().map(|path| show::path(path)).collect();
        table.add_row([
            snapshot.id.short(),
            show::time(summary.time),
            show::path(&summary.host),
            counts.map_or_else(String::new, |counts| counts.files.to_string()),
            counts.map_or_else(String::new, |counts| show::bytes(counts.bytes)),
            summary.tags.join(","),
            paths.join(" "),
        ]);
    }
    show::line(&table.trim_fmt())
}
