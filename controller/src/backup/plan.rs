//! What a dry run says: every object and volume that would be saved, and by which rule. A line of JSON each.

use std::sync::Arc;

use api::Backup;
use axum::body::Bytes;
use serde_json::json;

use super::collect;
use super::survey::Survey;
use crate::context::Context;
use crate::issues::Issues;
use crate::server::Output;
use crate::volumes::choose::{Cluster, choose};

/// Gives the lines; an error ends them.
pub async fn plan_lines(context: Arc<Context>, backup: Arc<Backup>, output: Output) {
    let issues = Issues::default();
    let fail = |why: String| std::io::Error::other(why);
    let survey = match Survey::look(&context, &backup.spec, &issues).await {
        Ok(survey) => survey,
        Err(error) => {
            let _ = output.send(Err(fail(format!("{error:#}")))).await;
            return;
        }
    };
    for kind in &survey.found.kinds {
        let items = collect::of_kind(&context, &survey, kind, false, &issues).await;
        let mut lines = Vec::new();
        for item in items {
            let line = json!({ "resource": kind.resource(), "namespace": item.namespace, "name": item.name, "rule": item.why });
            lines.extend_from_slice(line.to_string().as_bytes());
            lines.push(b'\n');
        }
        if !lines.is_empty() && output.send(Ok(Bytes::from(lines))).await.is_err() {
            return;
        }
    }
    let cluster = Cluster {
        pods: &survey.pods,
        claims: &survey.claims,
        volumes: &survey.volumes,
        pods_saved: &survey.pods_saved,
        claims_saved: &survey.claims_saved,
    };
    let mut lines = Vec::new();
    match choose(&backup.spec, &cluster) {
        Ok(choices) => {
            for choice in choices {
                let record = choice.record;
                let line = json!({ "volume": record.source, "action": record.action, "rule": record.reason, "pod": record.pod, "persistentVolume": record.persistent_volume });
                lines.extend_from_slice(line.to_string().as_bytes());
                lines.push(b'\n');
            }
        }
        Err(why) => {
            let _ = output.send(Err(fail(why))).await;
            return;
        }
    }
    for issue in issues.results().errors {
        let line = json!({ "error": issue.message, "about": issue.about });
        lines.extend_from_slice(line.to_string().as_bytes());
        lines.push(b'\n');
    }
    let _ = output.send(Ok(Bytes::from(lines))).await;
}
