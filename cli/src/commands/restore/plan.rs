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
use crate::output::work::count;
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
            show::line(table(lines, format == Format::Wide).trim_end())?;
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

/// Each object with what would be done, below it the fields that differ; then how many are left out for which reason, and how many there are of each
/// action. Those that are left out are told one by one only when `all` are wanted.
fn table(lines: &[Value], all: bool) -> String {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut left_out: BTreeMap<&str, u64> = BTreeMap::new();
    let mut text = String::new();
    for line in lines {
        let (action, reason) = (word(line, "action"), word(line, "reason"));
        *counts.entry(action).or_default() += 1;
        let differences = line["differences"].as_array().map(Vec::as_slice).unwrap_or_default();
        if action == "skip" && differences.is_empty() && !all {
            *left_out.entry(reason).or_default() += 1;
            continue;
        }
        let because = if reason.is_empty() {
            String::new()
        } else {
            format!("  ({})", show::safe(reason))
        };
        text.push_str(&format!("{:<10} {}{because}\n", show::safe(action), about(line)));
        for difference in differences {
            text.push_str(&format!("           {}\n", show::safe(&difference_text(difference))));
        }
    }
    for (reason, number) in left_out {
        text.push_str(&format!(
            "{:<10} {}  ({})\n",
            "skip",
            count(number, "object"),
            show::safe(reason)
        ));
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(action, number)| format!("{action} {number}"))
        .collect();
    let counts = if counts.is_empty() {
        "nothing".to_owned()
    } else {
        counts.join(", ")
    };
    text.push_str(&format!("\nNothing was changed: this is what would be: {counts}.\n"));
    text
}

/// `spec.replicas: 3 → 2`, from what the cluster has to what the backup has.
fn difference_text(difference: &Value) -> String {
    if let Some(text) = difference.as_str() {
        return text.to_owned();
    }
    let value = |name: &str| {
        let value = &difference[name];
        if value.is_null() {
            "nothing".to_owned()
        } else {
            value.to_string()
        }
    };
    format!(
        "{}: {} → {}",
        word(difference, "field"),
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
            r#"{"resource":"deployments.apps","namespace":"shop","name":"web","action":"update","differences":[{"field":"spec.replicas","cluster":3,"backup":2}]}"#,
            "\n",
            r#"{"resource":"namespaces","name":"shop","action":"unchanged"}"#,
            "\n",
            r#"{"resource":"events","namespace":"shop","name":"e","action":"skip","reason":"events never come back"}"#,
            "\n",
        );
        let lines = lines(text.as_bytes()).unwrap();
        let told = table(&lines, false);
        let begin = "update     deployments.apps/shop/web\n           spec.replicas: 3 → 2\nunchanged  namespaces/shop\nskip       1 object  (events never come back)\n";
        assert!(told.starts_with(begin), "{told}");
        assert!(told.contains("skip 1, unchanged 1, update 1."), "{told}");
        assert!(table(&lines, true).contains("events/shop/e"));
    }
}
