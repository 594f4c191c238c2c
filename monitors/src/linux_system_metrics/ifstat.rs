//! Network interfaces.

use super::turn::Turn;
use crate::line::Value;
use crate::options::Options;
use crate::procfs::{is_number, lines, ProcFile, Until};
use crate::{wildcard, Emitter, Error};
use common::regex::Pattern;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

const PREFIXES: &str = "network_interface_prefixes";

/// The metric and its column of what was received; what was sent stands 8 columns further.
const METRICS: [(&str, usize); 4] = [
    ("proc.net.bytes", 0),
    ("proc.net.packets", 1),
    ("proc.net.errs", 2),
    ("proc.net.dropped", 3),
];

/// Which interfaces are reported.
#[derive(Debug)]
pub(super) struct Selection {
    names: Vec<Pattern>,
    physical: bool,
    include: Vec<String>,
    exclude: Vec<String>,
}

impl Selection {
    /// # Errors
    /// An option of the wrong type, or an expression that is none.
    pub fn of(options: &Options) -> Result<Self, Error> {
        let suffix = options.text("network_interface_suffix");
        let prefixes = prefixes(options)?;
        let names = prefixes.iter().map(|prefix| {
            // A name matches as a whole.
            Pattern::new(&format!(r"\A(?:{prefix}{suffix})\Z")).map_err(|mistake| {
                let text = format!(
                    "The regular expression \"{prefix}{suffix}\" of \"{PREFIXES}\" and \"network_interface_suffix\" is invalid: {}",
                    mistake.reason
                );
                Error::of_option(PREFIXES, text)
            })
        });
        Ok(Selection {
            names: names.collect::<Result<_, _>>()?,
            physical: options.bool("network_interface_physical"),
            include: options.strings("network_interface_include").to_vec(),
            exclude: options.strings("network_interface_exclude").to_vec(),
        })
    }

    /// `folder` is `/sys/class/net/<name>`.
    fn has(&mut self, name: &str, folder: impl FnOnce() -> PathBuf) -> bool {
        let listed = |patterns: &[String]| patterns.iter().any(|p| wildcard::matches(p, name));
        !listed(&self.exclude)
            && (self.names.iter_mut().any(|pattern| pattern.is_match(name))
                || listed(&self.include)
                || (self.physical && folder().join("device").exists()))
    }
}

/// One text, at the commas of which it is divided, or a list of texts.
pub(super) fn prefixes(options: &Options) -> Result<Vec<String>, Error> {
    let wrong = || {
        let text = format!("\"{PREFIXES}\" must be a string or a list of strings");
        Error::of_option(PREFIXES, text)
    };
    match options.json(PREFIXES) {
        Json::String(text) => Ok(text.split(',').map(|one| one.trim().to_owned()).collect()),
        Json::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong))
            .collect(),
        _ => Err(wrong()),
    }
}

pub(super) struct IfStat {
    dev: ProcFile,
    /// `/sys/class/net`
    sys: PathBuf,
    selection: Selection,
    /// In the order of the file: each interface and whether it is reported.
    known: Vec<(String, bool)>,
}

impl IfStat {
    pub fn new(root: &Path, selection: Selection) -> Self {
        IfStat {
            dev: ProcFile::new(root.join("proc/net/dev"), Until::End),
            sys: root.join("sys/class/net"),
            selection,
            known: Vec::new(),
        }
    }

    pub fn sample(&mut self, turn: &mut Turn) {
        let IfStat {
            dev,
            sys,
            selection,
            known,
        } = self;
        turn.file(dev, |text, _, out| {
            let mut count = 0;
            for (name, numbers) in lines(text).filter_map(|line| line.split_once(':')) {
                let name = name.trim_start();
                if known.get(count).is_none_or(|(known, _)| known != name) {
                    known.truncate(count);
                    let reported = selection.has(name, || sys.join(name));
                    known.push((name.to_owned(), reported));
                }
                if known[count].1 {
                    emit(name, numbers, out);
                }
                count += 1;
            }
            known.truncate(count);
            say_if_none(known, out);
        });
    }
}

fn emit(name: &str, numbers: &str, out: &mut Emitter) {
    let mut columns = [""; 12];
    for (column, number) in columns.iter_mut().zip(numbers.split_ascii_whitespace()) {
        *column = number;
    }
    for (metric, column) in METRICS {
        for (direction, number) in [("in", columns[column]), ("out", columns[column + 8])] {
            if is_number(number) {
                let fields = [("iface", name.into()), ("direction", direction.into())];
                out.emit_in_order(metric, Value::Raw(number), &fields);
            }
        }
    }
}

/// On most hosts of today no interface is called `eth0`, and the default looks for nothing else.
fn say_if_none(known: &[(String, bool)], out: &mut Emitter) {
    let others: Vec<&str> = known
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|&name| name != "lo")
        .take(20)
        .collect();
    if others.is_empty() || known.iter().any(|(_, reported)| *reported) {
        return;
    }
    if out.once_in(DAY, "no interface") {
        out.info(format_args!(
            "No network interface is reported: none of {} matches network_interface_prefixes and network_interface_suffix. Set network_interface_physical: true to have all that are hardware, or list names in network_interface_include.",
            others.join(", ")
        ));
    }
}
