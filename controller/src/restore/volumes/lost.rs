//! Data that does not come back although nobody said so: it was saved and its claim, or pod, is left out by a rule; or it should have been saved for a pod that comes back.
//! Claims that come back without their data are told where they would be filled.

use api::archive::VolumeRecord;
use api::selection::Rule;

use super::super::mapping::Mapping;
use super::super::plan::{Fate, Item, Plan};
use super::super::rules::Omission;
use super::super::tally::count;
use super::super::work::Work;

/// What is said of a volume whose data does not come back.
#[derive(Debug, PartialEq, Eq)]
struct Lost {
    reason: &'static str,
    about: String,
    message: String,
}

/// Warns of data that does not come back, unless no data is wanted at all.
pub fn tell(work: &Work) {
    if !work.spec().restore_volumes {
        return;
    }
    for lost in find(&work.plan, &work.source.volumes, &work.circumstances.mapping) {
        work.issues.warning(lost.reason, lost.about, lost.message);
        count(&work.tally.volumes_skipped);
    }
}

fn find(plan: &Plan, records: &[VolumeRecord], mapping: &Mapping) -> Vec<Lost> {
    records
        .iter()
        .filter_map(|record| of_record(plan, record, mapping))
        .collect()
}

fn of_record(plan: &Plan, record: &VolumeRecord, mapping: &Mapping) -> Option<Lost> {
    let parts: Vec<&str> = record.source.split('/').collect();
    let (item, subject, its) = match parts.as_slice() {
        ["claims", namespace, name] => (
            plan.find("persistentvolumeclaims", namespace, name)?,
            "claim",
            "Its data".to_owned(),
        ),
        ["pods", namespace, name, volume] => (
            plan.find("pods", namespace, name)?,
            "pod",
            format!("The data of its volume {volume}"),
        ),
        _ => return None,
    };
    let (reason, message) = match (item.fate, &record.error) {
        (Fate::Omitted(omission), _) if record.snapshot_id.is_some() && is_asked_for(plan, item, omission) => (
            "DataNotRestored",
            format!(
                "{its} is in the backup and does not come back: the {subject} is left out, because {}",
                omission.text()
            ),
        ),
        (Fate::Restored, Some(why)) if record.snapshot_id.is_none() && subject == "pod" => (
            "NotInBackup",
            format!("{its} is not in the backup: {why}. A pod that is made has an empty one"),
        ),
        (Fate::Restored | Fate::Unwanted(_) | Fate::Omitted(_), _) => return None,
    };
    let (name, rest) = (&item.facts.name, parts.get(3).map(|volume| format!("/{volume}")));
    let about = format!(
        "{}s/{}/{name}{}",
        subject,
        mapping.namespace(&item.facts.namespace),
        rest.unwrap_or_default()
    );
    Some(Lost { reason, about, message })
}

/// Whether the user would have had an object that a rule leaves out.
fn is_asked_for(plan: &Plan, item: &Item, omission: Omission) -> bool {
    if item.facts.omission.is_none() {
        // Its controller, or its class, stands for it: what is not asked for never comes so far.
        return true;
    }
    // Such a namespace is asked for by its name alone.
    if omission == Omission::SystemNamespace {
        return false;
    }
    match item.facts.rule {
        Rule::Selected => true,
        // A claim comes with its pod.
        Rule::Labels | Rule::Name => item.facts.owners.iter().filter(|owner| owner.controls).any(|owner| {
            let pod = plan.by_uid(&owner.uid);
            pod.is_some_and(|(_, pod)| !matches!(pod.fate, Fate::Unwanted(_)))
        }),
        Rule::ClusterScoped | Rule::Kind | Rule::Namespace | Rule::ExcludeLabel => false,
    }
}

#[cfg(test)]
mod tests {
    use api::RestoreSpec;
    use serde_json::{Value, json};

    use super::super::super::plan::tests::plan;
    use super::*;

    fn owned(kind: &str, version: &str, uid: &str, more: &Value) -> Value {
        let mut object = json!({ "metadata": { "ownerReferences": [{ "apiVersion": version, "kind": kind, "name": uid, "uid": uid, "controller": true }] } });
        object["metadata"]["labels"] = more.clone();
        object
    }

    fn record(source: &str, snapshot: bool) -> VolumeRecord {
        VolumeRecord {
            source: source.into(),
            snapshot_id: snapshot.then(|| "a".into()),
            error: (!snapshot).then(|| "the agent was gone".into()),
            ..VolumeRecord::default()
        }
    }

    /// What is said when a namespace is restored that has a set with one pod, and a lone pod with an ephemeral claim.
    fn told(spec: &RestoreSpec) -> Vec<String> {
        let set = owned("StatefulSet", "apps/v1", "db", &json!({}));
        let ephemeral = owned("Pod", "v1", "app", &json!({}));
        let objects = [
            ("statefulsets.apps", "web", "db", json!({})),
            ("pods", "web", "db-0", set),
            ("pods", "web", "app", json!({ "metadata": { "labels": { "a": "b" } } })),
            ("persistentvolumeclaims", "web", "app-scratch", ephemeral),
            ("persistentvolumeclaims", "web", "data", json!({})),
            ("pods", "kube-system", "dns", json!({})),
        ];
        let records = [
            record("pods/web/db-0/cache", true),
            record("pods/web/app/kept", true),
            record("pods/web/app/lost", false),
            record("claims/web/app-scratch", true),
            record("claims/web/data", true),
            record("claims/web/unknown", true),
            record("pods/kube-system/dns/tmp", true),
        ];
        let found = find(&plan(spec, &objects), &records, &Mapping::new(spec));
        found
            .iter()
            .map(|lost| format!("{} {}", lost.reason, lost.about))
            .collect()
    }

    #[test]
    fn data_that_was_saved_for_what_is_left_out_is_told() {
        let spec = RestoreSpec {
            namespace_mapping: [("web".into(), "test".into())].into(),
            ..RestoreSpec::default()
        };
        assert_eq!(
            told(&spec),
            [
                "DataNotRestored pods/test/db-0/cache",
                "NotInBackup pods/test/app/lost",
                "DataNotRestored claims/test/app-scratch"
            ]
        );
    }

    #[test]
    fn data_that_was_not_asked_for_is_not_missed() {
        let other = RestoreSpec {
            included_namespaces: vec!["other".into()],
            ..RestoreSpec::default()
        };
        let settings = RestoreSpec {
            included_resources: vec!["statefulsets.apps".into()],
            ..RestoreSpec::default()
        };
        assert!(told(&other).is_empty() && told(&settings).is_empty());
    }

    #[test]
    fn an_ephemeral_claim_is_missed_with_its_pod() {
        let labels = RestoreSpec {
            label_selector: serde_json::from_value(json!({ "matchLabels": { "a": "b" } })).ok(),
            ..RestoreSpec::default()
        };
        assert_eq!(
            told(&labels),
            [
                "NotInBackup pods/web/app/lost",
                "DataNotRestored claims/web/app-scratch"
            ]
        );
    }
}
