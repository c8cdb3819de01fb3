//! `ararat repo stats`

use anyhow::Result;
use engine::format::envelope::Access;
use engine::verbs::stats::stats;

use super::filter::FilterArgs;
use crate::output::progress::Shown;
use crate::output::show;
use crate::session::Session;

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
