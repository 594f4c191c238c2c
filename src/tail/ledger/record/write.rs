//! Writing the text of a checkpoint file.

use super::super::content::{ContentKey, Phase, SequenceId, Stamp};
use super::super::observe::Remembered;
use super::{SavedContent, SavedLog, SavedPlace};
use crate::config::json_members;
use crate::util::escape::json_path;
use crate::util::sort;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The most bytes that wait to be written. The text of 10,000 logs would take 6 MB.
const MOST: usize = 64 << 10;

/// Writes a checkpoint file's text, log by log.
pub struct Writer<'a> {
    out: &'a mut dyn Write,
    /// The first error of `out`.
    written: io::Result<()>,
    /// The text that is not in `out` yet.
    text: Vec<u8>,
    first: bool,
    /// Entries of further workers for paths that have one already.
    more: Vec<u8>,
    remembered: Vec<u8>,
    export: Option<[u8; 16]>,
}

impl<'a> Writer<'a> {
    /// Begins one. `now` is in seconds since the epoch.
    pub fn new(out: &'a mut dyn Write, now: f64, serial: u64, watched: Option<&[PathBuf]>) -> Self {
        let mut text = Vec::new();
        let _ = write!(text, "{{\"time\":{now:.6},\"serial\":{serial},");
        if let Some(watched) = watched {
            text.extend_from_slice(b"\"watched\":[");
            for (i, path) in watched.iter().enumerate() {
                if i > 0 {
                    text.push(b',');
                }
                put_path(&mut text, path);
            }
            text.extend_from_slice(b"],");
        }
        text.extend_from_slice(b"\"checkpoints\":{");
        Writer {
            out,
            written: Ok(()),
            text,
            first: true,
            more: Vec::new(),
            remembered: Vec::new(),
            export: None,
        }
    }

    /// Gives it an id, by which its writer knows it again.
    pub fn export(&mut self, id: [u8; 16]) {
        self.export = Some(id);
    }

    /// Adds a log of the worker `default`.
    pub fn saved(&mut self, path: &Path, log: &SavedLog) {
        self.key(path);
        put_log(&mut self.text, None, log);
    }

    /// Adds what another worker than `default` remembers of a path. `again`: the path has an entry
    /// already, and the Python agent knows only one per path.
    pub fn of_worker(&mut self, worker: &str, path: &Path, log: &SavedLog, again: bool) {
        if again {
            let text = &mut self.more;
            text.extend_from_slice(if text.is_empty() { b"" } else { b"," });
            text.extend_from_slice(b"{\"path\":");
            put_path(text, path);
            text.extend_from_slice(b",\"entry\":");
            put_log(text, Some(worker), log);
            text.push(b'}');
            return;
        }
        self.key(path);
        put_log(&mut self.text, Some(worker), log);
    }

    /// Adds the remembered listing of a folder: 16 bytes a file.
    pub fn remembered(&mut self, folder: &Path, names: &Remembered) {
        let text = &mut self.remembered;
        text.extend_from_slice(if text.is_empty() { b"" } else { b"," });
        put_path(text, folder);
        text.extend_from_slice(b":\"");
        for name in names.names() {
            let _ = write!(text, "{name:016x}");
        }
        let more = if names.is_overflown() { "+" } else { "" };
        let _ = write!(text, "{more}\"");
    }

    fn key(&mut self, path: &Path) {
        if self.text.len() >= MOST {
            self.put();
        }
        if !self.first {
            self.text.push(b',');
        }
        self.first = false;
        put_path(&mut self.text, path);
        self.text.push(b':');
    }

    fn put(&mut self) {
        if self.written.is_ok() {
            self.written = self.out.write_all(&self.text);
        }
        self.text.clear();
    }

    /// Ends the text.
    ///
    /// # Errors
    /// The first error of writing.
    pub fn finish(mut self) -> io::Result<()> {
        self.text.push(b'}');
        if !self.more.is_empty() {
            self.text.extend_from_slice(b",\"more\":[");
            self.text.extend_from_slice(&self.more);
            self.text.push(b']');
        }
        if !self.remembered.is_empty() {
            self.text.extend_from_slice(b",\"remembered\":{");
            self.text.extend_from_slice(&self.remembered);
            self.text.push(b'}');
        }
        if let Some(id) = self.export {
            self.text.extend_from_slice(b",\"export\":\"");
            for byte in id {
                let _ = write!(self.text, "{byte:02x}");
            }
            self.text.push(b'"');
        }
        self.text.push(b'}');
        self.put();
        self.written
    }
}

fn put_log(out: &mut Vec<u8>, worker: Option<&str>, log: &SavedLog) {
    out.extend_from_slice(b"{\"position\":0,\"pending_files\":[");
    let (mut pending, others): (Vec<_>, Vec<_>) = log
        .contents
        .iter()
        .partition(|content| content.is_pythons());
    // The Python agent takes the last one for what the path shows
    sort::by_key(&mut pending, |content| content.phase == Phase::Shown);
    let mut begin = 0i64;
    for (i, content) in pending.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        let start = begin.saturating_sub_unsigned(content.settled);
        let end = start.saturating_add_unsigned(content.length.max(content.settled));
        put_content(out, content, start, end);
        begin = end;
    }
    out.push(b']');
    if !others.is_empty() {
        out.extend_from_slice(b",\"finished_files\":[");
        for (i, content) in others.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            put_content(out, content, 0, 0);
        }
        out.push(b']');
    }
    put_sequence(out, pending.first().and_then(|content| content.sequence));
    if let Some(worker) = worker {
        out.extend_from_slice(b",\"worker\":");
        crate::util::escape::json_str(out, worker);
    }
    if !log.schemes.is_empty() {
        let schemes = log.schemes.iter();
        let schemes: Vec<_> = schemes.map(|s| format!("\"{}\"", s.to_text())).collect();
        let _ = write!(out, ",\"schemes\":[{}]", schemes.join(","));
    }
    if !log.attributes.is_empty() {
        out.extend_from_slice(b",\"attributes\":{");
        json_members(out, &log.attributes);
        out.push(b'}');
    }
    if let Some(serial) = log.serial {
        let _ = write!(out, ",\"serial\":{serial}");
    }
    let _ = write!(out, ",\"time\":{:.6}}}", log.time);
}

fn put_content(out: &mut Vec<u8>, content: &SavedContent, start: i64, end: i64) {
    let _ = write!(
        out,
        "{{\"position_start\":{start},\"position_end\":{end},\"last_known_size\":{},\"is_log_file\":{}",
        content.length,
        content.phase == Phase::Shown
    );
    let (file, kind) = match content.place {
        SavedPlace::At(file) => (Some(file), ""),
        SavedPlace::InArchive(file) => (Some(file), ",\"archive\":true"),
        SavedPlace::Unlinked(file) => (Some(file), ",\"unlinked\":true"),
        SavedPlace::Nowhere => (None, ""),
    };
    if let Some(file) = file {
        let _ = write!(
            out,
            ",\"inode\":{},\"device\":{}{kind}",
            file.id.ino, file.id.dev
        );
        if let Some(birth) = file.birth {
            let _ = write!(out, ",\"born\":{}", birth.0);
        }
    }
    let evidence = content.evidence.to_text();
    let _ = write!(
        out,
        ",\"committed\":{},\"evidence\":\"{evidence}\"",
        content.settled
    );
    if content.numbered > content.settled {
        let _ = write!(out, ",\"numbered\":{}", content.numbered);
    }
    if content.phase == Phase::Finished {
        out.extend_from_slice(b",\"finished\":true");
    }
    if let Some(name) = &content.name {
        out.extend_from_slice(b",\"name\":\"");
        for byte in name {
            let _ = write!(out, "{byte:02x}");
        }
        out.push(b'"');
    }
    if let Some(ContentKey(key)) = content.key {
        let _ = write!(out, ",\"key\":{key}");
    }
    if let Some(Stamp(stamp)) = content.stamp {
        let _ = write!(out, ",\"stamp\":{stamp}");
    }
    put_sequence(out, content.sequence);
    out.push(b'}');
}

fn put_sequence(out: &mut Vec<u8>, sequence: Option<(SequenceId, u64)>) {
    let Some((SequenceId(id), number)) = sequence else {
        return;
    };
    out.extend_from_slice(b",\"sequence_id\":\"");
    for (i, byte) in id.iter().enumerate() {
        let dash = if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" };
        let _ = write!(out, "{dash}{byte:02x}");
    }
    let _ = write!(out, "\",\"sequence_number\":{number}");
}

fn put_path(out: &mut Vec<u8>, path: &Path) {
    use std::os::unix::ffi::OsStrExt;
    json_path(out, path.as_os_str().as_bytes());
}
