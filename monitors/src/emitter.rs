//! A monitor emits its metrics and its messages for agent.log through an [`Emitter`], which applies
//! write limits, the blacklist of metric names, rates and throttling.

use crate::line::{self, Field, Order, Value};
use crate::rates::{Rate, Rates};
use crate::sink::{Lost, Sink};
use crate::status::MonitorStatus;
use common::limit::{self, Admission, WriteLimit};
use common::stamp;
use common::stop::Stop;
use log::Level;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::panic::Location;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Lines are handed on once so many bytes have gathered, at the latest at the end of the sample.
const BLOCK: usize = 64 * 1024;
const DAY: Duration = Duration::from_secs(24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);
/// How many different messages [`Emitter::once_in`] remembers.
const MOST_SAID: usize = 1000;

/// Takes a monitor's metrics and messages.
pub struct Emitter {
    status: Arc<MonitorStatus>,
    module: &'static str,
    target: String,
    sink: Box<dyn Sink>,
    limit: WriteLimit,
    blacklist: Vec<String>,
    rates: Option<Rates>,
    stop: Stop,
    /// Complete lines that the sink has not got yet.
    block: Vec<u8>,
    /// The line being made.
    line: Vec<u8>,
    /// By the hash of the key, which may be long.
    said: HashMap<u64, Instant>,
    hasher: RandomState,
    /// `module(id)` of the lines that are being emitted, if it is not the monitor's own.
    tag: Option<String>,
    /// In tests, instead of the clock.
    fixed_ms: Option<u64>,
}

impl Emitter {
    pub(crate) fn new(
        status: Arc<MonitorStatus>,
        module: &'static str,
        sink: Box<dyn Sink>,
        limit: WriteLimit,
        blacklist: Vec<String>,
        stop: Stop,
    ) -> Self {
        Emitter {
            target: format!("monitor:{}", status.name()),
            status,
            module,
            sink,
            limit,
            blacklist,
            rates: None,
            stop,
            block: Vec::new(),
            line: Vec::new(),
            said: HashMap::new(),
            hasher: RandomState::new(),
            tag: None,
            fixed_ms: None,
        }
    }

    /// Has rates written behind the metrics that they are asked for.
    pub(crate) fn with_rates(mut self, rates: Rates) -> Self {
        self.rates = Some(rates);
        self
    }

    /// Stamps every line with this moment, in milliseconds since the epoch, instead of the time of
    /// its emission. For golden tests.
    pub fn fix_clock(&mut self, epoch_ms: u64) {
        self.fixed_ms = Some(epoch_ms);
    }

    /// Emits a metric; its fields are written sorted by name.
    pub fn emit<'a>(&mut self, metric: &str, value: impl Into<Value<'a>>, fields: &[Field]) {
        self.line(None, metric, value.into(), (fields, Order::ByName));
    }

    /// [`Emitter::emit`] with a moment of its own, in milliseconds since the epoch.
    pub fn emit_at<'a>(
        &mut self,
        epoch_ms: u64,
        metric: &str,
        value: impl Into<Value<'a>>,
        fields: &[Field],
    ) {
        self.line(
            Some(epoch_ms),
            metric,
            value.into(),
            (fields, Order::ByName),
        );
    }

    /// [`Emitter::emit`] with the fields in the order given.
    pub fn emit_in_order<'a>(
        &mut self,
        metric: &str,
        value: impl Into<Value<'a>>,
        fields: &[Field],
    ) {
        self.line(None, metric, value.into(), (fields, Order::AsGiven));
    }

    /// [`Emitter::emit_in_order`] with a moment of its own, in milliseconds since the epoch.
    pub fn emit_in_order_at<'a>(
        &mut self,
        epoch_ms: u64,
        metric: &str,
        value: impl Into<Value<'a>>,
        fields: &[Field],
    ) {
        self.line(
            Some(epoch_ms),
            metric,
            value.into(),
            (fields, Order::AsGiven),
        );
    }

    /// Writes a line of free text behind stamp and tag. Line breaks within it are kept: the text of
    /// a journal entry may have some; others take them out first.
    pub fn message(&mut self, text: &str) {
        let now_ms = self.fixed_ms.unwrap_or_else(stamp::now_ms);
        self.line.clear();
        let tag = self.tag.as_deref().unwrap_or_else(|| self.status.name());
        line::head(&mut self.line, now_ms, tag);
        self.line.extend_from_slice(text.as_bytes());
        self.line.push(b'\n');
        self.hand_over();
    }

    /// Has the lines emitted from now on bear another id than the monitor's own; `None`: its own again.
    pub(crate) fn set_id(&mut self, id: Option<&str>) {
        self.tag = id.map(|id| {
            let name = crate::monitor::short_name(self.module);
            format!("{name}({})", id.replace(char::is_control, "_"))
        });
    }

    /// Has what is emitted from now on go to the log of that path, unless all lines go to one place.
    pub(crate) fn set_log(&mut self, path: &Path) {
        self.flush();
        if let Some(sink) = self.sink.of(path) {
            self.sink = sink;
        }
    }

    /// A counter of the monitor's own that its status shows by this name, such as
    /// `malformed_messages`. The same name gives the same counter, also after a restart.
    pub fn counter(&self, name: &'static str) -> Arc<AtomicU64> {
        self.status.counter(name)
    }

    /// Counts lines that the monitor has written to files of its own.
    pub fn count_lines(&self, lines: u64) {
        self.status.lines.fetch_add(lines, Relaxed);
    }

    /// For a monitor that serves: tells the status that it is well.
    pub fn alive(&self) {
        self.status.sample_was_good();
    }

    /// For a monitor that serves: counts a sample.
    pub(crate) fn sampled(&self, well: bool) {
        self.status.sample_ends(well);
    }

    /// Tells how the samples that were asked for have gone.
    pub(crate) fn status(&self) -> &MonitorStatus {
        &self.status
    }

    fn line(&mut self, at: Option<u64>, metric: &str, value: Value, fields: (&[Field], Order)) {
        let name = line::clean_name(metric);
        if name.changed && self.once_in(DAY, "client/badMetricName") {
            self.warn(format_args!(
                "[error=\"client/badMetricName\"] {:?} is no valid metric name, it is written as \"{}\". Names consist of letters, digits, '_', '.' and '-' and begin with a letter or '_'.",
                shown(metric),
                shown(&name.text)
            ));
        }
        if self.blacklist.iter().any(|listed| *listed == name.text) {
            if self.once_in(DAY, &format!("blacklisted {}", name.text)) {
                self.info(format_args!(
                    "Metric \"{}\" is blacklisted so the value wont be reported to Scalyr.",
                    name.text
                ));
            }
            return;
        }
        let now_ms = at.or(self.fixed_ms).unwrap_or_else(stamp::now_ms);
        let mut bad = None;
        self.line.clear();
        line::metric(
            &mut self.line,
            (
                now_ms,
                self.tag.as_deref().unwrap_or_else(|| self.status.name()),
            ),
            &name.text,
            value,
            fields,
            |field| {
                bad.get_or_insert_with(|| field.to_owned());
            },
        );
        if let Some(field) = bad.filter(|_| self.once_in(DAY, "client/badFieldName")) {
            self.warn(format_args!(
                "[error=\"client/badFieldName\"] {:?} is no valid field name, it is written as \"{}\".",
                shown(&field),
                shown(&line::clean_name(&field).text)
            ));
        }
        self.hand_over();
        self.rate((at, now_ms), &name.text, value, fields);
    }

    /// Writes the rate of the metric that was just written, if one is asked for and known. Without
    /// a moment of its own the metric's is the present in whole seconds.
    fn rate(
        &mut self,
        (at, now_ms): (Option<u64>, u64),
        name: &str,
        value: Value,
        (fields, order): (&[Field], Order),
    ) {
        let Some(rates) = &mut self.rates else {
            return;
        };
        let secs = at.map_or((now_ms / 1000) as f64, |ms| ms as f64 / 1000.0);
        let with_id: Vec<Field>;
        let key = match &self.tag {
            None => fields,
            // Each id has series of its own
            Some(tag) => {
                with_id = [fields, &[("", tag.as_str().into())][..]].concat();
                &with_id
            }
        };
        match rates.of(name, value, key, secs) {
            Rate::None => {}
            Rate::Of(rate) => {
                let name = format!("{name}_rate");
                self.line.clear();
                let tag = self.tag.as_deref();
                let head = (now_ms, tag.unwrap_or_else(|| self.status.name()));
                line::metric(
                    &mut self.line,
                    head,
                    &name,
                    rate.into(),
                    (fields, order),
                    |_| {},
                );
                self.hand_over();
            }
            Rate::NoNumber => {
                if self.once_in(DAY, &format!("no number {name}")) {
                    self.warn(format_args!(
                        "Metric \"{name}\" is not a number. Cannot calculate rate."
                    ));
                }
            }
            Rate::TooMany => {
                if self.once_in(DAY, "too many series") {
                    self.warn(format_args!(
                        "Metric \"{name}\" and others have too many different fields; the newest of them get no rate."
                    ));
                }
            }
        }
    }

    /// Passes `self.line` through the limiter into the block.
    fn hand_over(&mut self) {
        self.status.lines.fetch_add(1, Relaxed);
        let bytes = self.line.len().saturating_sub(1);
        match self.limit.admit(bytes, Instant::now()) {
            Admission::Drop => {
                self.status.dropped.fetch_add(1, Relaxed);
                return;
            }
            Admission::PassAfter(skipped) => limit::marker(&mut self.block, skipped),
            Admission::Pass => {}
        }
        self.block.extend_from_slice(&self.line);
        if self.block.len() >= BLOCK {
            self.flush();
        }
    }

    /// Writes what has gathered.
    pub fn flush(&mut self) {
        if self.block.is_empty() {
            return;
        }
        let result = self.sink.write(&self.block);
        self.block.clear();
        if self.block.capacity() > 2 * BLOCK {
            self.block.shrink_to(BLOCK);
        }
        if let Err(Lost { lines, error }) = result {
            self.status.lost.fetch_add(lines, Relaxed);
            if self.once_in(HOUR, &format!("lost {}", error.kind())) {
                self.warn(format_args!(
                    "{lines} metric lines could not be written: {error}. Further losses are counted in the status report."
                ));
            }
        }
    }

    /// Counts a restart, as after a panic, of what does the monitor's work: a process outside. With
    /// `stop_agent_on_failure` the agent ends.
    pub fn begins_anew(&self) {
        self.status.restarts.fetch_add(1, Relaxed);
    }

    /// Set when the agent stops or drops this monitor; long work in `gather` should end then.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// True if `key` has not been spoken of for `period`: `if out.once_in(HOUR, "x") { out.warn(..) }`.
    pub fn once_in(&mut self, period: Duration, key: &str) -> bool {
        let now = Instant::now();
        let key = self.hasher.hash_one(key);
        if let Some(then) = self.said.get_mut(&key) {
            if now.duration_since(*then) < period {
                return false;
            }
            *then = now;
            return true;
        }
        if self.said.len() >= MOST_SAID {
            self.said.clear();
        }
        self.said.insert(key, now);
        true
    }

    /// Into agent.log at INFO, in the monitor's name.
    #[track_caller]
    pub fn info(&self, text: fmt::Arguments) {
        self.log(Level::Info, text);
    }

    /// Into agent.log at WARNING.
    #[track_caller]
    pub fn warn(&self, text: fmt::Arguments) {
        self.log(Level::Warn, text);
    }

    /// Into agent.log at ERROR; counts as an error of the monitor. For what goes wrong beside a
    /// sample: a failed sample is an `Err` of `gather`.
    #[track_caller]
    pub fn error(&self, text: fmt::Arguments) {
        self.status.error(&text.to_string());
        self.log(Level::Error, text);
    }

    /// [`Emitter::error`] for what may come again and again: each counts, and one of the same `key`
    /// is written at most once in `period`.
    #[track_caller]
    pub fn error_once_in(&mut self, period: Duration, key: &str, text: fmt::Arguments) {
        self.status.error(&text.to_string());
        if self.once_in(period, key) {
            self.log(Level::Error, text);
        }
    }

    #[track_caller]
    pub(crate) fn log(&self, level: Level, text: fmt::Arguments) {
        if level > log::max_level() {
            return;
        }
        let record = log::Record::builder()
            .level(level)
            .target(&self.target)
            .module_path_static(Some(self.module))
            .line(Some(Location::caller().line()))
            .args(text)
            .build();
        log::logger().log(&record);
    }
}

/// The beginning of a name, for messages: plug-ins may give long ones.
fn shown(name: &str) -> &str {
    let end = name
        .char_indices()
        .nth(100)
        .map_or(name.len(), |(at, _)| at);
    &name[..end]
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Emitter")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// For tests of monitors: an [`Emitter`] and the lines that come out of it.
#[cfg(test)]
pub(crate) mod captured {
    use super::*;
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    pub struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        pub fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
        }
    }

    impl Sink for Lines {
        fn write(&mut self, lines: &[u8]) -> Result<(), Lost> {
            self.0.lock().unwrap().extend_from_slice(lines);
            Ok(())
        }
    }

    /// The handle that asks `out` to stop when it is dropped.
    pub fn stopper(out: &mut Emitter) -> common::stop::Stopper {
        let (stopper, stop) = common::stop::pair();
        out.stop = stop;
        stopper
    }

    /// Emits as `name` at 2022-04-15 11:11:08.015Z.
    pub fn emitter(name: &str, limit: WriteLimit, blacklist: &[&str]) -> (Emitter, Lines) {
        let (out, lines, stopper) = stoppable(name, limit, blacklist);
        std::mem::forget(stopper);
        (out, lines)
    }

    /// The same, to be asked to stop.
    pub fn stoppable(
        name: &str,
        limit: WriteLimit,
        blacklist: &[&str],
    ) -> (Emitter, Lines, common::stop::Stopper) {
        let lines = Lines::default();
        let (stopper, stop) = common::stop::pair();
        let mut out = Emitter::new(
            Arc::new(MonitorStatus::new(name.to_owned(), "m", "", None)),
            "m",
            Box::new(lines.clone()),
            limit,
            blacklist.iter().map(|&s| s.to_owned()).collect(),
            stop,
        );
        out.fix_clock(1_650_021_068_015);
        (out, lines, stopper)
    }
}

#[cfg(test)]
mod tests {
    use super::captured::emitter;
    use super::*;

    #[test]
    fn emit_corner_cases_are_written_as_recorded() {
        let (mut out, lines) = emitter("foo(x)", WriteLimit::none(), &[]);
        out.emit("bt", true, &[]);
        out.emit("i", Value::Raw("1180591620717411303424"), &[]);
        out.emit("severity", 1, &[("value", 2.into())]);
        out.emit("-lead", 1, &[]);
        out.emit_at(1_650_021_068_016, "ts", 1, &[]);
        out.emit_in_order(
            "df",
            Value::Raw("4.20"),
            &[("mount", "/\"x y".into()), ("fstype", "ext4".into())],
        );
        out.flush();
        assert_eq!(
            lines.take(),
            "2022-04-15 11:11:08.015Z [foo(x)] bt true\n\
             2022-04-15 11:11:08.015Z [foo(x)] i 1180591620717411303424\n\
             2022-04-15 11:11:08.015Z [foo(x)] severity_ 1 value_=2\n\
             2022-04-15 11:11:08.015Z [foo(x)] sa_-lead 1\n\
             2022-04-15 11:11:08.016Z [foo(x)] ts 1\n\
             2022-04-15 11:11:08.015Z [foo(x)] df 4.20 mount=\"/\\\"x y\" fstype=\"ext4\"\n"
        );
    }

    #[test]
    fn blacklisted_metrics_are_neither_written_nor_counted() {
        let (mut out, lines) = emitter("m()", WriteLimit::none(), &["gauss", "severity_"]);
        out.emit("gauss", 1, &[]);
        out.emit("severity", 1, &[]);
        out.emit("uniform", 1, &[]);
        out.flush();
        assert_eq!(lines.take(), "2022-04-15 11:11:08.015Z [m()] uniform 1\n");
        assert_eq!(out.status.snapshot().lines, 1);
    }

    #[test]
    fn dropped_lines_are_counted_and_announced() {
        // a line of "m() a 1" is 34 bytes; a rate of 0 makes the test independent of the clock
        let (mut out, lines) = emitter("m()", WriteLimit::new(0, 210), &[]);
        out.emit("a", 1, &[]);
        out.emit(
            "a_name_that_is_too_long_for_the_rest".repeat(6).as_str(),
            1,
            &[],
        );
        out.emit("b", 1, &[]);
        out.flush();
        assert_eq!(
            lines.take(),
            "2022-04-15 11:11:08.015Z [m()] a 1\n\
             .... Warning, skipped writing 1 log lines due to limit set by `monitor_log_write_rate` option...\n\
             2022-04-15 11:11:08.015Z [m()] b 1\n"
        );
        let status = out.status.snapshot();
        assert_eq!((status.lines, status.dropped), (3, 1));
    }

    #[test]
    fn a_sample_larger_than_the_block_is_handed_on_in_pieces() {
        let (mut out, lines) = emitter("m()", WriteLimit::none(), &[]);
        for n in 0..10_000 {
            out.emit("n", n, &[]);
        }
        let early = lines.take();
        assert!(early.len() >= BLOCK);
        assert!(out.block.len() < BLOCK);
        out.flush();
        assert_eq!(early.lines().count() + lines.take().lines().count(), 10_000);
    }

    #[test]
    fn each_id_has_rates_of_its_own() {
        let (out, lines) = emitter("m(own)", WriteLimit::none(), &[]);
        let mut out = out.with_rates(Rates::new("m", &[], &["c".to_owned()], 0.0));
        for (at, id, value) in [
            (1_000, None, 10),
            (1_000, Some("x"), 500),
            (2_000, None, 11),
            (2_000, Some("x"), 700),
        ] {
            out.set_id(id);
            out.emit_at(at, "c", value, &[]);
        }
        out.flush();
        let seen = lines.take();
        let rates: Vec<&str> = seen
            .lines()
            .filter(|line| line.contains("c_rate"))
            .map(|line| &line[25..])
            .collect();
        assert_eq!(rates, ["[m(own)] c_rate 1.0", "[m(x)] c_rate 200.0"]);
    }

    #[test]
    fn messages_remembered_are_bounded() {
        let (mut out, _) = emitter("m()", WriteLimit::none(), &[]);
        assert!(out.once_in(DAY, "a"));
        assert!(!out.once_in(DAY, "a"));
        for n in 0..10 * MOST_SAID {
            out.once_in(DAY, &n.to_string());
        }
        assert!(out.said.len() <= MOST_SAID);
    }
}
