//! The positions of monitors' streams are records of the position journal.

use crate::tail::journal::{Journal, Records};

/// Keeps cursors in a journal.
pub struct Kept(pub Journal);

impl monitors::Keep for Kept {
    fn keep(&self, stream: &str, cursor: &[u8]) {
        let mut records = Records::default();
        if records.cursor(stream, cursor) {
            self.0.append(&records);
        }
    }

    fn generation(&self) -> u64 {
        self.0.generation()
    }
}
