use super::*;

/// `Ok` as text, or the code.
fn outcome<T: std::fmt::Debug>(result: Result<T, Wrong>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(wrong) => wrong.code.to_owned(),
    }
}

fn literal(text: &str) -> Json {
    json::parse(text).unwrap().value
}

#[test]
fn values_of_files_convert_as_operators_expect() {
    // Literal, as bool, int, float, string
    #[rustfmt::skip]
    let table: &[(&str, &str, &str, &str, &str)] = &[
        ("true", "true", "notInt", "notFloat", "notString"),
        ("false", "false", "notInt", "notFloat", "notString"),
        ("1", "true", "1", "1.0", "\"1\""),
        ("1.0", "true", "1", "1.0", "\"1.0\""),
        ("0", "false", "0", "0.0", "\"0\""),
        ("0.0", "false", "0", "0.0", "\"0.0\""),
        ("1e-11", "false", "0", "1e-11", "\"1e-11\""),
        ("2", "notBoolean", "2", "2.0", "\"2\""),
        ("0.5", "notBoolean", "0", "0.5", "\"0.5\""),
        ("-1", "notBoolean", "-1", "-1.0", "\"-1\""),
        ("3.9", "notBoolean", "3", "3.9", "\"3.9\""),
        ("-3.9", "notBoolean", "-3", "-3.9", "\"-3.9\""),
        ("1e3", "notBoolean", "1000", "1000.0", "\"1000.0\""),
        ("1e20", "notBoolean", "notInt", "1e20", "\"1e+20\""),
        ("12345678901234567890", "notBoolean", "notInt", "1.2345678901234567e19", "\"12345678901234567890\""),
        ("\"9007199254740993\"", "notBoolean", "9007199254740993", "9007199254740992.0", "\"9007199254740993\""),
        ("1e400", "notBoolean", "notInt", "notFloat", "notString"),
        ("\"true\"", "true", "notInt", "notFloat", "\"true\""),
        ("\"Yes\"", "true", "notInt", "notFloat", "\"Yes\""),
        ("\"on\"", "true", "notInt", "notFloat", "\"on\""),
        ("\"1\"", "true", "1", "1.0", "\"1\""),
        ("\"0\"", "false", "0", "0.0", "\"0\""),
        ("\"no\"", "false", "notInt", "notFloat", "\"no\""),
        ("\"FALSE\"", "false", "notInt", "notFloat", "\"FALSE\""),
        ("\"f\"", "false", "notInt", "notFloat", "\"f\""),
        ("\"\"", "false", "notInt", "notFloat", "\"\""),
        ("\"3\"", "notBoolean", "3", "3.0", "\"3\""),
        ("\"3.9\"", "notBoolean", "3", "3.9", "\"3.9\""),
        ("\" 3 \"", "notBoolean", "3", "3.0", "\" 3 \""),
        ("\"3e0\"", "notBoolean", "3", "3.0", "\"3e0\""),
        ("\"0x3\"", "notBoolean", "notInt", "notFloat", "\"0x3\""),
        ("\"abc\"", "notBoolean", "notInt", "notFloat", "\"abc\""),
        ("\"nan\"", "notBoolean", "notInt", "notFloat", "\"nan\""),
        ("\"inf\"", "notBoolean", "notInt", "notFloat", "\"inf\""),
        ("\"1e999\"", "notBoolean", "notInt", "notFloat", "\"1e999\""),
        ("\"1_0\"", "notBoolean", "notInt", "notFloat", "\"1_0\""),
        ("[1]", "notBoolean", "notInt", "notFloat", "notString"),
        ("{a: 1}", "notBoolean", "notInt", "notFloat", "notString"),
    ];
    for (text_of, b, i, f, s) in table {
        let value = literal(text_of);
        assert_eq!(outcome(boolean(&value)), *b, "{text_of} as bool");
        assert_eq!(outcome(int(&value)), *i, "{text_of} as int");
        assert_eq!(outcome(float(&value)), *f, "{text_of} as float");
        assert_eq!(outcome(text(&value)), *s, "{text_of} as string");
    }
    assert_eq!(int(&literal("9223372036854775807")), Ok(i64::MAX));
    assert_eq!(outcome(int(&literal("9223372036854775808"))), "notInt");
    assert_eq!(outcome(int(&literal("9223372036854775808.0"))), "notInt");
    assert_eq!(int(&literal("-9223372036854775808.0")), Ok(i64::MIN));
}

#[test]
fn structured_values_of_files() {
    for (value, code) in [
        ("\"a,b\"", "notJsonArray"),
        ("{}", "notJsonArray"),
        ("[1]", "notStringOrUnicode"),
        ("[\"a\", null]", "notStringOrUnicode"),
    ] {
        assert_eq!(outcome(strings(&literal(value))), code, "{value}");
    }
    assert_eq!(strings(&literal("[]")), Ok(vec![]));
    for (value, code) in [
        ("[]", "notJsonObject"),
        ("1", "notJsonObject"),
        ("{a: true}", "notString"),
        ("{a: []}", "notString"),
        ("{a: {}}", "notString"),
        ("{a: 1e999}", "notString"),
    ] {
        assert_eq!(outcome(attributes(&literal(value))), code, "{value}");
    }
    // Numbers stay numbers, in a form that strict JSON allows.
    let values = attributes(&literal(
        "{a: \"x\", b: 007, c: 8., d: -.25, e: null, f: 1e20}",
    ));
    let mut out = Vec::new();
    super::super::attr::json_members(&mut out, &values.unwrap());
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#""a":"x","b":7,"c":8.0,"d":-0.25,"f":1e+20"#
    );
}

#[test]
fn texts_of_the_environment_convert_by_their_own_rules() {
    for (value, expected) in [
        ("true", true),
        ("TRUE", true),
        ("1", false),
        ("yes", false),
        ("t", false),
        (" true", false),
        ("", false),
        ("x", false),
    ] {
        assert_eq!(env_boolean(value), expected, "{value:?}");
    }
    for (value, expected) in [("3", 3), (" 3 ", 3), ("-3", -3), ("+3", 3), ("1_000", 1000)] {
        assert_eq!(env_int(value), Ok(expected), "{value:?}");
    }
    for value in [
        "3.0",
        "0x3",
        "",
        " ",
        "_1",
        "1_",
        "1__0",
        "-",
        "99999999999999999999",
    ] {
        assert_eq!(outcome(env_int(value)), "notNumber", "{value:?}");
    }
    for (value, expected) in [("3", 3.0), (" 2.5 ", 2.5), ("1e3", 1000.0), ("-.5", -0.5)] {
        assert_eq!(env_float(value), Ok(expected), "{value:?}");
    }
    for value in ["nan", "inf", "-Infinity", "", "1e999", "x"] {
        assert_eq!(outcome(env_float(value)), "notNumber", "{value:?}");
    }
    assert_eq!(env_attributes(""), Ok(vec![]));
    assert_eq!(
        env_attributes("{a: 1}"),
        Ok(vec![("a".to_owned(), AttrValue::Number("1".to_owned()))])
    );
    for value in ["[]", "3", "{a", "x"] {
        assert_eq!(outcome(env_attributes(value)), "notJsonObject", "{value:?}");
    }
}

#[test]
fn lists_of_the_environment() {
    // Text, as a list divided by blanks and commas, as one divided by commas only
    #[rustfmt::skip]
    let table: &[(&str, &[&str], &[&str])] = &[
        ("", &[], &[]),
        ("a,b", &["a", "b"], &["a", "b"]),
        ("a, b", &["a", "b"], &["a", "b"]),
        ("a b", &["a", "b"], &["a b"]),
        ("[a,b]", &["a", "b"], &["a", "b"]),
        ("[\"a\",\"b\"]", &["a", "b"], &["a", "b"]),
        ("['a', 'b']", &["a", "b"], &["a", "b"]),
        ("[]", &[], &[]),
        ("[ ]", &[], &[]),
        ("\"a,b\"", &["a,b"], &["a,b"]),
        ("'a b' c", &["a b", "c"], &["'a b' c"]),
        ("'a b','c'", &["a b", "c"], &["a b", "c"]),
        ("'ab", &["'ab"], &["'ab"]),
        ("\"ab", &["\"ab"], &["\"ab"]),
        ("a+b", &["a+b"], &["a+b"]),
        ("   ", &[], &[]),
        (" a ,, b, ", &["a", "b"], &["a", "b"]),
        ("''", &[], &[]),
        ("é, \"ü\"", &["é", "ü"], &["é", "ü"]),
        ("'a'b", &["'a'b"], &["'a'b"]),
    ];
    for (value, both, commas) in table {
        assert_eq!(env_strings(value, false), *both, "{value:?}");
        assert_eq!(env_strings(value, true), *commas, "{value:?} at commas");
    }
}

#[test]
fn floats_have_the_text_that_the_reference_gives_them() {
    for (number, shown) in [
        (1000.0, "1000.0"),
        (1e15, "1000000000000000.0"),
        (1e16, "1e+16"),
        (1e20, "1e+20"),
        (1.5e300, "1.5e+300"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (-2.5e-7, "-2.5e-07"),
        (0.0, "0.0"),
        (-0.0, "-0.0"),
    ] {
        assert_eq!(float_text(number), shown);
    }
}
