//! A description of one thing for people: names and values under one another, lists below them. No colours: it is read in pipes as well.

use api::condition::Condition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{Timestamp, Unit, tz::TimeZone};
use std::collections::BTreeMap;

use super::show;

/// So wide is the column of names.
const NAMES: usize = 22;

/// A text that grows line by line.
#[derive(Default)]
pub struct Description {
    text: String,
}

impl Description {
    /// A name and its value.
    pub fn field(&mut self, name: &str, value: impl AsRef<str>) {
        let name = format!("{name}:");
        self.line(0, &format!("{name:<NAMES$} {}", value.as_ref()));
    }

    /// A name and its value, unless it is empty.
    pub fn field_if(&mut self, name: &str, value: Option<impl AsRef<str>>) {
        if let Some(value) = value.filter(|value| !value.as_ref().is_empty()) {
            self.field(name, value);
        }
    }

    /// A name and a list, unless that is empty.
    pub fn list(&mut self, name: &str, values: &[String]) {
        self.field_if(name, Some(values.join(", ")));
    }

    /// Names and values of a map, one line each.
    pub fn map(&mut self, name: &str, values: Option<&BTreeMap<String, String>>) {
        let mut name = name;
        for (key, value) in values.into_iter().flatten() {
            if name.is_empty() {
                self.line(NAMES + 1, &format!("{key}={value}"));
            } else {
                self.field(name, format!("{key}={value}"));
            }
            name = "";
        }
    }

    /// A title, after an empty line.
    pub fn section(&mut self, title: &str) {
        self.text.push('\n');
        self.line(0, &format!("{title}:"));
    }

    /// A line so far to the right. What a terminal would obey is escaped.
    pub fn line(&mut self, indent: usize, line: &str) {
        let line = format!("{:indent$}{}", "", show::safe(line));
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// Lines that were made elsewhere.
    pub fn block(&mut self, indent: usize, block: &str) {
        block.lines().for_each(|line| self.line(indent, line));
    }

    /// What is the case, as conditions say.
    pub fn conditions(&mut self, conditions: &[Condition]) {
        if conditions.is_empty() {
            return;
        }
        self.section("Conditions");
        for condition in conditions {
            let said = format!(
                "{} is {} ({}): {}",
                condition.type_, condition.status, condition.reason, condition.message
            );
            self.line(2, said.trim_end_matches(": "));
        }
    }

    /// Prints it.
    pub fn print(&self) -> anyhow::Result<()> {
        show::line(self.text.trim_end())
    }

    /// The text.
    #[cfg(test)]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A moment in the local time zone.
pub fn moment(time: &Time) -> String {
    time.0
        .to_zoned(TimeZone::system())
        .strftime("%Y-%m-%d %H:%M:%S %Z")
        .to_string()
}

/// A moment in the local time zone, or what stands for none.
pub fn moment_or(time: Option<&Time>, otherwise: &str) -> String {
    time.map_or_else(|| otherwise.to_owned(), moment)
}

/// How long it took, or has taken so far.
pub fn lasted(from: Option<&Time>, to: Option<&Time>, now: Timestamp) -> Option<String> {
    let from = from?.0;
    let to = to.map_or(now, |to| to.0);
    let seconds = from.until((Unit::Second, to)).ok()?.get_seconds().unsigned_abs();
    Some(api::duration::text(std::time::Duration::from_secs(seconds)))
}

/// How long until then: `29d23h`, or `overdue`.
pub fn left(until: &Time, now: Timestamp) -> String {
    let seconds = until.0.as_second() - now.as_second();
    u64::try_from(seconds).map_or_else(
        |_| "overdue".to_owned(),
        |seconds| api::duration::text(std::time::Duration::from_secs(seconds)),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_under_one_another_and_names_cannot_command_a_terminal() {
        let mut description = Description::default();
        description.field("Name", "nginx\u{1b}[31m");
        description.list("Namespaces", &["a".into(), "b".into()]);
        description.list("Nothing", &[]);
        description.map(
            "Labels",
            Some(&BTreeMap::from([("a".into(), "1".into()), ("b".into(), "2".into())])),
        );
        assert_eq!(
            description.text(),
            "Name:                  nginx\\u{1b}[31m\nNamespaces:            a, b\nLabels:                a=1\n                       b=2\n"
        );
    }

    #[test]
    fn lengths_of_time_are_told_in_two_units() {
        let at = |second| Time(Timestamp::from_second(second).unwrap());
        assert_eq!(lasted(Some(&at(0)), Some(&at(75)), at(0).0).unwrap(), "1m15s");
        assert_eq!(lasted(Some(&at(0)), None, at(9).0).unwrap(), "9s");
        assert_eq!(
            (left(&at(90_000), at(0).0), left(&at(0), at(5).0)),
            ("1d01h".into(), "overdue".into())
        );
    }
}
