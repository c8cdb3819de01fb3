//! How far work in a cluster is, on the line that lives on a terminal; and what its results say, for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use api::archive::{Issue, Results};
use engine::words::Progress;

use super::progress::Shown;
use super::show;

/// How far a piece of work is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Far {
    /// What is being done.
    pub stage: String,
    /// What is counted.
    pub items: &'static str,
    pub items_done: u64,
    pub items_total: u64,
    pub bytes_done: u64,
    pub bytes_total: u64,
}

/// Shows it, step by step.
#[derive(Default)]
pub struct Line {
    before: Far,
}

impl Line {
    /// Shows how far it is now: what was done since the last time is added.
    pub fn show(&mut self, shown: &Shown, far: Far) {
        if far.stage != self.before.stage || far.items != self.before.items {
            shown.stage(&far.stage, far.items);
            self.before = Far::default();
        }
        shown.expect(far.items_total, far.bytes_total);
        shown.done(
            far.items_done.saturating_sub(self.before.items_done),
            far.bytes_done.saturating_sub(self.before.bytes_done),
        );
        self.before = far;
    }
}

/// How many of one reason are told, unless all are asked for.
const TOLD: usize = 10;

/// Warnings and errors, grouped by their reason, most first.
pub fn results(results: &Results, all: bool) -> String {
    let mut text = String::new();
    for (title, issues) in [("Errors", &results.errors), ("Warnings", &results.warnings)] {
        if issues.is_empty() {
            continue;
        }
        // Writing into a text does not fail.
        let _ = writeln!(text, "{title}: {}", issues.len());
        for (reason, issues) in grouped(issues) {
            let _ = writeln!(text, "  {reason} ({})", issues.len());
            let told = if all { issues.len() } else { issues.len().min(TOLD) };
            for issue in &issues[..told] {
                let _ = match issue.about.as_str() {
                    "" => writeln!(text, "    {}", issue.message),
                    about if issue.message.contains(about) => writeln!(text, "    {}", issue.message),
                    about => writeln!(text, "    {about}: {}", issue.message),
                };
            }
            if told < issues.len() {
                let _ = writeln!(text, "    … and {} more; --details shows all", issues.len() - told);
            }
        }
    }
    show::safe(&text)
}

fn grouped(issues: &[Issue]) -> Vec<(&str, Vec<&Issue>)> {
    let mut groups: BTreeMap<&str, Vec<&Issue>> = BTreeMap::new();
    for issue in issues {
        groups.entry(issue.reason.as_str()).or_default().push(issue);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, issues)| std::cmp::Reverse(issues.len()));
    groups
}

/// "1 object", "2 objects".
pub fn count(number: u64, word: &str) -> String {
    if number == 1 {
        format!("1 {word}")
    } else {
        format!("{number} {word}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issue(reason: &str, about: &str) -> Issue {
        Issue {
            reason: reason.into(),
            about: about.into(),
            message: "it was not there".into(),
        }
    }

    #[test]
    fn results_are_grouped_by_reason_and_the_most_frequent_comes_first() {
        let warnings = std::iter::once(issue("Rare", "pods/a/b"))
            .chain((0..12).map(|number| issue("Often", &format!("secrets/a/{number}"))));
        let all = Results {
            warnings: warnings.collect(),
            errors: vec![issue("Broken", "")],
        };
        let text = results(&all, false);
        assert!(
            text.starts_with("Errors: 1\n  Broken (1)\n    it was not there\nWarnings: 13\n  Often (12)\n"),
            "{text}"
        );
        assert!(
            text.contains("… and 2 more") && text.contains("    pods/a/b: it was not there"),
            "{text}"
        );
        assert!(!results(&all, true).contains("more;"));
        assert_eq!(results(&Results::default(), false), "");
    }

    #[test]
    fn what_was_done_before_is_not_added_again() {
        let shown = Shown::new(true, false);
        let mut line = Line::default();
        let far = |done| Far {
            stage: "Reading".into(),
            items: "volumes",
            items_done: done,
            items_total: 5,
            ..Far::default()
        };
        line.show(&shown, far(2));
        line.show(&shown, far(3));
        assert_eq!(shown.items_text(), "  3/5 volumes");
    }
}
