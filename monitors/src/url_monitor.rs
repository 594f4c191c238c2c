//! `url_monitor`: what a web address answers.

use crate::excerpt::{self, Excerpt};
use crate::http::{self, Class, Client, Failure, Limits, Request};
use crate::line::Field;
use crate::monitor::{Cadence, Description, Log, Measure, MetricSpec, Monitor, Setup};
use crate::options::{Default, Kind, OptionSpec};
use crate::{Emitter, Error};
use serde_json::Value as Json;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Its entry in the registry.
pub const DESCRIPTION: Description = Description {
    module: "scalyr_agent.builtin_monitors.url_monitor",
    text: "Fetches a web address once an interval and writes its status and text. Redirects are not followed, certificates are checked against the system's, and the environment's http_proxy, https_proxy and no_proxy are heeded (a proxy is asked for a tunnel by CONNECT, for http too).",
    options: OPTIONS,
    metrics: METRICS,
    open: false,
    log: Log::METRICS,
    write_limit: Description::WRITE_LIMIT,
    cadence: Cadence::Sampled,
    service: None,
    make: |setup| Ok(Box::new(UrlMonitor::new(setup)?)),
};

/// Upper bound of `timeout` in seconds.
const LONGEST: f64 = 30.0;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "url",
        Kind::Text,
        Default::Required,
        "The address, with http or https. Where allow_http_monitors is off it is always https.",
    )
    .url(),
    OptionSpec::new(
        "request_method",
        Kind::Text,
        Default::Text("GET"),
        "The method; any that HTTP allows.",
    ),
    OptionSpec::new(
        "request_headers",
        Kind::Any,
        Default::None,
        "Further headers: a list of objects, each with header and value. They take the place of those that the monitor sends of itself, such as User-Agent.",
    ),
    OptionSpec::new(
        "request_data",
        Kind::Text,
        Default::None,
        "A body to be sent, with any method. Its Content-Type is application/x-www-form-urlencoded unless request_headers says otherwise.",
    ),
    OptionSpec::new(
        "timeout",
        Kind::Float,
        Default::Float(10.0),
        "Seconds that everything together may take, from looking up the name to the last byte. 0 stands for 30.",
    )
    .at_least(0.0)
    .at_most(LONGEST),
    excerpt::EXTRACT,
    excerpt::LOG_ALL_LINES,
    excerpt::MAX_CHARACTERS,
    OptionSpec::new(
        "kept_body_bytes",
        Kind::Int,
        Default::Int(1024 * 1024),
        "So many bytes of an answer are kept for extract and for the value; the rest is only counted.",
    )
    .at_least(1024.0)
    .at_most(67_108_864.0),
    OptionSpec::new(
        "max_body_bytes",
        Kind::Int,
        Default::Int(64 * 1024 * 1024),
        "After more bytes than these the connection is closed; length then counts what had come.",
    )
    .at_least(1024.0),
    OptionSpec::new(
        "log_latency",
        Kind::Bool,
        Default::Bool(false),
        "Adds a field latency: seconds from the request to the end of the answer, or to the failure.",
    ),
    OptionSpec::new(
        "log_method_of_failures",
        Kind::Bool,
        Default::Bool(false),
        "Adds request_method also to the lines of requests that failed.",
    ),
];

const METRICS: &[MetricSpec] = &[MetricSpec {
    name: "response",
    measure: Measure::Gauge,
    unit: "",
    fields: &[
        "http_error",
        "incomplete_read",
        "latency",
        "length",
        "request_method",
        "status",
        "unknown_error",
        "url",
        "url_error",
    ],
    text: "What the server sent, or \"failed\". status: the HTTP status, 0 if there was none; length: characters of the text before it was cut. Of a failure one field tells the reason, cut to 30 characters: url_error (no connection, TLS, time-out), incomplete_read (the answer ended too early), unknown_error (everything else).",
}];

/// Characters of a reason.
const REASON: usize = 30;

struct UrlMonitor {
    url: String,
    method: String,
    request: Request,
    client: Client,
    excerpt: Excerpt,
    latency: bool,
    method_of_failures: bool,
}

impl UrlMonitor {
    fn new(setup: &Setup) -> Result<Self, Error> {
        let options = setup.options;
        let url = options.text("url").to_owned();
        let method = options.text("request_method").to_owned();
        http::check_scheme(&url).map_err(|why| Error::of_option("url", format!("url: {why}")))?;
        // Set and empty is a body of no bytes.
        let is_set = options.entry().iter().any(|(key, _)| key == "request_data");
        let body = is_set.then(|| options.text("request_data").as_bytes().to_vec());
        let names = (setup.place.agent_version, "url_monitor");
        let mut request = Request::new(&method, &url, names, body)
            .map_err(|why| Error::of_option("request_method", format!("request_method: {why}")))?;
        for (name, value) in headers(options.json("request_headers"))? {
            request.set(name, &value).map_err(|why| {
                Error::of_option("request_headers", format!("request_headers: {why}"))
            })?;
        }
        let timeout = options.float("timeout").filter(|&seconds| seconds > 0.0);
        let bytes = |name| options.int(name).and_then(|n| u64::try_from(n).ok());
        Ok(UrlMonitor {
            url,
            method,
            request,
            client: Client::new(Limits {
                timeout: Duration::from_secs_f64(timeout.unwrap_or(LONGEST)),
                keep: bytes("kept_body_bytes")
                    .and_then(|n| usize::try_from(n).ok())
                    .unwrap_or(1024 * 1024),
                most: bytes("max_body_bytes").unwrap_or(u64::MAX),
            }),
            excerpt: Excerpt::new(setup)?,
            latency: options.bool("log_latency"),
            method_of_failures: options.bool("log_method_of_failures"),
        })
    }

    fn failed(&self, failure: &Failure, latency: f64, out: &mut Emitter) {
        out.counter("failed_requests").fetch_add(1, Relaxed);
        let class = match failure.class {
            Class::Stopped => return,
            Class::Url => "url_error",
            Class::IncompleteRead => "incomplete_read",
            Class::Unknown => "unknown_error",
        };
        let reason = match failure.text.char_indices().nth(REASON) {
            Some((end, _)) => format!("{}...", &failure.text[..end]),
            None => failure.text.clone(),
        };
        let mut fields: Vec<Field> = vec![
            (class, reason.as_str().into()),
            ("length", 0.into()),
            ("status", 0.into()),
            ("url", self.url.as_str().into()),
        ];
        if self.method_of_failures {
            fields.push(("request_method", self.method.as_str().into()));
        }
        if self.latency {
            fields.push(("latency", latency.into()));
        }
        out.emit("response", "failed", &fields);
        // The line has only the beginning of it. A server that breaks off elsewhere each time is one reason.
        let reason = match failure.class {
            Class::IncompleteRead => "incomplete",
            _ => &failure.text,
        };
        if out.once_in(HOUR, reason) {
            out.warn(format_args!("{}", self.told(failure)));
        }
    }

    /// For agent.log. The address may hold a password.
    fn told(&self, failure: &Failure) -> String {
        let reason = failure.text.replace(&self.url, "(url)");
        format!(
            "The request failed: {}. This reason is told once an hour.",
            reason.escape_debug()
        )
    }
}

const HOUR: Duration = Duration::from_secs(3600);

fn headers(list: &Json) -> Result<Vec<(&str, String)>, Error> {
    let wrong = || {
        Error::new("request_headers must be a list of objects, each with \"header\" and \"value\"")
    };
    match list {
        Json::Null => Ok(Vec::new()),
        Json::Array(items) => items
            .iter()
            .map(|item| {
                let value = match &item["value"] {
                    Json::String(text) => text.clone(),
                    Json::Number(n) => n.to_string(),
                    _ => return Err(wrong()),
                };
                Ok((item["header"].as_str().ok_or_else(wrong)?, value))
            })
            .collect(),
        _ => Err(wrong()),
    }
}

impl Monitor for UrlMonitor {
    fn gather(&mut self, out: &mut Emitter) -> Result<(), Error> {
        let began = Instant::now();
        let result = self.client.fetch(&self.request, out.stop());
        let latency = began.elapsed().as_secs_f64();
        let response = match result {
            Ok(response) => response,
            Err(failure) => {
                self.failed(&failure, latency, out);
                return Ok(());
            }
        };
        if response.broken_off {
            out.counter("answers_too_long").fetch_add(1, Relaxed);
            if out.once_in(HOUR, "too long") {
                out.warn(format_args!(
                    "The answer is longer than max_body_bytes; the rest of it was not read."
                ));
            }
        }
        let body = &response.body;
        let picked = self.excerpt.pick(&body.text(), body.chars_dropped)?;
        let mut fields: Vec<Field> = vec![
            ("length", picked.length.into()),
            ("request_method", self.method.as_str().into()),
            ("status", i32::from(response.status).into()),
            ("url", self.url.as_str().into()),
        ];
        if self.latency {
            fields.push(("latency", latency.into()));
        }
        out.emit("response", picked.text.as_str(), &fields);
        Ok(())
    }
}

#[cfg(test)]
#[path = "url_monitor_tests.rs"]
mod tests;
