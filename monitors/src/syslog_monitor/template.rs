//! `message_log_template`: which file a message goes to.
//!
//! Host and program names come from the network. What of them gets into a path is made harmless
//! here: no separator, no leading dot, nothing that a pattern would read, and of bounded length.

/// The variables of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// `tcp` or `udp`
    Proto,
    /// The sender's address.
    SrcIp,
    /// The port number it was sent to.
    DestPort,
    /// The header's host.
    Hostname,
    /// The header's program.
    AppName,
}

impl Variable {
    const ALL: [(&'static str, Variable); 5] = [
        ("PROTO", Variable::Proto),
        ("SRCIP", Variable::SrcIp),
        ("DESTPORT", Variable::DestPort),
        ("HOSTNAME", Variable::Hostname),
        ("APPNAME", Variable::AppName),
    ];
}

/// The values for one message.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// `tcp` or `udp`
    pub proto: &'a str,
    /// As text.
    pub src_ip: &'a str,
    /// As text.
    pub dest_port: &'a str,
    /// If known.
    pub hostname: Option<&'a str>,
    /// If known.
    pub appname: Option<&'a str>,
}

impl Values<'_> {
    fn get(&self, variable: Variable) -> Option<&str> {
        match variable {
            Variable::Proto => Some(self.proto),
            Variable::SrcIp => Some(self.src_ip),
            Variable::DestPort => Some(self.dest_port),
            Variable::Hostname => self.hostname,
            Variable::AppName => self.appname,
        }
    }
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    /// In place of a host or a program that is not known.
    unknown: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(Variable),
}

/// Longest value of a variable in a path, in bytes.
const LONGEST: usize = 100;

impl Template {
    /// Reads `$NAME` and `${NAME}`; `$$` is a dollar. Other names stay as they are.
    ///
    /// # Errors
    /// A `..` in the template itself, or nothing in it.
    pub fn new(text: &str, unknown: &str) -> Result<Template, String> {
        if text.split('/').any(|part| part == "..") {
            return Err("must not contain \"..\"".to_owned());
        }
        if text.is_empty() || text.ends_with('/') {
            return Err("does not name a file".to_owned());
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            literal.push_str(&rest[..at]);
            rest = &rest[at..];
            let after = &rest[1..];
            if let Some(behind) = after.strip_prefix('$') {
                literal.push('$');
                rest = behind;
                continue;
            }
            let (name, length) = match after.strip_prefix('{') {
                Some(inner) => match inner.find('}') {
                    Some(end) => (&inner[..end], end + 3),
                    None => ("", 1),
                },
                None => {
                    let end = after
                        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                        .unwrap_or(after.len());
                    (&after[..end], end + 1)
                }
            };
            match Variable::ALL.iter().find(|(known, _)| *known == name) {
                Some((_, variable)) => {
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal)));
                    }
                    parts.push(Part::Variable(*variable));
                }
                None => literal.push_str(&rest[..length]),
            }
            rest = &rest[length..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        let mut harmless = String::new();
        sanitise(unknown, true, &mut harmless);
        Ok(Template {
            parts,
            unknown: harmless,
        })
    }

    /// Whether a variable is part of it.
    pub fn has(&self, variable: Variable) -> bool {
        self.parts.contains(&Part::Variable(variable))
    }

    /// Appends the path for these values.
    pub fn expand(&self, values: &Values, path: &mut String) {
        for part in &self.parts {
            match part {
                Part::Text(text) => path.push_str(text),
                Part::Variable(variable) => {
                    // With `.$HOSTNAME` a host of `.` must not make a `..` either.
                    let begins = path
                        .bytes()
                        .rev()
                        .find(|&b| b != b'.')
                        .is_none_or(|b| b == b'/');
                    sanitise(values.get(*variable).unwrap_or(&self.unknown), begins, path);
                }
            }
        }
    }
}

/// Appends `value` with `_` for all that could mean something in a path; `begins`: at the start of a
/// part of it, where a dot hides a file or leads elsewhere.
fn sanitise(value: &str, begins: bool, path: &mut String) {
    if value.is_empty() {
        path.push('_');
    }
    for (i, byte) in value.bytes().take(LONGEST).enumerate() {
        let plain = byte.is_ascii_alphanumeric()
            || b"_-:@+%~=,".contains(&byte)
            || (byte == b'.' && !(i == 0 && begins));
        path.push(if plain { char::from(byte) } else { '_' });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(template: &str, hostname: Option<&str>, appname: Option<&str>) -> String {
        let values = Values {
            proto: "tcp",
            src_ip: "127.0.0.1",
            dest_port: "39601",
            hostname,
            appname,
        };
        let mut path = String::new();
        Template::new(template, "None")
            .unwrap()
            .expand(&values, &mut path);
        path
    }

    #[test]
    fn names_are_those_that_the_recorded_messages_gave() {
        let template = "syslog-$PROTO-$DESTPORT-$HOSTNAME-$APPNAME.log";
        for (host, app, name) in [
            (Some("alpha"), Some("su"), "syslog-tcp-39601-alpha-su.log"),
            (None, None, "syslog-tcp-39601-None-None.log"),
            (
                Some("10.0.0.99"),
                Some("Use"),
                "syslog-tcp-39601-10.0.0.99-Use.log",
            ),
        ] {
            assert_eq!(expand(template, host, app), name);
        }
        assert_eq!(
            expand(
                "${HOSTNAME}x$$y$PROTO_z$nope-${oops}${ $ $",
                Some("h"),
                None
            ),
            "hx$y$PROTO_z$nope-${oops}${ $ $"
        );
        assert_eq!(
            expand("$SRCIP/${APPNAME}.log", None, Some("a")),
            "127.0.0.1/a.log"
        );
    }

    #[test]
    fn names_from_the_network_can_neither_leave_the_directory_nor_hide_nor_grow() {
        for (host, path) in [
            ("../../etc/cron.d/x", "_._.._etc_cron.d_x.log"),
            ("/etc/passwd", "_etc_passwd.log"),
            ("..", "_..log"),
            (".hidden", "_hidden.log"),
            ("a\0b\nc d", "a_b_c_d.log"),
            ("*?[a]{b}", "___a__b_.log"),
            ("é", "__.log"),
            ("", "_.log"),
        ] {
            assert_eq!(expand("$HOSTNAME.log", Some(host), None), path);
        }
        let inside = expand("x$HOSTNAME/$APPNAME", Some("../.."), Some(".."));
        assert_eq!(inside, "x.._../_.");
        assert_eq!(
            expand("a/.$HOSTNAME/$APPNAME", Some("."), Some(".")),
            "a/._/_"
        );
        let long = expand("$HOSTNAME-$APPNAME.log", Some(&"h".repeat(5000)), Some("a"));
        assert_eq!(long.len(), LONGEST + "-a.log".len());
    }

    #[test]
    fn templates_that_lead_elsewhere_are_refused() {
        for template in ["../$HOSTNAME", "a/../../b", "", "a/"] {
            assert!(Template::new(template, "None").is_err(), "{template:?}");
        }
    }
}
