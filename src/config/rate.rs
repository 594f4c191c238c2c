//! `max_send_rate_enforcement`.

/// Bytes per second of a rate; `None` for the two words that mean no cap. The whole text has to
/// match: number, blanks, optional prefix `k m g t` (1000-based, with `i` 1024-based), `B`, `/`,
/// and one of `s m h d w`. The error says what is allowed.
pub fn parse(text: &str) -> Result<Option<f64>, &'static str> {
    const ALLOWED: &str =
        "unlimited, legacy, or a rate in bytes such as 1.5MB/s, 200KiB/s, 5GB/d (per s, m, h, d or w)";
    let text = text.trim();
    if matches!(text, "unlimited" | "legacy") {
        return Ok(None);
    }
    rate(text).map(Some).ok_or(ALLOWED)
}

fn rate(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(end);
    let number: f64 = number
        .parse()
        .ok()
        .filter(|_| number.starts_with(|c: char| c.is_ascii_digit()))?;
    let (size, per) = unit.trim_start().split_once('/')?;
    let prefix = size.strip_suffix('B')?;
    let (prefix, base) = match prefix.strip_suffix(['i', 'I']) {
        Some("") => return None,
        Some(prefix) => (prefix, 1024_f64),
        None => (prefix, 1000.0),
    };
    let power = match prefix.to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return None,
    };
    let seconds = match per.to_ascii_lowercase().as_str() {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        "w" => 604_800.0,
        _ => return None,
    };
    let rate = number * base.powi(power) / seconds;
    (rate > 0.0 && rate.is_finite()).then_some(rate)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn rates_as_operators_write_them() {
        for (text, rate) in [
            ("1.5MB/s", 1_500_000.0),
            ("5GB/d", 5e9 / 86_400.0),
            ("200KiB/s", 204_800.0),
            ("200 kiB/S", 204_800.0),
            ("1MIB/m", 1_048_576.0 / 60.0),
            ("7B/s", 7.0),
            ("1tB/w", 1e12 / 604_800.0),
            ("12B/h", 12.0 / 3_600.0),
            (" 8MB/s ", 8e6),
        ] {
            assert_eq!(parse(text), Ok(Some(rate)), "{text}");
        }
        assert_eq!(parse("unlimited"), Ok(None));
        assert_eq!(parse("legacy"), Ok(None));
    }

    #[test]
    fn a_rate_that_could_mean_something_else_is_refused() {
        for text in [
            "",
            "5",
            "1MB",
            "1Mb/s",
            "1PB/s",
            "x 1.5 GB/day y",
            "1.5GB/day",
            "1e3MB/s",
            ".5MB/s",
            "1MB/month",
            "-1MB/s",
            "0MB/s",
            "1.2.3MB/s",
            "Unlimited",
            "LEGACY",
            "1iB/s",
            "1 M B/s",
            "1MB / s",
            "1MB/s s",
            "MB/s",
            "1kMB/s",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&format!("{}GB/s", "9".repeat(400))).is_err());
    }
}
