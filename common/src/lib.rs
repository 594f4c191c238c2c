//! Code that the agent and its monitors share, and that knows neither: small tools, regular
//! expressions in the language that configurations use, files that rotate, the places of root
//! certificates.

#![deny(unsafe_code, unsafe_op_in_unsafe_fn)]
#![warn(missing_docs)]

pub mod crc32;
pub mod escape;
pub mod files;
pub mod limit;
pub mod random;
pub mod regex;
#[cfg(feature = "tls")]
pub mod roots;
pub mod rotating;
pub mod sha256;
pub mod sort;
pub mod stamp;
pub mod stop;
#[allow(unsafe_code)]
pub mod sys;
pub mod thread;
pub mod throttle;
pub mod time;
#[cfg(feature = "tls")]
pub mod tls;
pub mod varint;
pub mod words;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
