//! Shell patterns as `ignore_mounts` has them: `*` matches `/` as well.

/// Whether all of `text` matches: `*` is any text, `?` any byte, `[a-z]` and `[!a-z]` one byte of a
/// set. A `[` without its `]` is itself. Takes time in proportion to the product of both lengths.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on if what follows the last `*` does not match here.
    let mut again: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(p) {
            None if t == text.len() => return true,
            Some(b'*') => {
                p += 1;
                again = Some((p, t));
                continue;
            }
            Some(&c) => text.get(t).and_then(|&b| one(&pattern[p..], c, b)),
            None => None,
        };
        match (step, again) {
            (Some(length), _) => {
                p += length;
                t += 1;
            }
            (None, Some((star, from))) if from < text.len() => {
                p = star;
                t = from + 1;
                again = Some((p, t));
            }
            (None, _) => return false,
        }
    }
}

/// How long the element at the beginning of `pattern` is, if `byte` matches it.
fn one(pattern: &[u8], first: u8, byte: u8) -> Option<usize> {
    match first {
        b'?' => Some(1),
        b'[' => match set(pattern, byte) {
            Some((length, hit)) => hit.then_some(length),
            None => (byte == b'[').then_some(1),
        },
        _ => (first == byte).then_some(1),
    }
}

/// The length of the set at the beginning of `pattern`, and whether `byte` is in it.
fn set(pattern: &[u8], byte: u8) -> Option<(usize, bool)> {
    let negated = pattern.get(1) == Some(&b'!');
    let from = if negated { 2 } else { 1 };
    // A `]` that comes first is an element.
    let end = from + 1 + pattern.get(from + 1..)?.iter().position(|&b| b == b']')?;
    let items = &pattern[from..end];
    let mut hit = false;
    let mut at = 0;
    while at < items.len() {
        if at + 2 < items.len() && items[at + 1] == b'-' {
            hit |= (items[at]..=items[at + 2]).contains(&byte);
            at += 3;
        } else {
            hit |= items[at] == byte;
            at += 1;
        }
    }
    Some((end + 1, hit != negated))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_the_shell_has_them_but_for_the_slash() {
        for (pattern, text, yes) in [
            ("/sys/*", "/sys/fs/cgroup", true),
            ("/sys/*", "/sys", false),
            ("/dev*", "/dev", true),
            ("/dev*", "/devices/x", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-c-", false),
            ("/mnt/?", "/mnt/a", true),
            ("/mnt/?", "/mnt/", false),
            ("/mnt/[a-c]1", "/mnt/b1", true),
            ("/mnt/[!a-c]1", "/mnt/b1", false),
            ("/mnt/[!a-c]1", "/mnt/x1", true),
            ("/mnt/[]x]", "/mnt/]", true),
            ("/mnt/[a-]", "/mnt/-", true),
            ("/mnt/[", "/mnt/[", true),
            ("/mnt/[ab", "/mnt/[ab", true),
            ("[z-a]", "m", false),
        ] {
            assert_eq!(matches(pattern, text), yes, "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_full_of_stars_takes_no_exponential_time() {
        let pattern = "*a".repeat(200) + "b";
        assert!(!matches(&pattern, &"a".repeat(5000)));
    }
}
