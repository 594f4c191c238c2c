//! A path that does not answer holds whoever looks at it, a person's command as well: it ends with a message then.

use super::{err, exit};
use crate::tail::Fence;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A path that takes longer than this for one answer hangs.
const HANGS: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// While it lives, a look of this thread at a path that hangs ends the process.
pub(super) struct Watch {
    _alive: Sender<()>,
}

/// Begins to watch the calling thread. Where no thread can be started it is not watched.
pub(super) fn watch() -> Watch {
    let fence = Arc::new(Fence::default());
    fence.enter();
    let (alive, ended) = mpsc::channel();
    let look = move || {
        let (mut steps, mut since) = (fence.steps(), Instant::now());
        while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
            let at = fence.at();
            if fence.steps() != steps || at.as_os_str().is_empty() {
                (steps, since) = (fence.steps(), Instant::now());
            } else if since.elapsed() >= HANGS {
                err(format_args!(
                    "{}: a look at it has not ended for {} s. A mount that does not answer or a scanner that lets no \
                     file be opened holds it; a running agent leaves it out and names it in `status -v`",
                    at.display(),
                    HANGS.as_secs()
                ));
                std::process::exit(exit::FAILED);
            }
        }
    };
    let _ = std::thread::Builder::new()
        .name("watch".to_owned())
        .stack_size(64 << 10)
        .spawn(look);
    Watch { _alive: alive }
}
