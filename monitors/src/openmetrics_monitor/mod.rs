//! `openmetrics_monitor`: the metrics of a page in the Prometheus text format or in OpenMetrics.
//!
//! A page may have 100,000 series, so it is never in memory as a whole: it is read while it arrives,
//! and each of its lines is written as soon as it is complete.

mod gunzip;
mod page;
mod rules;
mod text;
mod types;

use crate::http::{self, Answer, Class, Client, Failure, Limits, Request, Trust};
use crate::monitor::{Cadence, Description, Log, Measure, MetricSpec, Monitor, Service, Setup};
use crate::options::{Default, Kind, OptionSpec};
use crate::service::options::{self as shared, set, wrong};
use crate::service::Secret;
use crate::{Emitter, Error};
use common::stamp;
use gunzip::Gunzip;
use page::Page;
use rules::Rules;
use serde_json::Value as Json;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Its entry in the registry.
pub const DESCRIPTION: Description = Description {
    module: "scalyr_agent.builtin_monitors.openmetrics_monitor",
    text: "Reads the metrics of a web page in the Prometheus text format (0.0.4) or in OpenMetrics (1.0), as exporters and many services have one, and writes each sample with its labels as fields. Names are written in lower case; blanks and hyphens in them become `_`. NaN is left out, infinities are the texts `\"+Inf\"` and `\"-Inf\"`. A time stamp of the page becomes the field `timestamp`, in milliseconds since 1970; the line itself has the time at which the page was asked for. Exemplars are skipped. Of histograms and summaries `_bucket`, `_sum` and `_count` are written, each as a metric of its own; quantiles and `_created` of them only with extra_metrics.\n\nThe page is read while it arrives, so it may have any number of series. Pages compressed with gzip are understood. A line that is not in the format is left out, counted (`malformed_lines`) and told in agent.log once an hour. In OpenMetrics `# EOF` has to end the page; without it what came is written and the sample counts as failed. Protocol Buffers are not understood.\n\nThe environment's http_proxy, https_proxy and no_proxy are heeded. At most five redirects are followed, never from https to http; headers and logins are told to the host of url only.",
    options: OPTIONS,
    metrics: METRICS,
    open: false,
    log: Log::METRICS,
    write_limit: (-1, -1),
    cadence: Cadence::Sampled,
    service: Some(Service {
        entry: "{ module: \"scalyr_agent.builtin_monitors.openmetrics_monitor\", id: \"node\", url: \"http://127.0.0.1:9100/metrics\", metric_name_include_list: [\"node_cpu_*\", \"node_memory_*\"] }",
        grants: "Nothing but the right to read the page. Where the server asks for a login, it is given in `url`, in `headers`, or as `bearer_token_file`.",
    }),
    make: |setup| Ok(Box::new(OpenMetricsMonitor::new(setup)?)),
};

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "url",
        Kind::Text,
        Default::Required,
        "The address of the page, with http or https. Where allow_http_monitors is off it is always https.",
    )
    .url(),
    shared::TIMEOUT,
    OptionSpec::new(
        "headers",
        Kind::Object,
        Default::EmptyObject,
        "Further headers of the request, in the place of those that the monitor sends of itself, such as User-Agent and Accept.",
    ),
    OptionSpec::new(
        "bearer_token",
        Kind::Text,
        Default::None,
        "A token, which is sent as `Authorization: Bearer TOKEN`.",
    ),
    OptionSpec::new(
        "bearer_token_file",
        Kind::Text,
        Default::None,
        "A file that holds the token, in place of bearer_token. It is read for each sample. Only the agent's user should be able to read it.",
    ),
    shared::CA_FILE,
    OptionSpec::new(
        "verify_https",
        Kind::Bool,
        Default::Bool(true),
        "Whether the server's certificate is checked. With ca_file it always is.",
    ),
    OptionSpec::new(
        "metric_name_include_list",
        Kind::Strings,
        Default::Strings(&["*"]),
        "Shell patterns for the names of metrics, as they are written, of which one must match.",
    ),
    OptionSpec::new(
        "metric_name_exclude_list",
        Kind::Strings,
        Default::Strings(&[]),
        "Shell patterns for the names of metrics that are left out, whatever else includes them.",
    ),
    OptionSpec::new(
        "metric_component_value_include_list",
        Kind::Object,
        Default::EmptyObject,
        "Patterns for the values of labels: `{\"metric\": {\"label\": [\"pattern\"]}}`. A sample of which one matches is written, even if metric_name_include_list does not name it: set that to `[]` to write no others. The metric `*` stands for those that are not named; a label that is missing counts as empty.",
    ),
    OptionSpec::new(
        "metric_component_value_exclude_list",
        Kind::Object,
        Default::EmptyObject,
        "Patterns of the same form; a sample of which one matches is left out, whatever else includes it.",
    ),
    OptionSpec::new(
        "label_include_list",
        Kind::Strings,
        Default::Strings(&["*"]),
        "Shell patterns for the names of labels, of which one must match; other labels are not written.",
    ),
    OptionSpec::new(
        "label_exclude_list",
        Kind::Strings,
        Default::Strings(&[]),
        "Shell patterns for the names of labels that are not written.",
    ),
    OptionSpec::new(
        "extra_fields",
        Kind::Object,
        Default::EmptyObject,
        "Fields that are added to every line, in the place of labels of the same name. Their values are texts, numbers, true or false.",
    ),
    OptionSpec::new(
        "max_series",
        Kind::Int,
        Default::None,
        "At most this many samples of a page are written; the others are counted and told in agent.log. Default: all.",
    )
    .at_least(1.0),
    OptionSpec::new(
        "max_page_bytes",
        Kind::Int,
        Default::Int(256 * 1024 * 1024),
        "A page with more bytes than these, unpacked, is not read any further, and the sample counts as failed.",
    )
    .at_least(1024.0),
    OptionSpec::new(
        "extra_metrics",
        Kind::Bool,
        Default::Bool(false),
        "Adds the quantiles of summaries, the times of creation of summaries and histograms, and up, scrape_duration_seconds and scrape_samples_scraped.",
    ),
];

const METRICS: &[MetricSpec] = &[
    MetricSpec::new(
        "*",
        Measure::Gauge,
        "",
        &["LABEL", "timestamp"],
        "A sample of the page. Its labels and extra_fields are fields; timestamp is there if the page has one.",
    ),
    MetricSpec::new(
        "up",
        Measure::Gauge,
        "",
        &[],
        "With extra_metrics: 1 if the whole page could be read, otherwise 0.",
    ),
    MetricSpec::new(
        "scrape_duration_seconds",
        Measure::Gauge,
        "s",
        &[],
        "With extra_metrics: how long that took.",
    ),
    MetricSpec::new(
        "scrape_samples_scraped",
        Measure::Gauge,
        "",
        &[],
        "With extra_metrics: how many samples the page has, left out ones included.",
    ),
];

/// At most this many redirects are followed.
const REDIRECTS: u32 = 5;
/// Bytes of an error's page that are told.
const TOLD: usize = 200;
const HOUR: Duration = Duration::from_secs(3600);

/// Asks for the names and types that the Python agent got, which sent `*/*`: servers that see OpenMetrics
/// named, with whatever priority, may answer in it, and name counters otherwise.
const ACCEPT: &str = "text/plain;version=0.0.4,*/*;q=0.1";

struct OpenMetricsMonitor {
    /// For messages: without login and query, which may be secret.
    address: String,
    timeout: Duration,
    source: Source,
    written: Written,
}

/// Where the page comes from.
struct Source {
    request: Request,
    token: Secret,
    client: Client,
}

/// The options that say what is written of a page.
struct Written {
    rules: Rules,
    extra_fields: Vec<(String, Json)>,
    extra_metrics: bool,
    max_series: u64,
    max_bytes: u64,
}

impl OpenMetricsMonitor {
    fn new(setup: &Setup) -> Result<Self, Error> {
        let options = setup.options;
        let url = options.text("url");
        let of = |option: &'static str| move |why: String| wrong(option, why);
        http::check_scheme(url).map_err(of("url"))?;
        let names = (setup.place.agent_version, "openmetrics_monitor");
        let mut request = Request::new("GET", url, names, None).map_err(of("url"))?;
        for (name, value) in [
            ("User-Agent", "scalyr-agent-2/OpenMetricsMonitor"),
            ("Accept", ACCEPT),
            ("Accept-Encoding", "gzip"),
        ] {
            request.set(name, value).map_err(of("url"))?;
        }
        for (name, value) in members(options.json("headers")) {
            let value = match value {
                Json::String(text) => text.clone(),
                other => other.to_string(),
            };
            request.set_private(name, &value).map_err(of("headers"))?;
        }
        let mut extra_fields = Vec::new();
        for (name, value) in members(options.json("extra_fields")) {
            if value.is_null() || value.is_array() || value.is_object() {
                let why = format!("the value of \"{name}\" is no text, number, true or false");
                return Err(of("extra_fields")(why));
            }
            extra_fields.push((name.clone(), value.clone()));
        }
        let trust = match set(options, "ca_file") {
            Some(path) => Trust::File(PathBuf::from(path)),
            None if options.bool("verify_https") => Trust::System,
            None => Trust::Anything,
        };
        let number = |name| options.int(name).and_then(|n| u64::try_from(n).ok());
        let timeout = shared::time_out(options);
        let max_bytes = number("max_page_bytes").unwrap_or(u64::MAX);
        Ok(OpenMetricsMonitor {
            address: shown(url),
            timeout,
            source: Source {
                request,
                token: Secret::read(options, "bearer_token", "bearer_token_file")?,
                client: Client::new(Limits {
                    timeout,
                    keep: 0,
                    // The page itself says sooner that it is too long.
                    most: max_bytes.saturating_add(1024 * 1024),
                })
                .trusting(trust)
                .following(REDIRECTS),
            },
            written: Written {
                rules: Rules::new(setup)?,
                extra_fields,
                extra_metrics: options.bool("extra_metrics"),
                max_series: number("max_series").unwrap_or(u64::MAX),
                max_bytes,
            },
        })
    }
}

impl Source {
    /// Reads the page and writes its samples.
    fn read(&mut self, page: &mut Page, out: &mut Emitter) -> Result<(), Failed> {
        let token = self.token.get(out);
        let token = token.map_err(|why| Failed::Why(why.to_string()))?;
        if self.token != Secret::None {
            if token.trim().is_empty() {
                return Err(Failed::Why("bearer_token_file is empty".to_owned()));
            }
            let header = format!("Bearer {}", token.trim());
            let set = self.request.set_private("Authorization", &header);
            set.map_err(|why| Failed::Why(format!("bearer_token_file: {why}")))?;
        }
        let mut answer = self.client.open(&self.request, out.stop())?;
        if answer.status != 200 {
            return Err(refused(&mut answer, out));
        }
        let kind = answer.content_type.to_ascii_lowercase();
        if kind.contains("protobuf") {
            return Err(Failed::Why(format!(
                "the server sends Protocol Buffers ({kind}), not text: have it send text, or set the header Accept"
            )));
        }
        page.is_openmetrics(
            kind.trim_start()
                .starts_with("application/openmetrics-text"),
        );
        let mut gunzip = match answer.encoding.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => None,
            "gzip" | "x-gzip" => Some(Gunzip::new()),
            other => {
                return Err(Failed::Why(format!(
                    "the page is compressed by {other:?}, which was not asked for"
                )))
            }
        };
        while let Some(block) = answer.block()? {
            match &mut gunzip {
                None => page.push(&block, out),
                Some(gunzip) => gunzip
                    .push(&block, &mut |piece| {
                        page.push(piece, out);
                        !page.is_over() && !answer.is_late()
                    })
                    .map_err(|why| Failed::Why(why.to_owned()))?,
            }
            if page.is_over() {
                break;
            }
        }
        if gunzip.is_some_and(|gunzip| !page.is_over() && !gunzip.is_complete()) {
            return Err(Failed::Why(
                "the gzip stream ends in the middle of the page".to_owned(),
            ));
        }
        page.end(out).map_err(Failed::Why)
    }
}

/// Why there is no page, or only a part of one.
enum Failed {
    Stopped,
    Why(String),
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        if failure.class == Class::Stopped {
            return Failed::Stopped;
        }
        if failure.class == Class::IncompleteRead {
            // The number of bytes, another one each time, would make each a new error.
            let text = "the server ends the connection in the middle of the page";
            return Failed::Why(text.to_owned());
        }
        let text = failure.text.as_str();
        let bare = text.strip_prefix("<urlopen error ");
        let text = bare.and_then(|text| text.strip_suffix('>')).unwrap_or(text);
        let advice = if text == "timed out" {
            ": raise timeout, or have the server answer sooner"
        } else if text.contains("Connection refused") {
            ": nothing listens there; start the server or correct url"
        } else {
            ""
        };
        Failed::Why(format!("{text}{advice}"))
    }
}

/// The words for an answer that is no page of metrics. It may hold another text each time, so that is
/// told once an hour only: what is the same as before is not logged again.
fn refused(answer: &mut Answer, out: &mut Emitter) -> Failed {
    let mut said = String::new();
    if out.once_in(HOUR, "refused") {
        let mut body = Vec::new();
        while body.len() < TOLD {
            match answer.block() {
                Ok(Some(block)) => body.extend(block),
                Ok(None) | Err(_) => break,
            }
        }
        body.truncate(TOLD);
        let text = String::from_utf8_lossy(&body);
        said = format!(": \"{}\"", text.trim().escape_debug());
    }
    let advice = match answer.status {
        401 | 403 => "; give a login by headers or bearer_token_file",
        404 => "; correct the path of url",
        300..=399 => "; it is a redirect that is not followed, correct url",
        _ => "",
    };
    Failed::Why(format!(
        "the server answers with status {}{advice}{said}",
        answer.status
    ))
}

/// The address without what may be secret in it.
fn shown(url: &str) -> String {
    let url = url.trim();
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit('@').next().unwrap_or_default();
    let colon = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{colon}{host}{path}")
}

fn members(json: &Json) -> impl Iterator<Item = (&String, &Json)> {
    json.as_object().into_iter().flatten()
}

impl Monitor for OpenMetricsMonitor {
    fn gather(&mut self, out: &mut Emitter) -> Result<(), Error> {
        let began = Instant::now();
        let mut page = Page::new(&self.written, stamp::now_ms());
        let result = self.source.read(&mut page, out);
        page.report(&self.address, out);
        if matches!(result, Err(Failed::Stopped)) {
            return Ok(());
        }
        if self.written.extra_metrics {
            let seconds = began.elapsed().as_secs_f64();
            let fields = page::extra_fields(&self.written);
            out.emit("up", i32::from(result.is_ok()), &fields);
            out.emit("scrape_duration_seconds", seconds, &fields);
            out.emit("scrape_samples_scraped", page.samples(), &fields);
        }
        match result {
            Ok(()) | Err(Failed::Stopped) => Ok(()),
            Err(Failed::Why(why)) => {
                out.counter("failed_scrapes").fetch_add(1, Relaxed);
                Err(Error::new(format!(
                    "Cannot read the metrics of {} (within {} s): {why}",
                    self.address,
                    self.timeout.as_secs_f64()
                )))
            }
        }
    }
}

/// How many mutated inputs a parser's test reads: `MUTATIONS`, or `usual`.
#[cfg(test)]
fn mutations(usual: u64) -> u64 {
    let set = std::env::var("MUTATIONS");
    set.ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
