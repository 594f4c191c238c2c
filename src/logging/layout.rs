//! A record as text, in the Python agent's layout:
//!
//! ```text
//! 2026-11-22 22:21:24.317Z INFO [core] [scalyr_agent.tail.reader:120] [error="code"] message
//! ```

use common::stamp;
use log::{Level, Record};
use std::borrow::Cow;
use std::io::{self, Write};

/// Formats a record for [`split`]: the pipe behind env_logger sees bytes only, so the level travels
/// in front of the text as a byte of its own.
pub(super) fn write(out: &mut env_logger::fmt::Formatter, record: &Record) -> io::Result<()> {
    let mut head = Vec::with_capacity(80);
    head.push(b'0' + record.level() as u8);
    stamp::write(&mut head, stamp::now_ms());
    out.write_all(&head)?;
    let target = record.target();
    let component = if target.starts_with("monitor:") {
        target
    } else {
        "core"
    };
    writeln!(
        out,
        " {} [{component}] [{}:{}] {}",
        name(record.level()),
        module(record.module_path().unwrap_or(target)),
        record.line().unwrap_or(0),
        record.args()
    )
}

/// A formatted record's level and its text.
pub(super) fn split(record: &[u8]) -> Option<(Level, &[u8])> {
    let (&first, text) = record.split_first()?;
    let level = Level::iter().find(|&level| b'0' + level as u8 == first)?;
    Some((level, text))
}

/// The component and the module of a formatted record: what stands in its first two brackets.
pub(super) fn origin(record: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(record).ok()?;
    let (_, rest) = text.split_once('[')?;
    let (component, rest) = rest.split_once("] [")?;
    let (place, _) = rest.split_once(']')?;
    let (module, _) = place.rsplit_once(':')?;
    Some((component, module))
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Error => "ERROR",
        Level::Warn => "WARNING",
        Level::Info => "INFO",
        Level::Debug => "DEBUG",
        // The first of the four that the reference has below DEBUG.
        Level::Trace => "Level 7",
    }
}

/// The dotted name of a module, as filters of the server know them.
fn module(path: &str) -> Cow<'_, str> {
    let dotted = |rest: &str| rest.replace("::", ".");
    if let Some(rest) = path.strip_prefix("scalyr_agent_2") {
        return Cow::Owned(format!("scalyr_agent{}", dotted(rest)));
    }
    match path.strip_prefix("monitors") {
        Some(rest) if rest.is_empty() || rest.starts_with("::") => {
            Cow::Owned(format!("scalyr_agent.monitors{}", dotted(rest)))
        }
        _ if path.contains("::") => Cow::Owned(dotted(path)),
        _ => Cow::Borrowed(path),
    }
}

/// Text from outside made fit for a record: control characters and line separators become blanks,
/// so that it cannot forge lines, and at most `max` bytes remain, `...` at the end included.
pub fn one_line(text: &str, max: usize) -> Cow<'_, str> {
    const CUT: &str = "...";
    let forges = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let fits = text.len() <= max;
    if fits && !text.contains(forges) {
        return Cow::Borrowed(text);
    }
    let most = if fits {
        max
    } else {
        max.saturating_sub(CUT.len())
    };
    let mut line = String::with_capacity(most.min(text.len()) + CUT.len());
    for c in text.chars() {
        let c = if forges(c) { ' ' } else { c };
        if line.len() + c.len_utf8() > most {
            break;
        }
        line.push(c);
    }
    if !fits {
        line.push_str(&CUT[..CUT.len().min(max)]);
    }
    Cow::Owned(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_paths_read_as_dotted_names() {
        for (path, name) in [
            ("scalyr_agent_2", "scalyr_agent"),
            ("scalyr_agent_2::tail::reader", "scalyr_agent.tail.reader"),
            ("monitors::runner", "scalyr_agent.monitors.runner"),
            ("monitors_of_others::x", "monitors_of_others.x"),
            (
                "scalyr_agent.builtin_monitors.shell_monitor",
                "scalyr_agent.builtin_monitors.shell_monitor",
            ),
            ("scalyr-agent-2", "scalyr-agent-2"),
        ] {
            assert_eq!(module(path), name);
        }
    }

    #[test]
    fn text_from_a_server_cannot_forge_a_line() {
        assert_eq!(one_line("plain é", 100), "plain é");
        assert_eq!(
            one_line("bad\r\n2026-11-22 ERROR\0\u{1b}[31m\u{85}\u{2028}x", 100),
            "bad  2026-11-22 ERROR  [31m  x"
        );
        assert_eq!(one_line("0123456789", 10), "0123456789");
        assert_eq!(one_line("0123456789x", 10), "0123456...");
        // never in the middle of a character
        assert_eq!(one_line("ééééé", 8), "éé...");
        assert_eq!(one_line("\n\n\n\n", 3), "...");
        assert_eq!(one_line("abc", 2), "..");
        assert_eq!(one_line("abc", 0), "");
    }
}
