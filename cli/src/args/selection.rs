//! Which objects are meant: the same words for backups, schedules and restores.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::cluster::selector;

/// Which objects are meant.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Which objects")]
pub struct SelectionArgs {
    /// Only of these namespaces, comma-separated; globs (*, ?) allowed
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub include_namespaces: Vec<String>,
    /// Not of these namespaces
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub exclude_namespaces: Vec<String>,
    /// Only of these kinds, comma-separated, e.g. deployments.apps,configmaps; globs allowed
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    pub include_resources: Vec<String>,
    /// Not of these kinds
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    pub exclude_resources: Vec<String>,
    /// Only objects of these names, comma-separated; globs allowed
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub include_names: Vec<String>,
    /// No objects of these names
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub exclude_names: Vec<String>,
    /// Whether objects that belong to no namespace are meant as well; those that others need always are, unless it is false
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub include_cluster_resources: Option<bool>,
    /// Only objects with these labels, e.g. app=nginx,tier!=cache
    #[arg(short = 'l', long, value_name = "LABELS", value_parser = selector::parse)]
    pub selector: Option<LabelSelector>,
    /// Only objects that fit one of these, e.g. 'app=nginx or app=redis'
    #[arg(long, value_name = "LABELS", value_parser = either, conflicts_with = "selector")]
    pub or_selector: Option<Either>,
}

/// Selectors of which one must fit.
#[derive(Clone, Debug)]
pub struct Either(pub Vec<LabelSelector>);

fn either(text: &str) -> Result<Either, String> {
    selector::parse_or(text).map(Either)
}

/// What a spec says of the selection; twins share these fields.
pub struct SelectionFields<'a> {
    pub included_namespaces: &'a mut Vec<String>,
    pub excluded_namespaces: &'a mut Vec<String>,
    pub included_resources: &'a mut Vec<String>,
    pub excluded_resources: &'a mut Vec<String>,
    pub included_names: &'a mut Vec<String>,
    pub excluded_names: &'a mut Vec<String>,
    pub include_cluster_resources: &'a mut Option<bool>,
    pub label_selector: &'a mut Option<LabelSelector>,
    pub or_label_selectors: &'a mut Vec<LabelSelector>,
}

impl SelectionArgs {
    /// Writes what was said over what a spec has.
    pub fn apply(&self, fields: SelectionFields<'_>) {
        let lists = [
            (&self.include_namespaces, fields.included_namespaces),
            (&self.exclude_namespaces, fields.excluded_namespaces),
            (&self.include_resources, fields.included_resources),
            (&self.exclude_resources, fields.excluded_resources),
            (&self.include_names, fields.included_names),
            (&self.exclude_names, fields.excluded_names),
        ];
        for (said, field) in lists {
            if !said.is_empty() {
                *field = said.iter().map(|name| name.trim().to_owned()).collect();
            }
        }
        if self.include_cluster_resources.is_some() {
            *fields.include_cluster_resources = self.include_cluster_resources;
        }
        if self.selector.is_some() || self.or_selector.is_some() {
            fields.label_selector.clone_from(&self.selector);
            *fields.or_label_selectors = self.or_selector.clone().map(|either| either.0).unwrap_or_default();
        }
    }
}
