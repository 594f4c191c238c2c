//! The events of a file without sending them: read as `read` reads, cut and shaped by the same
//! pipeline, with nothing in flight and nothing to wait for.

use super::compressed::{self, Kind};
use super::identity;
use super::insight::bare_log;
use super::ledger::{before, Bytes, Place, HEAD};
use super::log::Log;
use super::outlook::{origin, Outlook};
use super::read;
use super::sequence::Sequence;
use super::settings::{Entry, Settings};
use super::source::{Reading, Source};
use super::turns::skip_ahead;
use super::zeros;
use crate::config::AttrValue;
use crate::shape::{Counts, Input, Step, Unit};
use crate::wire::{Batch, Envelope};
use std::io;
use std::path::Path;
use std::time::Instant;

/// The sequence id for content that no checkpoint knows: one that is always the same, so that
/// sampling decides the same every time.
const NO_SEQUENCE: &str = "00000000-0000-4000-8000-000000000000";

/// An event as it would be sent.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// The message.
    pub message: &'a [u8],
    /// Members `"k":v,"k":v` of this line alone.
    pub attrs: Option<&'a [u8]>,
    /// Nanoseconds since the epoch; `None`: the time of sending.
    pub ts: Option<u64>,
    /// The rate of the sampling rule that let it through, where that is not 1.
    pub sample_rate: Option<f64>,
    /// The sequence number.
    pub number: u64,
}

/// The name and the attributes that the events of a file have in common.
#[derive(Debug, Clone)]
pub struct Head {
    /// The name that is reported.
    pub reported: String,
    /// All attributes of the log.
    pub attributes: Vec<(String, AttrValue)>,
}

/// Takes the events, in order. An error ends the reading.
pub type Sink<'a> = dyn FnMut(&Head, &Event) -> io::Result<()> + 'a;

/// The result for a file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    /// By name.
    pub counts: Counts,
    /// Bytes that reading began after, or that a limit makes it leave out.
    pub before: u64,
}

/// Why a rehearsal ended early.
#[derive(Debug)]
pub enum Trouble {
    /// The file can't be read.
    Read(io::Error),
    /// The sink gave this error.
    Sink(io::Error),
}

/// A content that is rehearsed.
struct Text {
    source: Source,
    /// Where reading goes on, in bytes.
    read: u64,
    /// Its length in bytes; unknown of an archive.
    size: Option<u64>,
    sequence: Sequence,
    shape: crate::shape::State,
}

/// Reads files for one worker. Memory is bounded by its options, whatever the files.
pub struct Rehearsal {
    settings: Settings,
    envelope: std::sync::Arc<Envelope>,
    buf: Vec<u8>,
    unit: Unit,
}

impl Rehearsal {
    /// For files of these entries.
    pub fn new(settings: Settings, entries: &[Entry], envelope: std::sync::Arc<Envelope>) -> Self {
        let windows = entries.iter().filter_map(|e| e.pipeline.as_ref());
        let window = windows.map(|p| p.window()).max().unwrap_or(0);
        let size = read::buffer_size(settings.read_page_size, settings.max_line_size, window);
        Rehearsal {
            settings,
            envelope,
            buf: vec![0; size],
            unit: Unit::new(),
        }
    }

    /// All events of the file at `path`, from byte 0. No checkpoint is looked at. `None` if no entry
    /// is about it.
    ///
    /// # Errors
    /// If the file can't be read; of the sink.
    pub fn whole(
        &mut self,
        entries: &[Entry],
        path: &Path,
        sink: &mut Sink,
    ) -> Result<Option<Totals>, Trouble> {
        let Some((mut log, _)) = bare_log(entries, path) else {
            return Ok(None);
        };
        let (file, meta) = identity::open(path).map_err(Trouble::Read)?;
        let mut text = Text {
            source: Source::Plain(file),
            read: 0,
            size: Some(meta.len()),
            sequence: Sequence::named(NO_SEQUENCE),
            shape: crate::shape::State::default(),
        };
        is_text(&mut text.source)?;
        let mut totals = Totals::default();
        self.read(&mut log, &mut text, sink, &mut totals)?;
        Ok(Some(totals))
    }

    /// The events that are not settled yet of the log at `path`: what is left of its rotated files
    /// first. `None` if it is no log of this session.
    ///
    /// # Errors
    /// If a file can't be read; of the sink.
    pub fn pending(
        &mut self,
        outlook: &mut Outlook,
        path: &Path,
        sink: &mut Sink,
    ) -> Result<Option<Totals>, Trouble> {
        let Some(number) = outlook.find(path) else {
            return match outlook.tailer.unreadable.get(path) {
                Some(told) => Err(Trouble::Read(io::Error::other(told.why.clone()))),
                None => Ok(None),
            };
        };
        let saved = outlook.saved_log(path);
        let Some(mut log) = outlook.tailer.logs.remove(&number) else {
            return Ok(None);
        };
        let mut totals = Totals::default();
        let mut result = Ok(());
        let most = self.settings.max_sequence_number;
        for key in outlook.tailer.ledger.of_log(log.id()).to_vec() {
            let Some(known) = outlook.tailer.ledger.get(key) else {
                continue;
            };
            totals.before += known.read;
            if matches!(known.place, Place::Nowhere { .. }) || known.unread() == 0 {
                continue;
            }
            // The original stays as it is, for a second rehearsal
            let mut content = known.clone();
            let now = Instant::now();
            let mut reading = Reading::new(now);
            let readable = reading.open(&content).map_err(Trouble::Read);
            result = readable.and_then(is_text);
            if result.is_ok() {
                let settings = &outlook.tailer.settings;
                skip_ahead(
                    settings,
                    &mut log,
                    &mut content,
                    &mut reading,
                    &mut Batch::new(),
                    now,
                );
                totals.before += content.read - known.read;
                let sequence = match origin(known, &saved) {
                    Some(_) => Sequence::at(key, &content.numbers, content.read, most),
                    None => Sequence::named(NO_SEQUENCE),
                };
                let size = (!content.is_archive()).then_some(content.length);
                if let Some(source) = reading.source {
                    let mut text = Text {
                        source,
                        read: content.read,
                        size,
                        sequence,
                        shape: crate::shape::State::default(),
                    };
                    result = self.read(&mut log, &mut text, sink, &mut totals);
                }
            }
            if result.is_err() {
                break;
            }
        }
        outlook.tailer.logs.insert(number, log);
        result.map(|()| Some(totals))
    }

    /// Reads a content from its position up to the length that it has now.
    fn read(
        &mut self,
        log: &mut Log,
        rehearsed: &mut Text,
        sink: &mut Sink,
        totals: &mut Totals,
    ) -> Result<(), Trouble> {
        let max_request = self.settings.max_request;
        let outfit = log.outfit(&self.envelope, max_request, self.settings.max_line_size);
        let max_line = outfit.max_line;
        let head = Head {
            reported: log.reported_name(),
            attributes: log.attributes(),
        };
        // Reading ends at the present length: a busy file would never end otherwise
        let end = rehearsed.size;
        let mut at = rehearsed.read;
        let mut cutting = false;
        loop {
            let most = end.map_or(u64::MAX, |end| end.saturating_sub(at));
            let most = usize::try_from(most)
                .unwrap_or(usize::MAX)
                .min(self.buf.len());
            let source = &mut rehearsed.source;
            let n = source
                .read_at(&mut self.buf[..most], at)
                .map_err(Trouble::Read)?;
            let is_all = n < self.buf.len();
            let (mut text, mut at_end) = (n, is_all);
            if let zeros::End::Zeros(ends) = zeros::end(&self.buf[..n], is_all, max_line) {
                if ends == 0 && !is_all {
                    match zeros::text_after(source, at).map_err(Trouble::Read)? {
                        Some(to) => {
                            totals.counts.zero_bytes += to - at;
                            at = to;
                            continue;
                        }
                        None => return Ok(()),
                    }
                }
                (text, at_end) = (ends, true);
            }
            let page = Page {
                data: &self.buf[..text],
                at_end,
                offset: at,
                max_line,
                monotonic: self.settings.monotonic,
                max_number: self.settings.max_sequence_number,
            };
            let used = match log.entry.pipeline.as_deref() {
                None => page.plain(rehearsed, &mut cutting, &head, sink, totals),
                Some(pipeline) => {
                    page.shaped(pipeline, &mut self.unit, rehearsed, &head, sink, totals)
                }
            }
            .map_err(Trouble::Sink)?;
            at += used as u64;
            if is_all || used == 0 {
                return Ok(());
            }
        }
    }
}

/// Whether an open content is one that is sent.
fn is_text(source: &mut Source) -> Result<(), Trouble> {
    if !matches!(source, Source::Plain(_)) {
        return Ok(());
    }
    let head = before(HEAD as u64, HEAD, source).map_err(Trouble::Read)?;
    match compressed::sniff(&head) {
        Kind::Compressed(name) => {
            let why = io::Error::other(compressed::reason(name));
            Err(Trouble::Read(why))
        }
        _ => Ok(()),
    }
}

/// Bytes that were read, from a line's or unit's start on.
struct Page<'a> {
    data: &'a [u8],
    at_end: bool,
    offset: u64,
    max_line: usize,
    monotonic: bool,
    max_number: u64,
}

impl Page<'_> {
    fn number(&self, rehearsed: &mut Text, offset: u64) -> u64 {
        let number = rehearsed.sequence.number(offset);
        if number <= self.max_number {
            return number;
        }
        rehearsed.sequence = rehearsed.sequence.successor(self.max_number);
        rehearsed.sequence.number(offset)
    }

    /// Lines as they are; how many bytes they took. Of a line that goes on beyond the page only
    /// whole pieces are taken; `cutting` says from page to page that this is the rest of one.
    fn plain(
        &self,
        rehearsed: &mut Text,
        cutting: &mut bool,
        head: &Head,
        sink: &mut Sink,
        totals: &mut Totals,
    ) -> io::Result<usize> {
        let counts = &mut totals.counts;
        let mut done = 0;
        while done < self.data.len() {
            let rest = &self.data[done..];
            if !*cutting {
                match zeros::start(rest) {
                    zeros::Start::Out(zeros) => {
                        counts.zero_bytes += zeros as u64;
                        done += zeros;
                        continue;
                    }
                    zeros::Start::Beyond if done > 0 => break,
                    _ => {}
                }
            }
            let (line, complete) = match memchr::memchr(b'\n', rest) {
                Some(end) => (&rest[..=end], true),
                None => (rest, self.at_end),
            };
            if self.max_line == 0 && (complete || done == 0) {
                counts.no_room_bytes += line.len() as u64;
                counts.no_room_lines += u64::from(complete);
                counts.bytes += line.len() as u64;
                counts.lines += u64::from(complete);
                done += line.len();
                continue;
            }
            if !complete && (self.max_line == 0 || line.len() <= self.max_line) {
                break;
            }
            let mut taken = 0;
            while taken < line.len() {
                let piece = (line.len() - taken).min(self.max_line);
                if piece < self.max_line && !complete {
                    break;
                }
                let end = self.offset + (done + taken + piece) as u64;
                let event = Event {
                    message: &line[taken..taken + piece],
                    attrs: None,
                    ts: None,
                    sample_rate: None,
                    number: self.number(rehearsed, end),
                };
                sink(head, &event)?;
                counts.events += 1;
                counts.event_bytes += piece as u64;
                taken += piece;
            }
            if !*cutting && line.len() > self.max_line {
                counts.cut_lines += 1;
            }
            *cutting = !complete;
            counts.lines += u64::from(complete);
            counts.bytes += taken as u64;
            done += taken;
            if taken < line.len() {
                break;
            }
        }
        if self.at_end && *cutting {
            // The last line was cut to its end
            counts.lines += 1;
            *cutting = false;
        }
        Ok(done)
    }

    /// Lines through the log's pipeline; how many bytes they took.
    fn shaped(
        &self,
        pipeline: &crate::shape::Pipeline,
        unit: &mut Unit,
        rehearsed: &mut Text,
        head: &Head,
        sink: &mut Sink,
        totals: &mut Totals,
    ) -> io::Result<usize> {
        let mut done = 0;
        let mut hurry = false;
        while done < self.data.len() {
            match zeros::start(&self.data[done..]) {
                zeros::Start::Out(zeros) => {
                    totals.counts.zero_bytes += zeros as u64;
                    done += zeros;
                    continue;
                }
                zeros::Start::Beyond if done > 0 => break,
                _ => {}
            }
            let input = Input {
                data: &self.data[done..],
                at_end: self.at_end || hurry,
                expired: hurry,
                offset: self.offset + done as u64,
                seed: identity::hash(rehearsed.sequence.id.as_bytes()),
                max_line: self.max_line,
                log_attrs: &head.attributes,
            };
            match pipeline.next(&input, &mut rehearsed.shape, unit) {
                // Nothing more comes: as after line_completion_wait_time. In a page that is full it
                // means that a unit is longer than any may be.
                Step::Wait if (self.at_end || done == 0) && !hurry => hurry = true,
                Step::Wait => break,
                Step::Taken { used } => {
                    for piece in &unit.events {
                        let event = Event {
                            message: unit.message(&input, piece),
                            attrs: unit.attrs(piece),
                            ts: piece.ts.filter(|_| !self.monotonic),
                            sample_rate: piece.sample_rate,
                            number: self.number(rehearsed, piece.number),
                        };
                        sink(head, &event)?;
                    }
                    totals.counts.add(&unit.counts);
                    done += used.max(1);
                    hurry = false;
                }
            }
        }
        Ok(done)
    }
}
