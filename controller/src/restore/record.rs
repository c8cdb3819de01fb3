//! What is kept of a restore: its log and results, as a small snapshot in the location that it was restored from.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use api::archive::{self, Results};
use engine::repository::SnapshotFilter;

use super::work::Work;
use crate::context::engine_now;
use crate::documents::{self, Documents};
use crate::location;
use crate::repositories::blocking;

/// How often it is tried while the store is away.
const TRIES: u32 = 10;
/// Issues that are told in the status when nothing can be written.
const TOLD: usize = 20;

/// Writes the record, unless it is there; gives its snapshot.
///
/// # Errors
/// Says why nothing can be written there.
pub async fn write(work: &Arc<Work>) -> Result<String, String> {
    let opened = Arc::clone(&work.source.opened);
    opened.writable().map_err(|error| error.to_string())?;
    if let Some(location) = work.context.watches.locations.named(&opened.location) {
        location::may_write(&location)?;
    }
    let mut last = String::new();
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        let (work, opened) = (Arc::clone(work), Arc::clone(&opened));
        match blocking(move || store(&work, &opened.repository)).await {
            Ok(Ok(snapshot)) => return Ok(snapshot),
            Ok(Err(error)) | Err(error) => last = format!("{error:#}"),
        }
    }
    Err(last)
}

fn store(work: &Work, repository: &engine::repository::Repository) -> Result<String> {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let filter = SnapshotFilter {
        labels: vec![
            label(archive::LABEL_KIND, archive::KIND_RESTORE),
            label(archive::LABEL_UID, &work.uid),
        ],
        ..SnapshotFilter::default()
    };
    // Of a controller that died before it could say so; or of an attempt whose answer was lost.
    if let Some(snapshot) = repository.snapshots(&filter)?.last() {
        return Ok(snapshot.id.to_string());
    }
    let documents = Documents {
        source: &format!("restores/{}", work.name),
        cluster: &work.context.cluster,
        pod: &work.context.args.pod,
        labels: &[
            (archive::LABEL_KIND, archive::KIND_RESTORE),
            (archive::LABEL_NAME, &work.name),
            (archive::LABEL_UID, &work.uid),
        ],
        time: engine_now(),
        files: vec![
            (archive::LOG, work.issues.text().into_bytes()),
            (archive::RESULTS, serde_json::to_vec_pretty(&work.issues.results())?),
        ],
    };
    Ok(documents::store(repository, documents)?.to_string())
}

/// The first issues in a line, for a status that is all there is.
pub fn summary(results: &Results) -> String {
    let mut text = String::new();
    for (level, issues) in [("error", &results.errors), ("warning", &results.warnings)] {
        for issue in issues.iter().take(TOLD) {
            let _ = write!(text, "; {level} {} {}: {}", issue.reason, issue.about, issue.message);
        }
        if issues.len() > TOLD {
            let _ = write!(text, "; {} more {level}s", issues.len() - TOLD);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::archive::Issue;

    #[test]
    fn a_status_that_is_all_there_is_tells_the_first_issues() {
        let issue = Issue {
            reason: "Differs".into(),
            about: "secrets/a/b".into(),
            message: "It differs".into(),
        };
        let results = Results {
            warnings: vec![issue; 25],
            errors: Vec::new(),
        };
        let text = summary(&results);
        assert!(text.starts_with("; warning Differs secrets/a/b: It differs") && text.ends_with("; 5 more warnings"));
        assert_eq!(summary(&Results::default()), "");
    }
}
