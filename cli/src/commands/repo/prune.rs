//! `ararat repo prune`

use std::collections::BTreeSet;

use anyhow::Result;
use engine::format::envelope::Access;
use engine::repository::Repository;
use engine::verbs::prune::{PruneOptions, PruneReport, foresee, prune};
use engine::words::SessionId;

use crate::failure;
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
    /// Keep unused packs, and the records of forgotten snapshots, this long before a later prune deletes them, e.g. 7d: time
    /// for restores that have begun elsewhere. No command brings a forgotten snapshot back
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = session::duration)]
    undelete_window: i64,
    /// Wait this long for running backups; what they hold up is left to the next prune
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = session::duration)]
    wait: i64,
    /// End backups of other machines that gave no sign for this long; one that still runs starts again by itself
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = session::duration)]
    fence_after: i64,
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
    fn options(&self, dry_run: bool) -> PruneOptions {
        PruneOptions {
            clock: session::now,
            machine: session::machine(),
            dry_run,
            undelete_seconds: self.undelete_window,
            unused_max: self.max_unused,
            repack_bytes_max: self.max_repack.map_or(u64::MAX, |size| size.as_u64()),
            fence_seconds: self.fence_after,
            wait_seconds: u64::try_from(self.wait).unwrap_or(0),
            exclusive: self.exclusive,
        }
    }

    /// Prunes.
    pub fn prune(&self, session: &Session, repository: &Repository) -> Result<PruneReport> {
        let shown = Shown::new(session.global.quiet, session.global.json);
        let report = prune(repository, &self.options(false), &shown);
        shown.finish();
        Ok(report?)
    }

    /// Says what a prune would do if these snapshots were forgotten.
    pub fn foresee(
        &self,
        session: &Session,
        repository: &Repository,
        forgotten: &BTreeSet<SessionId>,
    ) -> Result<PruneReport> {
        let shown = Shown::new(session.global.quiet, session.global.json);
        let report = foresee(repository, forgotten, &self.options(true), &shown);
        shown.finish();
        Ok(report?)
    }
}

impl Prune {
    /// Prunes.
    pub fn run(self, session: &Session) -> Result<u8> {
        let repository = session.open(Access::Maintain, false)?;
        let report = match self.dry_run {
            true => self.args.foresee(session, &repository, &BTreeSet::new())?,
            false => self.args.prune(session, &repository)?,
        };
        if session.global.json {
            show::json(&report_json(&report, &repository))?;
        } else if !session.global.quiet {
            print(&report, self.dry_run)?;
        }
        Ok(code_of(&report))
    }
}

/// What a prune that was done ends with: damage that it met is not its failure, and not to be passed over.
pub fn code_of(report: &PruneReport) -> u8 {
    if report.damaged.is_empty() { 0 } else { failure::DAMAGE }
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
        "left_bytes": report.left_bytes,
        "damaged": report.damaged.iter().map(|(pack, why)| serde_json::json!({
            "pack": pack.to_string(), "message": why,
        })).collect::<Vec<_>>(),
        "leftovers": report.leftovers,
        "fenced": ids(&report.sessions_fenced),
        "folded": report.sessions_folded,
        "generation": report.generation,
        "requests": repository.store().requests().total(),
    })
}

/// The report for people: the plan of a dry run, otherwise what was done.
pub fn print(report: &PruneReport, dry_run: bool) -> Result<()> {
    let plan = &report.plan;
    show::line(&format!("Packs     {} ({})", plan.packs, show::bytes(plan.bytes)))?;
    show::line(&format!("Unused    {}", packs(plan.unused_packs, plan.unused_bytes)))?;
    if dry_run {
        if plan.repack_packs > 0 {
            show::line(&format!(
                "Repack    {} would be moved out of {} packs, which frees {}",
                show::bytes(plan.repack_bytes),
                plan.repack_packs,
                show::bytes(plan.repack_frees)
            ))?;
        }
        show::line(&format!(
            "Delete    {} would be deleted",
            packs(
                plan.unused_packs + plan.repack_packs,
                plan.unused_bytes + plan.repack_bytes + plan.repack_frees
            )
        ))?;
        return show::line(&format!(
            "Left      {} would be left unused in packs that stay",
            show::bytes(plan.left_bytes)
        ));
    }
    if report.packs_repacked > 0 {
        show::line(&format!(
            "Repacked  {} out of {} packs",
            show::bytes(report.bytes_repacked),
            report.packs_repacked
        ))?;
    }
    show::line(&format!(
        "Deleted   {}",
        packs(report.packs_deleted, report.bytes_deleted)
    ))?;
    show::line(&format!(
        "Left      {} unused in packs that stay",
        show::bytes(report.left_bytes)
    ))?;
    if report.packs_waiting > 0 {
        show::line(&format!(
            "Waiting   {}",
            packs(report.packs_waiting, report.bytes_waiting)
        ))?;
        match report.sessions_waited_for.len() {
            0 => show::line("          for the undelete window to pass; a later prune deletes them")?,
            count => show::line(&format!(
                "          for {count} running sessions; the next prune deletes them, or --wait waits"
            ))?,
        }
    }
    if report.leftovers > 0 {
        show::line(&format!(
            "Removed   {} half-written files that killed backups left",
            report.leftovers
        ))?;
    }
    for session in &report.sessions_fenced {
        show::line(&format!("Ended the dead session {}", session.short()))?;
    }
    for (pack, why) in &report.damaged {
        show::line(&format!("DAMAGE    pack {pack} is left as it is: {}", show::safe(why)))?;
    }
    if !report.damaged.is_empty() {
        show::line("          `ararat repo check --read-data` says which files that hurts")?;
    }
    Ok(())
}

fn packs(count: u64, bytes: u64) -> String {
    let noun = if count == 1 { "pack" } else { "packs" };
    format!("{count} {noun} ({})", show::bytes(bytes))
}
