//! Tables for what a Schedule does at a moment.

use api::condition::{self, Said};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;

fn at(text: &str) -> Timestamp {
    format!("2026-07-01T{text}Z").parse().unwrap()
}

/// A Schedule that was made at midnight.
fn schedule(cron: &str) -> Schedule {
    let spec = ScheduleSpec {
        schedule: cron.to_owned(),
        catch_up: true,
        ..ScheduleSpec::default()
    };
    let mut schedule = Schedule::new("nightly", spec);
    schedule.metadata.creation_timestamp = Some(Time(at("00:00:00")));
    schedule.status = Some(ScheduleStatus::default());
    schedule
}

fn facts(now: &str) -> Facts {
    Facts {
        dealt_with: None,
        backups: Vec::new(),
        unfinished: None,
        run_now_was_made: false,
        refusal: None,
        now: at(now),
    }
}

fn runs(schedule: &Schedule, facts: &Facts) -> Option<String> {
    decide(schedule, facts).unwrap().run.map(|run| run.name)
}

/// Says that the timetable is valid since a moment.
fn valid(schedule: &mut Schedule, since: &str) {
    let message = described(&schedule.spec);
    let said = Said {
        kind: VALID,
        holds: true,
        reason: "Understood",
        message,
        generation: None,
    };
    condition::set(&mut schedule.status.as_mut().unwrap().conditions, &said, at(since));
}

#[test]
fn the_first_backup_comes_at_the_next_time_and_each_time_is_done_once() {
    let mut hourly = schedule("0 * * * *");
    let outlook = decide(&hourly, &facts("00:00:01")).unwrap();
    assert_eq!(
        (outlook.run, outlook.next, outlook.since),
        (None, Some(at("01:00:00")), at("00:00:00"))
    );
    valid(&mut hourly, "00:00:00");
    assert_eq!(
        runs(&hourly, &facts("01:00:00")),
        Some("nightly-20260701010000".to_owned())
    );
    // Found later, it has the same name.
    assert_eq!(
        runs(&hourly, &facts("01:00:31")),
        Some("nightly-20260701010000".to_owned())
    );
    // It was made by a controller that died before it could say so: that it runs is no reason to leave it out.
    let died = Facts {
        backups: vec!["nightly-20260701010000".to_owned()],
        unfinished: Some("nightly-20260701010000".to_owned()),
        ..facts("01:00:20")
    };
    assert_eq!(runs(&hourly, &died), Some("nightly-20260701010000".to_owned()));
    // It was made a moment ago, which the Schedule that is looked at does not show yet.
    let made = Facts {
        dealt_with: Some(at("01:00:00")),
        unfinished: Some("nightly-20260701010000".to_owned()),
        ..facts("01:00:01")
    };
    let outlook = decide(&hourly, &made).unwrap();
    assert_eq!(
        (outlook.run, outlook.skipped, outlook.next),
        (None, None, Some(at("02:00:00")))
    );
    hourly.status.as_mut().unwrap().last_backup = Some(Time(at("01:00:00")));
    let outlook = decide(&hourly, &facts("01:00:31")).unwrap();
    assert_eq!((outlook.run, outlook.next), (None, Some(at("02:00:00"))));
}

#[test]
fn missed_times_are_made_up_for_once_or_left_out() {
    let mut hourly = schedule("0 * * * *");
    valid(&mut hourly, "00:00:00");
    hourly.status.as_mut().unwrap().last_backup = Some(Time(at("01:00:00")));
    let outlook = decide(&hourly, &facts("05:30:00")).unwrap();
    let run = outlook.run.unwrap();
    assert_eq!(run.name, "nightly-20260701050000");
    assert!(run.because.contains("4 times"), "{}", run.because);
    assert_eq!(outlook.next, Some(at("06:00:00")));
    hourly.spec.catch_up = false;
    let outlook = decide(&hourly, &facts("05:30:00")).unwrap();
    assert_eq!((outlook.run, outlook.skipped.unwrap().0), (None, at("05:00:00")));
    // Within the grace it is not missed.
    assert_eq!(
        runs(&hourly, &facts("05:00:59")),
        Some("nightly-20260701050000".to_owned())
    );
}

#[test]
fn a_time_is_left_out_while_a_backup_is_not_done_or_the_location_is_not_written_to() {
    let hourly = schedule("0 * * * *");
    let busy = Facts {
        unfinished: Some("nightly-1".to_owned()),
        ..facts("01:00:00")
    };
    let outlook = decide(&hourly, &busy).unwrap();
    let (time, why) = outlook.skipped.unwrap();
    assert_eq!(
        (outlook.run, time, outlook.next),
        (None, at("01:00:00"), Some(at("02:00:00")))
    );
    assert!(why.contains("nightly-1"));
    let refused = Facts {
        refusal: Some("The location is ReadOnly".to_owned()),
        ..facts("01:00:00")
    };
    assert!(
        decide(&hourly, &refused)
            .unwrap()
            .skipped
            .unwrap()
            .1
            .contains("ReadOnly")
    );
    let mut skipped = hourly;
    skipped.status.as_mut().unwrap().last_skipped = Some(Time(at("01:00:00")));
    assert_eq!(runs(&skipped, &facts("01:10:00")), None);
}

#[test]
fn a_pause_is_made_up_for_and_another_timetable_begins_anew() {
    let mut hourly = schedule("0 * * * *");
    valid(&mut hourly, "00:00:00");
    hourly.spec.paused = true;
    let outlook = decide(&hourly, &facts("03:30:00")).unwrap();
    assert_eq!((outlook.run, outlook.next, outlook.skipped), (None, None, None));
    hourly.spec.paused = false;
    assert_eq!(
        runs(&hourly, &facts("03:30:00")),
        Some("nightly-20260701030000".to_owned())
    );
    // Another timetable has missed nothing.
    hourly.spec.schedule = "15 * * * *".to_owned();
    let outlook = decide(&hourly, &facts("03:30:00")).unwrap();
    assert_eq!(
        (outlook.run, outlook.next, outlook.since),
        (None, Some(at("04:15:00")), at("03:30:00"))
    );
    // In another time zone it is another one as well.
    hourly.spec.schedule = "0 * * * *".to_owned();
    hourly.spec.time_zone = Some("Asia/Kolkata".to_owned());
    assert_eq!(decide(&hourly, &facts("03:20:00")).unwrap().next, Some(at("03:30:00")));
}

#[test]
fn every_so_often_counts_from_the_last_time() {
    let mut often = schedule("@every 20s");
    valid(&mut often, "00:00:00");
    assert_eq!(decide(&often, &facts("00:00:19")).unwrap().next, Some(at("00:00:20")));
    assert_eq!(
        runs(&often, &facts("00:00:20")),
        Some("nightly-20260701000020".to_owned())
    );
    often.status.as_mut().unwrap().last_backup = Some(Time(at("00:00:20")));
    let outlook = decide(&often, &facts("00:00:21")).unwrap();
    assert_eq!((outlook.run, outlook.next), (None, Some(at("00:00:40"))));
}

#[test]
fn what_is_asked_for_now_is_made_once_also_while_paused() {
    let mut paused = schedule("0 * * * *");
    paused.spec.paused = true;
    paused.spec.run_now = Some("please".to_owned());
    let outlook = decide(&paused, &facts("00:20:07")).unwrap();
    let run = outlook.run.unwrap();
    assert_eq!(
        (run.name.as_str(), run.run_now.as_deref()),
        ("nightly-20260701002007", Some("please"))
    );
    assert!(outlook.run_now_is_done);
    // It was made, and whoever made it died before that was written down.
    let made = Facts {
        run_now_was_made: true,
        ..facts("00:20:09")
    };
    let outlook = decide(&paused, &made).unwrap();
    assert_eq!((outlook.run, outlook.run_now_is_done), (None, true));
    paused.status.as_mut().unwrap().run_now = Some("please".to_owned());
    assert_eq!(runs(&paused, &facts("00:20:09")), None);
    // While another one runs it waits.
    paused.spec.run_now = Some("again".to_owned());
    let busy = Facts {
        unfinished: Some("nightly-1".to_owned()),
        ..facts("00:21:00")
    };
    let outlook = decide(&paused, &busy).unwrap();
    assert_eq!((outlook.run, outlook.run_now_is_done), (None, false));
    // Its time has come as well.
    paused.spec.paused = false;
    let outlook = decide(&paused, &facts("01:00:00")).unwrap();
    assert_eq!(outlook.run.unwrap().name, "nightly-20260701010000");
    assert!(outlook.run_now_is_done);
}

#[test]
fn nonsense_is_said_to_be_nonsense() {
    assert!(
        decide(&schedule("61 * * * *"), &facts("00:00:00"))
            .unwrap_err()
            .contains("write")
    );
}
