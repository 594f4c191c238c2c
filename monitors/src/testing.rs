//! Helpers of the monitors' tests.

use crate::emitter::captured::{emitter, Lines};
use crate::monitor::{Description, Monitor, Place, Setup};
use crate::options::Options;
use crate::{Emitter, Error};
use common::limit::WriteLimit;
use serde_json::Value as Json;

/// The monitor that an entry of a configuration makes; `entry` is its JSON object.
pub fn make(
    description: &'static Description,
    entry: &Json,
    place: &Place,
) -> Result<Box<dyn Monitor>, Error> {
    let members: Vec<(String, Json)> = entry
        .as_object()
        .map(|map| map.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
        .unwrap_or_default();
    let mut options = Options::read(description.options, &members)?;
    if !place.allow_http {
        options.force_https(description.options);
    }
    (description.make)(&Setup {
        options: &options,
        place,
        module: description.module,
        id: entry["id"].as_str().unwrap_or_default(),
    })
}

/// An emitter of that name at 2022-04-15 11:11:08.015Z without limits, and what comes out of it.
pub fn capture(name: &str) -> (Emitter, Lines) {
    emitter(name, WriteLimit::none(), &[])
}

/// The lines of one sample.
pub fn sample(monitor: &mut dyn Monitor, name: &str) -> Result<String, Error> {
    let (mut out, lines) = capture(name);
    let result = monitor.gather(&mut out);
    out.flush();
    result.map(|()| lines.take())
}

/// Calls `parse` with changed inputs of a corpus for 2 s, or as often as the environment's `MUTATIONS`
/// says. The same ones come each time.
#[cfg(feature = "status-page")]
pub fn mutate(corpus: &[&[u8]], mut parse: impl FnMut(&[u8])) {
    let count: Option<u64> = std::env::var("MUTATIONS").ok().and_then(|n| n.parse().ok());
    let began = std::time::Instant::now();
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below.max(1)
    };
    let mut done = 0;
    while count.map_or(began.elapsed().as_secs() < 2, |count| done < count) {
        let mut input = corpus[random(corpus.len())].to_vec();
        for _ in 0..=random(8) {
            let (at, other) = (random(input.len() + 1), random(input.len() + 1));
            let (from, to) = (at.min(other), at.max(other));
            match random(7) {
                0 => input.truncate(at),
                1 => input.insert(at, random(256) as u8),
                2 if at < input.len() => input[at] ^= 1 << random(8),
                3 => drop(input.drain(from..to)),
                4 if to - from < 4096 && input.len() < 65536 => {
                    let piece = input[from..to].to_vec();
                    input.splice(at..at, piece);
                }
                5 if at < input.len() => input[at] = b"<>\"'&/=:{}[],-9 \n\0"[random(18)],
                _ => {
                    let donor = corpus[random(corpus.len())];
                    let start = random(donor.len());
                    let end = (start + random(64)).min(donor.len());
                    input.splice(at..at, donor[start..end].iter().copied());
                }
            }
        }
        parse(&input);
        done += 1;
    }
}
