//! `shell_monitor`: the output and exit status of a command.

use crate::command::{self, CutShort, Limits, Outcome};
use crate::excerpt::{self, Excerpt};
use crate::line::Field;
use crate::monitor::{Cadence, Description, Log, Measure, MetricSpec, Monitor, Setup};
use crate::options::{Default, Kind, OptionSpec};
use crate::{Emitter, Error};
use common::time;
use std::borrow::Cow;
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Its entry in the registry.
pub const DESCRIPTION: Description = Description {
    module: "scalyr_agent.builtin_monitors.shell_monitor",
    text: "Runs a command with /bin/sh once an interval and writes what it printed, how long it took and its exit status. The command gets the agent's user, environment and directory, an empty standard input and a process group of its own.",
    options: OPTIONS,
    metrics: METRICS,
    open: false,
    log: Log::METRICS,
    write_limit: Description::WRITE_LIMIT,
    cadence: Cadence::Sampled,
    service: None,
    make: |setup| Ok(Box::new(ShellMonitor::new(setup)?)),
};

/// Time-out in seconds of a command whose entry sets none, if its interval is not longer.
const TIMEOUT: f64 = 60.0;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "command",
        Kind::Text,
        Default::Required,
        "The command, as /bin/sh takes it: pipes and several commands are fine.",
    ),
    excerpt::EXTRACT,
    excerpt::LOG_ALL_LINES,
    excerpt::MAX_CHARACTERS,
    OptionSpec::new(
        "timeout",
        Kind::Float,
        Default::None,
        "Seconds after which the command and everything it has started is ended: by SIGTERM, a second later by SIGKILL. The line then has a field error. 0: never. Default: sample_interval if that is longer than 60, else 60. A process that it leaves in the background is not ended, but waited for so long if it holds the command's output.",
    )
    .at_least(0.0)
    .at_most(1e9),
    OptionSpec::new(
        "stdout_only",
        Kind::Bool,
        Default::Bool(false),
        "Looks at the standard output alone. Otherwise the error output comes first.",
    ),
    OptionSpec::new(
        "precise_duration",
        Kind::Bool,
        Default::Bool(false),
        "Writes duration with decimals instead of whole seconds.",
    ),
    OptionSpec::new(
        "kept_output_bytes",
        Kind::Int,
        Default::Int(1024 * 1024),
        "So many bytes of each output are kept for extract and for the value; the rest is only counted.",
    )
    .at_least(1024.0)
    .at_most(67_108_864.0),
    OptionSpec::new(
        "max_output_bytes",
        Kind::Int,
        Default::Int(64 * 1024 * 1024),
        "A command that writes more bytes than these to one of its outputs is ended; its line then has a field error.",
    )
    .at_least(1024.0),
];

const METRICS: &[MetricSpec] = &[MetricSpec {
    name: "output",
    measure: Measure::Gauge,
    unit: "",
    fields: &["command", "duration", "error", "exit_code", "length"],
    text: "What the command printed. duration: seconds; exit_code: the exit status, or the negative number of the signal that ended it; length: characters of the text before it was cut; error: why the command was ended or its output not waited for, only if that was so.",
}];

struct ShellMonitor {
    command: String,
    excerpt: Excerpt,
    limits: Limits,
    stdout_only: bool,
    precise_duration: bool,
}

impl ShellMonitor {
    fn new(setup: &Setup) -> Result<Self, Error> {
        let options = setup.options;
        let seconds = options.float("timeout").unwrap_or_else(|| {
            let interval = setup.place.sample_interval;
            interval.clamp(TIMEOUT, 1e9)
        });
        let command = options.text("command").to_owned();
        if command.contains('\0') {
            return Err(Error::new("command holds a NUL character"));
        }
        let bytes = |name| options.int(name).and_then(|n| u64::try_from(n).ok());
        Ok(ShellMonitor {
            command,
            excerpt: Excerpt::new(setup)?,
            limits: Limits {
                timeout: (seconds > 0.0).then(|| Duration::from_secs_f64(seconds)),
                keep: bytes("kept_output_bytes")
                    .and_then(|n| usize::try_from(n).ok())
                    .unwrap_or(1024 * 1024),
                most: bytes("max_output_bytes").unwrap_or(u64::MAX),
            },
            stdout_only: options.bool("stdout_only"),
            precise_duration: options.bool("precise_duration"),
        })
    }

    /// Why the command was made to end, for its line.
    fn error(&self, why: CutShort) -> Option<String> {
        let seconds = self.limits.timeout.unwrap_or_default().as_secs_f64();
        match why {
            CutShort::TimedOut => Some(format!("timed out after {seconds} s")),
            CutShort::OutputHeld => Some(format!(
                "a background process held the output for {seconds} s"
            )),
            CutShort::TooMuchOutput => {
                Some(format!("more than {} bytes of output", self.limits.most))
            }
            CutShort::Stopped => None,
        }
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Monitor for ShellMonitor {
    fn gather(&mut self, out: &mut Emitter) -> Result<(), Error> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(&self.command);
        let began = time::now_secs();
        let outcome = command::run(command, b"", &self.limits, out.stop())
            .map_err(|e| Error::new(format!("cannot run /bin/sh: {e}")))?;
        if outcome.cut_short == Some(CutShort::Stopped) {
            return Ok(());
        }
        let error = outcome.cut_short.and_then(|why| self.error(why));
        if let Some(error) = &error {
            const ENDED: &str = "The command was ended with all it had started";
            let (counter, what, advice) = match outcome.cut_short {
                Some(CutShort::TooMuchOutput) => (
                    "commands_with_too_much_output",
                    ENDED,
                    "The limit is max_output_bytes.",
                ),
                Some(CutShort::OutputHeld) => (
                    "outputs_held",
                    "The command's output is no longer listened to",
                    "Redirect the output of what is to run on in the background, or raise timeout.",
                ),
                _ => ("commands_timed_out", ENDED, "The limit is timeout."),
            };
            out.counter(counter).fetch_add(1, Relaxed);
            if out.once_in(DAY, error) {
                out.warn(format_args!("{what}: {error}. {advice}"));
            }
        }
        let Some(code) = outcome.code else {
            return Err(Error::new(
                "the command cannot even be killed: it hangs in the kernel, or runs as another user",
            ));
        };
        let (text, dropped) = text(&outcome, self.stdout_only);
        let picked = self.excerpt.pick(&text, dropped)?;
        let took = outcome.took.as_secs_f64();
        let duration = if self.precise_duration {
            took.into()
        } else {
            // The difference of two clocks that show whole seconds.
            (((began + took).floor() - began.floor()) as i64).into()
        };
        let mut fields: Vec<Field> = vec![
            ("command", self.command.as_str().into()),
            ("duration", duration),
            ("exit_code", code.into()),
            ("length", picked.length.into()),
        ];
        if let Some(error) = &error {
            fields.push(("error", error.as_str().into()));
        }
        out.emit("output", picked.text.as_str(), &fields);
        Ok(())
    }
}

/// The error output, a line break if there are both, the standard output; and how many characters
/// were not kept.
fn text(outcome: &Outcome, stdout_only: bool) -> (Cow<'_, str>, u64) {
    let (stdout, stderr) = (&outcome.stdout, &outcome.stderr);
    if stdout_only || stderr.bytes == 0 {
        return (stdout.text(), stdout.chars_dropped);
    }
    if stdout.bytes == 0 {
        return (stderr.text(), stderr.chars_dropped);
    }
    let text = format!("{}\n{}", stderr.text(), stdout.text());
    (
        Cow::Owned(text),
        stderr.chars_dropped + stdout.chars_dropped,
    )
}

#[cfg(test)]
#[path = "shell_monitor_tests.rs"]
mod tests;
