//! `rename_logfile`: the name that a file is reported under.

/// A validated `rename_logfile`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rename {
    /// A template of literal text, `$NAME` and `${NAME}`.
    Template(Template),
    /// `match` replaced by `replacement` in the full path; the rooms above compile it.
    Regex {
        /// The regular expression.
        pattern: String,
        /// The text in place of each match.
        replacement: String,
    },
}

impl Rename {
    /// The name to report for a file, or `None` where the path itself stays: the path has fewer
    /// components than the template asks for, the result is empty, or it is the other form.
    pub fn apply(&self, path: &str) -> Option<String> {
        match self {
            Rename::Template(template) => template.apply(path),
            Rename::Regex { .. } => None,
        }
    }
}

/// A template, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// A component of the path, the first one below the root being 1.
    Component(usize),
    Basename,
    BasenameNoExt,
}

impl Template {
    /// Takes a template apart. The error is a phrase.
    pub fn new(text: &str) -> Result<Template, String> {
        const NAMES: &str = "allowed are $PATH1, $PATH2, ..., $BASENAME, $BASENAME_NO_EXT and $$";
        let mut parts = Vec::new();
        let mut pieces = text.split('$');
        let mut literal = pieces.next().unwrap_or("").to_owned();
        while let Some(piece) = pieces.next() {
            let (name, rest) = if let Some(braced) = piece.strip_prefix('{') {
                match braced.split_once('}') {
                    Some(pair) => pair,
                    None => return Err(format!("a }} is missing after ${{; {NAMES}")),
                }
            } else {
                let end = piece
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .unwrap_or(piece.len());
                piece.split_at(end)
            };
            if piece.is_empty() {
                // The second of two dollars, or a lone one at the end.
                let Some(after) = pieces.next() else {
                    return Err(format!("it ends in a single $; {NAMES}"));
                };
                literal.push('$');
                literal.push_str(after);
                continue;
            }
            let part = match name {
                "BASENAME" => Part::Basename,
                "BASENAME_NO_EXT" => Part::BasenameNoExt,
                _ => match name.strip_prefix("PATH").and_then(component) {
                    Some(number) => Part::Component(number),
                    None => return Err(format!("${name} is not known; {NAMES}")),
                },
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(part);
            literal.push_str(rest);
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Template(parts))
    }

    fn apply(&self, path: &str) -> Option<String> {
        let components: Vec<&str> = path.split('/').filter(|c| !c.is_empty()).collect();
        let basename = components.last().copied().unwrap_or("");
        let mut out = String::new();
        for part in &self.0 {
            out.push_str(match part {
                Part::Literal(text) => text,
                Part::Component(number) => components.get(number - 1)?,
                Part::Basename => basename,
                Part::BasenameNoExt => without_extension(basename),
            });
        }
        Some(out).filter(|name| !name.is_empty())
    }
}

/// `1` and up, written as people write numbers.
fn component(digits: &str) -> Option<usize> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| plain)
}

/// Without what follows the last dot; dots at the start belong to the name.
fn without_extension(name: &str) -> &str {
    let hidden = name.len() - name.trim_start_matches('.').len();
    match name[hidden..].rfind('.') {
        Some(dot) => &name[..hidden + dot],
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(template: &str, path: &str) -> Option<String> {
        Rename::Template(Template::new(template).unwrap()).apply(path)
    }

    #[test]
    fn templates_name_files_as_the_reference_does() {
        let path = "/var/log/tomcat/app.out.log";
        for (template, name) in [
            ("/x/$BASENAME", "/x/app.out.log"),
            ("$BASENAME_NO_EXT", "app.out"),
            ("${BASENAME_NO_EXT}x", "app.outx"),
            (
                "/$PATH1/$PATH2/${PATH3}y/$PATH4",
                "/var/log/tomcaty/app.out.log",
            ),
            ("$$$PATH1", "$var"),
            ("a$$b$$", "a$b$"),
            ("$PATH1-$PATH2", "var-log"),
            ("plain", "plain"),
        ] {
            assert_eq!(renamed(template, path).as_deref(), Some(name), "{template}");
        }
        assert_eq!(renamed("$PATH5", path), None);
        assert_eq!(renamed("", path), None);
        assert_eq!(
            renamed("$BASENAME_NO_EXT", "/a/.bashrc").as_deref(),
            Some(".bashrc")
        );
        assert_eq!(
            renamed("$BASENAME_NO_EXT", "/a/..x.y").as_deref(),
            Some("..x")
        );
        assert_eq!(renamed("$BASENAME", "/"), None);
    }

    #[test]
    fn a_template_with_a_slip_is_told_apart_at_once() {
        for template in [
            "$",
            "a$",
            "$$$",
            "$path1",
            "$basename",
            "$PATH0",
            "$PATH01",
            "$PATH",
            "$PATH1x",
            "${PATH1",
            "${}",
            "$ x",
            "$-",
            "$BASENAME2",
            "$PATH99999999999999999999999",
        ] {
            assert!(Template::new(template).is_err(), "{template}");
        }
    }
}
