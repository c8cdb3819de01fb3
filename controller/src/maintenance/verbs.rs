//! Prune and check as the engine does them, and what they say for people.

use std::sync::Arc;

use engine::verbs::check::{self as checking, CheckOptions, CheckReport, ReadData};
use engine::verbs::prune::{self as pruning, PruneOptions, PruneReport};
use engine::words::NoProgress;

use crate::context::{engine_now, machine};
use crate::location;
use crate::repositories::{Opened, blocking};

/// A pack is repacked when more than this part of it is unused.
const UNUSED_MAX: f64 = 0.05;
/// A session of which nobody has heard for so long is ended. An agent that still runs begins again by itself.
const FENCE_SECONDS: i64 = 6 * 3600;
/// So long running backups are waited for; what they hold up is left to the next prune.
const WAIT_SECONDS: u64 = 60;
/// Packs that are held in memory at once while they are checked.
const WORKERS: usize = 2;
/// So many findings are told.
const TOLD: usize = 3;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// It did what it should, and found nothing.
    pub succeeded: bool,
    /// How much was found that is not as it was written.
    pub findings: usize,
    /// What it did, or why not.
    pub message: String,
}

/// Prunes.
pub async fn prune(opened: &Arc<Opened>, pod: &str) -> Outcome {
    let options = PruneOptions {
        clock: engine_now,
        machine: machine(pod),
        dry_run: false,
        undelete_seconds: 0,
        unused_max: UNUSED_MAX,
        repack_bytes_max: u64::MAX,
        fence_seconds: FENCE_SECONDS,
        wait_seconds: WAIT_SECONDS,
        exclusive: false,
    };
    let held = Arc::clone(opened);
    let report = blocking(move || pruning::prune(&held.repository, &options, &NoProgress)).await;
    match report.and_then(|report| Ok(report?)) {
        Ok(report) => pruned(&report),
        Err(error) => failed(opened, &error),
    }
}

/// Checks a slice.
pub async fn check(opened: &Arc<Opened>, slice: u32, of: u32) -> Outcome {
    let options = CheckOptions {
        read_data: ReadData::Slice { number: slice, of },
        workers: WORKERS,
        seed: 0,
    };
    let held = Arc::clone(opened);
    let report = blocking(move || checking::check(&held.repository, &options, &NoProgress)).await;
    match report.and_then(|report| Ok(report?)) {
        Ok(report) => checked(&report, slice, of),
        Err(error) => failed(opened, &error),
    }
}

fn failed(opened: &Opened, error: &anyhow::Error) -> Outcome {
    Outcome {
        succeeded: false,
        findings: 0,
        message: location::explain(error, &opened.spec),
    }
}

fn pruned(report: &PruneReport) -> Outcome {
    let mut parts = vec![format!(
        "{} were freed ({} packs)",
        bytes(report.bytes_deleted),
        report.packs_deleted
    )];
    if report.packs_repacked > 0 {
        parts.push(format!(
            "{} were moved out of {} packs",
            bytes(report.bytes_repacked),
            report.packs_repacked
        ));
    }
    if report.packs_waiting > 0 {
        let sessions = report.sessions_waited_for.len();
        parts.push(format!(
            "{} wait for {sessions} running backups; the next prune frees them",
            bytes(report.bytes_waiting)
        ));
    }
    if !report.sessions_fenced.is_empty() {
        parts.push(format!("{} dead backups were ended", report.sessions_fenced.len()));
    }
    for (pack, why) in report.damaged.iter().take(TOLD) {
        parts.push(format!("the pack {pack} is damaged and stays as it is: {why}"));
    }
    Outcome {
        succeeded: report.damaged.is_empty(),
        findings: report.damaged.len(),
        message: parts.join("; "),
    }
}

fn checked(report: &CheckReport, slice: u32, of: u32) -> Outcome {
    let read = format!(
        "slice {slice} of {of}: {} snapshots and {} of {} packs were read ({})",
        report.snapshots,
        report.packs_read,
        report.packs,
        bytes(report.bytes_read)
    );
    let findings = report.findings.len();
    let message = if findings == 0 {
        format!("Nothing is damaged. In {read}")
    } else {
        let told: Vec<&str> = report
            .findings
            .iter()
            .take(TOLD)
            .map(|finding| finding.message.as_str())
            .collect();
        let more = if findings > TOLD {
            format!(" (and {} more)", findings - TOLD)
        } else {
            String::new()
        };
        format!(
            "{findings} findings: {}{more}. In {read}. `ararat repo check --read-data` says which files are hurt",
            told.join("; ")
        )
    };
    Outcome {
        succeeded: findings == 0,
        findings,
        message,
    }
}

/// Bytes for people.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = count as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" {
        format!("{count} B")
    } else {
        format!("{value:.1} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use engine::verbs::check::Finding;

    use super::*;

    #[test]
    fn bytes_are_written_for_people() {
        let read = [0, 1023, 1024, 1536, 5 << 30].map(bytes);
        assert_eq!(read, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "5.0 GiB"]);
    }

    #[test]
    fn reports_say_what_was_done_and_what_was_found() {
        let report = PruneReport {
            packs_deleted: 3,
            bytes_deleted: 3 << 20,
            packs_waiting: 1,
            bytes_waiting: 1 << 20,
            ..PruneReport::default()
        };
        let outcome = pruned(&report);
        assert!(
            outcome.succeeded && outcome.message.contains("3.0 MiB were freed"),
            "{outcome:?}"
        );
        assert!(outcome.message.contains("the next prune frees them"));
        let finding = Finding {
            message: "Pack 12 is damaged".to_owned(),
            ..Finding::default()
        };
        let report = CheckReport {
            findings: vec![finding; 5],
            ..CheckReport::default()
        };
        let outcome = checked(&report, 2, 30);
        assert!(!outcome.succeeded && outcome.findings == 5);
        assert!(
            outcome.message.contains("Pack 12 is damaged") && outcome.message.contains("(and 2 more)"),
            "{outcome:?}"
        );
        assert!(
            checked(&CheckReport::default(), 1, 30)
                .message
                .starts_with("Nothing is damaged")
        );
    }
}
