//! What an object asks for. Pure.

use std::time::Duration;

use crate::volume::Volume;

/// What is to be done with an object that nobody here works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fresh {
    /// It is done with.
    Leave,
    /// It is to be stopped, and was not begun.
    Cancel,
    /// It waits for a slot. That it was accepted or in progress means that an agent that worked on it has died: it is begun again.
    Queue,
}

/// Says what is to be done with an object that nobody here works on.
pub fn fresh(volume: &Volume) -> Fresh {
    match (volume.phase().is_final(), volume.is_canceled()) {
        (true, _) => Fresh::Leave,
        (false, true) => Fresh::Cancel,
        (false, false) => Fresh::Queue,
    }
}

/// Why work on a volume ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stop {
    /// Somebody has said so.
    Canceled = 1,
    /// The object is gone: nobody is told.
    Gone,
    /// Somebody else has said how it ended: nobody is told.
    Settled,
    /// The volume is not where it was.
    Vanished,
    /// The agent is told to end: the next one begins again.
    Shutdown,
}

impl Stop {
    /// The reason with this number.
    pub fn of_number(number: u8) -> Option<Self> {
        let all = [
            Self::Canceled,
            Self::Gone,
            Self::Settled,
            Self::Vanished,
            Self::Shutdown,
        ];
        all.into_iter().find(|stop| *stop as u8 == number)
    }
}

/// Says why an object that is worked on is not worked on any longer, if so; there is none when it is gone.
pub fn stop(volume: Option<&Volume>) -> Option<Stop> {
    let Some(volume) = volume else {
        return Some(Stop::Gone);
    };
    match (volume.phase().is_final(), volume.is_canceled()) {
        (true, _) => Some(Stop::Settled),
        (false, true) => Some(Stop::Canceled),
        (false, false) => None,
    }
}

/// The handover that was sealed to our key, as far as the object says. What is not yet the answer to our key is of an agent before us.
pub fn handover<'a>(volume: &'a Volume, recipient: &str) -> Option<&'a str> {
    let handover = volume.status()?.handover.as_deref();
    handover.filter(|handover| is_asked(volume, recipient) && !handover.is_empty())
}

/// Whether the object asks for what is sealed to our key.
pub fn is_asked(volume: &Volume, recipient: &str) -> bool {
    let asked = volume.status().and_then(|status| status.recipient.as_deref());
    asked == Some(recipient)
}

/// How many threads read and compress for that one of `working` volumes which began as the `place`th, from 0, with `processors` to share. More than six cost memory
/// and bring nothing that a node's network could take.
pub fn share(processors: usize, working: usize, place: usize) -> usize {
    let (threads, working) = (processors.clamp(1, 6), working.max(1));
    (threads / working + usize::from(place < threads % working)).max(1)
}

/// How long to wait before a request is tried for the `attempt`th time, from 1.
pub fn pause(attempt: u32) -> Duration {
    Duration::from_millis(250) * 2_u32.pow(attempt.saturating_sub(1).min(6))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use api::volume::{PodVolumeStatus, VolumePhase};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::*;
    use crate::volume::samples::{backup, status};

    fn canceled(mut volume: Volume, by_deletion: bool) -> Volume {
        let Volume::Backup(backup) = &mut volume else {
            panic!("a backup")
        };
        backup.spec.cancel = !by_deletion;
        backup.metadata.deletion_timestamp = by_deletion.then_some(Time(Timestamp::UNIX_EPOCH));
        volume
    }

    #[test]
    fn every_phase_asks_for_one_thing() {
        use VolumePhase::{Accepted, Canceled, Completed, Failed, InProgress, New, PartiallyFailed};
        let table = [
            (New, Fresh::Queue, None),
            (Accepted, Fresh::Queue, None),
            (InProgress, Fresh::Queue, None),
            (Completed, Fresh::Leave, Some(Stop::Settled)),
            (PartiallyFailed, Fresh::Leave, Some(Stop::Settled)),
            (Failed, Fresh::Leave, Some(Stop::Settled)),
            (Canceled, Fresh::Leave, Some(Stop::Settled)),
        ];
        for (phase, expected_fresh, expected_stop) in table {
            let volume = backup("a", 1, status(phase));
            assert_eq!(
                (fresh(&volume), stop(Some(&volume))),
                (expected_fresh, expected_stop),
                "{phase:?}"
            );
            for by_deletion in [false, true] {
                let volume = canceled(volume.clone(), by_deletion);
                let (fresh, stop) = (fresh(&volume), stop(Some(&volume)));
                match phase.is_final() {
                    true => assert_eq!((fresh, stop), (Fresh::Leave, Some(Stop::Settled))),
                    false => assert_eq!((fresh, stop), (Fresh::Cancel, Some(Stop::Canceled))),
                }
            }
        }
        assert_eq!(fresh(&backup("a", 1, None)), Fresh::Queue);
        assert_eq!(stop(None), Some(Stop::Gone));
    }

    #[test]
    fn only_what_answers_our_key_is_a_handover() {
        let said = |recipient: Option<&str>, handover: Option<&str>| {
            let status = PodVolumeStatus {
                recipient: recipient.map(Into::into),
                handover: handover.map(Into::into),
                ..PodVolumeStatus::default()
            };
            backup("a", 1, Some(status))
        };
        assert_eq!(handover(&said(Some("mine"), Some("sealed")), "mine"), Some("sealed"));
        assert_eq!(handover(&said(Some("older"), Some("sealed")), "mine"), None);
        assert_eq!(handover(&said(None, Some("sealed")), "mine"), None);
        assert_eq!(handover(&said(Some("mine"), None), "mine"), None);
        assert_eq!(handover(&said(Some("mine"), Some("")), "mine"), None);
        assert_eq!(handover(&backup("a", 1, None), "mine"), None);
    }

    #[test]
    fn threads_are_shared_and_there_is_always_one() {
        let table: [(usize, &[usize]); 6] = [
            (2, &[2]),
            (2, &[1, 1]),
            (2, &[1, 1, 1, 1]),
            (64, &[6]),
            (64, &[2, 2, 1, 1]),
            (0, &[1]),
        ];
        for (processors, expected) in table {
            let shares: Vec<usize> = (0..expected.len())
                .map(|place| share(processors, expected.len(), place))
                .collect();
            assert_eq!(shares, expected, "{processors}");
        }
    }

    #[test]
    fn pauses_grow_to_a_quarter_of_a_minute() {
        assert_eq!(pause(1), Duration::from_millis(250));
        assert_eq!(pause(3), Duration::from_secs(1));
        assert_eq!(pause(7), Duration::from_secs(16));
        assert_eq!(pause(u32::MAX), Duration::from_secs(16));
    }

    #[test]
    fn reasons_survive_being_numbers() {
        for stop in [
            Stop::Canceled,
            Stop::Gone,
            Stop::Settled,
            Stop::Vanished,
            Stop::Shutdown,
        ] {
            assert_eq!(Stop::of_number(stop as u8), Some(stop));
        }
        assert_eq!(Stop::of_number(0), None);
    }
}
