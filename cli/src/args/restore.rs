//! What a Restore is to be.

use std::collections::BTreeMap;

use api::RestoreSpec;
use api::restore::ExistingPolicy;
use clap::ValueEnum;

use super::selection::{SelectionArgs, SelectionFields};

/// What a Restore is to be.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct RestoreSpecArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(flatten)]
    how: RestoreHow,
}

/// How it is done.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "How it is done")]
pub struct RestoreHow {
    /// Other names for namespaces, comma-separated: OLD:NEW
    #[arg(long, value_name = "OLD:NEW", value_delimiter = ',', value_parser = pair)]
    namespace_mappings: Vec<(String, String)>,
    /// Other storage classes for claims, comma-separated: OLD:NEW; `*` means every one that is not named
    #[arg(long, value_name = "OLD:NEW", value_delimiter = ',', value_parser = pair)]
    storage_class_mappings: Vec<(String, String)>,
    /// What happens to objects that exist
    #[arg(long, value_enum, value_name = "POLICY", default_value_t = Policy::Skip)]
    existing_resource_policy: Policy,
    /// Whether the data of volumes is restored; without it claims come back empty
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    restore_volumes: Option<bool>,
    /// Kinds whose status is restored, comma-separated, e.g. workflows.argoproj.io; globs allowed
    #[arg(
        long,
        alias = "status-include-resources",
        value_name = "KINDS",
        value_delimiter = ','
    )]
    restore_status: Vec<String>,
    /// Whether services keep the node ports that were chosen for them
    #[arg(long, alias = "preserve-nodeports", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    preserve_node_ports: Option<bool>,
}

/// What happens to objects that exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Policy {
    /// They stay as they are; a difference is a warning
    #[default]
    #[value(alias = "none")]
    Skip,
    /// They get what the backup has
    Update,
    /// The restore ends before anything is changed
    Fail,
    /// They are deleted and made anew
    Recreate,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.trim().split_once(':') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() && !new.contains(':') => {
            Ok((old.to_owned(), new.to_owned()))
        }
        _ => Err("write OLD:NEW".to_owned()),
    }
}

impl RestoreSpecArgs {
    /// What was said.
    pub fn spec(&self) -> RestoreSpec {
        let how = &self.how;
        let mut spec = RestoreSpec {
            namespace_mapping: how.namespace_mappings.iter().cloned().collect::<BTreeMap<_, _>>(),
            storage_class_mapping: how.storage_class_mappings.iter().cloned().collect(),
            existing_resource_policy: match how.existing_resource_policy {
                Policy::Skip => ExistingPolicy::Skip,
                Policy::Update => ExistingPolicy::Update,
                Policy::Fail => ExistingPolicy::Fail,
                Policy::Recreate => ExistingPolicy::Recreate,
            },
            restore_volumes: how.restore_volumes.unwrap_or(true),
            restore_status: how.restore_status.clone(),
            preserve_node_ports: how.preserve_node_ports.unwrap_or(false),
            ..RestoreSpec::default()
        };
        self.selection.apply(SelectionFields {
            included_namespaces: &mut spec.included_namespaces,
            excluded_namespaces: &mut spec.excluded_namespaces,
            included_resources: &mut spec.included_resources,
            excluded_resources: &mut spec.excluded_resources,
            included_names: &mut spec.included_names,
            excluded_names: &mut spec.excluded_names,
            include_cluster_resources: &mut spec.include_cluster_resources,
            label_selector: &mut spec.label_selector,
            or_label_selectors: &mut spec.or_label_selectors,
        });
        spec
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        spec: RestoreSpecArgs,
    }

    fn said(words: &[&str]) -> RestoreSpec {
        Line::try_parse_from([&["ararat"], words].concat()).unwrap().spec.spec()
    }

    #[test]
    fn every_flag_reaches_the_spec() {
        let spec = said(&[
            "--namespace-mappings=a:b,c:d",
            "--storage-class-mappings=*:fast",
            "--existing-resource-policy=update",
            "--restore-volumes=false",
            "--restore-status=workflows.argoproj.io",
            "--preserve-nodeports",
            "--selector=app=nginx",
        ]);
        assert_eq!(
            (
                spec.namespace_mapping["a"].as_str(),
                spec.namespace_mapping["c"].as_str()
            ),
            ("b", "d")
        );
        assert_eq!(spec.storage_class_mapping["*"], "fast");
        assert_eq!(
            (spec.existing_resource_policy, spec.restore_volumes),
            (ExistingPolicy::Update, false)
        );
        assert!(spec.preserve_node_ports && spec.label_selector.is_some());
        assert_eq!(spec.restore_status, ["workflows.argoproj.io"]);
    }

    #[test]
    fn what_is_not_said_is_as_the_api_server_would_have_it() {
        let served: RestoreSpec = serde_json::from_value(serde_json::json!({})).unwrap();
        assert_eq!(said(&[]), served);
    }

    #[test]
    fn a_mapping_has_two_sides() {
        for wrong in ["a", "a:", ":b", "a:b:c"] {
            assert!(
                Line::try_parse_from(["ararat", "--namespace-mappings", wrong]).is_err(),
                "{wrong}"
            );
        }
    }
}
