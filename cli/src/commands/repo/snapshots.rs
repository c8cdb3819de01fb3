//! `ararat repo snapshots`

use anyhow::Result;
use engine::format::envelope::Access;
use engine::format::snapshot::Summary;
use engine::repository::StoredSnapshot;
use engine::verbs::forget::{GroupBy, grouped};

use super::filter::{self, FilterArgs};
use crate::output::show;
use crate::session::Session;

/// List the snapshots, oldest first.
#[derive(clap::Args)]
pub struct Snapshots {
    #[command(flatten)]
    filter: FilterArgs,
    /// Only the newest so many, of each group if there are groups
    #[arg(long, value_name = "N")]
    latest: Option<usize>,
    /// Put snapshots together that have the same of these: host, paths, tags
    #[arg(short, long, value_name = "LIST", value_parser = filter::group_by)]
    group_by: Option<GroupBy>,
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
        let filter = self.filter.filter()?;
        let repository = session.open(Access::Read, false)?;
        let found = repository.snapshots(&filter)?;
        let mut groups = match self.group_by {
            Some(group_by) => grouped(&found, group_by),
            None => vec![found.iter().collect()],
        };
        if let Some(latest) = self.latest {
            for group in &mut groups {
                group.drain(..group.len().saturating_sub(latest));
            }
            groups.retain(|group| !group.is_empty() || self.group_by.is_none());
        }
        if session.global.json {
            match self.group_by {
                Some(group_by) => show::json(
                    &groups
                        .iter()
                        .map(|group| group_json(group, group_by))
                        .collect::<Vec<_>>(),
                )?,
                None => show::json(&groups.concat().into_iter().map(snapshot_json).collect::<Vec<_>>())?,
            }
            return Ok(0);
        }
        for (place, group) in groups.iter().enumerate() {
            if let (Some(group_by), Some(first)) = (self.group_by, group.first()) {
                let gap = if place > 0 { "\n" } else { "" };
                show::line(&format!("{gap}{}", filter::heading(&first.summary, group_by)))?;
            }
            print(group)?;
        }
        if groups.is_empty() {
            show::line("0 snapshots")?;
        }
        Ok(0)
    }
}

/// A group for programs: what its snapshots have in common, and what is not grouped by is null.
fn group_json(group: &[&StoredSnapshot], group_by: GroupBy) -> serde_json::Value {
    let common = |grouped: bool, value: fn(&Summary) -> serde_json::Value| {
        let first = group.first().filter(|_| grouped);
        first.map_or(serde_json::Value::Null, |first| value(&first.summary))
    };
    serde_json::json!({
        "group": {
            "host": common(group_by.host, |summary| String::from_utf8_lossy(&summary.host).into()),
            "paths": common(group_by.paths, |summary| summary.paths.iter().map(|path| show::path_json(path)).collect()),
            "tags": common(group_by.tags, |summary| summary.tags.clone().into()),
        },
        "snapshots": group.iter().map(|snapshot| snapshot_json(snapshot)).collect::<Vec<_>>(),
    })
}

fn print(group: &[&StoredSnapshot]) -> Result<()> {
    let (incomplete, complete): (Vec<_>, Vec<_>) = group.iter().partition(|snapshot| snapshot.summary.incomplete);
    print_table(&complete)?;
    show::line(&match complete.len() {
        1 => "1 snapshot".to_owned(),
        count => format!("{count} snapshots"),
    })?;
    if !incomplete.is_empty() {
        show::line("\nInterrupted backups, which hold what had been read until then:")?;
        print_table(&incomplete)?;
    }
    Ok(())
}

fn print_table(snapshots: &[&StoredSnapshot]) -> Result<()> {
    if snapshots.is_empty() {
        return Ok(());
    }
    let mut table = show::table(&["id", "time", "host", "files", "size", "tags", "paths"]);
    show::to_the_right(&mut table, &[3, 4]);
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
            show::path(summary.tags.join(",").as_bytes()),
            paths.join(" "),
        ]);
    }
    show::line(&table.trim_fmt())
}
