//! `bz2`: a bzip2 stream.

use bzip2::{Action, Compress, Compression, Status};

/// The output grows in steps of this.
const STEP: usize = 64 * 1024;

/// Fills `out`, which is empty; false if the result would not be smaller than `body`.
///
/// The library's state cannot be used a second time. It takes 0.8 MB times the level, of which a
/// small body touches little; the time to allocate it is nothing beside that of the compression.
pub(super) fn pack(body: &[u8], level: u8, out: &mut Vec<u8>) -> bool {
    let mut state = Compress::new(Compression::new(u32::from(level)), 0);
    loop {
        out.reserve(STEP);
        let taken = usize::try_from(state.total_in()).unwrap_or(usize::MAX);
        let rest = body.get(taken..).unwrap_or_default();
        let status = state.compress_vec(rest, out, Action::Finish);
        if out.len() >= body.len() {
            return false;
        }
        match status {
            Ok(Status::StreamEnd) => return true,
            Ok(Status::FinishOk) => {}
            _ => return false,
        }
    }
}
