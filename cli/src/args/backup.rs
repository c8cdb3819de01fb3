//! What a Backup is to be: the same words for backups and for the backups of a schedule.

use std::collections::BTreeMap;

use api::BackupSpec;

use super::selection::{SelectionArgs, SelectionFields};

/// What a Backup is to be.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct BackupSpecArgs {
    #[command(flatten)]
    pub selection: SelectionArgs,
    #[command(flatten)]
    pub how: BackupHow,
}

/// How it is made.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "How it is made")]
pub struct BackupHow {
    /// Objects whose volumes are read first, in this order, e.g. 'pods=shop/db-0,shop/db-1;persistentvolumeclaims=shop/data'
    #[arg(long, value_name = "KIND=OBJECTS;…", value_parser = ordered)]
    ordered_resources: Option<Ordered>,
    /// Whether the data of volumes is saved
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    snapshot_volumes: Option<bool>,
    /// Whether volumes are saved unless a pod's annotation or a policy says otherwise; if not, only those that are named by one
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    default_volumes_to_fs_backup: Option<bool>,
    /// After how long the backup is deleted, e.g. 72h; 720h when it is not said, 0s for never
    #[arg(long, value_name = "TIME", value_parser = length)]
    ttl: Option<String>,
    /// The location; the default one when none is named
    #[arg(long, value_name = "NAME")]
    pub storage_location: Option<String>,
}

/// Names by kind.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ordered(BTreeMap<String, Vec<String>>);

fn ordered(text: &str) -> Result<Ordered, String> {
    let mut by_kind = BTreeMap::new();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let wrong = || format!("`{part}` names no objects; write for instance pods=NAMESPACE/NAME,NAMESPACE/NAME");
        let (kind, names) = part.split_once('=').ok_or_else(wrong)?;
        let names: Vec<String> = names.split(',').map(|name| name.trim().to_owned()).collect();
        if kind.trim().is_empty()
            || names
                .iter()
                .any(|name| name.is_empty() || name.ends_with('/') || name.starts_with('/'))
        {
            return Err(wrong());
        }
        by_kind.insert(kind.trim().to_owned(), names);
    }
    Ok(Ordered(by_kind))
}

/// A length of time, as it is written.
pub fn length(text: &str) -> Result<String, String> {
    api::duration::parse(text).map(|_| text.to_owned())
}

impl BackupSpecArgs {
    /// What was said, over what a schedule has, or over nothing.
    pub fn spec(&self, base: Option<BackupSpec>) -> BackupSpec {
        let mut spec = base.unwrap_or_else(|| BackupSpec {
            snapshot_volumes: true,
            default_volumes_to_fs_backup: true,
            ..BackupSpec::default()
        });
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
        let how = &self.how;
        if let Some(Ordered(ordered)) = &how.ordered_resources {
            spec.ordered_resources.clone_from(ordered);
        }
        spec.snapshot_volumes = how.snapshot_volumes.unwrap_or(spec.snapshot_volumes);
        spec.default_volumes_to_fs_backup = how
            .default_volumes_to_fs_backup
            .unwrap_or(spec.default_volumes_to_fs_backup);
        spec.ttl = how.ttl.clone().or(spec.ttl);
        spec.storage_location = how.storage_location.clone().or(spec.storage_location);
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
        spec: BackupSpecArgs,
    }

    fn said(words: &[&str]) -> BackupSpecArgs {
        Line::try_parse_from([&["ararat"], words].concat()).unwrap().spec
    }

    #[test]
    fn every_flag_reaches_the_spec() {
        let spec = said(&[
            "--include-namespaces=a,b-*",
            "--exclude-namespaces=c",
            "--include-resources=pods",
            "--exclude-resources=secrets,events",
            "--include-names=x",
            "--exclude-names=y",
            "--include-cluster-resources=false",
            "--or-selector=a=b or c=d",
            "--ordered-resources=pods=a/one,a/two;persistentvolumeclaims=b/three",
            "--snapshot-volumes=false",
            "--default-volumes-to-fs-backup=false",
            "--ttl=72h",
            "--storage-location=other",
        ])
        .spec(None);
        assert_eq!(
            (spec.included_namespaces, spec.excluded_namespaces),
            (vec!["a".into(), "b-*".into()], vec!["c".into()])
        );
        assert_eq!(
            (spec.included_resources, spec.excluded_resources.len()),
            (vec!["pods".into()], 2)
        );
        assert_eq!(
            (spec.included_names, spec.excluded_names),
            (vec!["x".into()], vec!["y".into()])
        );
        assert_eq!(
            (spec.include_cluster_resources, spec.or_label_selectors.len()),
            (Some(false), 2)
        );
        assert_eq!(spec.ordered_resources["pods"], ["a/one", "a/two"]);
        assert_eq!(spec.ordered_resources["persistentvolumeclaims"], ["b/three"]);
        assert!(!spec.snapshot_volumes && !spec.default_volumes_to_fs_backup);
        assert_eq!(
            (spec.ttl.as_deref(), spec.storage_location.as_deref()),
            (Some("72h"), Some("other"))
        );
    }

    #[test]
    fn what_is_not_said_is_as_the_api_server_would_have_it() {
        let spec = said(&[]).spec(None);
        let served: BackupSpec = serde_json::from_value(serde_json::json!({})).unwrap();
        assert_eq!(spec, served);
        assert!(
            said(&["--snapshot-volumes", "--include-cluster-resources"])
                .spec(None)
                .include_cluster_resources
                .unwrap()
        );
    }

    #[test]
    fn a_schedule_gives_what_is_not_said() {
        let template = BackupSpec {
            included_namespaces: vec!["a".into()],
            ttl: Some("1h".into()),
            ..BackupSpec::default()
        };
        let spec = said(&["--ttl=2h", "--selector=app=x"]).spec(Some(template));
        assert_eq!(
            (spec.included_namespaces, spec.ttl.as_deref()),
            (vec!["a".to_owned()], Some("2h"))
        );
        assert!(spec.label_selector.is_some() && !spec.snapshot_volumes);
    }

    #[test]
    fn wrong_words_are_refused_before_anything_is_sent() {
        for wrong in [
            "--ttl=soon",
            "--ordered-resources=pods",
            "--ordered-resources=pods=a/",
            "--selector=a,",
            "--include-cluster-resources=maybe",
        ] {
            assert!(Line::try_parse_from(["ararat", wrong]).is_err(), "{wrong}");
        }
    }
}
