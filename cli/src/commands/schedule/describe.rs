//! `ararat schedule describe`

use anyhow::Result;
use api::{Backup, BackupPhase, Schedule};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ListParams;

use super::get::state;
use crate::args::Global;
use crate::args::cluster::ClusterArgs;
use crate::cluster::{Cluster, named, selector};
use crate::output::description::{Description, left, moment, moment_or};
use crate::output::show;

/// How many of its backups are told.
const TOLD: usize = 10;

/// Say what a schedule does, and what became of its backups.
#[derive(clap::Args)]
pub struct Describe {
    /// The schedules; all when none is named
    names: Vec<String>,
}

impl Describe {
    /// Describes.
    pub fn run(self, global: &Global, cluster: &ClusterArgs) -> Result<u8> {
        let cluster = Cluster::connect(global, cluster)?;
        let stories = cluster.run(async {
            let mut schedules = Vec::new();
            for name in &self.names {
                schedules.push(named::named::<Schedule>(&cluster, name).await?);
            }
            if self.names.is_empty() {
                schedules = cluster.api::<Schedule>().list(&ListParams::default()).await?.items;
            }
            let mut stories = Vec::new();
            for schedule in schedules {
                let label = format!(
                    "{}={}",
                    api::words::SCHEDULE_NAME,
                    api::words::label_value(&schedule.name_any())
                );
                let backups = cluster
                    .api::<Backup>()
                    .list(&ListParams::default().labels(&label))
                    .await?
                    .items;
                stories.push((schedule, backups));
            }
            Ok(stories)
        })?;
        for (number, (schedule, backups)) in stories.iter().enumerate() {
            if number > 0 {
                show::line("\n")?;
            }
            told(schedule, backups, Timestamp::now()).print()?;
        }
        Ok(0)
    }
}

fn told(schedule: &Schedule, backups: &[Backup], now: Timestamp) -> Description {
    let (spec, status) = (&schedule.spec, schedule.status.clone().unwrap_or_default());
    let mut told = Description::default();
    told.field("Name", schedule.name_any());
    told.field_if("Namespace", schedule.metadata.namespace.as_deref());
    told.map("Labels", schedule.metadata.labels.as_ref());
    told.map("Annotations", schedule.metadata.annotations.as_ref());
    told.field("Status", state(schedule));
    let valid = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "Valid" && condition.status == "False");
    told.field_if("Reason", valid.map(|condition| condition.message.as_str()));
    told.field(
        "Schedule",
        format!("{} ({})", spec.schedule, spec.time_zone.as_deref().unwrap_or("UTC")),
    );
    told.field("Paused", if spec.paused { "yes: no backups are made" } else { "no" });
    told.field(
        "Missed times",
        if spec.catch_up {
            "are made up for by one backup"
        } else {
            "are left out"
        },
    );
    told.field(
        "Last backup",
        match &status.last_backup_name {
            Some(name) => format!("{name} ({})", moment_or(status.last_backup.as_ref(), "<unknown>")),
            None => "<none>".to_owned(),
        },
    );
    told.field_if("Left out", status.last_skipped.as_ref().map(moment));
    told.field_if(
        "Next backup",
        status
            .next_backup
            .as_ref()
            .filter(|_| !spec.paused)
            .map(|next| format!("{} (in {})", moment(next), left(next, now))),
    );
    told.section("Backs up");
    let template = &spec.template;
    let all = |names: &[String]| {
        if names.is_empty() {
            "*".to_owned()
        } else {
            names.join(", ")
        }
    };
    told.field("Namespaces", all(&template.included_namespaces));
    told.list("Not namespaces", &template.excluded_namespaces);
    told.field("Kinds", all(&template.included_resources));
    told.list("Not kinds", &template.excluded_resources);
    told.field(
        "Labels",
        selector::text_of(template.label_selector.as_ref(), &template.or_label_selectors),
    );
    told.field("Volumes", if template.snapshot_volumes { "yes" } else { "no" });
    told.field("Time to live", template.ttl.as_deref().unwrap_or("720h (default)"));
    told.field(
        "Storage Location",
        template.storage_location.as_deref().unwrap_or("<the default one>"),
    );
    if backups.is_empty() {
        return told;
    }
    let mut newest: Vec<&Backup> = backups.iter().collect();
    newest.sort_by_key(|backup| std::cmp::Reverse(backup.metadata.creation_timestamp.clone()));
    told.section("Newest backups");
    for backup in newest.iter().take(TOLD) {
        let phase = backup.status.as_ref().map_or(BackupPhase::New, |status| status.phase);
        told.line(2, &format!("{}  {phase:?}", backup.name_any()));
    }
    if backups.len() > TOLD {
        told.line(2, &format!("… and {} more", backups.len() - TOLD));
    }
    told
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_says_when_it_runs_and_what_it_made() {
        let schedule: Schedule = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "nightly" },
            "spec": { "schedule": "0 3 * * *", "timeZone": "Europe/Berlin", "template": { "includedNamespaces": ["shop"] } },
            "status": { "nextBackup": "2026-11-24T02:00:00Z", "conditions": [{ "type": "Valid", "status": "True", "reason": "Valid", "message": "", "lastTransitionTime": "2026-11-23T00:00:00Z" }] },
        }))
        .unwrap();
        let backups: Vec<Backup> = (0..12)
            .map(|number| {
                serde_json::from_value(
                    serde_json::json!({ "metadata": { "name": format!("nightly-{number}") }, "spec": {} }),
                )
                .unwrap()
            })
            .collect();
        let told = told(&schedule, &backups, "2026-11-23T02:00:00Z".parse().unwrap());
        for part in [
            "Status:                Enabled\n",
            "0 3 * * * (Europe/Berlin)",
            "(in 1d00h)",
            "Namespaces:            shop\n",
            "… and 2 more",
        ] {
            assert!(told.text().contains(part), "{part}\n---\n{}", told.text());
        }
    }
}
