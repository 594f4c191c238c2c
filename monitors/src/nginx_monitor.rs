//! `nginx_monitor`: the connections of an nginx, from the page of its `stub_status`.

use crate::monitor::{Cadence, Description, Log, Measure, MetricSpec, Monitor, Service, Setup};
use crate::options::{Default, Kind, OptionSpec};
use crate::status_page::{self, Server, StatusPage};
use crate::{Emitter, Error};

/// Its entry in the registry.
pub const DESCRIPTION: Description = Description {
    module: "scalyr_agent.builtin_monitors.nginx_monitor",
    text: "Reads the status page of nginx (module ngx_http_stub_status_module) once an interval. The request for the page itself counts as one active and one writing connection.",
    options: OPTIONS,
    metrics: METRICS,
    open: false,
    log: Log::METRICS,
    write_limit: Description::WRITE_LIMIT,
    cadence: Cadence::Sampled,
    service: Some(Service {
        entry: r#"{
  module: "scalyr_agent.builtin_monitors.nginx_monitor",
  status_url: "http://localhost/nginx_status"
}"#,
        grants: r"The page has to be switched on, for the agent only:

```nginx
server {
    listen 127.0.0.1:80;
    server_name localhost;
    location = /nginx_status {
        stub_status;
        allow 127.0.0.1;
        deny all;
    }
}
```",
    }),
    make: |setup| Ok(Box::new(NginxMonitor::new(setup)?)),
};

const OPTIONS: &[OptionSpec] = &status_page::options(OptionSpec::new(
    "status_url",
    Kind::Text,
    Default::Text("http://localhost/nginx_status"),
    "The address of the page of stub_status.",
));

const SERVER: Server = Server {
    name: "nginx",
    url: "status_url",
    missing: "Switch it on there (`stub_status;` in a location), or correct status_url.",
    denied: "Allow the agent's address in that location (`allow 127.0.0.1;`).",
    user: "Correct monitor_user and monitor_password.",
    unknown: "Correct status_url, or switch stub_status on there.",
};

const fn metric(name: &'static str, measure: Measure, text: &'static str) -> MetricSpec {
    MetricSpec::new(name, measure, "", &[], text)
}

/// In the order in which they are written; from [`EXTRA`] on only with `extra_metrics`.
const METRICS: &[MetricSpec] = &[
    metric(
        "nginx.connections.active",
        Measure::Gauge,
        "Open connections, those that wait included.",
    ),
    metric(
        "nginx.connections.reading",
        Measure::Gauge,
        "Connections of which a request is being read.",
    ),
    metric(
        "nginx.connections.writing",
        Measure::Gauge,
        "Connections to which an answer is being written.",
    ),
    metric(
        "nginx.connections.waiting",
        Measure::Gauge,
        "Idle connections that wait for a request.",
    ),
    metric(
        "nginx.connections.accepted",
        Measure::Counter,
        "With extra_metrics: connections accepted since the start.",
    ),
    metric(
        "nginx.connections.handled",
        Measure::Counter,
        "With extra_metrics: connections handled since the start.",
    ),
    metric(
        "nginx.connections.dropped",
        Measure::Counter,
        "With extra_metrics: connections accepted but not handled, as a limit (worker_connections) was reached.",
    ),
    metric(
        "nginx.requests",
        Measure::Counter,
        "With extra_metrics: requests since the start.",
    ),
];
const EXTRA: usize = 4;

/// Values in the order of [`METRICS`].
type Values = [Option<u64>; METRICS.len()];

/// Reads the page. What is missing or no number is left out.
fn parse(page: &str) -> Values {
    let mut values: Values = [None; METRICS.len()];
    let number = |word: Option<&str>| word.and_then(|word| word.parse().ok());
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("Active connections:") {
            values[0] = number(rest.split_whitespace().next());
        } else if line.starts_with("server accepts handled requests") {
            let mut words = lines.next().unwrap_or_default().split_whitespace();
            let [accepted, handled, requests] = [(); 3].map(|()| number(words.next()));
            let dropped = accepted.zip(handled);
            let dropped = dropped.map(|(all, handled): (u64, u64)| all.saturating_sub(handled));
            values[EXTRA..].copy_from_slice(&[accepted, handled, dropped, requests]);
        } else if line.starts_with("Reading:") {
            let mut words = line.split_whitespace().skip(1).step_by(2);
            for value in &mut values[1..EXTRA] {
                *value = number(words.next());
            }
        }
    }
    values
}

/// Writes the first `count` of [`METRICS`].
fn write(values: &Values, count: usize, out: &mut Emitter) {
    for (spec, value) in METRICS.iter().zip(values).take(count) {
        if let Some(value) = *value {
            out.emit(spec.name, value, &[]);
        }
    }
}

struct NginxMonitor {
    page: StatusPage,
    /// How many of [`METRICS`] are written.
    count: usize,
}

impl NginxMonitor {
    fn new(setup: &Setup) -> Result<Self, Error> {
        Ok(NginxMonitor {
            page: StatusPage::new(setup, &SERVER, "")?,
            count: match setup.options.bool("extra_metrics") {
                true => METRICS.len(),
                false => EXTRA,
            },
        })
    }
}

impl Monitor for NginxMonitor {
    fn gather(&mut self, out: &mut Emitter) -> Result<(), Error> {
        let values = parse(&self.page.fetch(out)?);
        if values.iter().all(Option::is_none) {
            return Err(self.page.unknown(out));
        }
        write(&values, self.count, out);
        Ok(())
    }
}

#[cfg(test)]
#[path = "nginx_monitor_tests.rs"]
mod tests;
