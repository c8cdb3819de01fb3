//! `ararat restore create --dry-run`: what would be done to which object, with the fields that differ.

use anyhow::Result;
use api::download_request::DownloadKind;
use api::{Restore, RestorePhase};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};
use serde_json::Value;
use std::collections::BTreeMap;

use super::create::{ended, why};
use crate::args::output::Format;
use crate::cluster::{Cluster, download};
use crate::failure::Failure;
use crate::output::{objects, show};

/// Shows what a Restore would do. A Restore that only looks is made under another name, and deleted.
pub fn run(cluster: &Cluster, mut restore: Restore, format: Format) -> Result<u8> {
    let wanted = restore.name_any();
    let name = api::cron::name_at(
        &format!("{}-dry-run", wanted.chars().take(170).collect::<String>()),
        Timestamp::now(),
    );
    restore.metadata.name = Some(name.clone());
    restore.spec.dry_run = true;
    cluster.run(async {
        Ok(cluster
            .api::<Restore>()
            .create(&PostParams::default(), &restore)
            .await?)
    })?;
    let looked = cluster.run(async {
        let status = ended(cluster, &name).await?;
        if status.phase != RestorePhase::Planned {
            return Err(Failure::new(format!("Restore \"{wanted}\" {}", why(&status))).into());
        }
        download::read(cluster, DownloadKind::RestorePlan, &name).await
    });
    // Also when a person has interrupted.
    let removed = cluster.finish(async { Ok(cluster.api::<Restore>().delete(&name, &DeleteParams::default()).await?) });
    let lines = lines(&looked?)?;
    removed?;
    print(&lines, format)
}

fn lines(bytes: &[u8]) -> Result<Vec<Value>> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| Ok(serde_json::from_slice(line)?)).collect()
}

fn print(lines: &[Value], format: Format) -> Result<u8> {
    match format {
        Format::Json => show::line(&serde_json::to_string_pretty(lines)?)?,
        Format::Yaml => show::line(objects::yaml(&serde_json::to_value(lines)?)?.trim_end())?,
        Format::Name => lines.iter().try_for_each(|line| show::line(&about(line)))?,
        Format::Table | Format::Wide => {
            show::line(table(lines).trim_end())?;
        }
    }
    Ok(0)
}

fn word<'l>(line: &'l Value, name: &str) -> &'l str {
    line[name].as_str().unwrap_or_default()
}

/// `deployments.apps/shop/web`.
fn about(line: &Value) -> String {
    let parts = ["resource", "namespace", "name"].map(|name| word(line, name));
    show::safe(
        &parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("/"),
    )
}

/// Each object with what would be done, below it the fields that differ; at the end how many there are of each.
fn table(lines: &[Value]) -> String {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut text = String::new();
    for line in lines {
        let action = word(line, "action");
        *counts.entry(action).or_default() += 1;
        let reason = word(line, "reason");
        let reason = if reason.is_empty() {
            String::new()
        } else {
            format!("  ({})", show::safe(reason))
        };
        text.push_str(&format!("{:<10} {}{reason}\n", show::safe(action), about(line)));
        for difference in line["differences"].as_array().into_iter().flatten() {
            text.push_str(&format!("           {}\n", show::safe(&difference_text(difference))));
        }
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(action, number)| format!("{number} {action}"))
        .collect();
    text.push_str(&format!(
        "\nNothing was changed: this is what would be: {}.\n",
        if counts.is_empty() {
            "nothing".to_owned()
        } else {
            counts.join(", ")
        }
    ));
    text
}

/// `/spec/replicas: 3 → 2`, from what the cluster has to what the backup has.
fn difference_text(difference: &Value) -> String {
    if let Some(text) = difference.as_str() {
        return text.to_owned();
    }
    let value = |name: &str| match &difference[name] {
        Value::Null => "nothing".to_owned(),
        value => value.to_string(),
    };
    format!(
        "{}: {} → {}",
        word(difference, "path"),
        value("cluster"),
        value("backup")
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn objects_are_told_with_the_fields_that_differ() {
        let text = concat!(
            r#"{"resource":"deployments.apps","namespace":"shop","name":"web","action":"Update","differences":[{"path":"/spec/replicas","cluster":3,"backup":2}]}"#,
            "\n",
            r#"{"resource":"namespaces","name":"shop","action":"Unchanged"}"#,
            "\n",
        );
        let told = table(&lines(text.as_bytes()).unwrap());
        assert!(
            told.starts_with(
                "Update     deployments.apps/shop/web\n           /spec/replicas: 3 → 2\nUnchanged  namespaces/shop\n"
            ),
            "{told}"
        );
        assert!(told.contains("1 Unchanged, 1 Update."), "{told}");
    }
}
