//! Wall-clock time as numbers and as text. All text is UTC.

use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since the epoch; 0 for a clock that stands before it.
pub fn now_nanos() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}

/// Seconds since the epoch, with fraction.
pub fn now_secs() -> f64 {
    now_nanos() as f64 / 1e9
}

/// A moment's calendar fields in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Civil {
    pub year: i64,
    pub month: u32,
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
    /// 0 = Sunday
    pub weekday: u32,
}

/// Calendar fields of a count of seconds since the epoch (proleptic Gregorian, no leap seconds).
pub fn civil(epoch_secs: i64) -> Civil {
    let days = epoch_secs.div_euclid(86_400);
    let secs = epoch_secs.rem_euclid(86_400) as u32;
    // Days to a date by 400-year eras that begin on March 1st, so that leap days come last.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 } as u32;
    Civil {
        year: yoe + era * 400 + i64::from(month <= 2),
        month,
        day: (doy - (153 * mp + 2) / 5 + 1) as u32,
        hour: secs / 3600,
        minute: secs / 60 % 60,
        second: secs % 60,
        weekday: (days + 4).rem_euclid(7) as u32,
    }
}

/// `2026-11-22 22:21:24.317Z`, the stamp of agent.log and of metric lines.
pub fn stamp(epoch_nanos: u64) -> String {
    let mut text = Vec::with_capacity(24);
    crate::stamp::write(&mut text, epoch_nanos / 1_000_000);
    String::from_utf8_lossy(&text).into_owned()
}

/// `2026-11-22 22:21:24 UTC`, a moment in a sentence.
pub fn date(epoch_secs: u64) -> String {
    let c = civil(i64::try_from(epoch_secs).unwrap_or(i64::MAX / 2));
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC",
        c.year, c.month, c.day, c.hour, c.minute, c.second
    )
}

/// `Sun Nov 22 22:27:16 2026 UTC`, the form of status reports; `Never` for none.
pub fn human(epoch_secs: Option<f64>) -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let Some(secs) = epoch_secs else {
        return "Never".to_owned();
    };
    let c = civil(secs.floor() as i64);
    format!(
        "{} {} {:2} {:02}:{:02}:{:02} {} UTC",
        DAYS[c.weekday as usize],
        MONTHS[c.month as usize - 1],
        c.day,
        c.hour,
        c.minute,
        c.second,
        c.year
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_known_moments() {
        assert_eq!(human(Some(1_795_386_436.9)), "Sun Nov 22 22:27:16 2026 UTC");
        assert_eq!(human(Some(951_782_400.0)), "Tue Feb 29 00:00:00 2000 UTC");
        assert_eq!(human(Some(0.0)), "Thu Jan  1 00:00:00 1970 UTC");
        assert_eq!(human(None), "Never");
        assert_eq!(date(1_795_386_084), "2026-11-22 22:21:24 UTC");
        assert!(date(u64::MAX).ends_with(" UTC"));
        // past the end of 32-bit seconds
        assert_eq!(stamp(4_102_444_800_999_000_000), "2100-01-01 00:00:00.999Z");
    }
}
