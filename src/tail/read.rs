//! Reading a content's next lines into a batch. This is the hot path: per line one search for
//! the line end, one copy, and no allocation, system call, lock or clock.

use super::compressed::{self, Kind};
use super::counters::{Counters, Skip};
use super::identity;
use super::ledger::{before, Content, Evidence, Phase, BLOCK, HEAD};
use super::sequence::Sequence;
use super::source::{is_gone, Moved, Reading, Source};
use super::zeros;
use crate::config::AttrValue;
use crate::shape::{Counts, Input, Piece, Pipeline, Step, Unit};
use crate::wire::{Batch, Envelope, Event, Label, Push, Span, Stamp};
use std::io;
use std::time::{Duration, Instant};

/// The end of a turn of reading.
#[derive(Debug)]
pub enum Turn {
    /// Nothing more to read now; an unterminated rest may wait until the given moment.
    Drained(Option<Instant>),
    /// The turn's share is used up; there is more.
    More,
    /// The batch has no room for the next line.
    BatchFull,
    /// The text is not what it was: truncated or overwritten.
    Replaced,
    /// The content is not where the last look has found it.
    Moved,
    /// It is compressed by the program of this name.
    Compressed(&'static str),
    /// It can't be read now.
    Failed(io::Error),
}

/// A log's pipeline and what it works with.
pub struct Shape<'a> {
    /// The entry's.
    pub pipeline: &'a Pipeline,
    /// Reused between logs.
    pub unit: &'a mut Unit,
    /// The log's own attributes.
    pub log_attrs: &'a [(String, AttrValue)],
}

/// A content that is being read.
pub struct Work<'a> {
    /// Its state in the ledger.
    pub content: &'a mut Content,
    /// The state that is kept between two turns.
    pub reading: &'a mut Reading,
    /// The numbers of the events to come.
    pub sequence: Sequence,
}

/// Bytes that were read, from a unit's start on.
struct Page<'a> {
    data: &'a [u8],
    at_end: bool,
    offset: u64,
}

/// How far a page was taken.
#[derive(Default)]
struct Progress {
    done: usize,
    full: bool,
    waits_until: Option<Instant>,
}

/// The surroundings of reading: where lines go, and by which rules.
pub struct Reader<'a> {
    /// How this log's lines are shaped, if they are.
    pub shape: Option<Shape<'a>>,
    /// The session's envelope.
    pub envelope: &'a Envelope,
    /// Event times.
    pub stamp: &'a mut Stamp,
    /// Where lines go.
    pub batch: &'a mut Batch,
    /// Longest message of this log (0: drop every event).
    pub max_line: usize,
    /// `max_allowed_request_size`; the batch's own limit may be lower for the moment.
    pub max_request: usize,
    /// How long an unterminated line may wait for its end.
    pub line_completion_wait: Duration,
    /// `enforce_monotonic_timestamps`.
    pub monotonic: bool,
    /// Where sequences switch.
    pub max_sequence_number: u64,
    /// Now.
    pub now: Instant,
}

/// The size of a read buffer that always holds a whole longest line or, with `window` bytes, a
/// whole unit of any pipeline.
pub fn buffer_size(read_page_size: usize, max_line_size: usize, window: usize) -> usize {
    read_page_size.max(max_line_size + 1).max(window) + BLOCK
}

impl Reader<'_> {
    /// Reads up to about `share` bytes. `buf` is reused between files and has at least [`buffer_size`] bytes.
    pub fn turn(
        &mut self,
        buf: &mut [u8],
        work: &mut Work,
        label: &mut Label,
        counters: &mut Counters,
        share: u64,
    ) -> Turn {
        let until = work.content.read.saturating_add(share);
        loop {
            let end = match self.page(buf, work, label, counters) {
                Ok(end) => end,
                Err(Stop::Replaced) => return Turn::Replaced,
                Err(Stop::Compressed(name)) => return Turn::Compressed(name),
                Err(Stop::TooShort) => return Turn::Drained(None),
                Err(Stop::Io(e)) if Moved::is(&e) || is_gone(&e) => return Turn::Moved,
                Err(Stop::Io(e)) => return Turn::Failed(e),
            };
            match end {
                End::Full => return Turn::BatchFull,
                End::OfContent { waits_until } => return Turn::Drained(waits_until),
                End::OfPage if work.content.read >= until => return Turn::More,
                End::OfPage => {}
            }
        }
    }

    /// Whether the head of the file that is open is to be compared: after a look that saw growth.
    fn must_check(work: &mut Work) -> Result<bool, Stop> {
        let is_plain = matches!(work.reading.open(work.content)?, Source::Plain(_));
        Ok(is_plain && (!work.reading.is_text || work.reading.check_head))
    }

    /// Whether the file that is open still holds the content, as its first bytes tell, and where text beyond the
    /// position was seen, that. The text right before the position comes with the page.
    fn check(head: &[u8], work: &mut Work) -> Result<(), Stop> {
        let evidence = &work.content.evidence;
        if !evidence.head_agrees(head) {
            return Err(Stop::Replaced);
        }
        if evidence.end() > work.content.read {
            let source = work.reading.source()?;
            if !evidence.agrees_nearby(source)? {
                return Err(Stop::Replaced);
            }
        }
        work.reading.check_head = false;
        if work.reading.is_text {
            return Ok(());
        }
        match compressed::sniff(head) {
            Kind::Text => {
                work.reading.is_text = head.len() >= compressed::LOOK_AT;
                Ok(())
            }
            Kind::Compressed(name) => Err(Stop::Compressed(name)),
            Kind::TooShort => Err(Stop::TooShort),
        }
    }

    /// Reads a page with the text before it, and compares the head: of a file that begins with the page, what was
    /// read of that.
    fn read(&self, buf: &mut [u8], lead: usize, work: &mut Work) -> Result<usize, Stop> {
        let from = work.content.read - lead as u64;
        let checks = Self::must_check(work)?;
        if checks && from > 0 {
            let head = before(HEAD as u64, HEAD, work.reading.source()?)?;
            Self::check(&head, work)?;
        }
        let length = work.content.length;
        let n = work.reading.source()?.read_known(buf, from, length)?;
        if checks && from == 0 {
            Self::check(&buf[..n.min(HEAD)], work)?;
        }
        Ok(n)
    }

    fn page(
        &mut self,
        buf: &mut [u8],
        work: &mut Work,
        label: &mut Label,
        counters: &mut Counters,
    ) -> Result<End, Stop> {
        let read = work.content.read;
        let lead = read.min(BLOCK as u64) as usize;
        let n = match self.read(buf, lead, work) {
            Err(Stop::TooShort) => {
                work.reading.partial = self.more_may_come();
                return Ok(End::OfContent { waits_until: None });
            }
            read => read?,
        };
        if n < lead {
            return Err(Stop::Replaced);
        }
        let evidence = &work.content.evidence;
        let is_next = match work.reading.mark {
            _ if evidence.end() == read => evidence.follows(&buf[..lead]),
            Some(mark) => mark == identity::hash(&buf[..lead]),
            None => true,
        };
        if !is_next {
            return Err(Stop::Replaced);
        }
        let mut at_end = n < buf.len();
        let mut data = &buf[lead..n];
        let mut waits_for_text = false;
        if let zeros::End::Zeros(text) = zeros::end(data, at_end, self.max_line) {
            if text == 0 && !at_end && work.reading.is_at_line_start() {
                return self.pass_zeros(work);
            }
            // The rest of a line that is withheld may be anything
            if text > 0 || at_end {
                data = &data[..text];
                at_end = true;
                waits_for_text = true;
            }
        }
        let is_archive = work.content.is_archive();
        if data.is_empty() {
            if waits_for_text {
                work.reading.partial = self.more_may_come();
            }
            return Ok(End::OfContent { waits_until: None });
        }
        if !is_archive {
            work.content.length = work.content.length.max(read + data.len() as u64);
        }
        self.stamp
            .advance_to(crate::util::time::now_nanos(), self.monotonic);

        let mut span = Span {
            source: work.content.key.0,
            from: read,
            to: read,
            lines: 0,
            message_bytes: 0,
            refused_lines: 0,
            refused_bytes: 0,
            edition: work.content.edition,
            counts: Counts::default(),
        };
        let page = Page {
            data,
            at_end,
            offset: read,
        };
        let pieces = work.reading.pieces;
        let Progress {
            done,
            full,
            waits_until,
        } = match self.shape.take() {
            None => self.plain(&page, work, label, counters, &mut span),
            Some(mut shape) => {
                let progress = self.shaped(&page, &mut shape, work, label, &mut span);
                self.shape = Some(shape);
                progress
            }
        };
        if done > 0 || work.reading.pieces != pieces {
            work.content.advance(&buf[..lead], &buf[lead..lead + done]);
            let end = lead + done;
            let before = &buf[end.saturating_sub(BLOCK)..end];
            let is_ahead = work.content.evidence.end() != work.content.read;
            work.reading.mark = is_ahead.then(|| identity::hash(before));
            span.to = work.content.read;
            if let Some(hold) = work.reading.hold.filter(|hold| *hold < span.to) {
                span.to = hold.max(span.from);
            }
            cover(self.batch, span);
        }
        if waits_for_text && !full && waits_until.is_none() {
            work.reading.partial = self.more_may_come();
        }
        Ok(if full {
            End::Full
        } else if at_end {
            End::OfContent { waits_until }
        } else {
            End::OfPage
        })
    }

    /// A page of zeros: goes on behind them, or waits if there is nothing.
    fn pass_zeros(&mut self, work: &mut Work) -> Result<End, Stop> {
        let from = work.content.read;
        match zeros::text_after(work.reading.source()?, from)? {
            Some(to) => {
                pass_zeros(self.batch, work.content, work.reading, to);
                Ok(End::OfPage)
            }
            None => {
                work.reading.partial = self.more_may_come();
                Ok(End::OfContent { waits_until: None })
            }
        }
    }

    /// As a line whose time is up: it is looked at in each look at the file, and is no growth.
    fn more_may_come(&self) -> Option<(u64, Instant)> {
        let long_ago = self.now.checked_sub(self.line_completion_wait);
        Some((zeros::WAITS, long_ago.unwrap_or(self.now)))
    }

    /// Cuts a page into lines and takes them as they are.
    fn plain(
        &mut self,
        page: &Page,
        work: &mut Work,
        label: &mut Label,
        counters: &mut Counters,
        span: &mut Span,
    ) -> Progress {
        let (data, read) = (page.data, page.offset);
        let mut done = 0;
        let mut full = false;
        while done < data.len() {
            let rest = &data[done..];
            match zeros::start(rest) {
                zeros::Start::Out(zeros) => {
                    done += zeros;
                    span.to = read + done as u64;
                    span.counts.zero_bytes += zeros as u64;
                    continue;
                }
                zeros::Start::Beyond if done > 0 => break,
                _ => {}
            }
            let line = match memchr::memchr(b'\n', rest) {
                Some(end) => end + 1,
                None if rest.len() > self.max_line && self.max_line > 0 => rest.len(),
                // Dropped anyway; waiting for its end in a full buffer would be for ever
                None if self.max_line == 0 && !page.at_end => rest.len(),
                None => break,
            };
            match self.line(work, label, counters, &rest[..line], done, span) {
                Ok(()) => done += line,
                Err(pieces) => {
                    done += pieces;
                    full = true;
                    break;
                }
            }
            if line == rest.len() && rest.last() != Some(&b'\n') && self.max_line > 0 {
                // Only whole pieces were taken of a line that goes on
                done = (span.to - read) as usize;
                break;
            }
        }
        let rest = data.len() - done;
        let mut waits_until = None;
        if full || rest == 0 {
            work.reading.partial = None;
        } else if page.at_end {
            let since = match work.reading.partial {
                Some((len, since)) if len == rest as u64 => since,
                _ => self.now,
            };
            work.reading.partial = Some((rest as u64, since));
            let until = since + self.line_completion_wait;
            if self.now >= until {
                if self.push(work, label, &data[done..], done + rest, span, counters) {
                    done += rest;
                    work.reading.partial = None;
                } else {
                    full = true;
                }
            } else {
                waits_until = Some(until);
            }
        }
        Progress {
            done,
            full,
            waits_until,
        }
    }

    /// Takes a page through the log's pipeline, unit by unit.
    fn shaped(
        &mut self,
        page: &Page,
        shape: &mut Shape,
        work: &mut Work,
        label: &mut Label,
        span: &mut Span,
    ) -> Progress {
        let mut progress = Progress::default();
        let seed = identity::hash(work.sequence.id.as_bytes());
        let mut hurry = false;
        while progress.done < page.data.len() {
            let offset = page.offset + progress.done as u64;
            if work.reading.is_at_line_start() {
                match zeros::start(&page.data[progress.done..]) {
                    zeros::Start::Out(zeros) => {
                        progress.done += zeros;
                        span.counts.zero_bytes += zeros as u64;
                        continue;
                    }
                    zeros::Start::Beyond if progress.done > 0 => return progress,
                    _ => {}
                }
            }
            let since = work.reading.partial.filter(|(at, _)| *at == offset);
            let expired =
                since.is_some_and(|(_, since)| self.now >= since + self.line_completion_wait);
            let input = Input {
                data: &page.data[progress.done..],
                at_end: page.at_end || hurry,
                expired: expired || hurry,
                offset,
                seed,
                max_line: self.max_line,
                log_attrs: shape.log_attrs,
            };
            let before = work.reading.shape.clone();
            match shape
                .pipeline
                .next(&input, &mut work.reading.shape, shape.unit)
            {
                Step::Wait if page.at_end => {
                    let since = since.map_or(self.now, |(_, since)| since);
                    work.reading.partial = Some((offset, since));
                    progress.waits_until = Some(since + self.line_completion_wait);
                    return progress;
                }
                // The buffer holds a whole window, so this page has been read to where the next
                // one goes on; were it not so, the unit is taken as it is.
                Step::Wait if progress.done == 0 && !hurry => hurry = true,
                Step::Wait => return progress,
                Step::Taken { used } => {
                    for (at, piece) in shape
                        .unit
                        .events
                        .iter()
                        .enumerate()
                        .skip(work.reading.pieces)
                    {
                        if !self.push_piece(work, label, shape.unit, &input, piece, span) {
                            // The rest of the unit goes into the next batch
                            work.reading.pieces = at;
                            work.reading.shape = before;
                            progress.full = true;
                            return progress;
                        }
                    }
                    work.reading.pieces = 0;
                    work.reading.partial = None;
                    work.reading.hold = shape.unit.hold;
                    span.counts.add(&shape.unit.counts);
                    progress.done += used.max(1);
                    hurry = false;
                }
            }
        }
        progress
    }

    fn push_piece(
        &mut self,
        work: &mut Work,
        label: &mut Label,
        unit: &Unit,
        input: &Input,
        piece: &Piece,
        span: &mut Span,
    ) -> bool {
        let mut number = work.sequence.number(piece.number);
        if number > self.max_sequence_number {
            work.sequence = work.sequence.successor(self.max_sequence_number);
            number = work.sequence.number(piece.number);
        }
        let message = unit.message(input, piece);
        let event = Event {
            message,
            attrs: unit.attrs(piece),
            sample_rate: piece.sample_rate,
            source: work.sequence.serial,
            sequence_id: &work.sequence.id,
            sequence_number: number,
        };
        if let Some(ts) = piece.ts.filter(|_| self.monotonic) {
            self.stamp.advance_to(ts, true);
        }
        let own_time = piece.ts.map(Stamp::new);
        let stamp = match &own_time {
            Some(own) if !self.monotonic => own,
            _ => &*self.stamp,
        };
        let mut pushed = self.batch.push(self.envelope, label, stamp, event);
        if pushed == Push::NeverFits {
            self.batch.raise_limit(self.max_request);
            pushed = self.batch.push(self.envelope, label, stamp, event);
            self.batch.seal();
        }
        match pushed {
            Push::Full => return false,
            Push::Done => {
                span.lines += 1;
                span.message_bytes += message.len() as u64;
            }
            Push::NeverFits => {
                span.counts.no_room_lines += 1;
                span.counts.no_room_bytes += message.len() as u64;
                log::error!(
                    "an event of {} bytes, attributes aside, fits into no request and was dropped",
                    message.len()
                );
            }
        }
        self.stamp.next();
        true
    }

    /// Takes one line, in pieces if it is too long. `Err` says how many of its bytes went in before
    /// the batch was full. Of a line without its end only whole pieces are taken.
    #[inline]
    fn line(
        &mut self,
        work: &mut Work,
        label: &mut Label,
        counters: &mut Counters,
        line: &[u8],
        at: usize,
        span: &mut Span,
    ) -> Result<(), usize> {
        if line.len() <= self.max_line {
            return if self.push(work, label, line, at + line.len(), span, counters) {
                Ok(())
            } else {
                Err(0)
            };
        }
        if self.max_line == 0 {
            counters.skip(Skip::TooLarge, line.len() as u64);
            log::error!(
                "the attributes of a log leave no room for any event in a request of \
                 max_allowed_request_size bytes; a line of {} bytes was dropped. Shorten the attributes \
                 or raise max_allowed_request_size",
                line.len()
            );
            return Ok(());
        }
        let complete = line.last() == Some(&b'\n');
        let mut taken = 0;
        while taken < line.len() {
            let piece = (line.len() - taken).min(self.max_line);
            if piece < self.max_line && !complete {
                break;
            }
            let end = at + taken + piece;
            if !self.push(
                work,
                label,
                &line[taken..taken + piece],
                end,
                span,
                counters,
            ) {
                return Err(taken);
            }
            taken += piece;
        }
        Ok(())
    }

    /// Adds one event that ends `end` bytes after the page's start. False if the batch is full.
    #[inline]
    fn push(
        &mut self,
        work: &mut Work,
        label: &mut Label,
        message: &[u8],
        end: usize,
        span: &mut Span,
        counters: &mut Counters,
    ) -> bool {
        let offset = span.from + end as u64;
        let mut number = work.sequence.number(offset);
        if number > self.max_sequence_number {
            work.sequence = work.sequence.successor(self.max_sequence_number);
            number = work.sequence.number(offset);
        }
        let event = Event {
            message,
            attrs: None,
            sample_rate: None,
            source: work.sequence.serial,
            sequence_id: &work.sequence.id,
            sequence_number: number,
        };
        let mut pushed = self.batch.push(self.envelope, label, self.stamp, event);
        if pushed == Push::NeverFits {
            // Alone, above the limit of the moment
            self.batch.raise_limit(self.max_request);
            pushed = self.batch.push(self.envelope, label, self.stamp, event);
            self.batch.seal();
        }
        match pushed {
            Push::Done => {
                self.stamp.next();
                span.to = offset;
                span.lines += 1;
                span.message_bytes += message.len() as u64;
                true
            }
            Push::Full => false,
            Push::NeverFits => {
                // max_line rules this out; if it ever happens the line must not wedge its log
                counters.skip(Skip::TooLarge, message.len() as u64);
                log::error!(
                    "an event of {} bytes fits into no request and was dropped",
                    message.len()
                );
                span.to = offset;
                true
            }
        }
    }
}

/// Notes in the batch that it covers these bytes.
pub fn cover(batch: &mut Batch, span: Span) {
    match batch.spans.last_mut() {
        Some(last)
            if last.source == span.source
                && last.to == span.from
                && last.edition == span.edition =>
        {
            last.to = span.to;
            last.lines += span.lines;
            last.message_bytes += span.message_bytes;
            last.counts.add(&span.counts);
        }
        _ => batch.spans.push(span),
    }
}

/// Leaves zeros out.
pub fn pass_zeros(batch: &mut Batch, content: &mut Content, reading: &mut Reading, to: u64) {
    let counts = Counts {
        zero_bytes: to.saturating_sub(content.read),
        ..Counts::default()
    };
    skip(batch, content, reading, to, counts);
}

/// Notes bytes as settled without sending them; they settle in their turn.
pub fn skip(
    batch: &mut Batch,
    content: &mut Content,
    reading: &mut Reading,
    to: u64,
    counts: Counts,
) {
    let from = content.read;
    let evidence = reading
        .source()
        .and_then(|source| Evidence::taken(to, source));
    content.skip(to, evidence.unwrap_or_default());
    reading.mark = None;
    reading.partial = None;
    if content.phase != Phase::Shown && content.evidence.end() < to {
        content.length = to;
    }
    let span = Span {
        source: content.key.0,
        from,
        to,
        lines: 0,
        message_bytes: 0,
        refused_lines: 0,
        refused_bytes: 0,
        edition: content.edition,
        counts,
    };
    cover(batch, span);
}

/// The end of reading a page.
enum End {
    OfPage,
    OfContent {
        waits_until: Option<Instant>,
    },
    /// The batch has no room for more.
    Full,
}

/// Why a page can't be read.
enum Stop {
    /// The file has other content by now.
    Replaced,
    /// It is no text.
    Compressed(&'static str),
    /// It may be the beginning of something that is no text.
    TooShort,
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(e: io::Error) -> Self {
        Stop::Io(e)
    }
}
