//! `zstandard`: one frame with the content's size.

use zstd_safe::CCtx;

/// Level while there is time: the type's usual one.
pub(super) const RELAXED: u8 = 3;
/// Level for large bodies and while there is a backlog. On logs it packs as well as level 3 for two
/// thirds of the processor time; level 3 is for small bodies of other kinds.
pub(super) const HURRIED: u8 = 1;

/// The library's tables, kept from one request to the next: 1.3 MB at level 3, tens of megabytes
/// at high ones.
#[derive(Default)]
pub(super) struct Zstd(Option<CCtx<'static>>);

impl Zstd {
    /// Fills `out`, which is empty; false if the result would not be smaller than `body`, or if
    /// there is no memory.
    pub(super) fn pack(&mut self, body: &[u8], level: u8, out: &mut Vec<u8>) -> bool {
        if self.0.is_none() {
            self.0 = CCtx::try_create();
        }
        let Some(state) = &mut self.0 else {
            return false;
        };
        // Reserved pages cost memory only once they are written to. A body that would not become
        // shorter does not fit, which ends the compression early
        out.reserve_exact(body.len().saturating_sub(1));
        state.compress(out, body, i32::from(level)).is_ok() && out.len() < body.len()
    }
}
