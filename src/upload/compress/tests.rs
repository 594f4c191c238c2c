//! Every type of this build, by itself and through the receiver.

use super::*;
use crate::config::ServerUrl;
use crate::upload::{check_server, Check, UploadSettings};
use crate::wire::{Envelope, EnvelopeSpec, Form};
use miniz_oxide::inflate::decompress_to_vec_zlib;
use receiver::{Options, Receiver, Request};
use std::io::{Read, Write};
use std::net::TcpStream;

fn log_text(lines: u32) -> Vec<u8> {
    (0..lines)
        .flat_map(|n| format!("10.0.0.{} GET /item/{n} 200\n", n % 250).into_bytes())
        .collect()
}

/// A request's body with that many lines of log.
fn request(lines: u32) -> Vec<u8> {
    let head = "{token:\"k\",session:\"s\",threads:[{id:\"t\",name:\"n\"}],logs:[],events:[";
    let mut body = head.as_bytes().to_vec();
    for n in 0..lines {
        let comma = if n == 0 { "" } else { "," };
        let line = format!("10.0.0.{} GET /item/{n} 200", n % 250);
        body.extend(
            format!("{comma}{{thread:\"t\",ts:\"{n}\",attrs:{{message:\"{line}\"}}}}").bytes(),
        );
    }
    body.extend(b"]}");
    body
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1u64;
    let next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

/// All that compress.
fn kinds() -> impl Iterator<Item = Compression> {
    let all = Compression::ALL.iter().copied();
    all.filter(|kind| *kind != Compression::None)
}

/// Posts a body: the receiver's record of the request, and the lines that it read.
fn post(receiver: &Receiver, body: &[u8], encoding: Option<&str>) -> (Request, Vec<String>) {
    let before = receiver.events().len();
    let mut stream = TcpStream::connect(("127.0.0.1", receiver.port())).unwrap();
    let encoding = encoding.map_or(String::new(), |name| {
        format!("Content-Encoding: {name}\r\n")
    });
    let head = format!(
        "POST /addEvents HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{encoding}Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    let request = receiver.requests().pop().unwrap();
    let events = receiver.events();
    let lines = events[before..].iter().map(|e| e.text().into_owned());
    (request, lines.collect())
}

#[test]
fn every_type_arrives_with_its_name_request_after_request() {
    for kind in kinds() {
        let receiver = Receiver::start(Options::default()).unwrap();
        let levels = kind.levels();
        for level in [None, Some(*levels.start()), Some(kind.usual_level())] {
            let mut packer = Packer::new(kind, level.map(|level| level as u8));
            for (lines, backlog) in [(5, false), (40_000, true), (0, false), (3_000, false)] {
                let body = request(lines);
                let (sent, encoding) = packer.pack(&body, backlog);
                assert!(sent.len() <= body.len());
                if lines > 0 {
                    assert_eq!(encoding, Some(kind.name()));
                    assert!(sent.len() < body.len(), "{kind:?} {lines}");
                }
                let (request, arrived) = post(&receiver, sent, encoding);
                assert!(request.decoded, "{kind:?} {lines}: {}", request.note);
                assert_eq!(request.encoding, encoding.unwrap_or_default());
                assert_eq!(request.body_bytes, body.len());
                assert_eq!(arrived.len(), lines as usize);
                let last = lines.wrapping_sub(1);
                assert!(arrived
                    .last()
                    .is_none_or(|line| line.contains(&format!("/item/{last} "))));
            }
        }
    }
}

#[test]
fn the_highest_level_arrives_too() {
    let receiver = Receiver::start(Options::default()).unwrap();
    let body = request(2_000);
    for kind in kinds() {
        let mut packer = Packer::new(kind, Some(*kind.levels().end() as u8));
        let (sent, encoding) = packer.pack(&body, true);
        let (request, arrived) = post(&receiver, sent, encoding);
        assert!(request.decoded, "{kind:?}: {}", request.note);
        assert_eq!(arrived.len(), 2_000);
    }
}

#[test]
fn the_formats_are_those_that_the_server_reads() {
    let body = log_text(500);
    for kind in kinds() {
        let mut packer = Packer::new(kind, None);
        let (sent, _) = packer.pack(&body, false);
        let size = (body.len() as u64).to_le_bytes();
        match kind.name() {
            "deflate" => {
                assert_eq!(sent[0], 0x78, "a zlib stream, not raw deflate");
                assert_eq!(decompress_to_vec_zlib(sent).unwrap(), body);
            }
            "bz2" => assert_eq!(&sent[..4], b"BZh9"),
            "lz4" => {
                assert_eq!(&sent[..6], [0x04, 0x22, 0x4d, 0x18, 0x68, 0x40]);
                assert_eq!(sent[6..14], size);
            }
            "zstandard" => {
                assert_eq!(&sent[..4], [0x28, 0xb5, 0x2f, 0xfd]);
                assert!(
                    sent[4] >> 6 != 0 || sent[4] & 0x20 != 0,
                    "no size of the content"
                );
            }
            other => panic!("{other} has no test"),
        }
    }
}

#[test]
fn what_does_not_shrink_is_sent_plain() {
    let noise = noise(200_000);
    // Blocks of LZ4 are packed one by one: some shrink, others are stored
    let mixed = [&noise[..100_000], &log_text(10_000), &noise[..50_000]].concat();
    let receiver = Receiver::start(Options::default()).unwrap();
    for kind in kinds() {
        let mut packer = Packer::new(kind, None);
        let (sent, encoding) = packer.pack(&noise, true);
        assert!(encoding.is_none() && sent == noise, "{kind:?}");
        for small in [&b""[..], b"{", b"{}", b"{token:\"k\"}"] {
            assert_eq!(packer.pack(small, false), (small, None), "{kind:?}");
        }
        for bytes in 0..600 {
            let body = &log_text(30)[..bytes];
            let (sent, encoding) = packer.pack(body, false);
            assert!(encoding.is_none() || sent.len() < body.len());
        }
        let (sent, encoding) = packer.pack(&mixed, false);
        assert!(encoding.is_some() && sent.len() < mixed.len());
        // not a request, but what the receiver finds in it is as long
        assert_eq!(post(&receiver, sent, encoding).0.body_bytes, mixed.len());
        // and the compressor still works afterwards
        let body = request(100);
        let (sent, encoding) = packer.pack(&body, false);
        assert_eq!(encoding, Some(kind.name()));
        assert!(post(&receiver, sent, encoding).0.decoded);
    }
}

#[test]
fn pressure_chooses_the_level_unless_the_operator_did() {
    let body = log_text(20_000);
    let size = |level, backlog| {
        let mut packer = Packer::new(Compression::Deflate, level);
        packer.pack(&body, backlog).0.len()
    };
    assert!(size(None, true) > size(None, false));
    assert_eq!(size(Some(9), true), size(Some(9), false));
    assert_eq!(size(Some(1), false), size(None, true));
}

#[test]
fn the_level_that_is_told_is_the_one_that_was_used() {
    let small = log_text(50);
    assert!(small.len() < LARGE);
    for kind in Compression::ALL {
        let set = *kind.levels().end() as u8;
        let mut packer = Packer::new(*kind, Some(set));
        packer.pack(&small, true);
        // These two have no levels, whatever is set
        let has_none = ["none", "lz4"].contains(&kind.name());
        assert_eq!(packer.level(), if has_none { 0 } else { set }, "{kind:?}");
        let mut packer = Packer::new(*kind, None);
        assert_eq!(i64::from(packer.level()), kind.usual_level(), "{kind:?}");
        packer.pack(&small, true);
        let hurried = packer.level();
        assert_eq!(hurried == 1, kind.follows_pressure(), "{kind:?}");
    }
}

#[cfg(feature = "zstd")]
#[test]
fn zstandard_hurries_too() {
    let body = log_text(500);
    let packed = |level, backlog| {
        let mut packer = Packer::new(Compression::Zstandard, level);
        packer.pack(&body, backlog).0.to_vec()
    };
    assert!(body.len() < LARGE);
    assert_eq!(packed(None, false), packed(Some(3), false));
    assert_eq!(packed(None, true), packed(Some(1), false));
    assert_ne!(packed(None, true), packed(None, false));
    assert_eq!(packed(Some(9), true), packed(Some(9), false));
}

#[test]
fn one_large_body_does_not_hold_its_memory_for_ever() {
    let large = request(100_000);
    let small = request(10);
    for kind in kinds() {
        let mut packer = Packer::new(kind, None);
        packer.pack(&large, true);
        assert!(packer.out.capacity() <= large.len() + 64 * 1024, "{kind:?}");
        // the same again and again finds the memory there
        let room = packer.out.capacity();
        packer.pack(&large, true);
        assert_eq!(packer.out.capacity(), room, "{kind:?}");
        packer.pack(&small, false);
        packer.pack(&small, false);
        assert!(packer.out.capacity() <= KEEP, "{kind:?}");
        packer.pack(&noise(300_000), true);
        assert!(packer.out.capacity() <= KEEP, "{kind:?}");
    }
}

#[test]
fn none_means_none() {
    let body = log_text(100);
    let mut packer = Packer::new(Compression::None, Some(9));
    assert_eq!(packer.pack(&body, false), (&body[..], None));
}

#[test]
fn the_empty_request_is_compressed_too() {
    for kind in kinds() {
        let receiver = Receiver::start(Options::default()).unwrap();
        let mut settings = UploadSettings::to(ServerUrl {
            https: false,
            host: "127.0.0.1".to_owned(),
            port: receiver.port(),
        });
        settings.compression = kind;
        let envelope = Envelope::new(EnvelopeSpec {
            form: Form::Scalyr,
            token: &"k".repeat(300),
            session: "session",
            session_info: None,
            repeat_log_attributes: false,
            without_logs: false,
        });
        assert_eq!(check_server(&settings, &envelope), Check::Good);
        let request = receiver.requests().pop().unwrap();
        assert_eq!(request.header("content-encoding"), Some(kind.name()));
        assert!(request.decoded && request.wire_bytes < request.body_bytes);
    }
}
