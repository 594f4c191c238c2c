//! The body's bytes on the wire: plain, or compressed as `compression_type` says.

#[cfg(feature = "bz2")]
mod bz2;
mod deflate;
#[cfg(feature = "lz4")]
mod lz4;
#[cfg(test)]
mod tests;
#[cfg(feature = "zstd")]
mod zstd;

use crate::config::Compression;

/// Bodies from this size on come from a steady stream of lines.
const LARGE: usize = 32 * 1024;
/// Output memory kept between requests that need less than it.
const KEEP: usize = 64 * 1024;

/// A compressor that keeps its tables and its output from one request to the next.
pub struct Packer {
    kind: Compression,
    /// The operator's choice, one of the type's levels.
    level: Option<u8>,
    /// That of the last body.
    used: u8,
    /// Made with the first body that is compressed.
    codec: Option<Codec>,
    out: Vec<u8>,
}

/// The state that a compression type keeps between requests.
enum Codec {
    Deflate(deflate::Deflate),
    #[cfg(feature = "bz2")]
    Bz2,
    #[cfg(feature = "lz4")]
    Lz4(lz4::Lz4),
    #[cfg(feature = "zstd")]
    Zstd(zstd::Zstd),
}

impl Codec {
    fn new(kind: Compression) -> Option<Codec> {
        Some(match kind {
            Compression::Deflate => Codec::Deflate(Default::default()),
            #[cfg(feature = "bz2")]
            Compression::Bz2 => Codec::Bz2,
            #[cfg(feature = "lz4")]
            Compression::Lz4 => Codec::Lz4(Default::default()),
            #[cfg(feature = "zstd")]
            Compression::Zstandard => Codec::Zstd(Default::default()),
            Compression::None => return None,
        })
    }
}

impl Packer {
    /// `level` as the operator set it; without one it follows the backlog where the type has
    /// levels that pay, and else is the type's usual one.
    pub fn new(kind: Compression, level: Option<u8>) -> Self {
        Packer {
            kind,
            level,
            used: level_of(kind, level, false, false),
            codec: None,
            out: Vec::new(),
        }
    }

    /// The level of the last body, or of the first one to come if it is small; 0 if the type has none.
    pub fn level(&self) -> u8 {
        self.used
    }

    /// The bytes to send for `body`, and their `Content-Encoding` if they are compressed. What
    /// compression does not make smaller is sent plain. `backlog`: the batch is full, more is
    /// waiting.
    pub fn pack<'a>(
        &'a mut self,
        body: &'a [u8],
        backlog: bool,
    ) -> (&'a [u8], Option<&'static str>) {
        if self.codec.is_none() {
            self.codec = Codec::new(self.kind);
        }
        let Some(codec) = &mut self.codec else {
            return (body, None);
        };
        if self.out.len() < KEEP {
            self.out.clear();
            self.out.shrink_to(KEEP);
        }
        self.out.clear();
        let level = level_of(self.kind, self.level, backlog, body.len() >= LARGE);
        self.used = level;
        let out = &mut self.out;
        let smaller = match codec {
            Codec::Deflate(codec) => codec.pack(body, level, out),
            #[cfg(feature = "bz2")]
            Codec::Bz2 => bz2::pack(body, level, out),
            #[cfg(feature = "lz4")]
            Codec::Lz4(codec) => codec.pack(body, out),
            #[cfg(feature = "zstd")]
            Codec::Zstd(codec) => codec.pack(body, level, out),
        };
        if smaller {
            (&self.out, Some(self.kind.name()))
        } else {
            self.out = Vec::new();
            (body, None)
        }
    }
}

/// The level that a body is compressed with. `set` is the operator's.
fn level_of(kind: Compression, set: Option<u8>, backlog: bool, large: bool) -> u8 {
    match kind {
        Compression::None => 0,
        // The encoder has one level
        #[cfg(feature = "lz4")]
        Compression::Lz4 => 0,
        Compression::Deflate => set.unwrap_or(match (backlog, large) {
            (true, _) => deflate::HURRIED,
            (false, true) => deflate::BUSY,
            (false, false) => deflate::RELAXED,
        }),
        #[cfg(feature = "bz2")]
        Compression::Bz2 => set.unwrap_or(9),
        #[cfg(feature = "zstd")]
        Compression::Zstandard => set.unwrap_or(match backlog || large {
            true => zstd::HURRIED,
            false => zstd::RELAXED,
        }),
    }
}
