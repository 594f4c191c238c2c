//! Undoing the `Content-Encoding` of a request.

use crate::verdict::Unreadable;
use bzip2::bufread::BzDecoder;
use lz4_flex::frame::FrameDecoder;
use miniz_oxide::inflate::core::{decompress, inflate_flags, DecompressorOxide};
use miniz_oxide::inflate::TINFLStatus;
use ruzstd::decoding::StreamingDecoder;
use std::io::Read;

/// Bytes of a body, as it comes and uncompressed.
pub(crate) const MAX_BODY: usize = 256 << 20;

/// The bytes that `wire` stands for. `out` is scratch whose memory is used again from request to
/// request.
pub(crate) fn decode<'a>(
    encoding: &str,
    wire: &'a [u8],
    out: &'a mut Vec<u8>,
) -> Result<&'a [u8], Unreadable> {
    let decoded = match encoding.to_ascii_lowercase().as_str() {
        "" | "identity" => return Ok(wire),
        "deflate" => inflate(wire, out),
        "bz2" => bunzip(wire, out),
        "lz4" => unlz4(wire, out),
        "zstandard" => unzstd(wire, out),
        _ => return Err(Unreadable::Encoding),
    };
    match decoded {
        Ok(length) => Ok(&out[..length]),
        Err(why) => Err(Unreadable::Body(why)),
    }
}

fn inflate(wire: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
    let fail = |why: &str| Err(why.to_owned());
    let flags = inflate_flags::TINFL_FLAG_PARSE_ZLIB_HEADER
        | inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let mut state = Box::<DecompressorOxide>::default();
    let (mut read, mut written) = (0, 0);
    if out.is_empty() {
        out.resize((wire.len() * 4).clamp(1 << 12, 1 << 23), 0);
    }
    loop {
        let (status, consumed, produced) =
            decompress(&mut state, &wire[read..], out, written, flags);
        read += consumed;
        written += produced;
        match status {
            TINFLStatus::Done if read == wire.len() => return Ok(written),
            TINFLStatus::Done => return fail("something follows the end of the zlib stream"),
            TINFLStatus::HasMoreOutput if out.len() >= MAX_BODY => {
                return fail("the zlib stream inflates to too much");
            }
            TINFLStatus::HasMoreOutput => out.resize((out.len() * 2).min(MAX_BODY), 0),
            _ => return fail("the zlib stream is broken"),
        }
    }
}

fn bunzip(mut wire: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
    read_all("bzip2 stream", BzDecoder::new(&mut wire), out)?;
    ended("bzip2 stream", wire, out, None)
}

/// As the real servers: blocks that depend on one another are refused, and so is a frame that does
/// not say how long its content is.
fn unlz4(mut wire: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
    const INDEPENDENT: u8 = 0x20;
    const SIZED: u8 = 0x08;
    const CHECKED: u8 = 0x04;
    let Some((flags, rest)) = wire.get(4).zip(wire.get(6..14)) else {
        return Err("the LZ4 frame has no whole header".to_owned());
    };
    if flags & INDEPENDENT == 0 {
        return Err("the LZ4 frame has blocks that depend on one another".to_owned());
    }
    if flags & SIZED == 0 {
        return Err("the LZ4 frame does not give its content's size".to_owned());
    }
    let size = rest
        .iter()
        .rev()
        .fold(0, |n, byte| n << 8 | u64::from(*byte));
    // The library takes the end of the bytes for the end of the frame
    let checksum = if flags & CHECKED == 0 { 0 } else { 4 };
    if !wire[..wire.len() - checksum].ends_with(&[0; 4]) {
        return Err("the LZ4 frame has no end".to_owned());
    }
    read_all("LZ4 frame", FrameDecoder::new(&mut wire), out)?;
    ended("LZ4 frame", wire, out, Some(size))
}

fn unzstd(mut wire: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
    let sized = |flags: &u8| flags >> 6 != 0 || flags & 0x20 != 0;
    if !wire.get(4).is_some_and(sized) {
        return Err("the Zstandard frame does not give its content's size".to_owned());
    }
    let decoder = StreamingDecoder::new(&mut wire)
        .map_err(|why| format!("the Zstandard frame is broken: {why}"))?;
    let size = decoder.decoder.content_size();
    read_all("Zstandard frame", decoder, out)?;
    ended("Zstandard frame", wire, out, Some(size))
}

fn read_all(what: &str, decoder: impl Read, out: &mut Vec<u8>) -> Result<(), String> {
    out.clear();
    match decoder.take(MAX_BODY as u64 + 1).read_to_end(out) {
        Ok(length) if length > MAX_BODY => Err(format!("the {what} unpacks to too much")),
        Ok(_) => Ok(()),
        Err(why) => Err(format!("the {what} is broken: {why}")),
    }
}

fn ended(what: &str, left: &[u8], out: &[u8], size: Option<u64>) -> Result<usize, String> {
    if !left.is_empty() {
        return Err(format!("something follows the end of the {what}"));
    }
    match size {
        Some(size) if size != out.len() as u64 => Err(format!(
            "the {what} has {} bytes, but says {size}",
            out.len()
        )),
        _ => Ok(out.len()),
    }
}
