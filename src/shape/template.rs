//! Replacement texts of redaction rules and `rename_logfile`.

use super::md5::Md5;
use common::regex::Mistake;
use common::regex::{Groups, Regex};

/// A replacement, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Template {
    parts: Vec<Part>,
    salt: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Group(usize),
    /// The group's digest.
    Hash(usize),
}

impl Template {
    /// Reads a replacement for matches of `regex`.
    pub(super) fn new(text: &str, salt: &str, regex: &Regex) -> Result<Template, Mistake> {
        let parts = match text.contains("\\H") {
            true => hashing(text, regex.groups),
            false => return Template::plain(text, regex),
        };
        Ok(Template {
            parts,
            salt: salt.to_owned(),
        })
    }

    /// Reads a replacement that knows no hashes.
    pub(super) fn plain(text: &str, regex: &Regex) -> Result<Template, Mistake> {
        Ok(Template {
            parts: plain(text, regex)?,
            salt: String::new(),
        })
    }

    /// Whether a match's groups are needed.
    pub(super) fn needs_groups(&self) -> bool {
        let text = |part: &Part| matches!(part, Part::Text(_));
        !self.parts.iter().all(text)
    }

    /// Appends what stands in place of a match in `text`; groups without a part in it are empty.
    pub(super) fn expand(&self, text: &str, groups: &Groups, out: &mut String) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Group(group) => {
                    if let Some((from, to)) = groups.get(*group) {
                        out.push_str(&text[from..to]);
                    }
                }
                Part::Hash(group) => {
                    if let Some((from, to)) = groups.get(*group) {
                        let mut md5 = Md5::new();
                        md5.update(&text.as_bytes()[from..to]);
                        md5.update(self.salt.as_bytes());
                        md5.hex(out);
                    }
                }
            }
        }
    }
}

/// Each group in turn takes the first `\Hk`, else the first `\k`, and nothing else is an escape.
fn hashing(text: &str, groups: usize) -> Vec<Part> {
    let mut parts = vec![Part::Text(text.to_owned())];
    for group in 1..=groups {
        let hash = (format!("\\H{group}"), Part::Hash(group));
        let plain = (format!("\\{group}"), Part::Group(group));
        for (mark, part) in [hash, plain] {
            let found = parts.iter().enumerate().find_map(|(i, part)| match part {
                Part::Text(text) => text.find(&mark).map(|at| (i, at)),
                _ => None,
            });
            let Some((i, at)) = found else { continue };
            let Part::Text(text) = &parts[i] else {
                continue;
            };
            let before = Part::Text(text[..at].to_owned());
            let after = Part::Text(text[at + mark.len()..].to_owned());
            parts.splice(i..=i, [before, part, after]);
            break;
        }
    }
    parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
    parts
}

/// Python's replacement language.
fn plain(template: &str, regex: &Regex) -> Result<Vec<Part>, Mistake> {
    let text: Vec<char> = template.chars().collect();
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut at = 0;
    let wrong = |position: usize, reason: String| Mistake { position, reason };
    let octal = |at: usize| text.get(at).and_then(|c| c.to_digit(8));
    while let Some(&c) = text.get(at) {
        let from = at;
        at += 1;
        if c != '\\' {
            literal.push(c);
            continue;
        }
        let Some(&c) = text.get(at) else {
            return Err(wrong(from, "bad escape (end of template)".to_owned()));
        };
        at += 1;
        let group = match c {
            'g' => {
                let end = text[at..].iter().position(|c| *c == '>');
                let (Some('<'), Some(end)) = (text.get(at), end) else {
                    return Err(wrong(from, "\\g needs a group in < and >".to_owned()));
                };
                let name: String = text[at + 1..at + end].iter().collect();
                at += end + 1;
                let named = regex.names.iter().find(|(known, _)| *known == name);
                match (named, name.parse::<usize>()) {
                    (Some((_, number)), _) => *number,
                    (None, Ok(number)) => number,
                    (None, Err(_)) => {
                        return Err(wrong(from, format!("unknown group name '{name}'")));
                    }
                }
            }
            '0' => {
                let mut code = 0;
                for _ in 0..2 {
                    let Some(digit) = octal(at) else { break };
                    code = code * 8 + digit;
                    at += 1;
                }
                literal.push(char::from(code as u8));
                continue;
            }
            '1'..='9' => {
                let mut number = c.to_digit(10).unwrap_or(0);
                if let Some(second) = text.get(at).and_then(|c| c.to_digit(10)) {
                    if let (0..=7, 0..=7, Some(third)) = (number, second, octal(at + 1)) {
                        let code = number * 64 + second * 8 + third;
                        if code > 0o377 {
                            let reason = "octal escape outside of range 0-0o377".to_owned();
                            return Err(wrong(from, reason));
                        }
                        literal.push(char::from(code as u8));
                        at += 2;
                        continue;
                    }
                    number = number * 10 + second;
                    at += 1;
                }
                number as usize
            }
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => {
                literal.push(match c {
                    'a' => '\x07',
                    'b' => '\x08',
                    'f' => '\x0c',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'v' => '\x0b',
                    c => c,
                });
                continue;
            }
            c if c.is_ascii_alphabetic() => {
                return Err(wrong(from, format!("bad escape \\{c}")));
            }
            c => {
                literal.extend(['\\', c]);
                continue;
            }
        };
        if group > regex.groups {
            return Err(wrong(from, format!("there is no group {group}")));
        }
        if !literal.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut literal)));
        }
        parts.push(Part::Group(group));
    }
    if !literal.is_empty() {
        parts.push(Part::Text(literal));
    }
    Ok(parts)
}
