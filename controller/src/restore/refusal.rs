//! What it means when the API server does not make an object, and what is done about it. Pure.

use std::time::Duration;

use kube::Error;

use crate::context::is_passing;

/// What is done about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is there already.
    Exists,
    /// The server is busy, or away: soon again, whatever the object.
    Busy,
    /// This object cannot be made yet, for this reason: others first.
    NotYet(&'static str),
    /// It can be made when the cluster chooses its node ports.
    FreePorts,
    /// It can be made when the cluster chooses its families of addresses.
    FreeFamilies,
    /// It can never be made as it is, for this reason.
    Never(&'static str),
}

/// Judges a refusal.
pub fn judge(error: &Error) -> Verdict {
    let Error::Api(status) = error else {
        return if is_passing(error) {
            Verdict::Busy
        } else {
            Verdict::Never("Refused")
        };
    };
    let message = status.message.as_str();
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let caused = |reason: &str| {
        let causes = status.details.iter().flat_map(|details| details.causes.iter());
        causes.into_iter().any(|cause| cause.reason == reason)
    };
    match status.code {
        409 if status.reason == "AlreadyExists" => {
            if has(&["is being deleted"]) {
                Verdict::NotYet("StillBeingDeleted")
            } else {
                Verdict::Exists
            }
        }
        // A quota was counted by two at once, or the object changed meanwhile.
        409 => Verdict::Busy,
        403 if caused("NamespaceTerminating") || has(&["because it is being terminated"]) => {
            Verdict::NotYet("NamespaceTerminating")
        }
        403 if has(&["exceeded quota", "status unknown for quota"]) => Verdict::NotYet("QuotaExceeded"),
        403 if has(&["error looking up service account", "no API token found"]) => Verdict::NotYet("AccountMissing"),
        403 if has(&[
            "unable to validate against any security context constraint",
            "violates PodSecurity",
        ]) =>
        {
            Verdict::Never("SecurityPolicy")
        }
        403 if has(&[
            "cannot create resource",
            "cannot patch resource",
            "cannot get resource",
            "attempting to grant RBAC permissions",
        ]) =>
        {
            Verdict::Never("RightMissing")
        }
        403 => Verdict::NotYet("AdmissionRefused"),
        404 if has(&["the server could not find the requested resource"]) => Verdict::NotYet("KindNotServed"),
        404 if has(&["namespaces"]) => Verdict::NotYet("NamespaceMissing"),
        422 if has(&[
            "provided port is already allocated",
            "provided node port is already allocated",
        ]) =>
        {
            Verdict::FreePorts
        }
        422 if has(&["spec.ipFamil", "not configured on this cluster"]) => Verdict::FreeFamilies,
        400 | 422 if has(&["admission webhook"]) => Verdict::NotYet("AdmissionRefused"),
        // A definition that was just made may not be served in every version by every server yet.
        400 | 405 | 410 | 413 | 415 | 422 => Verdict::Never("Invalid"),
        500 if has(&[
            "failed calling webhook",
            "failed calling admission webhook",
            "conversion webhook",
        ]) =>
        {
            Verdict::NotYet("WebhookUnavailable")
        }
        503 if has(&["the server is currently unable to handle the request"]) => Verdict::NotYet("ServerUnavailable"),
        _ if is_passing(error) => Verdict::Busy,
        _ => Verdict::Never("Refused"),
    }
}

/// What the cluster was left to choose of an object so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Freed {
    ports: bool,
    families: bool,
}

impl Freed {
    /// The verdict as it holds for an object of this kind. Only services have something to let free, and each thing once: who is refused for it once more, or is no service,
    /// would be asked for ever without a change.
    pub fn weigh(&mut self, resource: &str, verdict: Verdict) -> Verdict {
        let freed = match verdict {
            Verdict::FreePorts => &mut self.ports,
            Verdict::FreeFamilies => &mut self.families,
            Verdict::Exists | Verdict::Busy | Verdict::NotYet(_) | Verdict::Never(_) => return verdict,
        };
        let before = std::mem::replace(freed, true);
        if before || resource != "services" {
            Verdict::Never("Invalid")
        } else {
            verdict
        }
    }
}

/// The namespace that an object waits for, when it waits until one that is being deleted is gone. All that wait for the same one share their time.
pub fn awaited_namespace<'a>(reason: &str, resource: &str, namespace: &'a str, name: &'a str) -> Option<&'a str> {
    match (reason, resource) {
        ("NamespaceTerminating", _) => Some(namespace),
        ("StillBeingDeleted", "namespaces") => Some(name),
        _ => None,
    }
}

/// How long it is tried again when everything else is done.
pub fn patience(reason: &str) -> Duration {
    let seconds = match reason {
        "NamespaceTerminating" => 600,
        // Pods that answer may have been restored just now.
        "WebhookUnavailable" | "ServerUnavailable" => 300,
        "QuotaExceeded" | "StillBeingDeleted" => 120,
        "KindNotServed" | "ServerBusy" => 60,
        _ => 20,
    };
    Duration::from_secs(seconds)
}

/// What a person can do about a refusal that lasts.
pub fn advice(reason: &str) -> &'static str {
    match reason {
        "NamespaceTerminating" => "wait until the namespace is gone, or restore into another one by namespaceMapping",
        "QuotaExceeded" => "raise the ResourceQuota of the namespace, then restore again",
        "AccountMissing" => "restore serviceaccounts as well",
        "SecurityPolicy" => {
            "the namespace's pod security does not allow it: change the namespace's labels, or restore into another one by namespaceMapping"
        }
        "RightMissing" => "give the controller's role the right that is named",
        "AdmissionRefused" => "a webhook or policy of the cluster refuses it",
        "KindNotServed" => "install what defines this kind, then restore again",
        "NamespaceMissing" => "restore namespaces as well",
        "WebhookUnavailable" => "the webhook that must be asked does not answer: see whether its pods run",
        "ServerUnavailable" => "the server of this kind does not answer: see whether its pods run",
        "StillBeingDeleted" => "the object that was there is still being deleted: see which finalizer holds it",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    #[test]
    fn refusals_are_told_from_each_other() {
        let table = [
            (409, "AlreadyExists", "secrets \"x\" already exists", Verdict::Exists),
            (
                409,
                "AlreadyExists",
                "object is being deleted: namespaces \"x\" already exists",
                Verdict::NotYet("StillBeingDeleted"),
            ),
            (
                409,
                "Conflict",
                "Operation cannot be fulfilled on resourcequotas \"q\"",
                Verdict::Busy,
            ),
            (
                403,
                "Forbidden",
                "secrets \"x\" is forbidden: unable to create new content in namespace a because it is being terminated",
                Verdict::NotYet("NamespaceTerminating"),
            ),
            (
                403,
                "Forbidden",
                "pods \"x\" is forbidden: exceeded quota: q",
                Verdict::NotYet("QuotaExceeded"),
            ),
            (
                403,
                "Forbidden",
                "pods \"x\" is forbidden: error looking up service account a/b: serviceaccount \"b\" not found",
                Verdict::NotYet("AccountMissing"),
            ),
            (
                403,
                "Forbidden",
                "pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\"",
                Verdict::Never("SecurityPolicy"),
            ),
            (
                403,
                "Forbidden",
                "secrets is forbidden: User \"x\" cannot create resource \"secrets\"",
                Verdict::Never("RightMissing"),
            ),
            (
                404,
                "NotFound",
                "the server could not find the requested resource",
                Verdict::NotYet("KindNotServed"),
            ),
            (
                404,
                "NotFound",
                "namespaces \"a\" not found",
                Verdict::NotYet("NamespaceMissing"),
            ),
            (
                422,
                "Invalid",
                "Service \"x\" is invalid: spec.ports[0].nodePort: Invalid value: 30001: provided port is already allocated",
                Verdict::FreePorts,
            ),
            (
                422,
                "Invalid",
                "Service \"x\" is invalid: spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster",
                Verdict::FreeFamilies,
            ),
            (
                422,
                "Invalid",
                "Deployment.apps \"x\" is invalid: spec.replicas",
                Verdict::Never("Invalid"),
            ),
            (
                400,
                "BadRequest",
                "admission webhook \"w\" denied the request: no",
                Verdict::NotYet("AdmissionRefused"),
            ),
            (
                500,
                "InternalError",
                "Internal error occurred: failed calling webhook \"w\": no endpoints available",
                Verdict::NotYet("WebhookUnavailable"),
            ),
            (
                503,
                "ServiceUnavailable",
                "the server is currently unable to handle the request",
                Verdict::NotYet("ServerUnavailable"),
            ),
            (503, "ServiceUnavailable", "etcdserver: leader changed", Verdict::Busy),
            (429, "TooManyRequests", "too many requests", Verdict::Busy),
            (500, "InternalError", "etcdserver: request timed out", Verdict::Busy),
        ];
        for (code, reason, message, expected) in table {
            let status = Status::failure(message, reason).with_code(code);
            assert_eq!(judge(&Error::Api(status.boxed())), expected, "{message}");
        }
    }

    #[test]
    fn only_services_are_let_free_and_each_thing_once() {
        for verdict in [Verdict::FreePorts, Verdict::FreeFamilies] {
            for resource in ["services.serving.knative.dev", "gateways.example.org"] {
                assert_eq!(
                    Freed::default().weigh(resource, verdict),
                    Verdict::Never("Invalid"),
                    "{resource}"
                );
            }
        }
        let mut freed = Freed::default();
        assert_eq!(freed.weigh("services", Verdict::FreePorts), Verdict::FreePorts);
        assert_eq!(freed.weigh("services", Verdict::FreeFamilies), Verdict::FreeFamilies);
        assert_eq!(freed.weigh("services", Verdict::FreePorts), Verdict::Never("Invalid"));
        assert_eq!(freed.weigh("services", Verdict::Busy), Verdict::Busy);
    }

    #[test]
    fn whoever_waits_for_a_namespace_waits_with_the_others() {
        let claims = "persistentvolumeclaims";
        assert_eq!(
            awaited_namespace("NamespaceTerminating", claims, "web", "data"),
            Some("web")
        );
        assert_eq!(
            awaited_namespace("StillBeingDeleted", "namespaces", "", "web"),
            Some("web")
        );
        assert_eq!(awaited_namespace("StillBeingDeleted", claims, "web", "data"), None);
    }

    #[test]
    fn whoever_is_told_to_wait_is_told_for_what() {
        for reason in [
            "NamespaceTerminating",
            "QuotaExceeded",
            "AccountMissing",
            "AdmissionRefused",
            "KindNotServed",
            "WebhookUnavailable",
        ] {
            assert!(!advice(reason).is_empty(), "{reason}");
        }
    }
}
