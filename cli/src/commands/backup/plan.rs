//! `ararat backup create --dry-run`: the cluster finds out what would be saved, and by which rule.

use anyhow::Result;
use api::download_request::DownloadKind;
use api::{Backup, BackupPhase};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};
use serde::{Deserialize, Serialize};

use super::create::{ended, why};
use crate::args::output::Format;
use crate::cluster::{Cluster, download};
use crate::failure::{Failure, PARTIAL};
use crate::output::work::count;
use crate::output::{objects, show};

/// One line of a plan: an object, a volume, or what could not be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PlanLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    about: Option<String>,
}

/// Shows what a Backup would save. A Backup that only looks is made under another name, and deleted.
pub fn run(cluster: &Cluster, mut backup: Backup, format: Format) -> Result<u8> {
    let wanted = backup.name_any();
    let name = api::cron::name_at(
        &format!("{}-dry-run", wanted.chars().take(170).collect::<String>()),
        Timestamp::now(),
    );
    backup.metadata.name = Some(name.clone());
    backup.spec.dry_run = true;
    let made = cluster.run(async { Ok(cluster.api::<Backup>().create(&PostParams::default(), &backup).await?) });
    made?;
    let looked = cluster.run(async {
        let status = ended(cluster, &name).await?;
        if status.phase != BackupPhase::Planned {
            return Err(Failure::new(format!("Backup \"{wanted}\" {}", why(&status))).into());
        }
        download::read(cluster, DownloadKind::BackupPlan, &name).await
    });
    // Also when a person has interrupted.
    let removed = cluster.finish(async { Ok(cluster.api::<Backup>().delete(&name, &DeleteParams::default()).await?) });
    let lines = lines(&looked?)?;
    removed?;
    print(&lines, format)
}

fn lines(bytes: &[u8]) -> Result<Vec<PlanLine>> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| Ok(serde_json::from_slice(line)?)).collect()
}

fn print(lines: &[PlanLine], format: Format) -> Result<u8> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let (mut saved, mut volumes) = (
        show::table(&["kind", "namespace", "name", "rule"]),
        show::table(&["volume", "action", "rule"]),
    );
    let (mut count_objects, mut count_volumes, mut errors) = (0, 0, Vec::new());
    for line in lines {
        if let Some(error) = &line.error {
            errors.push(show::safe(&format!("{}: {error}", text(&line.about))));
        } else if line.volume.is_some() {
            count_volumes += 1;
            volumes.add_row([&line.volume, &line.action, &line.rule].map(|value| show::safe(&text(value))));
        } else {
            count_objects += 1;
            saved.add_row(
                [&line.resource, &line.namespace, &line.name, &line.rule].map(|value| show::safe(&text(value))),
            );
        }
    }
    match format {
        Format::Json => show::line(&serde_json::to_string_pretty(lines)?)?,
        Format::Yaml => show::line(objects::yaml(&serde_json::to_value(lines)?)?.trim_end())?,
        Format::Name => {
            for line in lines.iter().filter(|line| line.name.is_some()) {
                let parts = [text(&line.resource), text(&line.namespace), text(&line.name)];
                show::line(
                    &parts
                        .into_iter()
                        .filter(|part| !part.is_empty())
                        .collect::<Vec<_>>()
                        .join("/"),
                )?;
            }
        }
        Format::Table | Format::Wide => {
            if count_objects > 0 {
                show::line(&saved.trim_fmt())?;
            }
            if count_volumes > 0 {
                show::line(&format!("\n{}", volumes.trim_fmt()))?;
            }
            show::line(&format!(
                "\nNothing was saved: this is what would be: {}, {}.",
                count(count_objects, "object"),
                count(count_volumes, "volume")
            ))?;
        }
    }
    for error in &errors {
        anstream::eprintln!("{error}");
    }
    Ok(if errors.is_empty() { 0 } else { PARTIAL })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn lines_of_every_kind_are_read_also_with_fields_of_a_newer_version() {
        let text = concat!(
            r#"{"resource":"pods","namespace":"a","name":"b","rule":"selected","more":1}"#,
            "\n",
            r#"{"volume":"claims/a/b","action":"Skip","rule":"policy 1","pod":null}"#,
            "\n",
            r#"{"error":"not served","about":"metrics.k8s.io"}"#,
            "\n",
        );
        let lines = lines(text.as_bytes()).unwrap();
        assert_eq!(lines[0].name.as_deref(), Some("b"));
        assert_eq!(lines[1].action.as_deref(), Some("Skip"));
        assert_eq!(lines[2].about.as_deref(), Some("metrics.k8s.io"));
        assert!(super::lines(b"not json").is_err());
    }
}
