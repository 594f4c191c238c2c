//! The time stamp in front of every line: `2026-11-22 22:21:24.317Z`, UTC, milliseconds truncated.

use crate::time::civil;
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
    let c = civil(secs as i64);
    digits(out, c.year as u32, 4);
    out.push(b'-');
    digits(out, c.month, 2);
    out.push(b'-');
    digits(out, c.day, 2);
    out.push(b' ');
    digits(out, c.hour, 2);
    out.push(b':');
    digits(out, c.minute, 2);
    out.push(b':');
    digits(out, c.second, 2);
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
        assert_eq!(stamp(1_650_021_068_015), "2022-04-15 11:11:08.015Z");
        assert_eq!(stamp(1_795_386_436_999), "2026-11-22 22:27:16.999Z");
        // past the end of 32-bit seconds
        assert_eq!(stamp(4_102_444_800_999), "2100-01-01 00:00:00.999Z");
        assert_eq!(stamp(u64::MAX), "9999-12-31 23:59:59.999Z");
    }
}
