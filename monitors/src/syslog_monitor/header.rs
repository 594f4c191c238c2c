//! Host and program in the header of a message, for file names and attributes.

/// The sender that a message names in its header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Header<'a> {
    /// `HOSTNAME`; ASCII without blanks.
    pub host: Option<&'a str>,
    /// `APP-NAME` of RFC 5424, or what stands before `[pid]:` in an RFC 3164 tag.
    pub app: Option<&'a str>,
}

/// The Python agent looked at no longer messages.
const STRICT: usize = 1024;

/// Reads the header of a message: `None` if it has none. Known are RFC 5424, RFC 3164, and the latter with a
/// year, with fractions of a second, with a time zone, or with a time stamp as in RFC 5424 (as rsyslog
/// forwards). `strict`: only RFC 3164 proper in messages of up to 1,024 bytes, as the Python agent did.
pub fn read(message: &[u8], strict: bool) -> Option<Header<'_>> {
    if strict && message.len() > STRICT {
        return None;
    }
    let rest = priority(message)?;
    if !strict {
        if let Some(header) = rfc5424(rest) {
            return Some(header);
        }
    }
    let mut rest = timestamp(rest, strict)?;
    while !strict && rest.first() == Some(&b' ') {
        rest = &rest[1..];
    }
    let (host, content) = word(rest);
    let host = text(host)?;
    // Programs that log to a local socket leave the host out.
    if !strict && (host.ends_with(':') || (host.ends_with(']') && !host.starts_with('['))) {
        return Some(Header {
            host: None,
            app: app(rest),
        });
    }
    Some(Header {
        host: Some(host),
        app: content.and_then(app),
    })
}

/// The bytes after `<0>` to `<191>`.
fn priority(message: &[u8]) -> Option<&[u8]> {
    let inner = message.strip_prefix(b"<")?;
    let digits = inner.iter().take(4).position(|&b| b == b'>')?;
    let number = std::str::from_utf8(&inner[..digits]).ok()?;
    let valid = (1..=3).contains(&digits)
        && number.bytes().all(|b| b.is_ascii_digit())
        && number.parse::<u16>().is_ok_and(|number| number < 24 * 8);
    valid.then(|| &inner[digits + 1..])
}

/// `VERSION SP TIMESTAMP SP HOSTNAME SP APP-NAME SP …`, with `-` for what is not known.
fn rfc5424(rest: &[u8]) -> Option<Header<'_>> {
    let (version, rest) = word(rest);
    if version.is_empty() || version.len() > 2 || !version.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let (stamp, rest) = word(rest?);
    if stamp != b"-" && !is_iso(stamp) {
        return None;
    }
    let (host, rest) = word(rest?);
    let (app, _) = word(rest.unwrap_or_default());
    let known = |field| text(field).filter(|&text| text != "-");
    Some(Header {
        host: known(host),
        app: known(app),
    })
}

/// Up to the next blank, and what is behind it.
fn word(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b' ', bytes) {
        Some(end) => (&bytes[..end], Some(&bytes[end + 1..])),
        None => (bytes, None),
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes)
        .ok()
        .filter(|text| !text.is_empty() && text.is_ascii())
}

/// The shortest that comes before an optional `[digits]`, an optional `:` and a blank.
fn app(content: &[u8]) -> Option<&str> {
    let (tag, rest) = word(content);
    rest?;
    let tag = tag.strip_suffix(b":").unwrap_or(tag);
    let tag = match tag.iter().rposition(|&b| b == b'[') {
        Some(open) => match tag[open + 1..].strip_suffix(b"]") {
            Some(pid) if !pid.is_empty() && pid.iter().all(u8::is_ascii_digit) => &tag[..open],
            _ => tag,
        },
        None => tag,
    };
    std::str::from_utf8(tag).ok().filter(|app| !app.is_empty())
}

/// The bytes after a time stamp and its blank.
fn timestamp(bytes: &[u8], strict: bool) -> Option<&[u8]> {
    if strict {
        return after_date(bytes)?.strip_prefix(b" ");
    }
    let (first, rest) = word(bytes);
    if is_iso(first) {
        return rest;
    }
    // `2026 Nov 22 …`
    let bytes = if is_year(first) { rest? } else { bytes };
    let rest = match after_date(bytes) {
        Some(rest) => rest,
        // `Nov 22 2026 …`
        None => {
            let year = bytes.get(7..11)?;
            if !is_year(year) || bytes.get(11) != Some(&b' ') {
                return None;
            }
            let mut date = [b' '; 15];
            date[..7].copy_from_slice(bytes.get(..7)?);
            date[7..].copy_from_slice(bytes.get(12..20)?);
            after_date(&date)?;
            &bytes[20..]
        }
    };
    // `.123`, and `:` as some routers have it
    let fraction = |rest: &[u8]| match rest.first() {
        Some(b'.') => 1 + rest[1..].iter().take_while(|b| b.is_ascii_digit()).count(),
        _ => 0,
    };
    let rest = &rest[fraction(rest)..];
    let rest = rest.strip_prefix(b":").unwrap_or(rest);
    let rest = rest.strip_prefix(b" ")?;
    // `UTC` or `CET:`
    let (zone, behind) = word(rest);
    let zone = zone.strip_suffix(b":").unwrap_or(zone);
    Some(match behind {
        Some(behind) if ZONES.contains(&zone) => behind,
        _ => rest,
    })
}

const ZONES: [&[u8]; 14] = [
    b"UTC", b"GMT", b"Z", b"CET", b"CEST", b"EET", b"EEST", b"EST", b"EDT", b"CST", b"CDT", b"MST",
    b"PST", b"PDT",
];

fn is_year(word: &[u8]) -> bool {
    word.len() == 4 && word.iter().all(u8::is_ascii_digit) && matches!(&word[..2], b"19" | b"20")
}

/// The bytes after `Mmm dd HH:MM:SS`.
fn after_date(bytes: &[u8]) -> Option<&[u8]> {
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let date = bytes.get(..15)?;
    let named = |name: &[u8]| name.eq_ignore_ascii_case(&date[..3]);
    let month = MONTHS.chunks(3).position(named)?;
    let days = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month];
    let tens = match date[4] {
        b' ' => b'0',
        digit => digit,
    };
    let number = |tens: u8, ones: u8| {
        (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| (tens - b'0') * 10 + (ones - b'0'))
    };
    let valid = (1..=days).contains(&number(tens, date[5])?)
        && number(date[7], date[8])? < 24
        && number(date[10], date[11])? < 60
        && number(date[13], date[14])? < 61
        && [date[3], date[6]] == *b"  "
        && [date[9], date[12]] == *b"::";
    valid.then(|| &bytes[15..])
}

/// `2003-10-11T22:14:15`, with whatever fraction and zone behind it.
fn is_iso(word: &[u8]) -> bool {
    const FORM: &[u8; 19] = b"0000-00-00T00:00:00";
    word.len() <= 40
        && word.get(..19).is_some_and(|head| {
            head.iter().zip(FORM).all(|(&found, &form)| match form {
                b'0' => found.is_ascii_digit(),
                other => found == other,
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(message: &str, strict: bool) -> Option<(Option<&str>, Option<&str>)> {
        read(message.as_bytes(), strict).map(|header| (header.host, header.app))
    }

    #[test]
    fn headers_of_rfc_3164_are_read_as_before() {
        for strict in [true, false] {
            for (message, host, app) in [
                (
                    "<34>Oct 11 22:14:15 alpha su: 'su root' failed",
                    "alpha",
                    Some("su"),
                ),
                (
                    "<34>Oct 11 22:14:15 alpha sshd[123]: hello",
                    "alpha",
                    Some("sshd"),
                ),
                (
                    "<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!",
                    "10.0.0.99",
                    Some("Use"),
                ),
                ("<13>Feb  5 17:32:18 host nocolonbutspace", "host", None),
                (
                    "<13>Feb 29 17:32:18 fe80::1 a.b/c[x]: y",
                    "fe80::1",
                    Some("a.b/c[x]"),
                ),
                ("<191>Dec 31 23:59:59 h", "h", None),
                ("<13>DEC 31 23:59:59 h a: b", "h", Some("a")),
            ] {
                assert_eq!(
                    both(message, strict),
                    Some((Some(host), app)),
                    "{message:?}"
                );
            }
        }
    }

    #[test]
    fn headers_of_rfc_5424_and_relatives_are_read_unless_forbidden() {
        let long = format!("<13>Nov 22 22:27:59 vm app: {}", "x".repeat(5000));
        for (message, host, app) in [
            (
                "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - text",
                Some("mymachine.example.com"),
                Some("su"),
            ),
            (
                "<13>1 2026-11-22T22:27:59.255912+00:00 vm myapp - - [timeQuality tzKnown=\"1\"] é",
                Some("vm"),
                Some("myapp"),
            ),
            ("<13>1 - - - - - -", None, None),
            ("<13>1 - h", Some("h"), None),
            (
                "<13>2026-11-22T22:27:59.255912+00:00 vm cron[12]: x",
                Some("vm"),
                Some("cron"),
            ),
            (
                "<13>Nov 22 2026 22:27:59 vm app: x",
                Some("vm"),
                Some("app"),
            ),
            (
                "<13>2026 Nov 22 22:27:59.123 vm app: x",
                Some("vm"),
                Some("app"),
            ),
            (
                "<13>Nov 22 22:27:59.123 UTC: vm app: x",
                Some("vm"),
                Some("app"),
            ),
            (
                "<13>Nov 22 22:27:59 myapp[9684]: local",
                None,
                Some("myapp"),
            ),
            ("<13>Nov 22 22:27:59 myapp: local", None, Some("myapp")),
            ("<13>Nov 22 22:27:59   vm app: x", Some("vm"), Some("app")),
            (&long, Some("vm"), Some("app")),
        ] {
            assert_eq!(both(message, false), Some((host, app)), "{message:?}");
        }
        for message in [
            "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - text",
            "<13>2026-11-22T22:27:59Z vm cron[12]: x",
            "<13>Nov 22 2026 22:27:59 vm app: x",
            &long,
        ] {
            assert_eq!(both(message, true), None, "{message:?}");
        }
    }

    #[test]
    fn what_has_no_header_gives_none() {
        for message in [
            "",
            "<",
            "<13",
            "<13>",
            "<>Oct 11 22:14:15 h a: b",
            "<192>Oct 11 22:14:15 h a: b",
            "<1234>Oct 11 22:14:15 h a: b",
            "<+1>Oct 11 22:14:15 h a: b",
            "<34>Oct 32 22:14:15 h a: b",
            "<34>Oct 11 24:14:15 h a: b",
            "<34>Okt 11 22:14:15 h a: b",
            "<34>Oct 11 22:14:15",
            "<34>Oct 11 22:14:15 ",
            "<34>Oct 11 22:14:15 h\u{e9} a: b",
            "Oct 11 22:14:15 h a: b",
            "<34>1 yesterday h a - - -",
            "<34>Nov 22 20",
            "<34>Nov 22 2026 22:2",
            "<34>2026 ",
        ] {
            assert_eq!(both(message, false), None, "{message:?}");
        }
        assert_eq!(read(b"<34>Oct 11 22:14:15 \xff\xff a: b", false), None);
    }

    #[test]
    fn cut_off_headers_are_no_panic() {
        for message in [
            "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - text",
            "<13>2026 Nov 22 22:27:59.123 CET: vm app[1]: x",
            "<13>Nov 22 2026 22:27:59.1 UTC vm app: x",
        ] {
            for end in 0..message.len() {
                read(&message.as_bytes()[..end], false);
                read(&message.as_bytes()[end..], false);
            }
        }
    }
}
