//! When the next request may go, and how large it may be: the Python agent's rules, with the
//! exceptions of docs/differences.md.
//!
//! Sizes are uncompressed. A full request means that more is waiting, so nothing but the minimum
//! spacing delays the next one; others are spaced by an interval that follows their size. After a
//! failure a back-off holds everything. No clock is read here: moments come in as arguments.

use std::time::{Duration, Instant};

/// The configuration's pacing options.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// `min_request_spacing_interval`: from the start of one request to that of the next.
    pub min_spacing: Duration,
    /// `max_request_spacing_interval`: the longest interval.
    pub max_spacing: Duration,
    /// `max_error_request_spacing_interval`: the longest back-off.
    pub max_error_spacing: Duration,
    /// The first back-off.
    pub first_backoff: Duration,
    /// `low_water_bytes_sent`: a smaller request makes the interval longer.
    pub low_water: usize,
    /// `low_water_request_spacing_adjustment`: by this factor.
    pub low_water_factor: f64,
    /// `high_water_bytes_sent`: a larger request makes the interval shorter.
    pub high_water: usize,
    /// `high_water_request_spacing_adjustment`: by this factor.
    pub high_water_factor: f64,
    /// `failure_request_spacing_adjustment`: the growth of the back-off.
    pub failure_factor: f64,
    /// `request_too_large_adjustment`: what remains of a size that was too large.
    pub too_large_factor: f64,
    /// `max_allowed_request_size`, in bytes.
    pub max_request_size: usize,
    /// `min_allowed_request_size`: where shrinking normally ends, in bytes.
    pub min_request_size: usize,
}

impl Default for Rules {
    /// The values in force where the operator set nothing.
    fn default() -> Self {
        Rules {
            min_spacing: Duration::ZERO,
            max_spacing: Duration::from_secs(5),
            max_error_spacing: Duration::from_secs(30),
            first_backoff: Duration::from_secs(1),
            low_water: 20_480,
            low_water_factor: 1.5,
            high_water: 102_400,
            high_water_factor: 0.6,
            failure_factor: 1.5,
            too_large_factor: 0.5,
            max_request_size: 5_900_000,
            min_request_size: 102_400,
        }
    }
}

/// The first interval, if `max_request_spacing_interval` is longer: an agent that starts on a busy
/// machine need not creep up on its pace.
const FIRST: Duration = Duration::from_secs(1);

/// The shortest interval between requests that are not full. Without it a busy hour would drive
/// the interval to nothing and the quiet one after it would begin with thousands of requests, as it
/// does with the Python agent.
const FLOOR: Duration = Duration::from_millis(50);
/// No size limit is below this.
const SMALLEST: usize = 512;
/// The longest `Retry-After` that is believed.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(600);
/// How long a size that was refused is remembered.
const REMEMBER_REFUSED: Duration = Duration::from_secs(600);

/// A session's pace.
#[derive(Debug)]
pub struct Pacing {
    rules: Rules,
    interval: Duration,
    limit: usize,
    /// The smallest size refused of late, and when: growth stays below it, or every other request
    /// to a server with a lower limit than ours would be refused.
    refused: Option<(usize, Instant)>,
    failures: u32,
    last_start: Option<Instant>,
    hold_until: Option<Instant>,
}

impl Pacing {
    /// The first request may go at once.
    pub fn new(mut rules: Rules) -> Self {
        rules.max_request_size = rules.max_request_size.max(SMALLEST);
        rules.min_request_size = rules
            .min_request_size
            .clamp(SMALLEST, rules.max_request_size);
        rules.max_spacing = rules.max_spacing.max(rules.min_spacing);
        Pacing {
            interval: rules.max_spacing.min(FIRST),
            limit: rules.max_request_size,
            refused: None,
            failures: 0,
            last_start: None,
            hold_until: None,
            rules,
        }
    }

    /// From when on a batch may be sent, if not at once.
    pub fn earliest(&self, full: bool) -> Option<Instant> {
        // The back-off takes the interval's place
        let spacing = if full || self.hold_until.is_some() {
            self.rules.min_spacing
        } else {
            self.interval.max(FLOOR)
        };
        let spaced = self.last_start.map(|start| start + spacing);
        spaced.max(self.hold_until)
    }

    /// The size limit for batches started from now on, in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The present spacing of requests that are not full.
    pub fn interval(&self) -> Duration {
        self.interval.max(FLOOR)
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// A request goes out.
    pub fn started(&mut self, now: Instant) {
        self.last_start = Some(now);
    }

    /// The server took `size` bytes.
    pub fn succeeded(&mut self, size: usize, full: bool, now: Instant) {
        self.failures = 0;
        self.hold_until = None;
        if full || size > self.rules.high_water {
            self.scale_interval(self.rules.high_water_factor);
        } else if size < self.rules.low_water {
            self.scale_interval(self.rules.low_water_factor);
        }
        // A small request says nothing about what the server takes
        if size > self.limit / 2 {
            self.grow(now);
        }
    }

    fn grow(&mut self, now: Instant) {
        let mut most = self.rules.max_request_size;
        if let Some((size, when)) = self.refused {
            if now.saturating_duration_since(when) < REMEMBER_REFUSED {
                most = most.min(size / 4 * 3);
            } else {
                self.refused = None;
            }
        }
        self.limit = self.limit.saturating_mul(2).min(most).max(self.limit);
    }

    fn scale_interval(&mut self, factor: f64) {
        let least = self
            .rules
            .min_spacing
            .max(FLOOR)
            .min(self.rules.max_spacing);
        let seconds = self.interval.as_secs_f64() * factor;
        self.interval = seconds_up_to(seconds, self.rules.max_spacing).max(least);
    }

    /// A request failed; nothing goes before the back-off is over. `jitter` is a random number in
    /// `0.0..1.0`, `retry_after` what the server asked for.
    pub fn failed(&mut self, jitter: f64, retry_after: Option<Duration>, now: Instant) {
        let base = self.rules.first_backoff.as_secs_f64()
            * self
                .rules
                .failure_factor
                .max(1.0)
                .powf(f64::from(self.failures));
        self.failures = self.failures.saturating_add(1);
        let backoff = seconds_up_to(base, self.rules.max_error_spacing);
        // A fifth up or down, so that a thousand agents do not come back in step
        let wait = backoff.mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0));
        let asked = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        let asked = asked.mul_f64(1.0 + 0.1 * jitter.clamp(0.0, 1.0));
        self.hold_until = Some(now + wait.max(asked));
    }

    /// `size` bytes were too large for the server: smaller from now on, down to a single event.
    pub fn too_large(&mut self, size: usize, now: Instant) {
        let floor = self.rules.min_request_size;
        let factor = self.rules.too_large_factor.clamp(0.1, 0.9);
        let less = (size as f64 * factor) as usize;
        self.limit = if size > floor {
            less.clamp(floor, self.rules.max_request_size)
        } else {
            less.max(SMALLEST)
        };
        let smallest = self.refused.map_or(size, |(known, _)| known.min(size));
        self.refused = Some((smallest, now));
    }
}

fn seconds_up_to(seconds: f64, most: Duration) -> Duration {
    Duration::try_from_secs_f64(seconds).map_or(most, |d| d.min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: usize = 1000;
    const BUSY: usize = 200_000;

    fn wait(pacing: &Pacing, full: bool, now: Instant) -> f64 {
        pacing
            .earliest(full)
            .map_or(0.0, |at| at.saturating_duration_since(now).as_secs_f64())
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 0.001
    }

    #[test]
    fn the_first_request_need_not_wait() {
        let pacing = Pacing::new(Rules::default());
        assert_eq!(pacing.earliest(false), None);
        assert_eq!(pacing.limit(), 5_900_000);
    }

    #[test]
    fn the_interval_follows_the_uncompressed_size() {
        // the spec's sequences: small successes from 1.0 and busy ones from 5
        let now = Instant::now();
        let mut pacing = Pacing::new(Rules::default());
        pacing.interval = Duration::from_secs(5);
        let mut seen = Vec::new();
        for _ in 0..4 {
            pacing.started(now);
            pacing.succeeded(BUSY, false, now);
            seen.push(wait(&pacing, false, now));
        }
        for (got, want) in seen.iter().zip([3.0, 1.8, 1.08, 0.648]) {
            assert!(near(*got, want), "{seen:?}");
        }
        for want in [0.972, 1.458, 2.187, 3.2805, 4.92075, 5.0, 5.0] {
            pacing.succeeded(SMALL, false, now);
            assert!(near(wait(&pacing, false, now), want));
        }
        // between the water marks nothing changes
        pacing.succeeded(50_000, false, now);
        assert!(near(wait(&pacing, false, now), 5.0));
    }

    #[test]
    fn a_full_request_is_followed_at_once() {
        let now = Instant::now();
        let mut pacing = Pacing::new(Rules::default());
        pacing.started(now);
        pacing.succeeded(5_899_000, true, now);
        assert_eq!(wait(&pacing, true, now), 0.0);
        let mut pacing = Pacing::new(Rules {
            min_spacing: Duration::from_secs(1),
            ..Rules::default()
        });
        pacing.started(now);
        pacing.succeeded(5_899_000, true, now);
        assert!(near(wait(&pacing, true, now), 1.0));
    }

    #[test]
    fn a_busy_day_does_not_drive_the_interval_to_nothing() {
        let now = Instant::now();
        let mut pacing = Pacing::new(Rules::default());
        pacing.started(now);
        for _ in 0..5000 {
            pacing.succeeded(BUSY, true, now);
        }
        assert!(near(wait(&pacing, false, now), 0.05));
        let mut empty = 0;
        while wait(&pacing, false, now) < 4.99 {
            pacing.succeeded(200, false, now);
            empty += 1;
        }
        assert!(
            empty <= 12,
            "{empty} empty requests until the pace is calm again"
        );
    }

    #[test]
    fn failures_back_off_with_jitter_and_one_success_forgets_them() {
        let now = Instant::now();
        let mut pacing = Pacing::new(Rules::default());
        let mut seen = Vec::new();
        for _ in 0..12 {
            pacing.failed(0.5, None, now);
            seen.push(wait(&pacing, true, now));
        }
        assert!(near(seen[0], 1.0) && near(seen[1], 1.5) && near(seen[2], 2.25));
        assert!(near(seen[11], 30.0));
        for (jitter, factor) in [(0.0, 0.8), (1.0, 1.2), (7.0, 1.2)] {
            pacing.failed(jitter, None, now);
            assert!(near(wait(&pacing, true, now), 30.0 * factor));
        }
        pacing.succeeded(SMALL, false, now);
        assert_eq!(wait(&pacing, true, now), 0.0);
        assert!(wait(&pacing, false, now) <= 5.0);
        pacing.failed(0.5, None, now);
        assert!(near(wait(&pacing, true, now), 1.0));
    }

    #[test]
    fn years_of_failures_do_not_overflow() {
        let now = Instant::now();
        let mut pacing = Pacing::new(Rules {
            failure_factor: 1e30,
            max_error_spacing: Duration::from_secs(30),
            ..Rules::default()
        });
        pacing.failures = u32::MAX - 1;
        pacing.failed(1.0, None, now);
        pacing.failed(1.0, Some(Duration::MAX), now);
        assert!(wait(&pacing, true, now) <= 660.0);
    }

    #[test]
    fn retry_after_is_honoured_but_bounded() {
        let now = Instant::now();
        let mut pacing = Pacing::new(Rules::default());
        pacing.failed(0.5, Some(Duration::from_secs(90)), now);
        let got = wait(&pacing, true, now);
        assert!((90.0..100.0).contains(&got));
        pacing.failed(0.0, Some(Duration::from_secs(86_400)), now);
        assert!(near(wait(&pacing, true, now), 600.0));
        // a shorter wish than our own back-off does not shorten that
        let mut pacing = Pacing::new(Rules::default());
        pacing.failed(0.5, Some(Duration::ZERO), now);
        assert!(near(wait(&pacing, true, now), 1.0));
    }

    #[test]
    fn too_large_halves_the_uncompressed_size_down_to_single_events() {
        let now = Instant::now();
        let mut pacing = Pacing::new(Rules::default());
        pacing.too_large(5_898_939, now);
        assert_eq!(pacing.limit(), 2_949_469);
        pacing.too_large(150_000, now);
        assert_eq!(pacing.limit(), 102_400);
        // refused at the floor: the floor does not hold us
        pacing.too_large(102_400, now);
        assert_eq!(pacing.limit(), 51_200);
        for _ in 0..20 {
            pacing.too_large(pacing.limit(), now);
        }
        assert_eq!(pacing.limit(), SMALLEST);
    }

    #[test]
    fn the_limit_recovers_without_running_into_the_same_refusal_again() {
        let now = Instant::now();
        let server_takes = 1_000_000;
        let mut pacing = Pacing::new(Rules::default());
        let mut refused = 0;
        for _ in 0..100 {
            let size = pacing.limit();
            if size > server_takes {
                refused += 1;
                pacing.too_large(size, now);
            } else {
                pacing.succeeded(size, true, now);
            }
        }
        assert!(refused <= 5, "{refused} of 100 refused");
        assert!(pacing.limit() > server_takes / 2);
        // later it tries again, in case it was one event or a passing trouble
        let later = now + REMEMBER_REFUSED;
        pacing.succeeded(pacing.limit(), true, later);
        assert!(pacing.limit() > server_takes);
        for _ in 0..10 {
            pacing.succeeded(pacing.limit(), true, later);
        }
        assert_eq!(pacing.limit(), 5_900_000);
    }

    #[test]
    fn small_requests_do_not_raise_a_limit_they_did_not_test() {
        let now = Instant::now();
        let mut pacing = Pacing::new(Rules::default());
        pacing.too_large(1_000_000, now);
        for _ in 0..50 {
            pacing.succeeded(300, false, now);
        }
        assert_eq!(pacing.limit(), 500_000);
    }

    #[test]
    fn contradictory_options_do_not_panic() {
        let now = Instant::now();
        let mut pacing = Pacing::new(Rules {
            min_spacing: Duration::from_secs(60),
            max_spacing: Duration::from_secs(1),
            max_request_size: 10,
            min_request_size: 1_000_000,
            low_water_factor: -1.0,
            high_water_factor: f64::INFINITY,
            too_large_factor: 7.0,
            failure_factor: 0.0,
            ..Rules::default()
        });
        pacing.started(now);
        pacing.succeeded(10, false, now);
        pacing.succeeded(10_000_000, true, now);
        pacing.too_large(usize::MAX, now);
        pacing.failed(0.3, None, now);
        assert!(near(wait(&pacing, true, now), 60.0));
        assert_eq!(pacing.limit(), SMALLEST);
    }
}
