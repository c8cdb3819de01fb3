//! What a cluster's refusals mean: each as a message for people, and what to do next.

use kube::Error;
use kube::core::Status;

/// Whether nobody answered at all.
pub fn is_unreachable(error: &Error) -> bool {
    matches!(error, Error::Service(_) | Error::HyperError(_))
        || matches!(error, Error::Api(status) if [502, 503, 504].contains(&status.code))
}

/// Whether the cluster knows no such kind: where an object is missing, its name is said.
pub fn is_kind_unknown(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 404 && object_of(status).is_none())
}

/// Whether an object is not there.
pub fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 404 && object_of(status).is_some())
}

/// Whether an object of that name is there already.
pub fn is_taken(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.is_already_exists())
}

/// Whether it is a matter of rights.
pub fn is_forbidden(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.is_forbidden())
}

/// Whether it is no use to ask again.
pub fn is_final(error: &Error) -> bool {
    matches!(error, Error::Api(status) if [400, 401, 403, 404, 405, 422].contains(&status.code))
}

/// The message and the next step.
pub fn explain(error: &Error) -> (String, Option<String>) {
    let Error::Api(status) = error else {
        let message = causes(error);
        let hint = is_unreachable(error).then(|| {
            "Check that the cluster runs, that the kubeconfig names it (--kubeconfig, --context), and the network or proxy on the way.".to_owned()
        });
        return (message, hint);
    };
    let said = status.message.trim();
    match status.code {
        401 => (
            "The API server does not accept your credentials".to_owned(),
            Some("Log in again, or choose another context with --context.".to_owned()),
        ),
        403 if said.contains("being terminated") => (
            format!("The cluster refuses: {said}"),
            Some("Wait until it is gone, and run the same command again.".to_owned()),
        ),
        403 => (
            format!("The cluster refuses: {said}"),
            Some("Ask an administrator for that right; KUBERNETES.md lists which rights each command needs.".to_owned()),
        ),
        404 if object_of(status).is_none() => (
            "The cluster does not know the kinds of ararat.dev: Ararat is not installed in it".to_owned(),
            Some("Install it with `ararat install --image IMAGE --location URL`, or choose another cluster with --context.".to_owned()),
        ),
        404 => (format!("There is no {}", object_of(status).unwrap_or_default()), None),
        409 if status.is_already_exists() => (
            format!("There is already {}", object_of(status).unwrap_or_else(|| said.to_owned())),
            Some("Choose another name, or delete that one first.".to_owned()),
        ),
        422 => (invalid(status), None),
        429 | 502..=504 => (
            format!("The API server is not ready: {said}"),
            Some("Try again in a moment.".to_owned()),
        ),
        _ if said.is_empty() => (format!("The API server answers with status {}", status.code), None),
        _ => (said.to_owned(), None),
    }
}

/// The object that a refusal is about: `backups "nginx"`.
fn object_of(status: &Status) -> Option<String> {
    let details = status.details.as_ref().filter(|details| !details.name.is_empty())?;
    let group = if details.group.is_empty() {
        String::new()
    } else {
        format!(".{}", details.group)
    };
    Some(format!("{}{group} \"{}\"", details.kind, details.name))
}

/// What is wrong with an object, one line each. What a rule says of a whole spec stands there without its path, which would tell nothing.
fn invalid(status: &Status) -> String {
    let causes = status
        .details
        .as_ref()
        .map(|details| details.causes.as_slice())
        .unwrap_or_default();
    let mut lines: Vec<String> = causes
        .iter()
        .map(|cause| {
            let said = cause.message.trim_start_matches("Invalid value: \"object\": ");
            let said = said.strip_prefix("Invalid value: ").unwrap_or(said);
            match cause.field.as_str() {
                "" | "<nil>" | "spec" => said.to_owned(),
                field => format!("{field}: {said}"),
            }
        })
        .collect();
    // Rules of the definition are not looked at before the schema holds, and that is said as well.
    lines.retain(|line| !line.contains("some validation rules were not checked"));
    lines.dedup();
    match lines.as_slice() {
        [] => status.message.clone(),
        [one] => format!("The cluster does not accept it: {one}"),
        several => format!("The cluster does not accept it:\n  {}", several.join("\n  ")),
    }
}

/// An error with its causes, each once.
fn causes(error: &Error) -> String {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !message.contains(&said) {
            message = format!("{message}: {said}");
        }
        cause = inner.source();
    }
    // What the client calls the layer in which it happened says nothing to people.
    let plain = message
        .strip_prefix("ServiceError: ")
        .or_else(|| message.strip_prefix("HyperError: "));
    let plain = plain.unwrap_or(&message);
    plain
        .strip_prefix("client error (Connect): ")
        .unwrap_or(plain)
        .to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn refused(document: serde_json::Value) -> Error {
        Error::Api(serde_json::from_value::<Status>(document).unwrap().boxed())
    }

    #[test]
    fn a_kind_that_is_not_there_and_an_object_that_is_not_there_are_two_things() {
        let unknown = refused(
            serde_json::json!({ "code": 404, "message": "the server could not find the requested resource", "reason": "NotFound", "details": {} }),
        );
        assert!(is_kind_unknown(&unknown) && !is_missing(&unknown));
        assert!(explain(&unknown).1.unwrap().contains("ararat install"));
        let missing = refused(
            serde_json::json!({ "code": 404, "reason": "NotFound", "message": "…", "details": { "name": "nginx", "kind": "backups", "group": "ararat.dev" } }),
        );
        assert!(is_missing(&missing) && !is_kind_unknown(&missing));
        assert_eq!(explain(&missing).0, "There is no backups.ararat.dev \"nginx\"");
    }

    #[test]
    fn what_is_wrong_with_an_object_is_said_line_by_line() {
        let invalid = refused(serde_json::json!({
            "code": 422, "reason": "Invalid", "message": "Backup.ararat.dev \"x\" is invalid: …",
            "details": { "name": "x", "kind": "Backup", "causes": [
                { "reason": "FieldValueInvalid", "field": "spec", "message": "Invalid value: \"object\": give labelSelector or orLabelSelectors, not both" },
                { "reason": "FieldValueInvalid", "field": "spec.ttl", "message": "Invalid value: \"soon\": spec.ttl in body should match" },
            ] },
        }));
        let message = explain(&invalid).0;
        assert!(
            message.contains("\n  give labelSelector or orLabelSelectors, not both\n"),
            "{message}"
        );
        assert!(message.contains("spec.ttl: \"soon\""), "{message}");
    }
}
