//! `apache_monitor`: the workers and connections of an Apache httpd, from the page of its `mod_status`.

use crate::line::Value;
use crate::monitor::{Cadence, Description, Log, Measure, MetricSpec, Monitor, Service, Setup};
use crate::options::{Default, Kind, OptionSpec};
use crate::status_page::{self, Server, StatusPage};
use crate::{Emitter, Error};

/// Its entry in the registry.
pub const DESCRIPTION: Description = Description {
    module: "scalyr_agent.builtin_monitors.apache_monitor",
    text: "Reads the machine-readable status page of Apache httpd (mod_status, `?auto`) once an interval. The metrics apache.connections.* are those of the event MPM; other MPMs have none of them.",
    options: OPTIONS,
    metrics: METRICS,
    open: false,
    log: Log::METRICS,
    write_limit: Description::WRITE_LIMIT,
    cadence: Cadence::Sampled,
    service: Some(Service {
        entry: r#"{
  module: "scalyr_agent.builtin_monitors.apache_monitor",
  status_url: "http://localhost/server-status/?auto"
}"#,
        grants: r#"The page has to be switched on (`a2enmod status` on Debian), for this machine only:

```apache
<Location "/server-status">
    SetHandler server-status
    Require local
</Location>
```"#,
    }),
    make: |setup| Ok(Box::new(ApacheMonitor::new(setup)?)),
};

const OPTIONS: &[OptionSpec] = &status_page::options(OptionSpec::new(
    "status_url",
    Kind::Text,
    Default::Text("http://localhost/server-status/?auto"),
    "The address of the page of mod_status, in the form for machines: ending in ?auto.",
));

const SERVER: Server = Server {
    name: "Apache",
    url: "status_url",
    missing: "Switch mod_status on there (`SetHandler server-status` in a Location), or correct status_url.",
    denied: "Allow the agent's address in that Location (`Require local`).",
    user: "Correct monitor_user and monitor_password.",
    unknown: "Does status_url end in ?auto, and is it the page of mod_status?",
};

const fn metric(
    name: &'static str,
    measure: Measure,
    unit: &'static str,
    fields: &'static [&'static str],
    text: &'static str,
) -> MetricSpec {
    MetricSpec::new(name, measure, unit, fields, text)
}

const METRICS: &[MetricSpec] = &[
    metric(
        "apache.workers.active",
        Measure::Gauge,
        "",
        &[],
        "Workers that serve a request; that for the page is one of them.",
    ),
    metric(
        "apache.workers.idle",
        Measure::Gauge,
        "",
        &[],
        "Idle workers.",
    ),
    metric(
        "apache.connections.active",
        Measure::Gauge,
        "",
        &[],
        "Connections, those without a worker included.",
    ),
    metric(
        "apache.connections.writing",
        Measure::Gauge,
        "",
        &[],
        "Connections without a worker to which an answer is being written.",
    ),
    metric(
        "apache.connections.idle",
        Measure::Gauge,
        "",
        &[],
        "Connections without a worker that are kept for another request.",
    ),
    metric(
        "apache.connections.closing",
        Measure::Gauge,
        "",
        &[],
        "Connections without a worker that are being closed.",
    ),
    metric(
        "apache.connections.wait_io",
        Measure::Gauge,
        "",
        &[],
        "With extra_metrics: connections without a worker that wait for what a module waits for.",
    ),
    metric(
        "apache.workers.graceful",
        Measure::Gauge,
        "",
        &[],
        "With extra_metrics: workers that finish their request and then end.",
    ),
    metric(
        "apache.processes",
        Measure::Gauge,
        "",
        &[],
        "With extra_metrics: processes of the event MPM.",
    ),
    metric(
        "apache.processes.stopping",
        Measure::Gauge,
        "",
        &[],
        "With extra_metrics: those of them that are to end.",
    ),
    metric(
        "apache.accesses",
        Measure::Counter,
        "",
        &[],
        "With extra_metrics: requests since the start (ExtendedStatus On, the default).",
    ),
    metric(
        "apache.bytes",
        Measure::Counter,
        "bytes",
        &[],
        "With extra_metrics: bytes sent since the start, in steps of 1024.",
    ),
    metric(
        "apache.duration",
        Measure::Counter,
        "ms",
        &[],
        "With extra_metrics: time spent on requests since the start.",
    ),
    metric(
        "apache.uptime",
        Measure::Gauge,
        "s",
        &[],
        "With extra_metrics: time since the start.",
    ),
    metric(
        "apache.cpu",
        Measure::Counter,
        "s",
        &["type"],
        "With extra_metrics: time of the processor since the start; type: user, system, children_user or children_system.",
    ),
    metric(
        "apache.scoreboard",
        Measure::Gauge,
        "",
        &["state"],
        "With extra_metrics: workers by state: waiting, starting, reading, sending, keepalive, dns, closing, logging, finishing, cleanup, and open for places without a worker.",
    ),
];

/// A line of the page: label, metric, value of the field `type`, factor.
type Row = (&'static str, &'static str, &'static str, u64);

/// In the order in which they are written; from [`EXTRA`] on only with `extra_metrics`.
const ROWS: &[Row] = &[
    ("BusyWorkers:", "apache.workers.active", "", 1),
    ("IdleWorkers:", "apache.workers.idle", "", 1),
    ("ConnsTotal:", "apache.connections.active", "", 1),
    ("ConnsAsyncWriting:", "apache.connections.writing", "", 1),
    ("ConnsAsyncKeepAlive:", "apache.connections.idle", "", 1),
    ("ConnsAsyncClosing:", "apache.connections.closing", "", 1),
    ("ConnsAsyncWaitIO:", "apache.connections.wait_io", "", 1),
    ("GracefulWorkers:", "apache.workers.graceful", "", 1),
    ("Processes:", "apache.processes", "", 1),
    ("Stopping:", "apache.processes.stopping", "", 1),
    ("Total Accesses:", "apache.accesses", "", 1),
    ("Total kBytes:", "apache.bytes", "", 1024),
    ("Total Duration:", "apache.duration", "", 1),
    ("Uptime:", "apache.uptime", "", 1),
    ("CPUUser:", "apache.cpu", "user", 1),
    ("CPUSystem:", "apache.cpu", "system", 1),
    ("CPUChildrenUser:", "apache.cpu", "children_user", 1),
    ("CPUChildrenSystem:", "apache.cpu", "children_system", 1),
];
const EXTRA: usize = 6;

/// The scoreboard's letters.
const STATES: &[(char, &str)] = &[
    ('_', "waiting"),
    ('S', "starting"),
    ('R', "reading"),
    ('W', "sending"),
    ('K', "keepalive"),
    ('D', "dns"),
    ('C', "closing"),
    ('L', "logging"),
    ('G', "finishing"),
    ('I', "cleanup"),
    ('.', "open"),
];

type Words<'a> = [Option<&'a str>; ROWS.len()];

/// The words behind the labels of [`ROWS`], and the scoreboard. A later line wins.
fn parse(page: &str) -> (Words<'_>, Option<&str>) {
    let mut words = [None; ROWS.len()];
    let mut scoreboard = None;
    for line in page.lines() {
        for ((label, ..), word) in ROWS.iter().zip(&mut words) {
            if let Some(rest) = line.strip_prefix(label) {
                *word = rest.split_whitespace().next();
            }
        }
        if let Some(rest) = line.strip_prefix("Scoreboard:") {
            scoreboard = Some(rest.trim());
        }
    }
    (words, scoreboard)
}

/// A value that is no number of 0 or more is left out.
fn value(row: &Row, word: &str) -> Option<Value<'static>> {
    if row.1 == "apache.cpu" {
        let seconds: f64 = word.parse().ok()?;
        return (seconds.is_finite() && seconds >= 0.0).then(|| seconds.into());
    }
    let number: u64 = word.parse().ok()?;
    Some(number.saturating_mul(row.3).into())
}

/// Writes the rows, and the scoreboard if there is one.
fn write(words: &Words, scoreboard: Option<&str>, extra: bool, out: &mut Emitter) {
    let count = if extra { ROWS.len() } else { EXTRA };
    for (row, word) in ROWS.iter().zip(words).take(count) {
        let Some(value) = word.and_then(|word| value(row, word)) else {
            continue;
        };
        let field = [("type", row.2.into())];
        out.emit(row.1, value, &field[..usize::from(!row.2.is_empty())]);
    }
    for &(letter, state) in STATES {
        if let Some(scoreboard) = scoreboard {
            let count = scoreboard.matches(letter).count();
            out.emit("apache.scoreboard", count, &[("state", state.into())]);
        }
    }
}

struct ApacheMonitor {
    page: StatusPage,
    extra: bool,
}

impl ApacheMonitor {
    fn new(setup: &Setup) -> Result<Self, Error> {
        Ok(ApacheMonitor {
            page: StatusPage::new(setup, &SERVER, "")?,
            extra: setup.options.bool("extra_metrics"),
        })
    }
}

impl Monitor for ApacheMonitor {
    fn gather(&mut self, out: &mut Emitter) -> Result<(), Error> {
        let page = self.page.fetch(out)?;
        let (words, scoreboard) = parse(&page);
        if words[..EXTRA].iter().all(Option::is_none) {
            return Err(self.page.unknown(out));
        }
        write(&words, scoreboard.filter(|_| self.extra), self.extra, out);
        Ok(())
    }
}

#[cfg(test)]
#[path = "apache_monitor_tests.rs"]
mod tests;
