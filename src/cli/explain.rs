//! `explain`: what becomes of a file, and why, as text.

use super::dry_run::insight;
use super::setup::{absolute, Setup};
use super::{err, exit, harmless, out};
use crate::agent::insight::{
    facts, originals, rotation, Claim, Facts, Finding, Following, Insight, Part, Remembered,
};
use crate::config::{AttrValue, GroupEnd, LogEntry, ParseFormat, Rename};
use crate::util::time::human;
use crate::util::words::count;
use std::fmt::{self, Write};
use std::path::Path;

/// Runs the command.
pub(super) fn explain(setup: &Setup) -> i32 {
    let mut insight = match insight(setup) {
        Ok(insight) => insight,
        Err(code) => return code,
    };
    let mut is_known = true;
    for unread in insight.read_checkpoints() {
        is_known &= unread.is_damaged;
        err(format_args!(
            "checkpoints can't be read: {}: {}",
            unread.path.display(),
            unread.why
        ));
    }
    let Some(path) = setup.options.operands.first() else {
        return exit::USAGE;
    };
    let watch = super::hang::watch();
    let (text, is_copied) = report(&mut insight, &absolute(Path::new(path)), is_known);
    drop(watch);
    out(text.trim_end());
    if is_copied {
        exit::OK
    } else {
        exit::FAILED
    }
}

/// The report, and whether anything copies the file. `is_known`: what checkpoints say.
fn report(insight: &mut Insight, path: &Path, is_known: bool) -> (String, bool) {
    let facts = facts(path);
    let followings = insight.followings(path);
    let findings = match followings.is_empty() {
        true => insight.findings(path),
        false => Vec::new(),
    };
    let mut text = Text::default();
    let line = headline(insight, path, &followings, &findings, is_known);
    text.0 = format!("{}\n", harmless(line));
    if let Some(meant) = super::similar::followed(insight, path) {
        text.0 += &harmless(meant);
        text.0.push('\n');
    }
    text.head("The file");
    file(&mut text, &facts);
    text.head("Entries");
    text.0.push_str(&entries(insight, path));
    if followings.is_empty() {
        return strange(text, insight, path, &facts, (&findings, is_known));
    }
    let mut is_copied = false;
    for following in &followings {
        is_copied |= following.finding.is_copied;
        one(&mut text, insight, path, following, is_known);
    }
    rotations(&mut text, insight, path);
    (text.0, is_copied)
}

/// The first line: whether the file is copied, by which entry and how much of it would be sent now; or why not.
fn headline(
    insight: &Insight,
    path: &Path,
    followings: &[Following],
    findings: &[(String, Finding)],
    is_known: bool,
) -> String {
    let path_text = path.display();
    if !is_known {
        return format!("{path_text}: not known, as the checkpoints can't be read");
    }
    let why = |finding: &Finding| {
        let verdict = &finding.verdict;
        let rest = verdict.strip_prefix("it is not copied: ");
        rest.unwrap_or(verdict).to_owned()
    };
    let mut parts: Vec<String> = Vec::new();
    for following in followings {
        let finding = &following.finding;
        parts.push(match finding.is_copied {
            true => format!(
                "copied {}; {}",
                by_entry(insight, path, following.entry),
                waiting(finding)
            ),
            false => format!("not copied: {}", why(finding)),
        });
    }
    let copied = findings.iter().filter(|(_, finding)| finding.is_copied);
    parts.extend(
        copied.map(|(_, finding)| format!("copied as part of another log: {}", why(finding))),
    );
    if parts.is_empty() {
        parts.push(match left_out(insight, path) {
            Some(why) => format!("not copied: {why}"),
            None => findings.first().map_or_else(
                || "not copied".to_owned(),
                |(_, finding)| format!("not copied: {}", why(finding)),
            ),
        });
    }
    format!("{path_text}: {}", parts.join("; "))
}

/// `by entry 2, /var/log/*.log`
pub(super) fn by_entry(insight: &Insight, path: &Path, entry: usize) -> String {
    let candidates = insight.candidates(path);
    let pattern = candidates.get(entry).map(|c| c.pattern.display());
    let pattern = pattern.map_or_else(String::new, |pattern| format!(", {pattern}"));
    format!("by entry {}{pattern}", entry + 1)
}

/// The entry that would copy the path, were it not for a pattern of its `exclude`.
pub(super) fn left_out(insight: &Insight, path: &Path) -> Option<String> {
    let candidates = insight.candidates(path);
    let mut all = candidates.iter().enumerate();
    all.find_map(|(number, candidate)| match &candidate.claim {
        Claim::Excluded(at, pattern) => Some(format!(
            "entry {}, {}, leaves it out by exclude[{at}], `{pattern}`",
            number + 1,
            candidate.pattern.display()
        )),
        _ => None,
    })
}

/// The bytes that wait to be sent, and whether there is a compressed file whose length is not known.
fn pending_bytes(finding: &Finding) -> (u64, bool) {
    let parts = finding.parts.iter().filter(|part| part.ino.is_some());
    let bytes = parts.map(|part| part.size.unwrap_or(part.from).saturating_sub(part.from));
    (
        bytes.sum(),
        finding.parts.iter().any(|part| part.size.is_none()),
    )
}

fn waiting(finding: &Finding) -> String {
    let left_out: u64 = finding.skipped.iter().map(|(_, bytes)| bytes).sum();
    let left_out = match left_out {
        0 => String::new(),
        bytes => format!(", and {} left out: see below", count(bytes, "byte")),
    };
    match pending_bytes(finding) {
        (0, false) => format!("nothing is waiting to be sent{left_out}"),
        (bytes, false) => format!("{} would be sent{left_out}", count(bytes, "byte")),
        (bytes, true) => format!(
            "{} and what a compressed file holds would be sent{left_out}",
            count(bytes, "byte")
        ),
    }
}

/// The rest of the report about a path that is no log's.
fn strange(
    mut text: Text,
    insight: &Insight,
    path: &Path,
    facts: &Result<Facts, String>,
    (findings, is_known): (&[(String, Finding)], bool),
) -> (String, bool) {
    let mut is_copied = false;
    for (session, finding) in findings {
        is_copied |= finding.is_copied;
        text.head(&format!("Verdict of session {session}"));
        verdict(&mut text, finding, is_known);
        if let Some(old) = finding.remembered.as_ref().filter(|_| is_known) {
            text.head("Checkpoint");
            checkpoint(&mut text, Some(old));
        }
    }
    let copies = |log: &Path| {
        let mut candidates = insight.candidates(log).into_iter();
        candidates.any(|c| c.claim == Claim::Counts)
    };
    if findings.iter().all(|(_, finding)| !finding.is_concerned) {
        for log in originals(path).iter().filter(|log| copies(log)) {
            text.line(format_args!(
                "Its name is one that rotation gives to {}, which an entry copies and which is not there.",
                log.display()
            ));
        }
    }
    let leads_to = facts
        .as_ref()
        .ok()
        .and_then(|facts| facts.leads_to.as_ref());
    if let Some(real) = leads_to.filter(|real| copies(real)) {
        text.line(format_args!(
            "But {}, where it leads, is copied: entries go by the path, not by where it leads.",
            real.display()
        ));
    }
    (text.0, is_copied)
}

/// Prints what a path is to a session, and by what the content that it shows is known.
fn verdict(text: &mut Text, finding: &Finding, is_known: bool) {
    if !is_known {
        return text.line("not known: the checkpoints can't be read");
    }
    text.line(&finding.verdict);
    if let Some(part) = &finding.shows {
        let settled = part.settled;
        text.more(match part.size {
            Some(size) => format!("settled up to byte {settled} of {size}"),
            None => format!("settled up to byte {settled}, compressed"),
        });
        text.more(&part.known);
    }
    if let Some(advice) = finding.advice {
        text.more(advice);
    }
}

/// The entries and what each is to the path, one a line.
pub(super) fn entries(insight: &Insight, path: &Path) -> String {
    let mut text = Text::default();
    let several = insight.config().workers.len() > 1;
    for (number, candidate) in insight.candidates(path).iter().enumerate() {
        let worker = match several {
            true => format!(", worker {}", candidate.worker),
            false => String::new(),
        };
        text.line(format_args!(
            "{}. {} ({}{worker})",
            number + 1,
            candidate.pattern.display(),
            candidate.place
        ));
        match &candidate.claim {
            Claim::Counts => text.more("matches: it is copied by this entry"),
            Claim::Later { than, adds } => text.more(format_args!(
                "matches, but entry {} comes first{}",
                than + 1,
                match adds {
                    true => "; attributes that it lacks are added",
                    false => "",
                }
            )),
            Claim::Excluded(at, pattern) => text.more(format_args!(
                "matches, but is left out by exclude[{at}], `{pattern}`"
            )),
            Claim::Other(why) => text.more(format_args!("does not match: {why}")),
        }
    }
    if text.0.is_empty() {
        text.line("there are none");
    }
    text.0
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn head(&mut self, title: &str) {
        // Writing to a String can't fail.
        let _ = write!(self.0, "\n{title}\n");
    }

    fn line(&mut self, line: impl fmt::Display) {
        let _ = writeln!(self.0, "  {}", harmless(line));
    }

    fn more(&mut self, line: impl fmt::Display) {
        let _ = writeln!(self.0, "     {}", harmless(line));
    }
}

fn file(text: &mut Text, facts: &Result<Facts, String>) {
    let facts = match facts {
        Ok(facts) => facts,
        Err(why) => return text.line(why),
    };
    if let Some(real) = &facts.leads_to {
        text.line(format_args!(
            "a symbolic link that leads to {}",
            real.display()
        ));
    }
    text.line(format_args!(
        "a regular file of {}, last written {}",
        count(facts.size, "byte"),
        human(Some(facts.mtime))
    ));
    let (dev, ino) = facts.id;
    match &facts.signature {
        Ok((len, hash)) => text.line(format_args!(
            "device {dev}, inode {ino}, signature {hash:016x} of the first {}",
            count(*len as u64, "byte")
        )),
        Err(why) => text.line(format_args!(
            "device {dev}, inode {ino}; it can't be read: {why}"
        )),
    }
}

/// Prints the treatment of the path by one worker.
fn one(text: &mut Text, insight: &Insight, path: &Path, following: &Following, is_known: bool) {
    let session = format!("{}-{}", following.worker, following.session);
    text.head(&format!("Sent by session {session}"));
    if following.sessions > 1 {
        text.line(format_args!(
            "one of {} of its worker, by a hash of the path",
            following.sessions
        ));
    }
    text.line(format_args!("as {}", following.label.reported));
    text.line("with the attributes");
    for (key, value) in &following.label.attributes {
        match value {
            AttrValue::Text(value) => text.more(format_args!("{key}: \"{value}\"")),
            AttrValue::Number(value) => text.more(format_args!("{key}: {value}")),
        }
    }
    let candidates = insight.candidates(path);
    let entry = candidates.get(following.entry).and_then(|c| c.entry);
    text.head("Rules");
    rules(text, insight, entry);
    text.head("Verdict");
    verdict(text, &following.finding, is_known);
    text.head("Checkpoint");
    if !is_known {
        text.line("not known: the checkpoints can't be read");
        text.head("What would be sent");
        return text.line("not known, and an agent does not start like this");
    }
    checkpoint(text, following.finding.remembered.as_ref());
    text.head("What would be sent");
    pending(text, insight, &following.finding);
}

fn rules(text: &mut Text, insight: &Insight, entry: Option<&LogEntry>) {
    let empty = LogEntry::new(Default::default(), crate::config::EntryKind::MonitorLog);
    let entry = entry.unwrap_or(&empty);
    match entry.parse_format {
        ParseFormat::Raw => {}
        ParseFormat::Json => text.line(format_args!(
            "parse_format json: message in `{}`, time in `{}`",
            entry.json_message_field, entry.json_timestamp_field
        )),
        ParseFormat::Cri => text.line("parse_format cri"),
    }
    for (at, rule) in entry.line_groupers.iter().enumerate() {
        let (name, next) = match &rule.end {
            GroupEnd::ContinueThrough(next) => ("continueThrough", next),
            GroupEnd::ContinuePast(next) => ("continuePast", next),
            GroupEnd::HaltBefore(next) => ("haltBefore", next),
            GroupEnd::HaltWith(next) => ("haltWith", next),
        };
        text.line(format_args!(
            "lineGroupers[{at}]: start `{}`, {name} `{next}`",
            rule.start
        ));
    }
    for (at, rule) in entry.sampling_rules.iter().enumerate() {
        text.line(format_args!(
            "sampling_rules[{at}]: of `{}` {} are sent",
            rule.match_expression, rule.sampling_rate
        ));
    }
    for (at, rule) in entry.redaction_rules.iter().enumerate() {
        text.line(format_args!(
            "redaction_rules[{at}]: `{}` becomes `{}`{}",
            rule.match_expression,
            rule.replacement,
            match rule.hash_salt.is_empty() {
                true => "",
                false => ", with a salt for hashes",
            }
        ));
    }
    if let Some(Rename::Regex {
        pattern,
        replacement,
    }) = &entry.rename_logfile
    {
        text.line(format_args!(
            "rename_logfile: `{pattern}` becomes `{replacement}`"
        ));
    }
    if let Some(reading) = insight.reading() {
        text.line(format_args!(
            "longer lines than {} are cut; a line without its end waits {} s for it",
            count(reading.max_line as u64, "byte"),
            reading.line_completion_wait.as_secs_f64()
        ));
    }
}

fn checkpoint(text: &mut Text, remembered: Option<&Remembered>) {
    let Some(old) = remembered else {
        return text.line("none knows the path");
    };
    let ino = old
        .ino
        .map_or_else(|| "in no file".to_owned(), |ino| format!("inode {ino}"));
    text.line(format_args!(
        "of {}: {ino}, settled up to byte {} of {}",
        human(Some(old.time)),
        old.settled,
        old.size
    ));
    if old.others > 0 {
        text.line(format_args!(
            "and {} of {}",
            count(old.others as u64, "other content"),
            old.log.display()
        ));
    }
    text.line(&old.fate);
}

fn pending(text: &mut Text, insight: &Insight, finding: &Finding) {
    let parts = &finding.parts;
    if parts.is_empty() {
        return text.line("nothing at the moment");
    }
    for (number, part) in parts.iter().enumerate() {
        text.line(format_args!("{}. {}", number + 1, what(part)));
        text.more(&part.known);
    }
    for (why, bytes) in &finding.skipped {
        let bytes = count(*bytes, "byte");
        text.line(match *why {
            "before start" => format!(
                "left out: {bytes} from before the agent's first look \
                 (copy_from_start is false)"
            ),
            "stale file" => format!(
                "left out: {bytes} of a file that was not written to for longer than \
                 staleness_threshold_secs (ignore_stale_files)"
            ),
            why => format!("left out: {bytes} ({why})"),
        });
    }
    let (bytes, is_compressed) = pending_bytes(finding);
    let bytes = count(bytes, "byte");
    text.line(match is_compressed {
        true => format!("pending: {bytes}, and what the compressed file holds"),
        false => format!("pending: {bytes}"),
    });
    let options = &insight.config().options;
    for (name, limit) in [
        ("max_log_offset_size", options.max_log_offset_size),
        (
            "max_existing_log_offset_size",
            options.max_existing_log_offset_size,
        ),
    ] {
        if let Some(limit) = limit {
            text.line(format_args!(
                "{name} is {limit}: of more than that, the bytes before are left out"
            ));
        }
    }
    text.line(match insight.is_running() {
        true => "An agent is running: it may be a little further than its last checkpoint.",
        false => "No agent is running: this is what it would do when it starts.",
    });
}

fn what(part: &Part) -> String {
    let (path, from) = (part.path.display(), part.from);
    match (part.ino, part.size) {
        (None, size) => format!(
            "what was {path}, from byte {from} of {}",
            size.unwrap_or(from)
        ),
        (Some(ino), Some(size)) => format!("{path}, inode {ino}, from byte {from} of {size}"),
        (Some(ino), None) => format!("{path}, inode {ino}, compressed, from byte {from} on"),
    }
}

fn rotations(text: &mut Text, insight: &Insight, path: &Path) {
    let Some(reading) = insight.reading() else {
        return;
    };
    let rotation = rotation(path);
    text.head("When it is rotated");
    text.line(format_args!(
        "by renaming: found by its inode under any name in its folder or one right below; read to \
         its end and followed for {} s more; then the new file from byte 0",
        reading.rotated_grace.as_secs_f64()
    ));
    match reading.copytruncate {
        true => text.line(
            "by copytruncate: what was not read yet is taken from the copy, found by its content \
             if it has a recognised name; then the file from byte 0",
        ),
        false => text.line(
            "by copytruncate: what was not read yet is lost, as \
             enable_copy_truncate_log_rotation_support is false; then the file from byte 0",
        ),
    }
    text.line("compressed: as a copy, if it is gzip and its name ends in .gz");
    text.line(format_args!(
        "recognised names: {}; each also with .gz",
        rotation.examples.join(", ")
    ));
    text.line(
        "a file of such a name that came and went between two looks is read only if no entry matches it and a \
         known content of this log has a name of the same kind",
    );
    let names = |paths: &[std::path::PathBuf]| -> String {
        let names = paths.iter().map(|p| {
            let name = if p.parent() == path.parent() {
                p.file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned()
            } else {
                p.display().to_string()
            };
            let copied = insight
                .candidates(p)
                .iter()
                .any(|c| c.claim == Claim::Counts);
            match copied {
                true => format!("{name} (an entry matches it too)"),
                false => name,
            }
        });
        names.collect::<Vec<_>>().join(", ")
    };
    if !rotation.siblings.is_empty() {
        text.line(format_args!("there now: {}", names(&rotation.siblings)));
    }
    if !rotation.strangers.is_empty() {
        text.line(format_args!(
            "there now, names not recognised: {}",
            names(&rotation.strangers)
        ));
    }
}
