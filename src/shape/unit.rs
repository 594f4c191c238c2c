//! Input and result of a step of the pipeline. Both are reused.

use super::json::Member;
use super::redact::Buffers;
use crate::config::AttrValue;
use common::regex::Searcher;

/// The input of a step.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Raw bytes of the file from the end of the last unit on.
    pub data: &'a [u8],
    /// The file ends now where `data` ends.
    pub at_end: bool,
    /// The incomplete unit at the start of `data` has waited long enough: take it as it is. Only
    /// of meaning with `at_end`.
    pub expired: bool,
    /// Where in the file `data` starts, in bytes.
    pub offset: u64,
    /// For sampling: equal bytes at an equal offset with an equal seed are decided equally.
    pub seed: u64,
    /// Longest message in bytes; 0 drops every event.
    pub max_line: usize,
    /// The log's own attributes.
    pub log_attrs: &'a [(String, AttrValue)],
}

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A unit was made of the first `used` bytes (at least one); the [`Unit`] holds its events,
    /// maybe none.
    Taken {
        /// Raw bytes that are done with.
        used: usize,
    },
    /// The unit is not complete: more bytes are needed or, at the end of the file, time.
    Wait,
}

/// State that outlives a step, one for each content. After a step back in the file it must be
/// reset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// The rest of the line is withheld; where in the file that began.
    pub(super) mute: Option<u64>,
}

impl State {
    /// Forgets everything: reading goes on elsewhere.
    pub fn reset(&mut self) {
        *self = State::default();
    }
}

/// A range of bytes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    /// A range of the input's data.
    Data(usize, usize),
    /// A range of the unit's own text.
    Own(usize, usize),
}

impl Text {
    pub(super) fn len(self) -> usize {
        match self {
            Text::Data(from, to) | Text::Own(from, to) => to - from,
        }
    }

    /// The bytes `from..to` of it.
    pub(super) fn part(self, from: usize, to: usize) -> Text {
        match self {
            Text::Data(start, _) => Text::Data(start + from, start + to),
            Text::Own(start, _) => Text::Own(start + from, start + to),
        }
    }
}

/// An event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Piece {
    pub(super) message: Text,
    pub(super) attrs: Option<(usize, usize)>,
    /// Its time in nanoseconds since the epoch, if the line has one.
    pub ts: Option<u64>,
    /// The rate of the sampling rule that let it through, where that is not 1.
    pub sample_rate: Option<f64>,
    /// For the sequence number: an offset in the file that grows from event to event; of a unit's
    /// last event the unit's end.
    pub number: u64,
}

/// The events of one step, and its buffers.
#[derive(Debug, Default)]
pub struct Unit {
    /// Its events in order.
    pub events: Vec<Piece>,
    pub(super) text: Vec<u8>,
    /// The smallest offset in the file that must not be settled yet: what follows can only be
    /// read rightly from there on.
    pub hold: Option<u64>,
    /// Counts of this step alone.
    pub counts: Counts,
    pub(super) scratch: Scratch,
}

impl Unit {
    /// An empty one.
    pub fn new() -> Self {
        Unit::default()
    }

    /// An event's message; `input` is the one that the step was given.
    #[inline]
    pub fn message<'a>(&'a self, input: &Input<'a>, piece: &Piece) -> &'a [u8] {
        match piece.message {
            Text::Data(from, to) => &input.data[from..to],
            Text::Own(from, to) => &self.text[from..to],
        }
    }

    /// An event's own attributes as JSON members `"k":v,"k":v`: `None` if the
    /// line has none, empty if they all equal the log's.
    #[inline]
    pub fn attrs(&self, piece: &Piece) -> Option<&[u8]> {
        piece.attrs.map(|(from, to)| &self.text[from..to])
    }

    /// Gives back memory beyond `keep` bytes per buffer, for quiet times.
    pub fn shrink(&mut self, keep: usize) {
        self.events.clear();
        self.events.shrink_to(64);
        self.text.clear();
        self.text.shrink_to(keep);
        self.scratch.shrink(keep);
    }
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters. They balance: `bytes + added_bytes` is `event_bytes + framing_bytes +
        /// redacted_bytes + sampled_out_bytes + empty_bytes + withheld_bytes + no_room_bytes`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counts {
            /// Adds another's.
            pub fn add(&mut self, other: &Counts) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counts! {
    /// Raw lines taken; a part of a cut line counts as one.
    lines,
    /// Raw bytes taken.
    bytes,
    /// Events made.
    events,
    /// Bytes of their messages.
    event_bytes,
    /// Raw lines that were joined to the one before them by a grouper.
    grouped_lines,
    /// Events dropped by a sampling rule.
    sampled_out_lines,
    /// Raw bytes of them.
    sampled_out_bytes,
    /// Events, before cutting, that redaction changed, withheld ones included.
    redacted_lines,
    /// Values of attributes that redaction changed.
    redacted_attributes,
    /// Bytes by which redaction made messages shorter.
    redacted_bytes,
    /// Bytes by which messages are longer than what they were made of: by redaction, escapes, and
    /// replaced invalid UTF-8.
    added_bytes,
    /// Events that a placeholder stands for, because they could not be redacted for sure.
    withheld_lines,
    /// Raw bytes withheld at the end of such lines.
    withheld_bytes,
    /// Events dropped because nothing is left of their message.
    empty_lines,
    /// Raw bytes of them.
    empty_bytes,
    /// Events dropped because no message fits into a request.
    no_room_lines,
    /// Raw bytes of them.
    no_room_bytes,
    /// Holes and zeros between lines.
    zero_bytes,
    /// Raw bytes that parsing took for something else than the message.
    framing_bytes,
    /// Events that were cut because they were too long.
    cut_lines,
    /// Lines that are not of the log's format and were sent as they are.
    parse_failures,
    /// JSON lines without the message member, sent as they are.
    missing_messages,
    /// JSON lines whose time can't be read.
    bad_times,
    /// JSON lines that end without a newline, and `merge_json_parsed_lines` is off.
    unmerged_lines,
    /// Searches of groupers and sampling rules that took too long and count as not found.
    failed_searches,
}

/// The memory of one thread for one pipeline.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) pipeline: u64,
    pub(super) used: u64,
    /// Two for each grouper.
    pub(super) groupers: Vec<Searcher>,
    pub(super) sampling: Vec<Searcher>,
    pub(super) redaction: Vec<Searcher>,
}

/// A text whose end is in a later line.
#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) active: bool,
    pub(super) text: Vec<u8>,
    pub(super) nanos: u64,
    /// Where its first line starts in the data.
    pub(super) from: usize,
    /// Raw bytes of its lines.
    pub(super) raw: usize,
}

/// Buffers.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) desks: Vec<Desk>,
    pub(super) tick: u64,
    pub(super) buffers: Buffers,
    /// A text with its invalid UTF-8 replaced.
    pub(super) decoded: String,
    pub(super) value: Vec<u8>,
    pub(super) members: Vec<Member>,
    pub(super) open: [Open; 2],
    /// A line of a grouper with its invalid UTF-8 replaced.
    pub(super) line: String,
}

impl Scratch {
    fn shrink(&mut self, keep: usize) {
        self.buffers.shrink(keep);
        for text in [&mut self.decoded, &mut self.line] {
            text.clear();
            text.shrink_to(keep);
        }
        self.value.clear();
        self.value.shrink_to(keep);
        self.members.clear();
        self.members.shrink_to(64);
        for open in &mut self.open {
            open.text.clear();
            open.text.shrink_to(keep);
        }
    }
}
