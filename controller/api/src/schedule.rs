//! Schedule: Backups at times.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backup::BackupSpec;
use crate::condition::Condition;

/// When backups are made, and which.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ararat.dev",
    version = "v1alpha1",
    kind = "Schedule",
    namespaced,
    status = "ScheduleStatus",
    shortname = "sched",
    category = "ararat",
    derive = "PartialEq",
    derive = "Default",
    doc = "Backups at times. Each is named after the schedule and its time.",
    printcolumn(name = "Schedule", type_ = "string", json_path = ".spec.schedule"),
    printcolumn(name = "Paused", type_ = "boolean", json_path = ".spec.paused"),
    printcolumn(name = "Valid", type_ = "string", json_path = ".status.conditions[?(@.type=='Valid')].status"),
    printcolumn(name = "Last", type_ = "date", json_path = ".status.lastBackup"),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.nextBackup"),
    printcolumn(name = "TTL", type_ = "string", json_path = ".spec.template.ttl", priority = 1),
    validation = kube::core::Rule::new("self.metadata.name.size() <= 180").message("the name is longer than 180 characters: there must be room for the time behind it")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = kube::core::Rule::new("!(has(self.template.dryRun) && self.template.dryRun)").message("template.dryRun makes no sense in a schedule: use `ararat backup create --from-schedule NAME --dry-run`"),
    validation = kube::core::Rule::new("!(has(self.template.cancel) && self.template.cancel)").message("template.cancel makes no sense in a schedule: set spec.paused instead")
)]
pub struct ScheduleSpec {
    /// When: five fields of cron (minute, hour, day, month, weekday), @hourly, @daily, @weekly, @monthly, @yearly, or @every 6h.
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = kube::core::Rule::new(r"self.matches('^(@[a-z]+( [0-9a-z]+)?|[^ @]+( +[^ ]+){4})$')").message("write five fields (minute, hour, day, month, weekday), @daily and its kin, or @every 6h; the time zone goes into spec.timeZone"))]
    pub schedule: String,
    /// The time zone of the schedule, e.g. Europe/Berlin; UTC when it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Make no backups until this is taken back.
    #[serde(default)]
    pub paused: bool,
    /// Make a backup at once when a time was missed (the controller was not there, or the schedule was paused); otherwise the next time is waited for.
    #[serde(default = "yes")]
    pub catch_up: bool,
    /// Make a backup now: any text that was not here before does it, e.g. the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_now: Option<String>,
    /// What is backed up, and how.
    pub template: BackupSpec,
}

fn yes() -> bool {
    true
}

/// What became of a Schedule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleStatus {
    /// What is the case: Valid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The generation that this was said of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The time for which the last backup was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_backup: Option<Time>,
    /// The name of that backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_backup_name: Option<String>,
    /// A time that was left out because the backup before it was not done, or it was missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_skipped: Option<Time>,
    /// The next time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_backup: Option<Time>,
    /// The last spec.runNow that was obeyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_now: Option<String>,
}
