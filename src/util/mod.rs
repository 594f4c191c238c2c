//! Small things that every room uses and that know no room; they live in the crate `common`, which
//! the monitors share.

pub use common::{
    crc32, escape, files, random, sha256, sort, stamp, stop, sys, throttle, time, varint, words,
};
