//! Downloads: what a DownloadRequest asks for is offered over HTTP, for ten minutes, to whoever has its token.
//!
//! [`source`] finds out what is asked for and whether it is there; a failure until then stands in the request's status, where the command line reads it. What is
//! offered is made while it is read ([`stream`]); a failure then ends the stream with an error, so that nobody takes a part for the whole.

mod source;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use api::DownloadRequest;
use api::download_request::{DownloadPhase, DownloadRequestStatus};
use engine::words::id::random_bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::DeleteParams;

use crate::context::{Context, now};
use crate::server::Downloads;
use crate::tasks::Tasks;
use crate::watched::change;

/// For so long something is offered.
const LIVES: Duration = Duration::from_secs(600);
/// Requests that are answered at once.
const AT_ONCE: usize = 8;
/// How often it is looked whether something has expired.
const PERIOD: Duration = Duration::from_secs(15);

/// What is to be done about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// It is answered, for the first time or anew.
    Answer,
    /// Nothing.
    Stay,
    /// It is removed.
    Remove,
}

/// Answers every DownloadRequest, until the process ends.
pub async fn run(context: Arc<Context>, files: Downloads) {
    let tasks = Tasks::new(AT_ONCE);
    let mut changes = context.watches.downloads.changes();
    loop {
        changes.mark_unchanged();
        for request in context.watches.downloads.all() {
            let uid = request.uid().unwrap_or_default();
            match next(&request, &context.args.pod, files.has(&uid), now()) {
                Next::Stay => {}
                Next::Answer => tasks.start(&uid, answer(Arc::clone(&context), files.clone(), Arc::clone(&request))),
                Next::Remove => {
                    files.withdraw(&uid);
                    let _ = context
                        .api::<DownloadRequest>()
                        .delete(&request.name_any(), &DeleteParams::default())
                        .await;
                }
            }
        }
        change(&mut changes, PERIOD).await;
    }
}

/// Decides.
fn next(request: &DownloadRequest, pod: &str, is_offered: bool, now: Timestamp) -> Next {
    let status = request.status.clone().unwrap_or_default();
    let created = request
        .metadata
        .creation_timestamp
        .as_ref()
        .map_or(now, |created| created.0);
    let until = status.expiration.as_ref().map_or_else(
        || {
            created
                .checked_add(SignedDuration::try_from(LIVES).unwrap_or_default())
                .unwrap_or(Timestamp::MAX)
        },
        |expiration| expiration.0,
    );
    if now >= until {
        return Next::Remove;
    }
    match status.phase {
        DownloadPhase::New => Next::Answer,
        // The leader is another one now, or has started again: what was offered went with the old one.
        DownloadPhase::Ready if !is_offered || status.pod.as_deref() != Some(pod) => Next::Answer,
        DownloadPhase::Ready | DownloadPhase::Failed => Next::Stay,
    }
}

/// Answers a request.
async fn answer(context: Arc<Context>, files: Downloads, request: Arc<DownloadRequest>) {
    let uid = request.uid().unwrap_or_default();
    if files.has(&uid) {
        // Answered a moment ago; the watch has not shown it yet.
        return;
    }
    let before = request.status.clone().unwrap_or_default();
    let expiration = now()
        .checked_add(SignedDuration::try_from(LIVES).unwrap_or_default())
        .ok()
        .map(Time);
    let observed_generation = request.metadata.generation;
    let after = match source::find(&context, &request.spec.target).await {
        Ok(maker) => {
            let token = data_encoding::HEXLOWER.encode(&random_bytes::<32>());
            let path = files.offer(&uid, token.clone(), LIVES, maker);
            DownloadRequestStatus {
                phase: DownloadPhase::Ready,
                message: None,
                observed_generation,
                pod: Some(context.args.pod.clone()),
                port: Some(context.args.port),
                path: Some(path),
                token: Some(token),
                expiration,
            }
        }
        Err(why) => DownloadRequestStatus {
            phase: DownloadPhase::Failed,
            message: Some(why),
            observed_generation,
            expiration,
            ..DownloadRequestStatus::default()
        },
    };
    let name = request.name_any();
    if let Some(patch) = crate::merge::patch(&before, &after)
        && let Err(error) = context.patch_status::<DownloadRequest>(&name, &patch).await
    {
        files.withdraw(&uid);
        tracing::warn!(
            "The request {name} could not be answered: {}",
            crate::context::say(&error)
        );
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use api::DownloadRequestSpec;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn requests_are_answered_once_anew_by_another_leader_and_removed_in_the_end() {
        let mut request = DownloadRequest::new("request", DownloadRequestSpec::default());
        request.metadata.creation_timestamp = Some(Time(at(0)));
        assert_eq!(next(&request, "me", false, at(1)), Next::Answer);
        assert_eq!(next(&request, "me", false, at(600)), Next::Remove);
        request.status = Some(DownloadRequestStatus {
            phase: DownloadPhase::Ready,
            pod: Some("me".to_owned()),
            expiration: Some(Time(at(700))),
            ..DownloadRequestStatus::default()
        });
        assert_eq!(next(&request, "me", true, at(650)), Next::Stay);
        assert_eq!(next(&request, "me", false, at(650)), Next::Answer);
        assert_eq!(next(&request, "other", true, at(650)), Next::Answer);
        assert_eq!(next(&request, "me", true, at(700)), Next::Remove);
        request.status.as_mut().unwrap().phase = DownloadPhase::Failed;
        assert_eq!(next(&request, "other", false, at(650)), Next::Stay);
    }
}
