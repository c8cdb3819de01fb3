//! `ararat repo prune`

use anyhow::Result;
use engine::format::envelope::Access;
use engine::repository::Repository;
use engine::verbs::prune::{PruneOptions, PruneReport, prune};

use crate::output::progress::Shown;
use crate::output::show;
use crate::session::{self, Session};

/// How to prune.
#[derive(clap::Args, Clone, Debug)]
pub struct PruneArgs {
    /// Repack packs of which more than this part is unused, e.g. 5%
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = percent)]
    max_unused: f64,
    /// Repack at most so many bytes
    #[arg(long, value_name = "SIZE")]
    max_repack: Option<bytesize::ByteSize>,
    /// Keep unused packs this long before they are deleted, so that forgetting can be undone, e.g. 7d
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    undelete_window: String,
    /// Wait this long for running backups; what they hold up is left to the next prune
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    wait: String,
    /// End backups of other machines that gave no sign for this long; one that still runs starts again by itself
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    fence_after: String,
    /// Nothing else uses the repository now: needed on stores that overwrite where they should refuse
    #[arg(long)]
    exclusive: bool,
}

/// Delete what no snapshot needs, beside whatever else is running.
#[derive(clap::Args)]
pub struct Prune {
    #[command(flatten)]
    args: PruneArgs,
    /// Only say what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
}

fn percent(text: &str) -> Result<f64, String> {
    let number: f64 = text
        .trim_end_matches('%')
        .parse()
        .map_err(|_| format!("`{text}` is no percentage"))?;
    if (0.0..=100.0).contains(&number) {
        Ok(number / 100.0)
    } else {
        Err("a percentage is between 0 and 100".into())
    }
}

impl PruneArgs {
    /// Prunes.
    pub fn prune(&self, session: &Session, repository: &Repository, dry_run: bool) -> Result<PruneReport> {
        let options = PruneOptions {
            clock: session::now,
            machine: session::machine(),
            dry_run,
            undelete_seconds: session::seconds(&self.undelete_window)?,
            unused_max: self.max_unused,
            repack_bytes_max: self.max_repack.map_or(u64::MAX, |size| size.as_u64()),
            fence_seconds: session::seconds(&self.fence_after)?,
            wait_seconds: u64::try_from(session::seconds(&self.wait)?).unwrap_or(0),
            exclusive: self.exclusive,
        };
        let shown = Shown::new(session.global.quiet, session.global.json);
        let report = prune(repository, &options, &shown);
        shown.finish();
        Ok(report?)
    }
}

impl Prune {
    /// Prunes.
    pub fn run(self, session: &Session) -> Result<u8> {
        let repository = session.open(Access::Maintain, false)?;
        let report = self.args.prune(session, &repository, self.dry_run)?;
        if session.global.json {
            show::json(&report_json(&report, &repository))?;
        } else if !session.global.quiet {
            print(&report, self.dry_run)?;
        }
        Ok(0)
    }
}

/// The report for programs.
pub fn report_json(report: &PruneReport, repository: &Repository) -> serde_json::Value {
    let plan = &report.plan;
    let ids = |ids: &[engine::words::SessionId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    serde_json::json!({
        "plan": {
            "packs": plan.packs,
            "bytes": plan.bytes,
            "unused_packs": plan.unused_packs,
            "unused_bytes": plan.unused_bytes,
            "repack_packs": plan.repack_packs,
            "repack_bytes": plan.repack_bytes,
            "repack_frees": plan.repack_frees,
            "left_bytes": plan.left_bytes,
        },
        "deleted": { "packs": report.packs_deleted, "bytes": report.bytes_deleted },
        "repacked": { "packs": report.packs_repacked, "bytes": report.bytes_repacked },
        "waiting": { "packs": report.packs_waiting, "bytes": report.bytes_waiting, "for_sessions": ids(&report.sessions_waited_for) },
        "fenced": ids(&report.sessions_fenced),
        "folded": report.sessions_folded,
        "generation": report.generation,
        "requests": repository.store().requests().total(),
    })
}

/// The report for people.
pub fn print(report: &PruneReport, dry_run: bool) -> Result<()> {
    let plan = &report.plan;
    let would = if dry_run { "would be " } else { "" };
    show::line(&format!("Packs     {} ({})", plan.packs, show::bytes(plan.bytes)))?;
    show::line(&format!(
        "Unused    {} packs ({}) {would}deleted",
        plan.unused_packs,
        show::bytes(plan.unused_bytes)
    ))?;
    if plan.repack_packs > 0 || report.packs_repacked > 0 {
        show::line(&format!(
            "Repacked  {} packs {would}emptied, {} {would}moved, {} freed",
            plan.repack_packs,
            show::bytes(plan.repack_bytes),
            show::bytes(plan.repack_frees)
        ))?;
    }
    show::line(&format!(
        "Left      {} unused in packs that stay",
        show::bytes(plan.left_bytes)
    ))?;
    if dry_run {
        return Ok(());
    }
    if report.packs_waiting > 0 {
        show::line(&format!(
            "Waiting   {} packs ({})",
            report.packs_waiting,
            show::bytes(report.bytes_waiting)
        ))?;
        match report.sessions_waited_for.len() {
            0 => show::line("          for the undelete window to pass; a later prune deletes them")?,
            count => show::line(&format!(
                "          for {count} running sessions; the next prune deletes them, or --wait waits"
            ))?,
        }
    }
    for session in &report.sessions_fenced {
        show::line(&format!("Ended the dead session {}", session.short()))?;
    }
    show::line(&format!(
        "Deleted   {} packs ({})",
        report.packs_deleted,
        show::bytes(report.bytes_deleted)
    ))
}
