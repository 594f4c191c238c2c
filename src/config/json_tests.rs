use super::*;

/// Kind, line and position of an error.
type Bad = (&'static str, u32, usize);

/// Number of the row, input, and the value as strict JSON or the error. "The reference differs" marks
/// rows where the Python agent's parser crashes or lets a mistake pass.
#[rustfmt::skip]
const TABLE: &[(u32, &str, Result<&str, Bad>)] = &[
    (1, "77", Ok("77")),
    (2, "-4", Ok("-4")),
    (3, "-2.25", Ok("-2.25")),
    (4, "00012", Ok("12")),
    (5, "98765432109876543210", Ok("98765432109876543210")),
    (6, "6e2", Ok("600.0")),
    (7, "6E-1", Ok("0.6")),
    (8, "8.", Ok("8.0")),
    (9, "-.25", Ok("-0.25")),
    (10, ".25", Err(("bad-char", 1, 0))),
    (11, "+3", Err(("bad-char", 1, 0))),
    (12, "-", Err(("bad-int", 1, 0))), // the reference differs
    (13, "--7", Err(("bad-int", 1, 2))), // the reference differs
    (14, "4-", Err(("bad-int", 1, 1))),
    (15, "3..1", Err(("bad-float", 1, 3))),
    (16, "5e", Err(("bad-float", 1, 1))),
    (17, "1e999", Ok("∞")),
    (18, "0x1F", Err(("trailing-data", 1, 1))),
    (19, "1_000", Err(("trailing-data", 1, 1))),
    (20, "NaN", Err(("bad-char", 1, 0))),
    (21, "true", Ok("true")),
    (22, "trueish", Err(("trailing-data", 1, 4))),
    (23, "tree", Err(("bad-word", 1, 0))),
    (24, "frog", Err(("bad-word", 1, 0))),
    (25, "null", Ok("null")),
    (26, "nil", Err(("bad-word", 1, 0))),
    (27, "True", Err(("bad-char", 1, 0))),
    (28, "7 8", Err(("trailing-data", 1, 2))),
    (29, "\"p\" \"q\"", Err(("trailing-data", 1, 4))),
    (30, "", Err(("empty-input", 1, 0))), // the reference differs
    (31, "  \n ", Err(("empty-input", 2, 3))),
    (32, "// only a note", Err(("empty-input", 1, 13))),
    (33, "\"plain text\"", Ok("\"plain text\"")),
    (34, "\"tab\there\"", Ok("\"tab\\there\"")),
    (35, "\"\\t\\n\\r\\b\\f\\\"\\\\\\/\"", Ok("\"\\t\\n\\r\\b\\f\\\"\\\\/\"")),
    (36, "\"\\u00e9\"", Ok("\"é\"")),
    (37, "\"\\u00e\"", Err(("bad-escape", 1, 2))),
    (38, "\"\\u12xy\"", Err(("bad-escape", 1, 2))), // the reference differs
    (39, "\"\\q\"", Err(("bad-escape", 1, 2))),
    (40, "\"\\x41\"", Err(("bad-escape", 1, 2))),
    (41, "\"line\nbreak\"", Err(("newline-in-string", 1, 0))),
    (42, "\"open", Err(("string-open", 1, 0))),
    (43, "\"open\\", Err(("cut-escape", 1, 0))),
    (44, "\"one\" + \"two\"", Ok("\"onetwo\"")),
    (45, "\"one\"\n  +  // why\n \"two\" /* x */ + \"three\"", Ok("\"onetwothree\"")),
    (46, "\"one\" + two", Err(("concat", 1, 7))),
    (47, "\"one\" +", Err(("concat", 1, 6))),
    (48, "\"one\" + \"\"\"two\"\"\"", Err(("trailing-data", 1, 10))),
    (49, "\"\"\"one\"\"\" + \"two\"", Err(("trailing-data", 1, 10))),
    (50, "\"\"\"first\nsecond \"quoted\" third\"\"\"", Ok("\"first\\nsecond \\\"quoted\\\" third\"")),
    (51, "\"\"\"a\\nb\"\"\"", Ok("\"a\\nb\"")),
    (52, "\"\"\"never closed", Err(("string-open", 1, 2))),
    (53, "\"\"\"\"x\"\"\"", Ok("\"\\\"x\"")),
    (54, "\"\"\"x\"\"\"\"", Err(("trailing-data", 1, 7))),
    (55, "'single'", Err(("bad-char", 1, 0))),
    (56, "`s", Err(("backtick", 1, 0))),
    (57, "// lead\n 5", Ok("5")),
    (58, "/* lead */ 5", Ok("5")),
    (59, "5 // tail", Ok("5")),
    (60, "5 /* tail", Err(("comment-open", 1, 2))),
    (61, "/ 5", Err(("bad-char", 1, 1))),
    (62, "# 5", Err(("bad-char", 1, 0))),
    (63, "/* a /* b */ 5", Ok("5")),
    (64, "/* open", Err(("comment-open", 1, 0))),
    (65, "[]", Ok("[]")),
    (66, "[4, 5, 6]", Ok("[4, 5, 6]")),
    (67, "[4, 5,]", Ok("[4, 5]")),
    (68, "[4,,5]", Err(("bad-char", 1, 2))),
    (69, "[,4]", Err(("bad-char", 1, 0))),
    (70, "[4 5]", Err(("array-comma", 1, 2))),
    (71, "[4\n5]", Ok("[4, 5]")),
    (72, "[4 // c\n5]", Ok("[4, 5]")),
    (73, "[4 /* c */\n5]", Ok("[4, 5]")),
    (74, "[4\n /* c */ 5]", Ok("[4, 5]")), // the reference differs
    (75, "[\"a\"\n\"b\"]", Ok("[\"a\", \"b\"]")),
    (76, "[4, 5", Err(("array-open", 1, 0))),
    (77, "[4,", Err(("eof-value", 1, 2))),
    (78, "[{}{}]", Err(("array-comma", 1, 2))),
    (79, "{}", Ok("{}")),
    (80, "{ k: 1 }", Ok("{\"k\": 1}")),
    (81, "{ \"k\": 1 }", Ok("{\"k\": 1}")),
    (82, "{ \"k k\": 1 }", Ok("{\"k k\": 1}")),
    (83, "{ _k9: 1 }", Ok("{\"_k9\": 1}")),
    (84, "{ 9k: 1 }", Err(("bad-key", 1, 1))),
    (85, "{ k-k: 1 }", Err(("key-needs-quotes", 1, 2))),
    (86, "{ k.k: 1 }", Err(("key-needs-quotes", 1, 2))),
    (87, "{ true: 1 }", Ok("{\"true\": 1}")),
    (88, "{ k: 1, m: 2, }", Ok("{\"k\": 1, \"m\": 2}")),
    (89, "{ k: 1 m: 2 }", Err(("object-comma", 1, 6))),
    (90, "{ k: 1\n m: 2 }", Ok("{\"k\": 1, \"m\": 2}")),
    (91, "{ k: {n: 1\n}\n m: 2 }", Ok("{\"k\": {\"n\": 1}, \"m\": 2}")),
    (92, "{ , k: 1 }", Err(("bad-key", 1, 1))),
    (93, "{ k: 1,, m: 2 }", Err(("bad-key", 1, 6))),
    (94, "{ k 1 }", Err(("no-colon", 1, 4))),
    (95, "{ k = 1 }", Err(("no-colon", 1, 4))),
    (96, "{ k /* c */ : 1 }", Ok("{\"k\": 1}")),
    (97, "{ k/* c */: 1 }", Err(("key-needs-quotes", 1, 2))),
    (98, "{ k: }", Err(("brace-not-value", 1, 4))),
    (99, "{ k: 1", Err(("object-open", 1, 0))),
    (100, "{ k", Err(("object-open", 1, 0))),
    (101, "{ \"k\"", Err(("object-open", 1, 0))), // the reference differs
    (102, "{ k: 1 ]", Err(("object-comma", 1, 6))),
    (103, "[ k: 1 ]", Err(("bad-char", 1, 1))),
    (104, "{ k: 1, k: 2 }", Ok("{\"k\": 2}")),
    (105, "{ k: null, m: [null] }", Ok("{\"m\": [null]}")),
    (106, "{ k: 1, k: null }", Ok("{}")),
    (107, "{ \"a\"+\"b\": 1 }", Err(("no-colon", 1, 5))),
    (108, "{ 'k': 1 }", Err(("bad-key", 1, 1))),
    (109, "{ k: 1 } }", Err(("trailing-data", 1, 9))),
    (110, "{ k: 1 },", Err(("trailing-data", 1, 8))),
    (111, "{ k: 1 }\n// bye\n", Ok("{\"k\": 1}")),
    (112, "{\n  a: 1\n  // b: {\n    c: 2\n  }\n  d: 3\n}\n", Err(("trailing-data", 6, 34))),
    (113, "{\n  list: [\n    // inner: [\n      1,\n      2\n    ]\n  ]\n}\n", Err(("bad-key", 7, 52))),
    (114, "\u{feff}{}", Ok("{}")), // the reference differs
    (115, "\u{a0}5", Err(("bad-char", 1, 0))),
    (116, "\u{c}5", Err(("bad-char", 1, 0))),
    (117, "{a:1\r\n b:2\r c:3}", Ok("{\"a\": 1, \"b\": 2, \"c\": 3}")),
];

/// Strict JSON of a value, spaced as the table is.
fn render(value: &Json) -> String {
    match value {
        Json::Null => "null".to_owned(),
        Json::Bool(b) => b.to_string(),
        Json::Int(i) => i.to_string(),
        Json::BigInt(digits) => digits.clone(),
        Json::Float(f) if f.is_infinite() => "∞".to_owned(),
        Json::Float(f) => format!("{f:?}"),
        Json::Text(text) => {
            let mut out = Vec::new();
            crate::util::escape::json_str(&mut out, text);
            String::from_utf8(out).unwrap()
        }
        Json::Array(elements) => {
            let elements: Vec<_> = elements.iter().map(|e| render(&e.value)).collect();
            format!("[{}]", elements.join(", "))
        }
        Json::Object(members) => {
            let members: Vec<_> = members
                .iter()
                .map(|m| {
                    let key = render(&Json::Text(m.key.clone()));
                    format!("{key}: {}", render(&m.value.value))
                })
                .collect();
            format!("{{{}}}", members.join(", "))
        }
    }
}

fn outcome(text: &str) -> Result<String, (String, u32, usize)> {
    match parse(text) {
        Ok(node) => Ok(render(&node.value)),
        Err(e) => Err((e.kind.name().to_owned(), e.line, e.position)),
    }
}

#[test]
fn every_row_of_the_accept_and_reject_table() {
    assert_eq!(TABLE.len(), 117);
    let mut wrong = Vec::new();
    for (number, text, expected) in TABLE {
        let expected = expected
            .map(str::to_owned)
            .map_err(|(kind, line, position)| (kind.to_owned(), line, position));
        let got = outcome(text);
        if got != expected {
            wrong.push(format!("{number} {text:?}: {got:?}, expected {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// More rows, measured on the reference (or its required correction).
#[test]
fn errors_on_later_lines_are_placed_as_the_reference_places_them() {
    #[rustfmt::skip]
    let rows: &[(&str, Bad)] = &[
        ("/", ("bad-char", 1, 0)),
        ("5 /", ("bad-char", 1, 2)),
        ("{ k: 1,\n, }", ("bad-key", 1, 7)),
        ("[4\n,\n,5]", ("bad-char", 2, 4)),
        ("{a:1,\n  b:}", ("brace-not-value", 2, 9)),
        ("[1,\n.5]", ("bad-char", 1, 3)),
        ("{\n a: \"x\n\"}", ("newline-in-string", 2, 6)),
        ("{\n\n k-k:1}", ("key-needs-quotes", 3, 4)),
        ("{\n\n \"k\" 1}", ("no-colon", 3, 8)),
        ("{\n k\n 1}", ("no-colon", 3, 6)),
        ("\n\n\"a\" +\n\n x", ("concat", 5, 9)),
        ("{ \"k\" ", ("object-open", 1, 0)),
        ("{ k:", ("eof-value", 1, 3)),
        ("[", ("eof-value", 1, 0)),
        ("{\n  a: [1, 2\n", ("array-open", 2, 7)),
        ("{a:1}\n\n}", ("trailing-data", 3, 7)),
        ("[\n1\n tru]", ("bad-word", 3, 5)),
        ("{a: \"\"\"x\ny\\q\"\"\"}", ("bad-escape", 2, 11)),
        ("\"\"\"a\nb\\", ("cut-escape", 1, 2)),
        ("\"é\" x", ("trailing-data", 1, 4)),
        ("[4\r\n\r\n 5 6]", ("array-comma", 3, 8)),
        ("{a:\"é\" \"b\"}", ("object-comma", 1, 6)),
        ("{\"a\nb\":1}", ("newline-in-string", 1, 1)),
        ("\r\na", ("bad-char", 2, 1)),
        ("\"x\\q", ("string-open", 1, 0)),
        ("-+7", ("bad-int", 1, 2)),
        ("-.", ("bad-float", 1, 1)),
        ("[\"\\ud83d\"]", ("bad-escape", 1, 3)),
        ("\"\\ude00\"", ("bad-escape", 1, 2)),
        ("\"\\ud83d\\u0041\"", ("bad-escape", 1, 2)),
        ("\"\\u+041\"", ("bad-escape", 1, 2)),
        ("\"\\u 041\"", ("bad-escape", 1, 2)),
        ("\"\\u0_41\"", ("bad-escape", 1, 2)),
    ];
    for (text, (kind, line, position)) in rows {
        let expected = Err(((*kind).to_owned(), *line, *position));
        assert_eq!(outcome(text), expected, "{text:?}");
    }
    assert_eq!(
        outcome(&"9".repeat(101)),
        Err(("num-too-long".to_owned(), 1, 99))
    );
    assert!(parse(&"9".repeat(100)).is_ok());
    assert!(parse(&format!("-{}", "9".repeat(100))).is_ok());
    assert_eq!(outcome(r#""\uD83D\uDE00""#), Ok("\"😀\"".to_owned()));
    // A comment between the line break and the next member hides nothing.
    assert_eq!(
        outcome("{a:1\n /* c */ // d\n /* e */ b:2}"),
        Ok("{\"a\": 1, \"b\": 2}".to_owned())
    );
    assert_eq!(
        outcome("{a:1,b:2,a:3}"),
        Ok("{\"a\": 3, \"b\": 2}".to_owned())
    );
}

#[test]
fn values_know_their_line_and_column() {
    let node = parse("{\r\n  // é\r\n  \"é\": [1, \"é\", true]\n}").unwrap();
    let Json::Object(members) = &node.value else {
        panic!()
    };
    assert_eq!(members[0].key_at, Pos { line: 3, column: 3 });
    let Json::Array(elements) = &members[0].value.value else {
        panic!()
    };
    let places: Vec<_> = elements.iter().map(|e| (e.at.line, e.at.column)).collect();
    assert_eq!(places, [(3, 9), (3, 12), (3, 17)]);

    let error = parse("{ a: 1\n  é: 2 }").unwrap_err();
    assert_eq!(error.at, Pos { line: 2, column: 3 });
    assert_eq!(error.found, Some('é'));
}

#[test]
fn deep_nesting_is_an_error_with_a_place_and_not_a_crash() {
    for (open, close) in [("[", "]"), ("{a:", "}")] {
        let leaf = if open == "[" { "" } else { "1" };
        let text = |n: usize| format!("{}{leaf}{}", open.repeat(n), close.repeat(n));
        assert!(parse(&text(MAX_DEPTH)).is_ok());
        let error = parse(&text(MAX_DEPTH + 1)).unwrap_err();
        assert_eq!(error.kind, Kind::TooDeep);
        assert_eq!(error.position, MAX_DEPTH * open.len());
        assert_eq!(
            parse(&open.repeat(1_000_000)).unwrap_err().kind,
            Kind::TooDeep
        );
    }
}

#[test]
fn no_text_makes_the_parser_panic() {
    // Every cut, and every replacement of one character, of a text with all constructs in it.
    let whole =
        "{ // c\n a: \"x\\u00e9\\ud83d\\ude00\" + \"y\" /* z */\n \"b\": [1, -2.5e3, true,], \
                 c: \"\"\"t\"\\\"\"\"\"\n d: {}, é: null }\r\n";
    let chars: Vec<char> = whole.chars().collect();
    for n in 0..chars.len() {
        let cut: String = chars[..n].iter().collect();
        let _ = parse(&cut);
        let _ = parse(&chars[n..].iter().collect::<String>());
        for other in "{}[]\"\\/*,:+-.e0at\n\r\té`\u{feff}\0".chars() {
            let mut changed = chars.clone();
            changed[n] = other;
            let _ = parse(&changed.iter().collect::<String>());
        }
    }
}

#[test]
fn a_long_text_takes_linear_time() {
    // One line, one object with many members: quadratic work in places or keys would take minutes.
    let members: String = (0..40_000).map(|n| format!("k{n}: \"é\", ")).collect();
    let text = format!("{{{members}}}");
    let start = std::time::Instant::now();
    assert!(parse(&text).is_ok());
    let text = format!("[{}", "1 /* */ ,".repeat(60_000));
    assert!(parse(&text).is_err());
    assert!(start.elapsed().as_secs() < 60);
}

#[test]
fn strict_json_means_what_it_always_meant() {
    // Any JSON text without nulls and duplicate keys, as serde_json writes it
    fn random(state: &mut u64) -> u64 {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        *state >> 33
    }
    fn value(state: &mut u64, depth: u32) -> serde_json::Value {
        use serde_json::Value;
        let text = |state: &mut u64| -> String {
            let len = random(state) % 8;
            let any = [
                'a',
                '"',
                '\\',
                '/',
                '\n',
                '\t',
                'é',
                '\u{1F600}',
                '\u{1}',
                '$',
                ' ',
            ];
            (0..len)
                .map(|_| any[random(state) as usize % any.len()])
                .collect()
        };
        match random(state) % if depth > 4 { 4 } else { 6 } {
            0 => Value::Bool(random(state) % 2 == 0),
            1 => Value::from(random(state) as i64 - (1 << 30)),
            2 => Value::from((random(state) as f64 - 1e9) / 1024.0),
            3 => Value::String(text(state)),
            4 => (0..random(state) % 5)
                .map(|_| value(state, depth + 1))
                .collect(),
            _ => Value::Object(
                (0..random(state) % 5)
                    .map(|_| (text(state), value(state, depth + 1)))
                    .collect(),
            ),
        }
    }
    fn same(ours: &Json, theirs: &serde_json::Value) -> bool {
        use serde_json::Value;
        match (ours, theirs) {
            (Json::Bool(a), Value::Bool(b)) => a == b,
            (Json::Int(a), Value::Number(b)) => b.as_i64() == Some(*a),
            (Json::Float(a), Value::Number(b)) => b.as_f64() == Some(*a),
            (Json::Text(a), Value::String(b)) => a == b,
            (Json::Array(a), Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(&a.value, b))
            }
            (Json::Object(a), Value::Object(b)) => {
                a.len() == b.len()
                    && a.iter()
                        .all(|m| b.get(&m.key).is_some_and(|v| same(&m.value.value, v)))
            }
            _ => false,
        }
    }
    let mut state = 20_261_123;
    for _ in 0..2_000 {
        let theirs = value(&mut state, 0);
        for text in [theirs.to_string(), format!(" // c\n{theirs}\r\n/* d */")] {
            let ours = parse(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert!(same(&ours.value, &theirs), "{text}");
        }
    }
}
