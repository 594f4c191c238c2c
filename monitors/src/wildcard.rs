//! Shell patterns as Python's `fnmatch` reads them: `*` any text (slashes and line breaks too),
//! `?` any character, `[a-z]` and `[!a-z]` one of a set. Upper and lower case differ.

/// Whether all of `text` matches. Time is bounded by the product of the lengths.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (mut p, mut t) = (pattern, text);
    // Where to go on after a mismatch: behind the last star, with one more character given to it.
    let mut star: Option<(&str, &str)> = None;
    loop {
        if let Some(rest) = p.strip_prefix('*') {
            p = rest;
            star = Some((p, t));
            continue;
        }
        if p.is_empty() && t.is_empty() {
            return true;
        }
        if let Some((rest_p, rest_t)) = one(p, t) {
            (p, t) = (rest_p, rest_t);
            continue;
        }
        let Some((behind, from)) = star else {
            return false;
        };
        let mut left = from.chars();
        if left.next().is_none() {
            return false;
        }
        (p, t) = (behind, left.as_str());
        star = Some((behind, t));
    }
}

/// Matches one element of the pattern, no star, with one character; what is left of both.
fn one<'a>(pattern: &'a str, text: &'a str) -> Option<(&'a str, &'a str)> {
    let mut p = pattern.chars();
    let mut t = text.chars();
    let (element, c) = (p.next()?, t.next()?);
    let matched = match element {
        '?' => true,
        '[' => match set(p.as_str()) {
            Some((inside, rest)) => {
                p = rest.chars();
                is_in(inside, c)
            }
            // Without its end it is a bracket like any other character.
            None => c == '[',
        },
        element => element == c,
    };
    matched.then_some((p.as_str(), t.as_str()))
}

/// Splits behind the bracket that ends a set; one that comes first is a member of it.
fn set(text: &str) -> Option<(&str, &str)> {
    let members = text.strip_prefix('!').unwrap_or(text);
    let head = text.len() - members.len() + usize::from(members.starts_with(']'));
    let end = head + text.get(head..)?.find(']')?;
    Some((&text[..end], &text[end + 1..]))
}

fn is_in(set: &str, c: char) -> bool {
    let (members, inverted) = match set.strip_prefix('!') {
        Some(members) => (members, true),
        None => (set, false),
    };
    let mut rest = members.chars();
    let mut found = false;
    while let Some(from) = rest.next() {
        let mut ahead = rest.clone();
        match (ahead.next(), ahead.next()) {
            (Some('-'), Some(to)) => {
                rest = ahead;
                found |= (from..=to).contains(&c);
            }
            _ => found |= from == c,
        }
    }
    found != inverted
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_those_of_python_do() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "a/b\nc", true),
            ("a*b*c", "a--b--b-c", true),
            ("a*b*c", "a--b--b-", false),
            ("ssh*.service", "sshd@3.service", true),
            ("ssh*.service", "SSHD.service", false),
            ("?", "é", true),
            ("?", "", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[!a-c]x", "dx", true),
            ("[]x]", "]", true),
            ("[!]]", "]", false),
            ("[!]]", "x", true),
            ("[a-]", "-", true),
            ("[x", "[x", true),
            ("a[", "a[", true),
            ("[z-a]", "m", false),
            ("a\\*", "a\\b", true),
            ("/sys/*", "/sys/fs/cgroup", true),
            ("**/x", "a/b/x", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let pattern = "a*".repeat(100) + "b";
        assert!(!matches(&pattern, &"a".repeat(5000)));
    }
}
