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
