//! The time stamp in front of every line: `2026-11-22 22:21:24.317Z`, UTC, milliseconds truncated.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the epoch; 0 for a clock that stands before it.
pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// Appends the stamp of a moment given in milliseconds since the epoch. Allocates nothing beyond
/// `out`; moments past the year 9999 are written as its last one.
pub fn write(out: &mut Vec<u8>, epoch_ms: u64) {
    // 9999-12-31 23:59:59.999
    let ms = epoch_ms.min(253_402_300_799_999);
    let secs = ms / 1000;
    let days = secs / 86_400;
    let of_day = (secs % 86_400) as u32;
    // Days to a date by 400-year eras that begin on March 1st, so that leap days come last.
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 } as u32;
    let day = (doy - (153 * mp + 2) / 5 + 1) as u32;
    let year = (yoe + era * 400) as u32 + u32::from(month <= 2);

    digits(out, year, 4);
    out.push(b'-');
    digits(out, month, 2);
    out.push(b'-');
    digits(out, day, 2);
    out.push(b' ');
    digits(out, of_day / 3600, 2);
    out.push(b':');
    digits(out, of_day / 60 % 60, 2);
    out.push(b':');
    digits(out, of_day % 60, 2);
    out.push(b'.');
    digits(out, (ms % 1000) as u32, 3);
    out.push(b'Z');
}

fn digits(out: &mut Vec<u8>, number: u32, width: u32) {
    for place in (0..width).rev() {
        out.push(b'0' + (number / 10u32.pow(place) % 10) as u8);
    }
}

#[cfg(test)]
mod tests {
    fn stamp(ms: u64) -> String {
        let mut out = Vec::new();
        super::write(&mut out, ms);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn stamps_of_known_moments() {
        assert_eq!(stamp(0), "1970-01-01 00:00:00.000Z");
        assert_eq!(stamp(951_782_400_001), "2000-02-29 00:00:00.001Z");
        // monitors-core.md §3, the emit corner cases
        assert_eq!(stamp(1_650_021_068_015), "2022-04-15 11:11:08.015Z");
        assert_eq!(stamp(1_795_386_436_999), "2026-11-22 22:27:16.999Z");
        // past the end of 32-bit seconds
        assert_eq!(stamp(4_102_444_800_999), "2100-01-01 00:00:00.999Z");
        assert_eq!(stamp(u64::MAX), "9999-12-31 23:59:59.999Z");
    }
}
