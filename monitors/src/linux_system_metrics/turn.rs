//! One sample being taken: what its parts share.

use crate::procfs::ProcFile;
use crate::Emitter;
use std::fmt::Display;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

pub(super) struct Turn<'a> {
    pub out: &'a mut Emitter,
    /// For the text of a file. It keeps its size from sample to sample.
    pub buffer: &'a mut Vec<u8>,
    /// For names that are put together.
    pub name: &'a mut String,
    /// How many sources could be read.
    pub well: usize,
}

impl Turn<'_> {
    /// Reads `file` and has `parse` emit what is in it. Each file stands alone: one that is missing
    /// or unreadable is a warning and silences no other.
    pub fn file(
        &mut self,
        file: &mut ProcFile,
        parse: impl FnOnce(&[u8], &mut String, &mut Emitter),
    ) {
        match file.read(self.buffer) {
            Ok(text) => {
                parse(text, self.name, self.out);
                self.well += 1;
            }
            Err(error) => self.missing(&error),
        }
    }

    /// Warns of something that cannot be collected, of each cause once an hour.
    pub fn missing(&mut self, why: &dyn Display) {
        let text = why.to_string();
        if self.out.once_in(HOUR, &text) {
            self.out
                .warn(format_args!("Some metrics are missing: {text}"));
        }
    }
}

pub(super) fn set_name(name: &mut String, prefix: &str, key: &str) {
    name.clear();
    name.push_str(prefix);
    name.push_str(key);
}
