//! Cutting what is too long under redaction: no match may span the cut, or a part of a secret could
//! be sent.

use super::group::decode;
use super::redact::{self, Outcome};
use super::sample::{self, Decision};
use super::unit::Text;
use super::work::{About, Work, WITHHELD};
use common::regex::budget;

impl Work<'_, '_> {
    /// Cuts what is too long so that no match of a redaction rule spans the cut, at `want` if that
    /// can be, and makes an event of what stands before it. All of `context` is looked at.
    pub(super) fn cut(&mut self, context: usize, want: usize) -> usize {
        let pipeline = self.pipeline;
        let data = &self.input.data[..context];
        let mut decoded = std::mem::take(&mut self.scratch.decoded);
        let (text, valid) = match std::str::from_utf8(data) {
            Ok(text) => (text, true),
            Err(_) => {
                decode(data, &mut decoded);
                (decoded.as_str(), false)
            }
        };
        let place = text_place(data, text, valid, want);
        let found = self.find_cut(text, place);
        let used = match found {
            None => {
                // No place is safe: the rest of the line is not sent
                if data.last() != Some(&b'\n') {
                    let since = self.input.offset;
                    self.state.mute = Some(since);
                    self.unit.hold = Some(since);
                }
                self.unit.counts.redacted_lines += 1;
                self.unit.counts.withheld_lines += 1;
                let from = self.unit.text.len();
                self.unit.text.extend_from_slice(WITHHELD.as_bytes());
                let message = Text::Own(from, self.unit.text.len());
                let about = About {
                    raw: context,
                    ..About::default()
                };
                self.send(message, context, None, about);
                context
            }
            Some((place, outcome)) => {
                let used = data_place(data, text, valid, place);
                let counts = &mut self.unit.counts;
                let decision = sample::decide(
                    &pipeline.sampling,
                    &mut self.desk.sampling,
                    &text[..place],
                    (self.input.seed, self.input.offset),
                    &mut budget(place),
                    &mut counts.failed_searches,
                );
                let about = About {
                    raw: used,
                    ..About::default()
                };
                let from = self.unit.text.len();
                match (decision, outcome) {
                    (Decision::Drop, _) => {
                        counts.sampled_out_lines += 1;
                        counts.sampled_out_bytes += used as u64;
                    }
                    (Decision::Keep(rate), Outcome::Changed(len)) => {
                        counts.redacted_lines += 1;
                        let done = &self.scratch.buffers.done.as_bytes()[..len];
                        self.unit.text.extend_from_slice(done);
                        let message = Text::Own(from, self.unit.text.len());
                        self.send(message, used, rate, about);
                    }
                    (Decision::Keep(rate), _) if valid => {
                        self.send(Text::Data(0, used), used, rate, about);
                    }
                    (Decision::Keep(rate), _) => {
                        let text = &text.as_bytes()[..place];
                        self.unit.text.extend_from_slice(text);
                        let message = Text::Own(from, self.unit.text.len());
                        self.send(message, used, rate, about);
                    }
                }
                used
            }
        };
        self.scratch.decoded = decoded;
        used
    }

    /// A place in `text`, best `want`, that no match spans, and what the rules make of it.
    fn find_cut(&mut self, text: &str, want: usize) -> Option<(usize, Outcome)> {
        let mut place = want;
        // All tries together: each one looks at everything
        let mut steps = budget(text.len()) * 2;
        for _ in 0..24 {
            let outcome = redact::apply(
                &self.pipeline.redaction,
                &mut self.desk.redaction,
                &mut self.scratch.buffers,
                text,
                place,
                &mut steps,
            );
            let (rule, from, to, of) = match outcome {
                Err(_) => return None,
                Ok(Outcome::Straddles { rule, from, to, of }) => (rule, from, to, of),
                Ok(outcome) => return Some((place, outcome)),
            };
            place = if rule > 0 || of != text.len() {
                // Places in a text that rules have changed are no places in this one
                place - (place / 8).max(1)
            } else if from >= place / 2 && from > 0 {
                from
            } else if to < text.len() {
                to
            } else {
                from
            };
            while !text.is_char_boundary(place) {
                place -= 1;
            }
            if place == 0 {
                return None;
            }
        }
        None
    }
}

/// The place in the decoded text of a place in the data, a little before it within a character.
fn text_place(data: &[u8], text: &str, valid: bool, place: usize) -> usize {
    let mut found = if valid {
        place
    } else {
        let mut decoded = 0;
        let mut raw = 0;
        for chunk in data.utf8_chunks() {
            if raw + chunk.valid().len() >= place {
                decoded += place - raw;
                break;
            }
            raw += chunk.valid().len() + chunk.invalid().len();
            decoded += chunk.valid().len();
            if raw > place {
                break;
            }
            decoded += char::REPLACEMENT_CHARACTER.len_utf8();
        }
        decoded.min(text.len())
    };
    while !text.is_char_boundary(found) {
        found -= 1;
    }
    found.max(text.chars().next().map_or(0, char::len_utf8))
}

/// The place in the data of a place in the decoded text.
fn data_place(data: &[u8], text: &str, valid: bool, place: usize) -> usize {
    if valid || place >= text.len() {
        return place.min(data.len());
    }
    let mut decoded = 0;
    let mut raw = 0;
    for chunk in data.utf8_chunks() {
        if decoded + chunk.valid().len() >= place {
            return raw + (place - decoded);
        }
        decoded += chunk.valid().len();
        raw += chunk.valid().len() + chunk.invalid().len();
        decoded += char::REPLACEMENT_CHARACTER.len_utf8();
    }
    raw.min(data.len())
}
