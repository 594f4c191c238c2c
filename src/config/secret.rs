//! Texts that must not reach a log.

use std::fmt;

/// The text that is shown in place of a secret.
pub const MASK: &str = "********** MASKED **********";

/// An API key. Printing it in any way prints [`MASK`].
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself, to be sent and to be compared, never to be logged.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Secret {
    /// A key without the blanks and line ends around it, which come with a secret's file.
    ///
    /// # Errors
    /// A phrase, without the key: there is a character in it that no key has.
    pub fn trimmed(&self) -> Result<Secret, String> {
        // A byte order mark comes with files of Windows
        let around = |c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}';
        let key = self.0.trim_matches(around);
        match key.find(|c: char| !c.is_ascii_graphic()) {
            None => Ok(Secret::new(key)),
            Some(at) => Err(format!(
                "the key has a character at place {} that no key has (a blank, a line end, or one \
                 that is not ASCII)",
                1 + key[..at].chars().count()
            )),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// A text of which nothing may be shown.
pub fn mask_all(text: &str) -> String {
    if text.is_empty() { "" } else { MASK }.to_owned()
}

/// An address without its user and password.
pub fn mask_url(text: &str) -> String {
    mask_userinfo(text, text.find("://").map_or(0, |scheme| scheme + 3))
}

fn mask_userinfo(text: &str, from: usize) -> String {
    match text[from..].rfind('@') {
        // A password may hold a slash that should have been escaped: the last @ counts.
        Some(at) => format!("{}{MASK}{}", &text[..from], &text[from + at..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_printed() {
        let key = Secret::new("sesame");
        for text in [
            format!("{key}"),
            format!("{key:?}"),
            format!("{:?}", Some(&key)),
        ] {
            assert!(!text.contains("sesame"), "{text}");
        }
        for (text, shown) in [
            (
                "http://u:p@proxy:3128/",
                "http://********** MASKED **********@proxy:3128/",
            ),
            (
                "http://u:p/q@proxy:3128",
                "http://********** MASKED **********@proxy:3128",
            ),
            ("u:p@proxy:3128", "********** MASKED **********@proxy:3128"),
            ("http://proxy:3128", "http://proxy:3128"),
            ("proxy:3128", "proxy:3128"),
            ("", ""),
        ] {
            assert_eq!(mask_url(text), shown);
        }
        assert_eq!(mask_all("a:b"), MASK);
    }
}
