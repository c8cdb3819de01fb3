//! Labels and annotations that a made object bears, and labels by which objects are found.

use std::collections::BTreeMap;

/// Labels and annotations of what is made.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct LabelArgs {
    /// Labels that it bears, comma-separated: NAME=VALUE
    #[arg(long, value_name = "NAME=VALUE", value_delimiter = ',', value_parser = pair)]
    labels: Vec<(String, String)>,
    /// Annotations that it bears, comma-separated: NAME=VALUE
    #[arg(long, value_name = "NAME=VALUE", value_delimiter = ',', value_parser = pair)]
    annotations: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.trim().to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

impl LabelArgs {
    /// The labels.
    pub fn labels(&self) -> BTreeMap<String, String> {
        self.labels.iter().cloned().collect()
    }

    /// The annotations.
    pub fn annotations(&self) -> Option<BTreeMap<String, String>> {
        Some(self.annotations.iter().cloned().collect()).filter(|annotations: &BTreeMap<_, _>| !annotations.is_empty())
    }
}

/// How what would be made is shown instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DryRun {
    /// The cluster finds out what would be done, and it is printed
    Server,
    /// The object that would be made is printed; nothing is sent
    Client,
}
