use super::super::mutations;
use super::*;

fn sample(line: &str) -> Result<Sample<'_>, &'static str> {
    match read(line, false)? {
        Line::Sample(sample) => Ok(sample),
        other => panic!("{line}: {other:?}"),
    }
}

fn labels(line: &str) -> Vec<(String, String)> {
    let sample = sample(line).unwrap();
    let owned = sample.labels.into_iter();
    owned.map(|(k, v)| (k.into(), v.into())).collect()
}

#[test]
fn every_number_of_the_format_is_read_and_nothing_else_is() {
    for (text, value) in [
        ("3", Value::Int(3)),
        ("-5", Value::Int(-5)),
        ("+5", Value::Int(5)),
        ("007", Value::Int(7)),
        ("18446744073709551615", Value::UInt(u64::MAX)),
        (
            "18446744073709551616",
            Value::Float(18_446_744_073_709_551_616.0),
        ),
        ("3.0", Value::Float(3.0)),
        (".5", Value::Float(0.5)),
        ("1.", Value::Float(1.0)),
        ("1.7560473e+07", Value::Float(17_560_473.0)),
        ("1.5e-5", Value::Float(1.5e-5)),
        ("5e-05", Value::Float(5e-5)),
        ("1e10", Value::Int(10_000_000_000)),
        ("1E+3", Value::Int(1000)),
        ("2e+2", Value::Int(200)),
        ("-2e2", Value::Int(-200)),
        ("1e-3", Value::Float(0.001)),
        ("1e300", Value::Float(1e300)),
        ("1e19", Value::Float(1e19)),
        ("+Inf", Value::Text("+Inf")),
        ("Inf", Value::Text("+Inf")),
        ("-Inf", Value::Text("-Inf")),
        ("+inf", Value::Text("+Inf")),
        ("-INFINITY", Value::Text("-Inf")),
    ] {
        assert_eq!(number(text), Some(Some(value)), "{text}");
    }
    for nan in ["NaN", "nan", "+NaN", "-nan"] {
        assert_eq!(number(nan), Some(None), "{nan}");
    }
    for wrong in [
        "", "0x10", "1e", "e5", ".", "-", "+", "1_000", "1,5", "1e999", "-1.0e999", "one", "--1",
        "1e5x", "٣", "infinit", "0b1", "1f",
    ] {
        assert_eq!(number(wrong), None, "{wrong}");
    }
}

#[test]
fn labels_are_read_with_every_escape_and_any_character() {
    for (line, want) in [
        (
            r#"m{a="x,y",b="with \"quotes\" and }brace",c="a=b"} 2"#,
            &[
                ("a", "x,y"),
                ("b", "with \"quotes\" and }brace"),
                ("c", "a=b"),
            ][..],
        ),
        (
            r#"m{path="C:\\DIR\\FILE.TXT",error="no:\n\"FILE.TXT\""} 1"#,
            &[
                ("path", "C:\\DIR\\FILE.TXT"),
                ("error", "no:\n\"FILE.TXT\""),
            ],
        ),
        (r#"m{a="b",} 6"#, &[("a", "b")]),
        ("m{ a = \"b\" ,\tc=\"d\" , } 6", &[("a", "b"), ("c", "d")]),
        ("m{} 6", &[]),
        ("m { } 6", &[]),
        ("m{}6", &[]),
        (r#"m{a=""} 6"#, &[("a", "")]),
        (r#"m{a="\\n\x\\"} 6"#, &[("a", "\\n\\x\\")]),
        (r#"m{a="\é{#"} 6"#, &[("a", "\\é{#")]),
        (r#"m{a="1",a="2"} 6"#, &[("a", "1"), ("a", "2")]),
        (r#"{"http.requests","a b"="c"} 6"#, &[("a b", "c")]),
        (r#"{"http.requests"} 6"#, &[]),
        (r#"m{a=" b  c\t"} 6"#, &[("a", " b  c\\t")]),
    ] {
        let want: Vec<_> = want
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        assert_eq!(labels(line), want, "{line}");
    }
    assert_eq!(
        sample(r#"{"http.\"requests",} 6"#).unwrap().name,
        "http.\"requests"
    );
}

#[test]
fn malformed_lines_are_told_apart_from_samples() {
    for line in [
        "no_value",
        "m{a=\"b\"}",
        "m{a=\"b\" 3",
        "m{a=\"b} 3",
        "m{a=\"b\\",
        "m{a=b} 3",
        "m{a='b'} 3",
        "m{a} 3",
        "m{=\"b\"} 3",
        "m{\"\"=\"b\"} 3",
        "m{a=\"b\"c=\"d\"} 3",
        "m{,} 3",
        "m{a=\"b\",,} 3",
        "m{",
        "{} 3",
        "{\"\"} 3",
        "{a=\"b\"} 3",
        "m{\"n\"} 3",
        "m} 3",
        "m one",
        "m # {a=\"b\"} 1",
        "<html> 3",
        "\"m\" 3",
    ] {
        assert!(sample(line).is_err(), "{line}");
    }
    let many: String = (0..257).map(|n| format!("l{n}=\"\",")).collect();
    assert!(sample(&format!("m{{{many}}} 1")).is_err());
}

#[test]
fn time_stamps_are_milliseconds_and_exemplars_are_skipped() {
    for (line, seconds, stamp, odd) in [
        ("m 5", false, None, false),
        ("m 5 1395066363000", false, Some(1_395_066_363_000), false),
        ("m 5 -1", false, Some(-1), false),
        ("m 5 1395066363", true, Some(1_395_066_363_000), false),
        ("m 5 1520879607.789", true, Some(1_520_879_607_789), false),
        ("m 5 1520879607.789", false, Some(1_520_879_607_789), false),
        ("m 5 1.5e9", true, Some(1_500_000_000_000), false),
        ("m 5 9223372036854775807", true, None, true),
        ("m 5 1e300", true, None, true),
        ("m 5 abc", false, None, true),
        ("m 5 NaN", true, None, true),
        ("m 5 1 2", false, Some(1), true),
        ("m 8 # {trace_id=\"KOO\"} 0.067", false, None, false),
        ("m 8 # {} 0.067 1520879607.789", true, None, false),
        (
            "m 8 1.5 # {trace_id=\"a # } b\"} 0.067",
            true,
            Some(1500),
            false,
        ),
        ("m{a=\"b\"} 8\t12\t# x", false, Some(12), false),
    ] {
        let Line::Sample(sample) = read(line, seconds).unwrap() else {
            panic!("{line}");
        };
        assert_eq!((sample.timestamp, sample.odd_end), (stamp, odd), "{line}");
    }
}

#[test]
fn only_a_type_and_the_end_count_among_comments() {
    for (line, want) in [
        ("# EOF", Line::End),
        ("# EOF ", Line::End),
        ("# EOF x", Line::Nothing),
        ("#EOF", Line::Nothing),
        ("", Line::Nothing),
        (" \t", Line::Nothing),
        ("#", Line::Nothing),
        ("# ", Line::Nothing),
        ("# HELP m The TYPE of it", Line::Nothing),
        ("# UNIT m_seconds seconds", Line::Nothing),
        ("# Nothing {", Line::Nothing),
        ("# TYPE m counter", Line::Type("m".into(), "counter")),
        (" #\tTYPE  m \t summary ", Line::Type("m".into(), "summary")),
        (
            "# TYPE \"a \\\"b\" gauge",
            Line::Type("a \"b".into(), "gauge"),
        ),
    ] {
        assert_eq!(read(line, true), Ok(want), "{line}");
    }
    for line in ["# TYPE", "# TYPE m", "# TYPE \"m gauge"] {
        assert!(read(line, true).is_err(), "{line}");
    }
}

#[test]
fn blanks_around_a_sample_do_not_matter() {
    let plain = sample("m{a=\"b\"} 3 4").unwrap();
    assert_eq!(sample(" \tm {a=\"b\"}\t3  4 \t").unwrap(), plain);
}

/// The lines that mutations begin with.
const CORPUS: &str = include_str!("corpus.txt");

#[test]
fn reading_survives_a_million_mutations() {
    let lines: Vec<&str> = CORPUS.lines().collect();
    let mut random = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 11) as usize % below
    };
    const ODD: &[u8] = b"\"\\{}=,# \t\n\r+-.eE09_aZ:\x00\x7f\xc3\xa9\xf0\xff";
    let mut bytes = Vec::new();
    for _ in 0..mutations(100_000) {
        bytes.clear();
        bytes.extend_from_slice(lines[next(lines.len())].as_bytes());
        for _ in 0..=next(4) {
            let at = next(bytes.len() + 1);
            match next(4) {
                0 => bytes.insert(at, ODD[next(ODD.len())]),
                1 => bytes.truncate(at),
                2 if at < bytes.len() => bytes[at] = ODD[next(ODD.len())],
                _ => {
                    // A piece of another line
                    let other = lines[next(lines.len())].as_bytes();
                    let from = next(other.len() + 1);
                    let to = from + next(other.len() - from + 1);
                    bytes.splice(at..at, other[from..to].iter().copied());
                }
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(Line::Sample(sample)) = read(&text, next(2) == 0) {
            assert!(!sample.name.is_empty() && sample.labels.len() <= MOST_LABELS);
            if let Some(Value::Float(x)) = sample.value {
                assert!(x.is_finite());
            }
        }
    }
}
