//! `tomcat_monitor`: memory, threads and requests of a Tomcat, from the status page of its manager.

mod page;

use crate::line::{Field, Value};
use crate::monitor::{Cadence, Description, Log, Measure, MetricSpec, Monitor, Service, Setup};
use crate::options::{Default, Kind, OptionSpec};
use crate::status_page::{self, Server, StatusPage};
use crate::{Emitter, Error};
use page::Page;

/// Its entry in the registry.
pub const DESCRIPTION: Description = Description {
    module: "scalyr_agent.builtin_monitors.tomcat_monitor",
    text: "Reads the status page of Tomcat's manager application once an interval, as JSON or, from a Tomcat that has not got that, as XML. Sizes are in units of 1,048,576 bytes, despite their names, as with the Python agent. If Tomcat has several connectors, what is theirs has the field connector. Each memory pool is written under its own name in lower case, with _ in place of what is no letter or digit.",
    options: OPTIONS,
    metrics: METRICS,
    open: false,
    log: Log::METRICS,
    write_limit: Description::WRITE_LIMIT,
    cadence: Cadence::Sampled,
    service: Some(Service {
        entry: r#"{
  module: "scalyr_agent.builtin_monitors.tomcat_monitor",
  monitor_url: "http://localhost:8080/manager/status",
  monitor_user: "statusmon",
  monitor_password: "..."
}"#,
        grants: r#"The manager application has to be installed (package tomcat10-admin on Debian), and the user needs the role manager-status, in tomcat-users.xml:

```xml
<role rolename="manager-status"/>
<user username="statusmon" password="..." roles="manager-status"/>
```"#,
    }),
    make: |setup| Ok(Box::new(TomcatMonitor::new(setup)?)),
};

const URL: OptionSpec = OptionSpec::new(
    "monitor_url",
    Kind::Text,
    Default::Required,
    "The address of the manager's status page, mostly http://localhost:8080/manager/status. With /manager/status/all and extra_metrics the sessions of each application are written too.",
);

/// The Python agent's manual has this name, which that agent ignores.
const USERNAME: OptionSpec = OptionSpec::new(
    "monitor_username",
    Kind::Text,
    Default::None,
    "Another name for monitor_user, which counts if both are set.",
);

const OPTIONS: &[OptionSpec] = &{
    let others = status_page::options(URL);
    let mut all = [USERNAME; status_page::COUNT + 1];
    let mut at = 0;
    while at < others.len() {
        all[at] = others[at];
        at += 1;
    }
    all
};

const SERVER: Server = Server {
    name: "Tomcat",
    url: "monitor_url",
    missing: "Install the manager application, or correct monitor_url.",
    denied: "The user needs the role manager-status, and the RemoteAddrValve of the manager's context.xml must allow the agent's address.",
    user: "Correct the name or the password, or give that user the role manager-status in tomcat-users.xml.",
    unknown: "Correct monitor_url: it is mostly http://localhost:8080/manager/status.",
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
        "tomcat.runtime.network_bytes",
        Measure::Counter,
        "MiB",
        &["connector", "type"],
        "Received or sent since the start.",
    ),
    metric(
        "tomcat.runtime.error_count",
        Measure::Counter,
        "",
        &["connector"],
        "Requests that ended in an error.",
    ),
    metric(
        "tomcat.runtime.memory_bytes",
        Measure::Gauge,
        "MiB",
        &["type"],
        "The memory of the JVM; type: free, max or total.",
    ),
    metric(
        "tomcat.runtime.processing_time",
        Measure::Counter,
        "ms",
        &["connector"],
        "Time spent on requests since the start.",
    ),
    metric(
        "tomcat.runtime.processing_time_max",
        Measure::Gauge,
        "ms",
        &["connector"],
        "Time spent on the longest request.",
    ),
    metric(
        "tomcat.runtime.request_count",
        Measure::Counter,
        "",
        &["connector"],
        "Requests since the start.",
    ),
    metric(
        "tomcat.runtime.threads",
        Measure::Gauge,
        "",
        &["connector", "type"],
        "Threads; type: busy, active (those that there are) or max.",
    ),
    metric(
        "tomcat.memory_pools.initial",
        Measure::Gauge,
        "MiB",
        &["pool"],
        "The memory that the pool began with.",
    ),
    metric(
        "tomcat.memory_pools.allocated",
        Measure::Gauge,
        "MiB",
        &["pool"],
        "The memory that the pool has.",
    ),
    metric(
        "tomcat.memory_pools.max",
        Measure::Gauge,
        "MiB",
        &["pool"],
        "The memory that the pool may have; left out if there is no limit.",
    ),
    metric(
        "tomcat.memory_pools.used",
        Measure::Gauge,
        "MiB",
        &["pool"],
        "The memory of the pool that is in use.",
    ),
    metric(
        "tomcat.bytes.received",
        Measure::Counter,
        "bytes",
        &["connector"],
        "With extra_metrics: bytes received since the start.",
    ),
    metric(
        "tomcat.bytes.sent",
        Measure::Counter,
        "bytes",
        &["connector"],
        "With extra_metrics: bytes sent since the start.",
    ),
    metric(
        "tomcat.sessions.active",
        Measure::Gauge,
        "",
        &["context"],
        "With extra_metrics and /manager/status/all: sessions of an application.",
    ),
    metric(
        "tomcat.sessions.created",
        Measure::Counter,
        "",
        &["context"],
        "With extra_metrics and /manager/status/all: sessions since the application's start.",
    ),
    metric(
        "tomcat.sessions.expired",
        Measure::Counter,
        "",
        &["context"],
        "With extra_metrics and /manager/status/all: sessions that expired.",
    ),
    metric(
        "tomcat.sessions.rejected",
        Measure::Counter,
        "",
        &["context"],
        "With extra_metrics and /manager/status/all: sessions that were refused, as there were too many.",
    ),
];

/// How a value is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// Bytes in units of 1,048,576, as Tomcat's page for people shows sizes, to a millionth.
    Mebi,
    /// A float.
    Float,
    Plain,
}

/// Name, value of the field `type`, place among the values, unit.
type Row = (&'static str, &'static str, usize, Unit);

/// A connector's values ([`page::CONNECTOR`]) and behind them those of the memory ([`page::MEMORY`]),
/// in the order of the Python agent.
const RUNTIME: &[Row] = &[
    ("tomcat.runtime.network_bytes", "received", 7, Unit::Mebi),
    ("tomcat.runtime.network_bytes", "sent", 8, Unit::Mebi),
    ("tomcat.runtime.error_count", "", 6, Unit::Plain),
    ("tomcat.runtime.memory_bytes", "free", 9, Unit::Mebi),
    ("tomcat.runtime.memory_bytes", "max", 11, Unit::Mebi),
    ("tomcat.runtime.memory_bytes", "total", 10, Unit::Mebi),
    ("tomcat.runtime.processing_time", "", 4, Unit::Float),
    ("tomcat.runtime.processing_time_max", "", 3, Unit::Float),
    ("tomcat.runtime.request_count", "", 5, Unit::Plain),
    ("tomcat.runtime.threads", "busy", 2, Unit::Plain),
    ("tomcat.runtime.threads", "active", 1, Unit::Plain),
    ("tomcat.runtime.threads", "max", 0, Unit::Plain),
];

/// [`page::POOL`]
const POOLS: &[Row] = &[
    ("tomcat.memory_pools.initial", "", 0, Unit::Mebi),
    ("tomcat.memory_pools.max", "", 2, Unit::Mebi),
    ("tomcat.memory_pools.allocated", "", 1, Unit::Mebi),
    ("tomcat.memory_pools.used", "", 3, Unit::Mebi),
];

/// [`page::CONNECTOR`], with `extra_metrics`.
const BYTES: &[Row] = &[
    ("tomcat.bytes.received", "", 7, Unit::Plain),
    ("tomcat.bytes.sent", "", 8, Unit::Plain),
];

/// [`page::SESSIONS`], with `extra_metrics`.
const SESSIONS: &[Row] = &[
    ("tomcat.sessions.active", "", 0, Unit::Plain),
    ("tomcat.sessions.created", "", 1, Unit::Plain),
    ("tomcat.sessions.expired", "", 2, Unit::Plain),
    ("tomcat.sessions.rejected", "", 3, Unit::Plain),
];

fn mebi(bytes: u64) -> f64 {
    (bytes as f64 / 1_048_576.0 * 1e6).round() / 1e6
}

/// `G1 Eden Space` as `g1_eden_space`, `CodeHeap 'non-nmethods'` as `codeheap_non_nmethods`.
fn pool_name(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join("_").to_lowercase()
}

/// Writes the values that there are, with `field` unless it is empty.
fn write(out: &mut Emitter, rows: &[Row], values: &[Option<u64>], field: (&str, &str)) {
    for &(name, kind, at, unit) in rows {
        let Some(value) = values.get(at).copied().flatten() else {
            continue;
        };
        let value: Value = match unit {
            Unit::Mebi => mebi(value).into(),
            Unit::Float => (value as f64).into(),
            Unit::Plain => value.into(),
        };
        let mut fields: Vec<Field> = Vec::new();
        // The memory behind a connector's values is the JVM's.
        let own = at < page::CONNECTOR.len();
        for (name, text) in [field, ("type", kind)] {
            if !text.is_empty() && (own || name == "type") {
                fields.push((name, text.into()));
            }
        }
        out.emit(name, value, &fields);
    }
}

fn write_page(mut page: Page, extra: bool, out: &mut Emitter) {
    let several = page.connectors.len() > 1;
    for (at, connector) in page.connectors.iter_mut().enumerate() {
        if !several {
            connector.name.clear();
        }
        let mut values = connector.values.clone();
        if at == 0 {
            values.extend_from_slice(&page.memory);
        }
        write(out, RUNTIME, &values, ("connector", &connector.name));
    }
    for pool in &mut page.pools {
        pool.name = pool_name(&pool.name);
    }
    common::sort::by(&mut page.pools, |a, b| a.name.cmp(&b.name));
    for pool in &page.pools {
        write(out, POOLS, &pool.values, ("pool", &pool.name));
    }
    if extra {
        for connector in &page.connectors {
            write(
                out,
                BYTES,
                &connector.values,
                ("connector", &connector.name),
            );
        }
        for context in &page.contexts {
            write(out, SESSIONS, &context.values, ("context", &context.name));
        }
    }
}

struct TomcatMonitor {
    page: StatusPage,
    extra: bool,
}

impl TomcatMonitor {
    fn new(setup: &Setup) -> Result<Self, Error> {
        // A Tomcat that knows JSON (late 9.0 and 10.1 and later) answers so, any other in XML.
        let page = StatusPage::new(setup, &SERVER, "XML=true&JSON=true")?;
        Ok(TomcatMonitor {
            page,
            extra: setup.options.bool("extra_metrics"),
        })
    }
}

impl Monitor for TomcatMonitor {
    fn gather(&mut self, out: &mut Emitter) -> Result<(), Error> {
        let page = Page::parse(&self.page.fetch(out)?);
        let page = page.ok_or_else(|| self.page.unknown(out))?;
        write_page(page, self.extra, out);
        Ok(())
    }
}

#[cfg(test)]
#[path = "tomcat_monitor/tests.rs"]
mod tests;
