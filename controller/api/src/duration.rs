//! Lengths of time as the kinds write them: `72h`, `1h30m`, `90s`.

use std::time::Duration;

/// What a length of time looks like, for the API server.
pub const PATTERN: &str = r"^([0-9]{1,9}(d|h|m|s|ms))+$";

/// Reads a length of time: numbers with the units d, h, m, s and ms, one after the other.
///
/// # Errors
/// Says what it should look like.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no length of time; write for instance 72h, 1h30m or 90s");
    let mut rest = text;
    let mut total = Duration::ZERO;
    if text.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest
            .get(..digits)
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(wrong)?;
        rest = rest.get(digits..).unwrap_or_default();
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = rest.get(..letters).unwrap_or_default();
        let milliseconds = match unit {
            "d" => 86_400_000,
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1000,
            "ms" => 1,
            _ => return Err(wrong()),
        };
        let part = number.checked_mul(milliseconds).ok_or_else(wrong)?;
        total = total.checked_add(Duration::from_millis(part)).ok_or_else(wrong)?;
        rest = rest.get(letters..).unwrap_or_default();
    }
    Ok(total)
}

/// Reads a length of time that the API server has let through; what is wrong all the same counts as `otherwise`.
pub fn of(text: Option<&str>, otherwise: Duration) -> Duration {
    text.and_then(|text| parse(text).ok()).unwrap_or(otherwise)
}

/// Writes a length of time in at most two units, for people.
pub fn text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{minutes:02}m"),
        (_, _, _) => format!("{days}d{hours:02}h"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn units_add_up_and_nonsense_is_refused() {
        assert_eq!(parse("1h30m").unwrap(), Duration::from_secs(5400));
        assert_eq!(parse("2d").unwrap(), Duration::from_secs(172_800));
        assert_eq!(parse("500ms").unwrap(), Duration::from_millis(500));
        for wrong in ["", "5", "h", "1x", "-1h", "1.5h", "99999999999999999999h", "1h ", "é"] {
            assert!(parse(wrong).unwrap_err().contains("72h"), "{wrong}");
        }
    }

    #[test]
    fn people_read_two_units() {
        let read = |seconds| text(Duration::from_secs(seconds));
        assert_eq!(
            [read(9), read(75), read(3660), read(90_000)],
            ["9s", "1m15s", "1h01m", "1d01h"]
        );
    }
}
