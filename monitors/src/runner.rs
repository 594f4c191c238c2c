//! A thread per monitor: ticks, errors, panics, restarts, the end.
//!
//! Samples are taken on fixed ticks of the monotonic clock; a tick that passes while a sample is
//! still being taken is skipped. A monitor that panics is made anew after a pause that doubles up
//! to five minutes; one that hangs shows in its status and is left behind at the end.

use crate::emitter::Emitter;
use crate::monitor::{Cadence, Monitor};
use crate::plan::Plan;
use crate::rates::Rates;
use crate::sink::{LogFiles, Sink};
use crate::status::MonitorStatus;
use common::limit::WriteLimit;
use common::stop::{self, Stop, Stopper};
use crossbeam_channel::{bounded, Receiver, RecvTimeoutError};
use log::Level;
use std::convert::Infallible;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::thread::Builder;
use std::time::{Duration, Instant};

/// A started monitor. Dropping it asks its thread to end and does not wait.
#[derive(Debug)]
pub struct Runner {
    plan: Arc<Plan>,
    status: Arc<MonitorStatus>,
    stopper: Option<Stopper>,
    /// Disconnected when the thread is through.
    done: Receiver<Infallible>,
}

impl Runner {
    /// Opens the monitor's log and starts its thread.
    ///
    /// # Errors
    /// No thread could be made. A log that cannot be opened is a warning in agent.log: the monitor
    /// runs, and what it would have written is counted as lost until the log can be opened.
    pub fn start(plan: Plan, files: &LogFiles) -> io::Result<Runner> {
        let sink = plan.sink(files);
        Runner::start_into(plan, sink)
    }

    /// [`Runner::start`] with another destination for the lines.
    ///
    /// # Errors
    /// As there.
    pub fn start_into(plan: Plan, sink: Box<dyn Sink>) -> io::Result<Runner> {
        let name = plan.name();
        log::info!("Starting monitor {name}.");
        let status = Arc::new(MonitorStatus::new(
            name.clone(),
            plan.description.module,
            &plan.id,
            plan.most_samples,
        ));
        Runner::launch(Arc::new(plan), status, Builder::new(), sink)
    }

    /// Leaves the thread, which hangs, behind, asking it to end when it can, and starts another one
    /// that goes on with the same counters.
    ///
    /// # Errors
    /// No thread could be made. The status says then that the monitor is not alive, and that it is
    /// busy from now on, so that whoever looks for monitors that hang tries again.
    pub fn replace(&mut self, sink: Box<dyn Sink>) -> io::Result<Runner> {
        self.replace_in(Builder::new(), sink)
    }

    fn replace_in(&mut self, thread: Builder, sink: Box<dyn Sink>) -> io::Result<Runner> {
        self.stopper = None;
        self.status.restarts.fetch_add(1, Relaxed);
        self.status
            .error("it was busy with one sample for too long");
        self.status.sample_ends(false);
        let (plan, status) = (Arc::clone(&self.plan), Arc::clone(&self.status));
        let launched = Runner::launch(plan, status, thread, sink);
        if launched.is_err() {
            self.status.sample_begins();
        }
        launched
    }

    fn launch(
        plan: Arc<Plan>,
        status: Arc<MonitorStatus>,
        thread: Builder,
        sink: Box<dyn Sink>,
    ) -> io::Result<Runner> {
        let (stopper, stop) = stop::pair();
        let (running, done) = bounded(0);
        let of_thread = Arc::clone(&status);
        let of_plan = Arc::clone(&plan);
        status.alive.store(true, Relaxed);
        // The kernel keeps 15 bytes of the name.
        let spawned = thread.name(plan.name()).spawn(move || {
            let _running = running;
            let _alive = Alive(&of_thread, &stop);
            work(&of_plan, &of_thread, sink, &stop);
        });
        if let Err(error) = spawned {
            status.alive.store(false, Relaxed);
            return Err(error);
        }
        Ok(Runner {
            plan,
            status,
            stopper: Some(stopper),
            done,
        })
    }

    /// The plan that it was started with.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Its counters; they can be kept beyond the runner's life.
    pub fn status(&self) -> &Arc<MonitorStatus> {
        &self.status
    }

    /// `stop_agent_on_failure`.
    pub fn stops_agent(&self) -> bool {
        self.plan.stops_agent()
    }

    /// Whether a monitor that takes no samples has written as many lines as it was to
    /// ([`Plan::end_after`]). Any other ends by itself.
    pub fn has_enough(&self) -> bool {
        let description = self.plan.description;
        description.cadence == Cadence::Serving
            && !description.open
            && self.status.has_enough_lines()
    }

    /// Whether the thread has ended.
    pub fn is_done(&self) -> bool {
        self.done.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected)
    }

    /// Asks the thread to end. Does not wait.
    pub fn stop(&mut self) {
        if self.stopper.take().is_some() {
            log::info!("Stopping monitor {}", self.status.name());
            self.status.alive.store(false, Relaxed);
        }
    }

    /// Waits for the end of the thread, at the latest until `deadline`. False if it is still
    /// running then; it is left behind.
    pub fn join(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        self.done.recv_timeout(left) == Err(RecvTimeoutError::Disconnected)
    }
}

/// Stops all of them, waiting no longer than `patience` altogether. The names of those that would
/// not end.
pub fn stop_all(runners: &mut [Runner], patience: Duration) -> Vec<String> {
    let deadline = Instant::now() + patience;
    runners.iter_mut().for_each(Runner::stop);
    runners
        .iter()
        .filter(|runner| !runner.join(deadline))
        .map(|runner| runner.status.name().to_owned())
        .collect()
}

/// Says in the status that the monitor does not run, however its thread ends.
/// One that was asked to end says nothing: another may have taken its place.
struct Alive<'a>(&'a MonitorStatus, &'a Stop);

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        if !self.1.is_set() {
            self.0.alive.store(false, Relaxed);
        }
    }
}

/// How a monitor's life, between two restarts, ended.
enum End {
    Asked,
    Died { message: String, had_worked: bool },
}

fn work(plan: &Plan, status: &Arc<MonitorStatus>, sink: Box<dyn Sink>, stop: &Stop) {
    let (rate, burst) = plan.description.write_limit;
    let mut out = Emitter::new(
        Arc::clone(status),
        plan.description.module,
        sink,
        WriteLimit::new(
            plan.options.int("monitor_log_write_rate").unwrap_or(rate),
            plan.options
                .int("monitor_log_max_write_burst")
                .unwrap_or(burst),
        ),
        plan.options.strings("metric_name_blacklist").to_vec(),
        stop.clone(),
    )
    .with_rates(Rates::new(
        plan.description.short_name(),
        &plan.rate_metrics,
        plan.options.strings("calculate_rate_metric_names"),
        plan.rate_cleanup,
    ));
    let (first_pause, longest_pause) = plan.pauses;
    let mut pause = first_pause;
    let mut delay = if plan.jitter {
        Duration::from_secs(initial_delay(plan.interval.as_secs_f64(), random()))
    } else {
        Duration::ZERO
    };
    loop {
        let end = match guarded(|| (plan.description.make)(&plan.setup())) {
            Ok(Ok(monitor)) if plan.description.cadence == Cadence::Serving => {
                serve(monitor, plan, status, &mut out, stop)
            }
            Ok(Ok(monitor)) => live(monitor, plan, status, &mut out, delay, stop),
            Ok(Err(error)) => not_made(status, error.to_string()),
            Err(message) => not_made(status, message),
        };
        // Whatever was complete before a panic is kept.
        out.flush();
        match end {
            End::Asked => break,
            End::Died {
                message,
                had_worked,
            } => {
                if had_worked {
                    pause = first_pause;
                }
                status.alive.store(false, Relaxed);
                status.error(&message);
                if status.is_enough() {
                    out.log(Level::Error, format_args!("Monitor died: {message}."));
                    break;
                }
                out.log(
                    Level::Error,
                    format_args!(
                        "[error=\"failedMonitor\"] Monitor died: {message}. It is started again in {} seconds.",
                        pause.as_secs_f64()
                    ),
                );
                if stop.sleep(pause) {
                    break;
                }
                pause = pause.saturating_mul(2).min(longest_pause);
                delay = Duration::ZERO;
                status.restarts.fetch_add(1, Relaxed);
                status.alive.store(true, Relaxed);
            }
        }
    }
    out.log(Level::Info, format_args!("Monitor has finished"));
}

/// Counts as a sample, so that one is not waited for in vain.
fn not_made(status: &MonitorStatus, message: String) -> End {
    status.sample_ends(false);
    End::Died {
        message,
        had_worked: false,
    }
}

/// The same failure is spoken of once in this time.
const SAME_ERROR: Duration = Duration::from_secs(300);

fn live(
    mut monitor: Box<dyn Monitor>,
    plan: &Plan,
    status: &MonitorStatus,
    out: &mut Emitter,
    delay: Duration,
    stop: &Stop,
) -> End {
    let mut tick = Instant::now() + delay;
    let mut had_worked = false;
    loop {
        if stop.sleep_until(tick) || stop.is_set() {
            // Its own clean-up must not take the thread along either.
            let _ = guarded(move || drop(monitor));
            return End::Asked;
        }
        status.sample_begins();
        let result = guarded(|| monitor.gather(out));
        out.flush();
        if stop.is_set() {
            // It may have been left behind: the state of the sample is another thread's now
            let _ = guarded(move || drop(monitor));
            return End::Asked;
        }
        status.sample_ends(matches!(result, Ok(Ok(()))));
        match result {
            Ok(Ok(())) => had_worked = true,
            Ok(Err(error)) => {
                let text = error.to_string();
                status.error(&text);
                if out.once_in(SAME_ERROR, &text) {
                    out.log(
                        Level::Error,
                        format_args!("Failed to gather sample: {text}"),
                    );
                }
            }
            Err(message) => {
                let _ = guarded(move || drop(monitor));
                return End::Died {
                    message,
                    had_worked,
                };
            }
        }
        if status.is_enough() {
            let _ = guarded(move || drop(monitor));
            return End::Asked;
        }
        tick = next_tick(tick, plan.interval, Instant::now());
    }
}

/// A server that has worked for this long begins with a short pause when it fails again.
const WORKED: Duration = Duration::from_secs(60);

fn serve(
    mut monitor: Box<dyn Monitor>,
    plan: &Plan,
    status: &MonitorStatus,
    out: &mut Emitter,
    stop: &Stop,
) -> End {
    let (first_pause, longest_pause) = plan.pauses;
    let mut pause = first_pause;
    loop {
        let began = Instant::now();
        let result = guarded(|| monitor.gather(out));
        out.flush();
        let had_worked = began.elapsed() > WORKED;
        if !matches!(result, Ok(Ok(()))) && !stop.is_set() {
            status.sample_ends(false);
        }
        let end = match result {
            Ok(_) if stop.is_set() => Some(End::Asked),
            Ok(Ok(())) => None,
            Ok(Err(error)) => {
                let text = error.to_string();
                status.error(&text);
                if out.once_in(SAME_ERROR, &text) {
                    out.log(Level::Error, format_args!("{text}"));
                }
                None
            }
            Err(message) => Some(End::Died {
                message,
                had_worked,
            }),
        };
        if had_worked {
            pause = first_pause;
        }
        let end = end.or_else(|| status.is_enough().then_some(End::Asked));
        if let Some(end) = end {
            let _ = guarded(move || drop(monitor));
            return end;
        }
        if stop.sleep(pause) {
            return End::Asked;
        }
        pause = pause.saturating_mul(2).min(longest_pause);
    }
}

/// The first tick after `now`.
fn next_tick(tick: Instant, interval: Duration, now: Instant) -> Instant {
    let late = now.saturating_duration_since(tick).as_nanos();
    let steps = late / interval.as_nanos().max(1) + 1;
    u32::try_from(steps)
        .ok()
        .and_then(|steps| interval.checked_mul(steps))
        .and_then(|ahead| tick.checked_add(ahead))
        .unwrap_or_else(|| now + interval)
}

/// Runs `f`; a panic becomes its message.
fn guarded<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned());
        format!("panic: {}", text.as_deref().unwrap_or("(no message)"))
    })
}

/// Whole seconds before the first sample of a monitor with this interval: 15 to 40 for intervals
/// from 40 on, otherwise a fifth to four fifths of it, rounded half to even.
fn initial_delay(interval: f64, random: u64) -> u64 {
    let (from, to) = if interval >= 40.0 {
        (15, 40)
    } else {
        let part = |share: f64| (share * interval).round_ties_even().max(0.0) as u64;
        (part(0.2), part(0.8))
    };
    from + random % (to - from + 1)
}

fn random() -> u64 {
    // Its keys are the kernel's random bytes.
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
