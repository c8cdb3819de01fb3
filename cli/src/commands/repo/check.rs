//! `ararat repo check`

use anyhow::Result;
use engine::format::envelope::Access;
use engine::verbs::check::{CheckOptions, CheckReport, ReadData, check};

use crate::failure;
use crate::output::progress::Shown;
use crate::output::show;
use crate::session::{self, Session};

/// Check the repository: is everything there, and is it what was written?
#[derive(clap::Args)]
pub struct Check {
    /// Read every pack and open every blob
    #[arg(long, conflicts_with = "read_data_subset")]
    read_data: bool,
    /// Read a part: slice N of T (all slices together are everything), a random part, or a random number of bytes
    #[arg(long, value_name = "N/T|PERCENT%|SIZE", value_parser = subset)]
    read_data_subset: Option<ReadData>,
    /// Packs that are read at once
    #[arg(long, value_name = "N", default_value_t = 0)]
    workers: usize,
}

fn subset(text: &str) -> Result<ReadData, String> {
    let wrong = || format!("`{text}` is none of 1/7, 2.5% and 10GiB");
    if let Some((number, of)) = text.split_once('/') {
        let (number, of) = (number.parse().map_err(|_| wrong())?, of.parse().map_err(|_| wrong())?);
        return if (1..=of).contains(&number) {
            Ok(ReadData::Slice { number, of })
        } else {
            Err(wrong())
        };
    }
    if let Some(percent) = text.strip_suffix('%') {
        let percent: f64 = percent.parse().map_err(|_| wrong())?;
        return if (0.0..=100.0).contains(&percent) {
            Ok(ReadData::Permille((percent * 10.0).ceil() as u32))
        } else {
            Err(wrong())
        };
    }
    text.parse::<bytesize::ByteSize>()
        .map(|size| ReadData::Bytes(size.as_u64()))
        .map_err(|_| wrong())
}

impl Check {
    /// Checks.
    pub fn run(self, session: &Session) -> Result<u8> {
        let repository = session.open(Access::Read, false)?;
        let read_data = match (self.read_data, self.read_data_subset) {
            (true, _) => ReadData::All,
            (false, Some(subset)) => subset,
            (false, None) => ReadData::None,
        };
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let workers = if self.workers == 0 {
            processors.clamp(2, 8)
        } else {
            self.workers
        };
        let seed = session::now().0.unsigned_abs();
        let shown = Shown::new(session.global.quiet, session.global.json);
        let report = check(
            &repository,
            &CheckOptions {
                read_data,
                workers,
                seed,
            },
            &shown,
        );
        shown.finish();
        let report = report?;
        if session.global.json {
            show::json(&report_json(&report, repository.store().requests().total()))?;
        } else {
            print(&report, read_data, session.global.quiet)?;
        }
        Ok(if report.findings.is_empty() { 0 } else { failure::DAMAGE })
    }
}

fn report_json(report: &CheckReport, requests: u64) -> serde_json::Value {
    let findings = report.findings.iter().map(|finding| {
        serde_json::json!({
            "message": finding.message,
            "pack": finding.pack.map(|pack| pack.to_string()),
            "files": finding.files.iter().map(|(snapshot, path)| serde_json::json!({
                "snapshot": snapshot.to_string(),
                "path": show::path_json(path),
            })).collect::<Vec<_>>(),
            "file_count": finding.file_count,
        })
    });
    serde_json::json!({
        "healthy": report.findings.is_empty(),
        "findings": findings.collect::<Vec<_>>(),
        "notes": report.notes,
        "snapshots": report.snapshots,
        "tree_blobs": report.tree_blobs,
        "packs": report.packs,
        "packs_read": report.packs_read,
        "bytes_read": report.bytes_read,
        "blobs_read": report.blobs_read,
        "keys": report.has_keys,
        "requests": requests,
    })
}

fn print(report: &CheckReport, read_data: ReadData, quiet: bool) -> Result<()> {
    for finding in &report.findings {
        show::line(&format!("DAMAGE  {}", finding.message))?;
        for (snapshot, path) in &finding.files {
            show::line(&format!(
                "        hurts {} of snapshot {}",
                show::path(path),
                snapshot.short()
            ))?;
        }
        if finding.file_count > finding.files.len() as u64 {
            show::line(&format!(
                "        and {} more",
                finding.file_count - finding.files.len() as u64
            ))?;
        }
    }
    if quiet {
        return Ok(());
    }
    for note in &report.notes {
        show::line(&format!("Note    {note}"))?;
    }
    if !report.has_keys {
        show::line(
            "Note    This key opens neither trees nor data: packs were compared with the index and their hashes alone",
        )?;
    }
    show::line(&format!(
        "Walked  {} snapshots, {} tree blobs",
        report.snapshots, report.tree_blobs
    ))?;
    show::line(&format!("Packs   {} in the index", report.packs))?;
    if read_data != ReadData::None {
        show::line(&format!(
            "Read    {} packs ({}), {} blobs opened",
            report.packs_read,
            show::bytes(report.bytes_read),
            report.blobs_read
        ))?;
    }
    match report.findings.len() {
        0 => show::line("No damage was found"),
        1 => show::line("One finding"),
        count => show::line(&format!("{count} findings")),
    }
}
