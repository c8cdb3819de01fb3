//! When a Schedule runs: five fields of cron in a time zone, or `@every` a length of time. Pure: the present is given.

use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use k8s_openapi::jiff::{Timestamp, tz::TimeZone};

/// The times of a schedule.
#[derive(Clone, Debug)]
pub enum Times {
    /// As cron says, in a time zone.
    Cron(Box<Cron>, TimeZone),
    /// After each such length of time.
    Every(Duration),
}

impl Times {
    /// Reads a schedule. A prefix `TZ=` or `CRON_TZ=` is understood where no time zone is given.
    ///
    /// # Errors
    /// Says what is wrong, and what to write.
    pub fn parse(text: &str, zone: Option<&str>) -> Result<Self, String> {
        let mut text = text.trim();
        let mut zone = zone;
        for prefix in ["CRON_TZ=", "TZ="] {
            if let Some(rest) = text.strip_prefix(prefix) {
                let (named, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                zone = zone.or(Some(named));
                text = rest.trim();
            }
        }
        if let Some(every) = text.strip_prefix("@every") {
            let every = crate::duration::parse(every.trim())?;
            if every < Duration::from_secs(1) {
                return Err("@every needs a second at least; write for instance @every 6h".into());
            }
            return Ok(Self::Every(every));
        }
        let zone = match zone {
            None => TimeZone::UTC,
            Some(name) => TimeZone::get(name)
                .map_err(|_| format!("There is no time zone `{name}`; write for instance Europe/Berlin or UTC"))?,
        };
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let cron = parser.parse(text).map_err(|error| {
            format!("`{text}` is no schedule: {error}; write five fields (minute, hour, day, month, weekday), @daily or @every 6h")
        })?;
        Ok(Self::Cron(Box::new(cron), zone))
    }

    /// The first time after a moment; none when there is none, as for 30 February.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(every) => {
                let every = i64::try_from(every.as_secs()).ok()?;
                Timestamp::from_second(after.as_second().checked_add(every)?).ok()
            }
            Self::Cron(cron, zone) => {
                let after = after.to_zoned(zone.clone());
                Some(cron.find_next_occurrence(&after, false).ok()?.timestamp())
            }
        }
    }

    /// The last time that is not after `now`, of those after `last`; and how many there were.
    pub fn due(&self, last: Timestamp, now: Timestamp) -> Option<(Timestamp, u64)> {
        if let Self::Every(every) = self {
            let every = i64::try_from(every.as_secs()).ok()?.max(1);
            let times = (now.as_second() - last.as_second()) / every;
            let latest = last.as_second().checked_add(times.checked_mul(every)?)?;
            return (times > 0).then_some((Timestamp::from_second(latest).ok()?, times.unsigned_abs()));
        }
        let mut due = None;
        let mut from = last;
        // Whoever was away for years need not be counted for to the end.
        for count in 1..=100_000 {
            match self.next(from) {
                Some(next) if next <= now => {
                    due = Some((next, count));
                    from = next;
                }
                _ => break,
            }
        }
        due
    }
}

/// The name of a schedule's backup for a time: `<schedule>-<YYYYMMDDhhmmss>`, in UTC.
pub fn name_at(owner: &str, time: Timestamp) -> String {
    format!("{owner}-{}", time.strftime("%Y%m%d%H%M%S"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn cron_runs_in_its_time_zone_also_where_clocks_change() {
        let times = Times::parse("30 2 * * *", Some("Europe/Berlin")).unwrap();
        assert_eq!(times.next(at("2026-07-01T00:00:00Z")), Some(at("2026-07-01T00:30:00Z")));
        assert_eq!(times.next(at("2026-12-01T00:00:00Z")), Some(at("2026-12-01T01:30:00Z")));
        // On 29 March 2026 there is no 02:30 in Berlin; the backup of that day is made all the same.
        let spring = times.next(at("2026-03-28T02:00:00Z")).unwrap();
        assert_eq!(spring.to_string().get(..10), Some("2026-03-29"));
        let prefixed = Times::parse("CRON_TZ=Asia/Tokyo 0 9 * * *", None).unwrap();
        assert_eq!(
            prefixed.next(at("2026-07-01T00:00:00Z")),
            Some(at("2026-07-02T00:00:00Z"))
        );
    }

    #[test]
    fn missed_times_are_one_backup_and_are_counted() {
        let times = Times::parse("0 * * * *", None).unwrap();
        let due = times.due(at("2026-07-01T00:00:00Z"), at("2026-07-01T05:59:59Z"));
        assert_eq!(due, Some((at("2026-07-01T05:00:00Z"), 5)));
        assert_eq!(times.due(at("2026-07-01T05:00:00Z"), at("2026-07-01T05:59:59Z")), None);
        let every = Times::parse("@every 90m", None).unwrap();
        let due = every.due(at("2026-07-01T00:00:00Z"), at("2026-07-01T04:00:00Z"));
        assert_eq!(due, Some((at("2026-07-01T03:00:00Z"), 2)));
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for (wrong, zone) in [
            ("* * * *", None),
            ("61 * * * *", None),
            ("@every soon", None),
            ("@never", None),
            ("0 0 * * * *", None),
            ("0 0 * * *", Some("Mars/Olympus")),
        ] {
            let error = Times::parse(wrong, zone).unwrap_err();
            assert!(error.contains("write"), "{wrong}: {error}");
        }
        assert_eq!(
            Times::parse("0 0 30 2 *", None)
                .unwrap()
                .next(at("2026-07-01T00:00:00Z")),
            None
        );
    }

    #[test]
    fn names_bear_the_time() {
        assert_eq!(name_at("nightly", at("2026-11-23T04:05:06Z")), "nightly-20261123040506");
    }
}
