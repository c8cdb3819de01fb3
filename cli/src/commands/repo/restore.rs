//! `ararat repo restore`

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use clap::ValueEnum;
use engine::format::envelope::Access;
use engine::source::Pattern;
use engine::target::{Loss, Overwrite, OwnerMap};
use engine::verbs::restore::{RestoreOptions, RestoreReport, Selection, StepKind, restore};

use super::filter::{FilterArgs, find};
use crate::failure;
use crate::output::progress::Shown;
use crate::output::show;
use crate::session::{self, Session};

/// Restore a snapshot, or a part of it, into a folder or onto a block device.
///
/// `restore latest:srv/data --target DIR` puts what is in srv/data directly into DIR. Where something is there already, only
/// what differs is fetched. Nothing outside of DIR is ever touched, whatever a snapshot says.
#[derive(clap::Args)]
pub struct Restore {
    /// The snapshot: an id or its beginning, latest, latest~N; and a path in it
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    snapshot: OsString,
    /// The folder to fill; or a block device, for a single file
    #[arg(short, long, value_name = "DIR")]
    target: PathBuf,
    /// Restore only what matches this pattern, as in .gitignore (may be repeated)
    #[arg(short, long, value_name = "PATTERN")]
    include: Vec<OsString>,
    /// Leave out what matches this pattern
    #[arg(short, long, value_name = "PATTERN")]
    exclude: Vec<OsString>,
    /// What happens to what is there already
    ///
    /// A restore that was killed with the default, or with always, may leave a few new files half-written under their own names: the same command again goes
    /// on with them. With if-newer and never a new file has its name only when it is whole. What is unfinished is called .ararat-restore-…; where a kill
    /// left that behind, --delete removes it.
    #[arg(long, value_enum, default_value_t = OverwriteArg::IfChanged)]
    overwrite: OverwriteArg,
    /// Remove what the snapshot does not have, in the folders that are restored
    ///
    /// What the backup left out or could not read stays, and so does what is beside the backed-up paths, what --include and
    /// --exclude leave out, and everything on other file systems mounted in DIR. See what would go with --dry-run.
    #[arg(long)]
    delete: bool,
    /// Change large files themselves instead of writing them anew beside the old
    #[arg(long)]
    in_place: bool,
    /// Leave runs of zeros out of files, so that they take no space
    #[arg(long)]
    sparse: bool,
    /// Give files to the owners of the stored names, not of the stored numbers
    #[arg(long)]
    owner_names: bool,
    /// Read everything back afterwards and compare it
    #[arg(long)]
    verify: bool,
    /// Wait at the end until everything is on disk
    #[arg(long)]
    sync: bool,
    /// Change nothing; say what would be done (-v: each item)
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum OverwriteArg {
    /// Compare and write what differs
    Always,
    /// Leave alone what has the same size and time
    IfChanged,
    /// Leave alone what is as new or newer
    IfNewer,
    /// Leave alone whatever is there
    Never,
}

impl From<OverwriteArg> for Overwrite {
    fn from(overwrite: OverwriteArg) -> Self {
        match overwrite {
            OverwriteArg::Always => Self::Always,
            OverwriteArg::IfChanged => Self::IfChanged,
            OverwriteArg::IfNewer => Self::IfNewer,
            OverwriteArg::Never => Self::Never,
        }
    }
}

impl Restore {
    /// Restores.
    pub fn run(self, session: &Session) -> Result<u8> {
        let repository = session.open(Access::Read, false)?;
        let (snapshot, within) = find(&repository, &self.snapshot, &self.filter)?;
        let owners = match (&snapshot.record, self.owner_names) {
            (Some(record), true) => {
                let read = |path: &str| std::fs::read(path).unwrap_or_default();
                OwnerMap::by_name(
                    &record.owners,
                    &engine::target::owner::parse_names(&read("/etc/passwd")),
                    &record.groups,
                    &engine::target::owner::parse_names(&read("/etc/group")),
                )
            }
            _ => OwnerMap::default(),
        };
        let list = (self.dry_run || session.global.verbose > 0) && !session.global.json && !session.global.quiet;
        let options = RestoreOptions {
            target: self.target.clone(),
            selection: Selection {
                includes: self.include.iter().map(|text| pattern(text)).collect(),
                excludes: self.exclude.iter().map(|text| pattern(text)).collect(),
                ..Selection::of_path(&within)
            },
            overwrite: self.overwrite.into(),
            in_place: self.in_place,
            delete: self.delete,
            sparse: self.sparse,
            owners,
            dry_run: self.dry_run,
            verify: self.verify,
            sync: self.sync,
            observe: list.then(|| {
                Arc::new(|step: &engine::verbs::restore::Step<'_>| {
                    if !matches!(step.kind, StepKind::Unchanged) {
                        // A reader that has gone away stops nothing here.
                        let _ = show::line(&format!("{:9} {}", step.kind.text(), show::path(step.path)));
                    }
                }) as Arc<engine::verbs::restore::Observe>
            }),
        };
        let pin = match self.dry_run {
            true => None,
            false => repository.pin(vec![snapshot.id], &session::machine(), session::now())?,
        };
        let shown = Shown::new(session.global.quiet, session.global.json);
        let report = restore(&repository, &snapshot, &options, &shown);
        shown.finish();
        // Held a little longer is no harm: maintenance finds out that the process is gone.
        let held = pin.is_none_or(|pin| repository.release(pin, session::now()).unwrap_or(true));
        let report = report?;
        if !held && !report.is_complete() {
            anstream::eprintln!(
                "Prune took this restore for dead and no longer kept the snapshot for it; what was missing may have been removed meanwhile. Restore again what is still there"
            );
        }
        if session.global.json {
            let mut document = report_json(&report);
            if let Some(fields) = document.as_object_mut() {
                fields.insert("snapshot".into(), snapshot.id.to_string().into());
                fields.insert("requests".into(), repository.store().requests().total().into());
            }
            show::json(&document)?;
        } else {
            print(&report, self.dry_run, session.global.quiet, &snapshot.id.short())?;
        }
        Ok(if report.is_complete() { 0 } else { failure::PARTIAL })
    }
}

/// A pattern; what of it is not UTF-8 stands for any one byte each, as in a pattern file.
fn pattern(given: &OsStr) -> Pattern {
    let mut text = String::new();
    for chunk in given.as_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|_| text.push('?'));
    }
    Pattern::new(text)
}

fn loss_text(loss: &Loss) -> String {
    let (count, kind, first) = (loss.count, loss.kind.text(), show::path(&loss.first));
    format!(
        "Not given back exactly: {kind} of {count} items, first of {first}: {}",
        loss.why
    )
}

fn report_json(report: &RestoreReport) -> serde_json::Value {
    serde_json::json!({
        "folders": report.folders,
        "files": report.files,
        "replaced": report.replaced,
        "links": report.links,
        "others": report.others,
        "unchanged": report.unchanged,
        "kept": report.kept,
        "deleted": report.deleted,
        "bytes": report.bytes,
        "bytes_reused": report.bytes_reused,
        "bytes_fetched": report.bytes_fetched,
        "verified": report.verified,
        "failed": report.failed,
        "failures": report.failures.iter().map(|(path, why)| serde_json::json!({
            "path": show::path_json(path),
            "message": why,
        })).collect::<Vec<_>>(),
        "losses": report.losses.iter().map(loss_text).collect::<Vec<_>>(),
    })
}

fn print(report: &RestoreReport, dry_run: bool, quiet: bool, id: &str) -> Result<()> {
    if quiet {
        // Else each was told when it happened.
        for (path, why) in &report.failures {
            anstream::eprintln!("Could not restore {}: {why}", show::path(path));
        }
        if report.failed > report.failures.len() as u64 {
            anstream::eprintln!("and {} more", report.failed - report.failures.len() as u64);
        }
    }
    for loss in &report.losses {
        anstream::eprintln!("{}", loss_text(loss));
    }
    if quiet {
        return Ok(());
    }
    let would = if dry_run { "Would restore" } else { "Restored" };
    show::line(&format!(
        "{would} {} files ({}), {} folders, {} others from snapshot {id}",
        report.files + report.links,
        show::bytes(report.bytes),
        report.folders,
        report.others
    ))?;
    if report.unchanged + report.kept + report.deleted > 0 {
        show::line(&format!(
            "{} were right already, {} left alone, {} deleted",
            report.unchanged, report.kept, report.deleted
        ))?;
    }
    if report.verified > 0 {
        show::line(&format!("{} files were read back and compared", report.verified))?;
    }
    if report.failed > 0 {
        show::line(&format!("{} items could not be restored", report.failed))?;
    }
    Ok(())
}
