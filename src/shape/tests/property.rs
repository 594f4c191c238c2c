//! Properties that hold for any input. Each failure names its seed.

use super::{entry, grouper, options, redaction, text, Event, Reader};
use crate::config::{GroupEnd, LogEntry, Options, ParseFormat, SamplingRule};
use std::time::{Duration, Instant};

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

const WORDS: &[&[u8]] = &[
    b"\n",
    b"\n",
    b"\n",
    b" ",
    b"  at x",
    b"START",
    b"END",
    b"key=abcdef",
    b"\xff",
    "é".as_bytes(),
    "日本".as_bytes(),
    b"\r\n",
    b"\\",
    b"\0",
    b"12345",
    b"a",
    b"{\"log\":\"a",
    b"\\n\"}",
    b"\",\"k\":\"v",
    b"{\"log\":\"x\\n\"}\n",
    b"{\"log\":\"x\",\"n\":[1]}\n",
    b"1970-01-01T00:00:00Z stdout ",
    b"1970-01-01T00:00:01Z stderr ",
    b"P part",
    b"F full",
    b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
];

fn content(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.below(200) {
        bytes.extend_from_slice(random.pick(WORDS));
    }
    bytes
}

fn anything(random: &mut Random) -> (LogEntry, Options) {
    let mut entry = entry();
    let pattern = |random: &mut Random| {
        random
            .pick(&[
                "START",
                "END$",
                r"^\s",
                r"^\S",
                r"\d+",
                "a",
                "",
                r"(.)\1",
                r"(?<=key=)\w+",
                "x$",
            ])
            .to_owned()
    };
    for _ in 0..random.below(3) {
        let start = pattern(random);
        let next = pattern(random);
        let end = match random.below(4) {
            0 => GroupEnd::ContinueThrough(next),
            1 => GroupEnd::ContinuePast(next),
            2 => GroupEnd::HaltBefore(next),
            _ => GroupEnd::HaltWith(next),
        };
        entry.line_groupers.push(grouper(&start, end));
    }
    for _ in 0..random.below(3) {
        let replacement = random.pick(&["", "#", r"<\g<0>>", r"\n"]);
        entry
            .redaction_rules
            .push(redaction(&pattern(random), replacement));
    }
    for _ in 0..random.below(2) {
        entry.sampling_rules.push(SamplingRule {
            match_expression: pattern(random),
            sampling_rate: 0.5,
        });
    }
    entry.parse_format = [ParseFormat::Raw, ParseFormat::Json, ParseFormat::Cri][random.below(3)];
    if entry.line_groupers.is_empty() && entry.redaction_rules.is_empty() {
        entry.redaction_rules.push(redaction("b", "a"));
    }
    let options = Options {
        internal_parse_max_line_size: [1, 100][random.below(2)],
        merge_json_parsed_lines: random.below(2) == 0,
        ..options([10, 50, 1000][random.below(3)])
    };
    (entry, options)
}

#[test]
fn units_are_the_same_however_the_bytes_arrive() {
    for seed in 1..800u64 {
        let mut random = Random(seed);
        let (entry, options) = anything(&mut random);
        let bytes = content(&mut random);
        let mut reader = Reader::new(&entry, &options);
        let mut at_once: Vec<Event> = reader.read(&bytes, false);
        let mut slow = Reader::new(&entry, &options);
        let mut in_parts = Vec::new();
        let mut len = 0;
        while len < bytes.len() {
            len += 1 + random.below(20).min(bytes.len() - len - 1);
            in_parts.extend(slow.read(&bytes[..len], false));
        }
        in_parts.extend(slow.read(&bytes, false));
        assert_eq!(in_parts, at_once, "seed {seed}");
        assert_eq!(reader.at, slow.at, "seed {seed}");
        at_once.extend(reader.read(&bytes, true));
        assert_eq!(reader.at, bytes.len(), "seed {seed}");
        assert_eq!(reader.total.bytes, bytes.len() as u64);
        assert_eq!(reader.total.events, at_once.len() as u64);
        // Read again from any unit's end: the same rest
        if let Some(event) = at_once.get(random.below(at_once.len().max(1))) {
            let mut again = Reader::new(&entry, &options);
            again.at = event.number as usize;
            let is_end = slow_units(&entry, &options, &bytes).contains(&again.at);
            if is_end {
                let rest = again.read(&bytes, true);
                let expected: Vec<_> = at_once
                    .iter()
                    .filter(|e| e.number > event.number)
                    .cloned()
                    .collect();
                assert_eq!(rest, expected, "seed {seed}");
            }
        }
    }
}

/// The ends of the units.
fn slow_units(entry: &LogEntry, options: &Options, bytes: &[u8]) -> Vec<usize> {
    let mut reader = Reader::new(entry, options);
    let mut ends = Vec::new();
    for event in reader.read(bytes, true) {
        ends.push(event.number as usize);
    }
    // Events of one unit are numbered one apart; only the last of such a row is an end
    let next: Vec<_> = ends.iter().skip(1).copied().chain([usize::MAX]).collect();
    ends.into_iter()
        .zip(next)
        .filter(|(a, b)| a + 1 != *b)
        .map(|(a, _)| a)
        .collect()
}

#[test]
fn no_cut_lets_a_secret_through() {
    let secret = "key=0123456789abcdef;";
    for seed in 1..60u64 {
        let mut random = Random(seed);
        let mut entry = entry();
        entry.redaction_rules = vec![
            redaction("zz", "z"),
            redaction(
                random.pick(&[r"key=[0-9a-f]+;", r"(?<=key=)[0-9a-f]+(?=;)"]),
                "#",
            ),
        ];
        if random.below(2) == 0 {
            let end = GroupEnd::HaltWith("never".into());
            entry.line_groupers.push(grouper("^", end));
        }
        if random.below(3) == 0 {
            entry.parse_format = ParseFormat::Json;
        }
        let options = Options {
            internal_parse_max_line_size: 1000,
            ..options([100, 5000, 49_900][random.below(3)])
        };
        let mut line = Vec::new();
        while line.len() < 300_000 {
            for _ in 0..random.below(3000) {
                line.push(b"abcdef0123 zz\xc3"[random.below(14)]);
            }
            if random.below(10) == 0 && !entry.line_groupers.is_empty() {
                line.push(b'\n');
            }
            line.extend_from_slice(secret.as_bytes());
        }
        line.push(b'\n');
        let mut reader = Reader::new(&entry, &options);
        let events = reader.read(&line, true);
        let sent: String = events.iter().map(text).collect();
        assert!(!sent.contains("0123456789abcdef;"), "seed {seed}");
        assert!(sent.len() > 100_000, "seed {seed}: too much is withheld");
    }
}

#[test]
fn garbage_of_any_kind_is_taken_in_time() {
    let started = Instant::now();
    for seed in 1..200u64 {
        let mut random = Random(seed);
        let (entry, options) = anything(&mut random);
        let bytes: Vec<u8> = match random.below(3) {
            0 => (0..random.below(5000))
                .map(|_| random.next() as u8)
                .collect(),
            1 => (0..random.below(5000))
                .map(|_| b"{}[]\":,\\u0d8n\n"[random.below(14)])
                .collect(),
            _ => b"{\"log\":[".repeat(random.below(2000)),
        };
        let mut reader = Reader::new(&entry, &options);
        reader.read(&bytes, true);
        assert_eq!(reader.at, bytes.len(), "seed {seed}");
    }
    assert!(started.elapsed() < Duration::from_secs(300));
}
