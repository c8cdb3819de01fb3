//! The agents of the nodes: whether one is there, and whether it still says something.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::ListParams;
use tokio::time::Instant;

use crate::context::Context;

/// An agent that says nothing for so long is taken for lost.
pub const SILENCE: Duration = Duration::from_secs(300);
/// A node without an agent is waited for so long.
pub const NO_AGENT: Duration = Duration::from_secs(120);
/// An agent that could not be told what it must know is waited for so long.
pub const UNANSWERED: Duration = Duration::from_secs(900);

/// Whether an agent that is ready runs on a node. A pod that starts again and again, or whose node is gone, runs as far as its phase says.
pub async fn runs_on(context: &Context, node: &str) -> bool {
    let pods: Api<Pod> = context.api();
    let selector = ListParams::default()
        .labels("app.kubernetes.io/component=agent")
        .fields(&format!("spec.nodeName={node}"));
    match pods.list(&selector).await {
        Ok(pods) => pods.items.iter().any(is_ready),
        // Who cannot be asked is not said to be missing.
        Err(_) => true,
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

/// How long an agent has said nothing, by the clock of whoever listens: that of the node may be another.
pub struct Pulse<T = Time> {
    last: Option<T>,
    since: Instant,
}

impl<T: PartialEq + Clone> Pulse<T> {
    /// Begins to listen now.
    pub fn new(now: Instant) -> Self {
        Self { last: None, since: now }
    }

    /// Takes the newest beat that is known now, and gives how long it has been the newest.
    pub fn silent_for(&mut self, beat: Option<&T>, now: Instant) -> Duration {
        if self.last.as_ref() != beat {
            self.last = beat.cloned();
            self.since = now;
        }
        now.duration_since(self.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_counts_when_it_is_new_whatever_it_says() {
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        let mut pulse = Pulse::new(began);
        assert_eq!(pulse.silent_for(Some(&5), after(1)), Duration::ZERO);
        assert_eq!(pulse.silent_for(Some(&5), after(11)), Duration::from_secs(10));
        // Also one that is older than the last.
        assert_eq!(pulse.silent_for(Some(&4), after(12)), Duration::ZERO);
    }

    #[test]
    fn a_pod_that_is_not_ready_is_no_agent() {
        let pod = |ready: &str| -> Pod {
            serde_json::from_value(serde_json::json!({
                "metadata": { "name": "agent" },
                "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": ready }] },
            }))
            .unwrap_or_default()
        };
        assert!(is_ready(&pod("True")));
        assert!(!is_ready(&pod("False")));
        assert!(!is_ready(&Pod::default()));
    }
}
