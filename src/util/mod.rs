//! Small things that every room uses and that know no room.

pub mod escape;
pub mod random;
pub mod sha256;
pub mod stop;
pub mod sys;
pub mod throttle;
pub mod time;
