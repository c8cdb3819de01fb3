//! `ararat repo forget`

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use api::archive;
use engine::format::envelope::Access;
use engine::verbs::forget::{ForgetOptions, ForgetReport, GroupBy, KeepPolicy, What, forget};
use engine::words::{Error, SessionId};

use super::filter::{self, FilterArgs};
use super::prune::PruneArgs;
use super::snapshots::snapshot_json;
use crate::output::progress::Shown;
use crate::output::show;
use crate::session::{self, Session};

/// Forget snapshots, by name or by policy.
///
/// A snapshot is kept when any --keep rule keeps it, and while it has the tag ararat.dev/hold. Those of Kubernetes backups are not judged by a policy, which knows nothing of volumes that belong together.
/// The space comes back with --prune, or a later `ararat repo prune`.
#[derive(clap::Args)]
pub struct Forget {
    /// Snapshots to forget, instead of a policy: ids or their beginnings, latest, latest~N, of those that the filters leave
    snapshots: Vec<String>,
    /// Keep the newest N
    #[arg(short = 'l', long, value_name = "N", default_value_t = 0)]
    keep_last: u32,
    /// Keep the newest of each of the last N hours that have one
    #[arg(short = 'H', long, value_name = "N", default_value_t = 0)]
    keep_hourly: u32,
    /// Keep the newest of each of the last N days that have one
    #[arg(short = 'd', long, value_name = "N", default_value_t = 0)]
    keep_daily: u32,
    /// Keep the newest of each of the last N weeks that have one
    #[arg(short = 'w', long, value_name = "N", default_value_t = 0)]
    keep_weekly: u32,
    /// Keep the newest of each of the last N months that have one
    #[arg(short = 'm', long, value_name = "N", default_value_t = 0)]
    keep_monthly: u32,
    /// Keep the newest of each of the last N years that have one
    #[arg(short = 'y', long, value_name = "N", default_value_t = 0)]
    keep_yearly: u32,
    /// Keep all that are at most so much older than the newest, e.g. 30d or 2w3d
    #[arg(long, value_name = "DURATION", value_parser = session::duration)]
    keep_within: Option<i64>,
    /// Keep all with these comma-separated tags (may be repeated)
    #[arg(long, value_name = "TAG[,TAG]")]
    keep_tag: Vec<String>,
    /// Judge snapshots together that have the same of these: host, paths, tags; empty for all together
    #[arg(short, long, value_name = "LIST", default_value = "host,paths", value_parser = filter::group_by)]
    group_by: GroupBy,
    /// The policy may leave a group without any snapshot; without this it is then refused
    #[arg(long)]
    allow_empty_groups: bool,
    #[command(flatten)]
    filter: FilterArgs,
    /// Delete what no snapshot needs any more
    #[arg(long)]
    prune: bool,
    /// Only say what would be forgotten, and why the rest is kept
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    pruning: PruneArgs,
}

impl Forget {
    /// Forgets.
    pub fn run(self, session: &Session) -> Result<u8> {
        let what = self.what()?;
        let repository = session.open(Access::Maintain, false)?;
        let options = ForgetOptions {
            what,
            now: session::now(),
            time_zone: jiff::tz::TimeZone::system(),
            dry_run: self.dry_run,
        };
        let shown = Shown::new(session.global.quiet, session.global.json);
        let report = forget(&repository, &options, &shown);
        shown.finish();
        let report = report?;
        let going = report.groups.iter().flatten().filter(|decision| !decision.keep);
        let going: BTreeSet<SessionId> = going.map(|decision| decision.snapshot.id).collect();
        let pruned = match (self.prune, self.dry_run) {
            (false, _) => None,
            (true, false) => Some(self.pruning.prune(session, &repository)?),
            (true, true) => Some(self.pruning.foresee(session, &repository, &going)?),
        };
        let code = pruned.as_ref().map_or(0, super::prune::code_of);
        if session.global.json {
            let mut document = report_json(&report);
            if let (Some(pruned), Some(fields)) = (&pruned, document.as_object_mut()) {
                fields.insert("prune".into(), super::prune::report_json(pruned, &repository));
            }
            show::json(&document)?;
        } else if !session.global.quiet {
            self.print(&report)?;
            if let Some(pruned) = &pruned {
                super::prune::print(pruned, self.dry_run)?;
            }
        }
        Ok(code)
    }

    fn what(&self) -> Result<What> {
        let mut keep = KeepPolicy {
            last: self.keep_last,
            hourly: self.keep_hourly,
            daily: self.keep_daily,
            weekly: self.keep_weekly,
            monthly: self.keep_monthly,
            yearly: self.keep_yearly,
            within_seconds: self.keep_within,
            tags: filter::tag_lists(&self.keep_tag)?,
        };
        if !self.snapshots.is_empty() {
            if !keep.is_empty() {
                bail!(Error::Invalid("Name snapshots or say what to keep, not both".into()));
            }
            return Ok(What::Snapshots {
                names: self.snapshots.clone(),
                filter: self.filter.filter()?,
                held: Some(archive::TAG_HOLD.to_owned()),
            });
        }
        keep.check()?;
        keep.tags.push(vec![archive::TAG_HOLD.to_owned()]);
        Ok(What::Policy {
            keep,
            filter: self.filter.filter()?,
            group_by: self.group_by,
            allow_empty_groups: self.allow_empty_groups,
            spared: Some(archive::LABEL_KIND.to_owned()),
        })
    }

    fn print(&self, report: &ForgetReport) -> Result<()> {
        let by_policy = self.snapshots.is_empty();
        for (place, group) in report.groups.iter().enumerate() {
            let Some(first) = group.first() else { continue };
            if by_policy {
                let gap = if place > 0 { "\n" } else { "" };
                show::line(&format!(
                    "{gap}{}",
                    filter::heading(&first.snapshot.summary, self.group_by)
                ))?;
            }
            let mut table = show::table(&["", "id", "time", "why"]);
            for decision in group {
                let reasons: Vec<&str> = decision.reasons.iter().map(|reason| reason.text()).collect();
                let (verdict, why) = match decision.keep {
                    true => ("keep", reasons.join(", ")),
                    false if reasons.is_empty() => ("forget", "no rule keeps it".to_owned()),
                    false => ("forget", reasons.join(", ")),
                };
                table.add_row([
                    verdict.to_owned(),
                    decision.snapshot.id.short(),
                    show::time(decision.snapshot.summary.time),
                    why,
                ]);
            }
            show::line(&table.trim_fmt())?;
        }
        let forgotten = report.groups.iter().flatten().filter(|decision| !decision.keep).count();
        let noun = if forgotten == 1 { "snapshot" } else { "snapshots" };
        let would = if self.dry_run { "would be " } else { "" };
        show::line(&format!("{forgotten} {noun} {would}forgotten"))?;
        match report.spared {
            0 => Ok(()),
            spared => show::line(&format!(
                "{spared} of Kubernetes backups {} not judged: their time to live and `ararat backup delete` decide about them",
                if spared == 1 { "was" } else { "were" }
            )),
        }
    }
}

fn report_json(report: &ForgetReport) -> serde_json::Value {
    let groups = report.groups.iter().map(|group| {
        let decisions = group.iter().map(|decision| {
            serde_json::json!({
                "snapshot": snapshot_json(&decision.snapshot),
                "keep": decision.keep,
                "reasons": decision.reasons.iter().map(|reason| reason.text()).collect::<Vec<_>>(),
            })
        });
        decisions.collect::<Vec<_>>()
    });
    serde_json::json!({
        "groups": groups.collect::<Vec<_>>(),
        "forgotten": report.forgotten.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "spared": report.spared,
    })
}
