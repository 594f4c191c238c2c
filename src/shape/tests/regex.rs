//! Expressions and replacements, held against what Python's `re` gives.

use crate::shape::redact::{self, Buffers, Outcome, Redaction};
use crate::shape::template::Template;
use crate::shape::Renamer;
use common::regex::Regex;
use std::time::{Duration, Instant};

fn found(pattern: &str, text: &str) -> Option<(usize, usize)> {
    let regex = Regex::new(pattern).unwrap_or_else(|e| panic!("{pattern}: {e:?}"));
    let mut searcher = regex.searcher();
    let mut budget = 1_000_000;
    let found = regex
        .find(&mut searcher, text, 0, None, &mut budget)
        .unwrap();
    let is = regex.is_match(&mut searcher, text, &mut budget).unwrap();
    assert_eq!(is, found.is_some(), "{pattern} on {text:?}");
    found
}

#[test]
fn searches_find_what_python_finds() {
    // `re.search(pattern, text).span()` in bytes
    for (pattern, text, span) in [
        ("b", "abc", Some((1, 2))),
        ("", "abc", Some((0, 0))),
        ("a$", "a\n", Some((0, 1))),
        ("a$", "a\nb", None),
        ("a$", "a\na\n", Some((2, 3))),
        ("(?m)a$", "a\nb", Some((0, 1))),
        (r"a\Z", "a\n", None),
        (r"a\Z", "a", Some((0, 1))),
        (r"\s+$", "a \n", Some((1, 3))),
        ("^b", "a\nb", None),
        ("(?m)^b", "a\nb", Some((2, 3))),
        ("a.b", "a\nb", None),
        ("(?s)a.b", "a\nb", Some((0, 3))),
        (r"(?P<x>a)(?P=x)", "baa", Some((1, 3))),
        (r"(a|b)\1", "abba", Some((1, 3))),
        (r"(?i)(a)\1", "aA", Some((0, 2))),
        ("(?i)É", "é", Some((0, 2))),
        ("(?i:a)b", "Ab", Some((0, 2))),
        ("(?i:a)b", "AB", None),
        ("a(?i)b", "AB", Some((0, 2))),
        ("a{,2}b", "aaab", Some((1, 4))),
        ("a{2,}", "aaa", Some((0, 3))),
        ("a{}", "a{}", Some((0, 3))),
        ("a{x}", "a{x}", Some((0, 4))),
        ("{", "{", Some((0, 1))),
        ("a(?#comment)b", "ab", Some((0, 2))),
        ("(?x) a b # c\n c", "abc", Some((0, 3))),
        (r"\d+", "x\u{663}\u{664}", Some((1, 5))),
        (r"(?a)\d+", "\u{663}4", Some((2, 3))),
        (r"\s", "\u{1c}", Some((0, 1))),
        (r"\s", "\u{a0}", Some((0, 2))),
        (r"\w+", "é_1-", Some((0, 4))),
        (r"[\w.]+@\S+", "mail: a.b@c d", Some((6, 11))),
        (r"[^\W\d]+", "12ab", Some((2, 4))),
        (r"[]a]+", "x]a", Some((1, 3))),
        (r"[^]a]+", "]ax", Some((2, 3))),
        (r"[a\-z]+", "b-z", Some((1, 3))),
        (r"[a-]+", "-a", Some((0, 2))),
        (r"[\b]", "\u{8}", Some((0, 1))),
        (r"[[a]+", "[a", Some((0, 2))),
        (r"[a&&b]+", "&&", Some((0, 2))),
        (r"[+--b]+", "a,-b", Some((1, 4))),
        (r"\x41\u0042\103\0", "ABC\0", Some((0, 4))),
        (r"\.\/\-\ ", "./- ", Some((0, 4))),
        (r"(?<=pw=)\S+", "pw=x y", Some((3, 4))),
        (r"(?<=pw=)(?<==)\S+", "pw=x y", Some((3, 4))),
        (r"(?<!a)b", "abb", Some((2, 3))),
        (r"\b(?<=x)y|z", "xyz", Some((2, 3))),
        (r"(?:(?<=x)y|w)+", "wxyw", Some((0, 1))),
        (r"a(?=b)", "aab", Some((1, 2))),
        (r"a(?!b)", "aba", Some((2, 3))),
        (r"(?=.*b)a", "xab", Some((1, 2))),
        (r"(?=(a+))\1b", "aaab", Some((0, 4))),
        (r"(?>a+)ab", "aaab", None),
        (r"a++b", "aab", Some((0, 3))),
        (r"a*+a", "aaa", None),
        (r"(?:ab)?+ab", "ab", None),
        (r"(<)?a(?(1)>|$)", "<a>", Some((0, 3))),
        (r"(<)?a(?(1)>|$)", "a", Some((0, 1))),
        (r"(<)?a(?(1)>|$)", "a>", None),
        (r"(?:(a)|b)*\1", "abaa", Some((0, 4))),
        (r"(?:a|(?=b)){2}b", "ab", Some((0, 2))),
        (r"(?:a??){3}$", "aa", Some((0, 2))),
        (r"(?:x+x+)+y$", "xxxy\n", Some((0, 4))),
        (r"(\w{2,3}?)-\1", "abc-abc", Some((0, 7))),
        (r"(?:(?:a){2}){2}(?=c)", "aaaac", Some((0, 4))),
        (r"\Bb", "ab b", Some((1, 2))),
        (r"é(?=ü)", "éeéü", Some((3, 5))),
        (r"(?<=é)ü", "eüéü", Some((5, 7))),
        (r"(?<!é)ü(?!x)", "éüeü", Some((5, 7))),
        (r"(?s).(?!.)", "ab\n", Some((2, 3))),
        (r"(a*)*$", "aab", Some((3, 3))),
        (r"\w{3,}(?<!foo)", "foo barx", Some((4, 8))),
        (r"(?<=a|bc)d", "bcd", Some((2, 3))),
    ] {
        assert_eq!(found(pattern, text), span, "{pattern} on {text:?}");
    }
}

#[test]
fn a_slip_in_a_pattern_is_shown_with_its_place() {
    for (pattern, position, reason) in [
        ("a(b", 1, "missing ), unterminated subpattern"),
        ("ab)", 2, "unbalanced parenthesis"),
        ("*a", 0, "nothing to repeat"),
        ("a**", 2, "multiple repeat"),
        ("^*", 1, "nothing to repeat"),
        ("a{3,2}", 1, "min repeat greater than max repeat"),
        ("[a", 0, "unterminated character set"),
        ("[b-a]", 1, "bad character range"),
        (r"[\w-z]", 1, "bad character range"),
        (r"é\q", 1, "bad escape \\q"),
        (r"a\p{L}", 1, "bad escape \\p"),
        ("a\\", 1, "bad escape (end of pattern)"),
        (r"(a)\2", 3, "there is no group 2"),
        (r"(a\1)", 2, "cannot refer to an open group"),
        ("(?P<a>x)(?P<a>y)", 8, "group 'a' is defined twice"),
        ("(?P=b)", 0, "unknown group name 'b'"),
        ("(?P<1>b)", 4, "bad group name '1'"),
        (
            "(?<=a+)b",
            0,
            "a look-behind must have a bounded width, of at most 1000 characters",
        ),
        ("(?z)", 0, "unknown flag 'z'"),
        ("(?(2)a)", 0, "there is no group 2"),
        (r"\x4", 0, "incomplete escape"),
    ] {
        let mistake = Regex::new(pattern).unwrap_err();
        assert_eq!(
            (mistake.position, &*mistake.reason),
            (position, reason),
            "{pattern}"
        );
    }
    let deep = "(".repeat(100_000);
    assert!(Regex::new(&deep).is_err());
    assert!(Regex::new(&"a".repeat(40_000)).is_err());
}

fn redacted(pattern: &str, replacement: &str, salt: &str, text: &str) -> Result<String, String> {
    let regex = Regex::new(pattern).unwrap();
    let template = Template::new(replacement, salt, &regex).map_err(|mistake| mistake.reason)?;
    let mut searchers = [regex.searcher()];
    let rules = [Redaction { regex, template }];
    let mut buffers = Buffers::default();
    let mut budget = 1_000_000;
    let outcome = redact::apply(
        &rules,
        &mut searchers,
        &mut buffers,
        text,
        text.len(),
        &mut budget,
    );
    Ok(match outcome.unwrap() {
        Outcome::Changed(_) => buffers.done,
        _ => text.to_owned(),
    })
}

#[test]
fn replacements_are_pythons() {
    for (pattern, replacement, text, result) in [
        ("a", "b", "aa", "bb"),
        ("", "-", "ab", "-a-b-"),
        ("x*", "-", "abxd", "-a-b--d-"),
        (r"(\w+) (\w+)", r"\2 \1", "ab cd", "cd ab"),
        (r"(?P<k>\w+)=(\w+)", r"\g<k>=\g<2>!", "a=b", "a=b!"),
        ("a", r"\n\t\\\0$1", "a", "\n\t\\\0$1"),
        ("a", r"\.", "a", r"\."),
        ("(a)|b", r"<\1>", "ab", "<a><>"),
        ("a", r"[\g<0>]", "a", "[a]"),
        ("a", r"\101", "a", "A"),
        ("^.*$", "x", "abc\n", "x\n"),
        ("b$", "x", "b\n", "x\n"),
        (r"(?<=pw=)\w+", "***", "pw=abc pw=d", "pw=*** pw=***"),
        (r"(\d)\1", "#", "112233", "###"),
    ] {
        assert_eq!(
            redacted(pattern, replacement, "", text).as_deref(),
            Ok(result),
            "{pattern}"
        );
    }
    for (replacement, reason) in [
        (r"\2", "there is no group 2"),
        (r"\g<x>", "unknown group name 'x'"),
        (r"\g1", "\\g needs a group in < and >"),
        (r"\q", "bad escape \\q"),
        ("\\", "bad escape (end of template)"),
        (r"\400", "octal escape outside of range 0-0o377"),
    ] {
        assert_eq!(
            redacted("(a)", replacement, "", "a"),
            Err(reason.to_owned()),
            "{replacement}"
        );
    }
}

#[test]
fn hashes_are_the_references() {
    // The digests were made with Python's `hashlib`
    for (pattern, replacement, salt, text, result) in [
        (
            r"pw=(\S+)",
            r"pw=\H1",
            "s",
            "pw=secret",
            "pw=7de38f3c3d3baa7ca58a366f09577586",
        ),
        (
            r"pw=(\w+)",
            r"pw=\H1",
            "salt",
            "pw=abc",
            "pw=1e21f6da01c5047e4bf45b0496bd6937",
        ),
        (
            r"secret(.*?)=([a-z]+\s?)",
            r"secret\2=\H1",
            "",
            "secretoption=czerwin ,",
            "secretczerwin =ef3e30e070f70244fd6578d88a6b77ac,",
        ),
        (
            r"(\d+)",
            r"\H1 \H1",
            "",
            "12",
            r"c20ad4d76fe97759aa27a0c99bff6710 \H1",
        ),
        (
            "(x)(y)",
            r"\2\H1\1",
            "",
            "xy",
            r"y9dd4e461268c8034f5c8564e155c67a6\1",
        ),
        (
            "(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)",
            r"\H10-\H1",
            "",
            "abcdefghij",
            r"0cc175b9c0f1b6a831c399e2697726610-\H1",
        ),
        ("x", r"\H", "", "axb", r"a\Hb"),
        ("(a)|(b)", r"\H1\2", "", "b", "b"),
    ] {
        assert_eq!(
            redacted(pattern, replacement, salt, text).as_deref(),
            Ok(result),
            "{pattern} {replacement}"
        );
    }
}

#[test]
fn no_pattern_holds_the_agent_for_long() {
    let many_a = "a".repeat(50_000) + "!";
    let many_x = "x".repeat(200);
    for (pattern, text) in [
        ("(a+)+$", &many_a),
        ("(a|a)*$", &many_a),
        (r"(a*)*\b(?!)", &many_a),
        (r"(a+)+(?=b)", &many_a),
        (r"(?:(a+)+)\1b", &many_a),
        (r"(x+x+)+(?<!x)y", &many_x),
        (r"((a{1,100}){1,100}){1,100}(?!a)b", &many_a),
        ("(?:a?){500}(?=a{500}b)", &many_a),
        (r"(.*)(.*)(.*)(.*)(.*)\1[^a!]", &many_a),
        ("(?=(?=(?=(?:a*)*b)))", &many_a),
        (r"(?<=a{0,900})b(?=c)", &many_a),
        (r"(((((a*)*)*)*)*)*(?!)", &many_a),
    ] {
        let regex = Regex::new(pattern).unwrap();
        let mut searcher = regex.searcher();
        let started = Instant::now();
        let mut budget = 1_000_000 + text.len() as u64 * 16;
        // Either way, as long as it ends
        let _ = regex.find(&mut searcher, text, 0, None, &mut budget);
        assert!(started.elapsed() < Duration::from_secs(60), "{pattern}");
    }
}

#[test]
fn files_are_renamed_as_the_reference_does() {
    let renamed =
        |pattern, replacement, path| Renamer::new(pattern, replacement).unwrap().apply(path);
    assert_eq!(
        renamed(r"/var/(\w+)/", r"/\1/", "/var/log/a.log").as_deref(),
        Some("/log/a.log")
    );
    assert_eq!(renamed("a", "b", "/a/a").as_deref(), Some("/b/b"));
    assert_eq!(renamed("x", "b", "/a"), None);
    assert_eq!(renamed(".*", "", "/a"), None);
    let error = Renamer::new("(", "").unwrap_err();
    assert_eq!(
        format!("{}: {error}", error.rule),
        "rename_logfile.match: missing ), unterminated subpattern at character 1 of `(`"
    );
    assert!(Renamer::new("a", r"\1").is_err());
}
