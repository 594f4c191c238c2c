use super::*;

fn rules(framing: Framing) -> Rules {
    Rules {
        framing,
        delimiter: b"\n".to_vec(),
        nul: framing == Framing::Auto,
        limit: 100,
        largest: 1000,
    }
}

/// The pieces into which a stream is cut that comes in reads of `step` bytes and then ends.
fn cut_all(rules: &Rules, stream: &[u8], step: usize) -> Vec<String> {
    let mut position = Position::default();
    let mut buffer = Vec::new();
    let mut found = Vec::new();
    let mut chunks = stream.chunks(step).peekable();
    while let Some(chunk) = chunks.next() {
        buffer.extend_from_slice(chunk);
        let last = match chunks.peek() {
            Some(_) => Rest::Wait,
            None => Rest::Take,
        };
        for rest in [Rest::Wait, last] {
            let taken = cut(rules, &mut position, &buffer, rest, |piece| {
                let mark = |on, mark| if on { mark } else { "" };
                found.push(format!(
                    "{}{}{}{}",
                    mark(piece.malformed, "!"),
                    mark(!piece.begins, "…"),
                    String::from_utf8_lossy(piece.text),
                    mark(!piece.ends, "…")
                ));
            });
            buffer.drain(..taken);
        }
    }
    assert!(buffer.is_empty());
    found
}

#[track_caller]
fn check(framing: Framing, stream: &str, expected: &[&str]) {
    for step in [usize::MAX, 7, 3, 2, 1] {
        let step = step.min(stream.len().max(1));
        assert_eq!(
            cut_all(&rules(framing), stream.as_bytes(), step),
            expected,
            "in reads of {step}"
        );
    }
}

#[test]
fn lines_counts_and_both_in_one_stream() {
    let auto = Framing::Auto;
    check(auto, "<13>one\n<13>two\r\n", &["<13>one", "<13>two\r"]);
    check(auto, "a\n\nb", &["a", "", "b"]);
    check(auto, "7 <13>abc8 <13>defg", &["<13>abc", "<13>defg"]);
    check(
        auto,
        "8 <13>a\nb\n<13>line\n6 <13>xy",
        &["<13>a\nb\n", "<13>line", "<13>xy"],
    );
}

#[test]
fn messages_that_end_with_nul_are_told_apart() {
    let auto = Framing::Auto;
    check(auto, "<12>one\0<11>two\0", &["<12>one", "<11>two"]);
    check(
        auto,
        "<12>one\0<13>a\0b\0<x\n\0c\n12 <13>counted\0<14>d\0\0<15>e\0",
        &[
            "<12>one",
            "<13>a\0b\0<x",
            "\0c",
            "<13>counted\0",
            "<14>d\0",
            "<15>e",
        ],
    );
    check(Framing::Delimited, "<12>a\0<12>b\n", &["<12>a\0<12>b"]);
    // A long one, and one that is too long.
    let long = format!("<12>{}\0<12>{}\0", "x".repeat(96), "y".repeat(100));
    let pieces = [
        "<12>".to_owned() + &"x".repeat(96),
        "<12>".to_owned() + &"y".repeat(96) + "…",
        "…yyyy".to_owned(),
    ];
    check(auto, &long, &pieces.each_ref().map(String::as_str));
    // The last of them is not held back until the next one comes.
    let mut found = 0;
    let mut position = Position::default();
    for (rest, taken) in [(Rest::Wait, 0), (Rest::Settle, 5)] {
        let rules = rules(auto);
        let cut = cut(&rules, &mut position, b"<1>a\0", rest, |_| found += 1);
        assert_eq!(cut, taken);
    }
    assert_eq!(found, 1);
}

#[test]
fn counts_without_a_priority_are_read_as_before() {
    let auto = Framing::Auto;
    check(
        auto,
        "5 hello5 world3 abc\n<13>tail\n",
        &["hello", "world", "abc", "", "<13>tail"],
    );
    check(auto, "5 hello5 world", &["hello", "world"]);
    // The last of them is not held back until the next one comes.
    let mut found = 0;
    let mut position = Position::default();
    for (rest, taken) in [(Rest::Wait, 0), (Rest::Settle, 7)] {
        let rules = rules(auto);
        let cut = cut(&rules, &mut position, b"5 hello", rest, |_| found += 1);
        assert_eq!(cut, taken);
    }
    assert_eq!(found, 1);
}

#[test]
fn a_line_that_begins_with_a_digit_does_not_poison_the_connection() {
    check(
        Framing::Auto,
        "2026-01-01 started\n12 monkeys\n3 blind mice\n007 bond\n99999999999 x\n5\n<13>ok\n",
        &[
            "2026-01-01 started",
            "12 monkeys",
            "3 blind mice",
            "007 bond",
            "99999999999 x",
            "5",
            "<13>ok",
        ],
    );
}

#[test]
fn a_wrong_count_is_over_at_the_next_line() {
    check(
        Framing::Auto,
        "15 <13>short\n<13>swallowed\n<13>ok\n",
        &["<13>short\n<13>s", "wallowed", "<13>ok"],
    );
    check(
        Framing::Auto,
        "4000 <13>no such message\n<13>ok\n",
        &["!4000 <13>no such message", "<13>ok"],
    );
}

#[test]
fn forced_counts_report_what_has_none_and_go_on() {
    check(
        Framing::Counted,
        "5 hello\n5 world\r\nnonsense 5 hello\n3 abc",
        &["hello", "world", "!nonsense 5 hello", "abc"],
    );
    check(Framing::Delimited, "5 hello\n3 abc", &["5 hello", "3 abc"]);
}

#[test]
fn what_is_too_long_comes_in_pieces_and_the_stream_stays_in_step() {
    let long = "x".repeat(230);
    let pieces = [
        "x".repeat(100) + "…",
        "…".to_owned() + &"x".repeat(100) + "…",
    ];
    let last = "…".to_owned() + &"x".repeat(30);
    let expected = [&pieces[0], &pieces[1], &last, "<13>ok"];
    check(Framing::Auto, &format!("{long}\n<13>ok\n"), &expected);
    let counted = format!("234 <13>{}6 <13>ok", &long);
    let mut expected: Vec<String> = vec![format!("<13>{}…", "x".repeat(96))];
    expected.push(pieces[1].clone());
    expected.push("…".to_owned() + &"x".repeat(34));
    expected.push("<13>ok".to_owned());
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    check(Framing::Auto, &counted, &expected);
    // A digit behind a cut is no count.
    let digits = format!("{}5 <13>ab\nnext\n", "y".repeat(100));
    let expected = [
        "y".repeat(100) + "…",
        "…5 <13>ab".to_owned(),
        "next".to_owned(),
    ];
    check(
        Framing::Auto,
        &digits,
        &expected.each_ref().map(String::as_str),
    );
    // Exactly the limit is not too long.
    check(
        Framing::Auto,
        &format!("{}\n", "y".repeat(100)),
        &[&"y".repeat(100)],
    );
}

#[test]
fn no_character_is_cut_in_two() {
    let text = "é".repeat(75);
    for first in ["", "a"] {
        let found = cut_all(
            &rules(Framing::Auto),
            format!("{first}{text}").as_bytes(),
            9,
        );
        let whole: String = found.iter().map(|piece| piece.replace('…', "")).collect();
        assert_eq!(whole, format!("{first}{text}"));
        assert_eq!(found.len(), 2);
    }
    // Bytes that are no text at all do not stop it.
    let found = cut_all(&rules(Framing::Auto), &[0x80; 250], 50);
    assert_eq!(found.len(), 3);
}

#[test]
fn delimiters_of_several_bytes_leave_nothing_behind() {
    let rules = Rules {
        delimiter: b"\r\n.".to_vec(),
        nul: false,
        ..rules(Framing::Delimited)
    };
    for step in 1..12 {
        assert_eq!(
            cut_all(&rules, b"a\nb\r\n.c\r\r\n.\r\n.d\r\n", step),
            ["a\nb", "c\r", "", "d\r\n"]
        );
    }
}

#[test]
fn a_delimiter_behind_a_line_end_is_seen_however_the_bytes_come() {
    let rules = Rules {
        delimiter: b"|".to_vec(),
        nul: false,
        ..rules(Framing::Counted)
    };
    for step in 1..8 {
        assert_eq!(
            cut_all(&rules, b"3 abc\r\n|x|3 def", step),
            ["abc", "!", "!x", "def"],
            "{step}"
        );
    }
}

#[test]
fn a_half_message_that_is_given_up_is_finished_by_what_comes_late() {
    let rules = rules(Framing::Auto);
    let mut position = Position::default();
    let mut found = Vec::new();
    let mut look = |bytes: &[u8], rest| {
        let taken = cut(&rules, &mut position, bytes, rest, |piece| {
            found.push((
                String::from_utf8_lossy(piece.text).into_owned(),
                piece.begins,
                piece.ends,
            ));
        });
        assert_eq!(taken, bytes.len());
    };
    look(b"10 <13>ab", Rest::Take);
    look(b"cdef<13>ok\n", Rest::Wait);
    assert_eq!(
        found,
        [
            ("<13>ab".to_owned(), true, false),
            ("cdef".to_owned(), false, true),
            ("<13>ok".to_owned(), true, true)
        ]
    );
}

#[test]
fn arbitrary_bytes_are_neither_lost_nor_a_panic() {
    let mut seed = 1u64;
    for round in 0..2000 {
        let stream: Vec<u8> = (0..round % 400)
            .map(|_| {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
                b"0123459 <>\n\r\0ax\xc3\xa9\xff"[(seed >> 33) as usize % 18]
            })
            .collect();
        for framing in [Framing::Auto, Framing::Counted, Framing::Delimited] {
            let whole = cut_all(&rules(framing), &stream, stream.len().max(1));
            let letters = |text: &[u8]| text.iter().filter(|b| b"ax".contains(b)).count();
            let found: usize = whole.iter().map(|piece| letters(piece.as_bytes())).sum();
            assert_eq!(found, letters(&stream), "{framing:?} {stream:?}");
        }
    }
}
