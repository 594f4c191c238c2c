//! Starting threads: what the standard library does around a closure is 3 KB of machine code for
//! each closure, so those that start seldom are boxed and share one copy.

use std::io;
use std::thread::Builder;

/// The work of a thread.
pub type Work<'a> = Box<dyn FnOnce() + Send + 'a>;

/// Starts a thread of that name, for which nobody waits.
///
/// # Errors
/// The system's: too many threads, or too little memory.
#[inline(never)]
pub fn start(name: &str, work: Work<'static>) -> io::Result<()> {
    Builder::new().name(name.to_owned()).spawn(work).map(drop)
}
