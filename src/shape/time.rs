//! RFC 3339 times.

/// Nanoseconds since the epoch of `YYYY-MM-DDTHH:MM:SS[.frac][Z|+hh:mm|-hh:mm]`; no zone is UTC,
/// digits beyond nanoseconds are dropped. `None` if it is not of that form, no such moment, before
/// the epoch or beyond 64 bits.
pub(super) fn rfc3339(text: &[u8]) -> Option<u64> {
    if text.len() < 19 {
        return None;
    }
    let (base, mut rest) = text.split_at(19);
    let number = |from: usize, to: usize| digits(&base[from..to]);
    for (at, mark) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')] {
        if base[at] != mark {
            return None;
        }
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=last).contains(&day) || year == 0 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut nanos = 0;
    if let [b'.', after @ ..] = rest {
        let count = after.iter().take_while(|b| b.is_ascii_digit()).count();
        if count == 0 {
            return None;
        }
        let (fraction, zone) = after.split_at(count);
        for i in 0..9 {
            nanos = nanos * 10 + fraction.get(i).map_or(0, |d| i64::from(d - b'0'));
        }
        rest = zone;
    }
    let offset = match rest {
        [] | [b'Z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if *sign == b'-' { -60 } else { 60 }
        }
        _ => return None,
    };
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    u64::try_from(i128::from(seconds) * 1_000_000_000 + i128::from(nanos)).ok()
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + i64::from(digit - b'0'))
    })
}

/// Days since the epoch in the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March have their leap day at the end
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_nanosecond() {
        for (text, nanos) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01T00:00:00", Some(0)),
            (
                "2026-11-22T22:27:16.123456789Z",
                Some(1_795_386_436_123_456_789),
            ),
            (
                "2026-11-22T22:27:16.1234567899999Z",
                Some(1_795_386_436_123_456_789),
            ),
            ("2026-11-22T22:27:16.5", Some(1_795_386_436_500_000_000)),
            ("2026-11-22T23:27:16+01:00", Some(1_795_386_436_000_000_000)),
            ("2026-11-22T16:57:16-05:30", Some(1_795_386_436_000_000_000)),
            ("2024-02-29T00:00:00Z", Some(1_709_164_800_000_000_000)),
            ("2023-02-29T00:00:00Z", None),
            ("2026-11-22 22:27:16Z", None),
            ("2026-11-22T22:27:16.Z", None),
            ("2026-11-22T22:27:60Z", None),
            ("2026-13-22T22:27:16Z", None),
            ("2026-11-22T22:27:16z", None),
            ("2026-11-22T22:27:16+0100", None),
            ("1969-12-31T23:59:59Z", None),
            ("9999-12-31T23:59:59Z", None),
            ("2026-11-22T22:27", None),
            ("é026-11-22T22:27:1", None),
            ("", None),
        ] {
            assert_eq!(rfc3339(text.as_bytes()), nanos, "{text}");
        }
    }
}
