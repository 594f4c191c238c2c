//! `test_monitor`: random numbers, for trying out a set-up.

use crate::line::Value;
use crate::monitor::{Cadence, Description, Log, Measure, MetricSpec, Monitor};
use crate::options::{Default, Kind, OptionSpec};
use crate::{Emitter, Error};
use common::random;

/// Its entry in the registry.
pub const DESCRIPTION: Description = Description {
    module: "scalyr_agent.builtin_monitors.test_monitor",
    text: "Random numbers, for trying out a set-up: whatever comes after this monitor can be tested with it on any host.",
    options: &[
        OptionSpec::new(
            "gauss_mean",
            Kind::Float,
            Default::Required,
            "Mean of the metric gauss.",
        )
        .at_least(0.0)
        .at_most(10.0),
        OptionSpec::new(
            "gauss_stddev",
            Kind::Float,
            Default::Float(0.25),
            "Standard deviation of the metric gauss.",
        )
        .at_least(0.0)
        .at_most(5.0),
    ],
    metrics: &[
        MetricSpec {
            name: "uniform",
            measure: Measure::Gauge,
            unit: "",
            fields: &["count"],
            text: "A number between 0 and 1, each as likely as any other. The field counts samples from 1.",
        },
        MetricSpec {
            name: "gauss",
            measure: Measure::Gauge,
            unit: "",
            fields: &["count"],
            text: "A number of the normal distribution that the options describe.",
        },
    ],
    open: false,
    log: Log::METRICS,
    write_limit: Description::WRITE_LIMIT,
    cadence: Cadence::Sampled,
    service: None,
    make: |setup| {
        Ok(Box::new(TestMonitor {
            mean: setup.options.float("gauss_mean").unwrap_or(0.5),
            deviation: setup.options.float("gauss_stddev").unwrap_or(0.25),
            count: 0,
        }))
    },
};

struct TestMonitor {
    mean: f64,
    deviation: f64,
    count: u64,
}

impl Monitor for TestMonitor {
    fn gather(&mut self, out: &mut Emitter) -> Result<(), Error> {
        self.count += 1;
        let fields = [("count", Value::UInt(self.count))];
        out.emit("uniform", random::unit(), &fields);
        out.emit("gauss", self.mean + self.deviation * normal(), &fields);
        Ok(())
    }
}

/// A number of the standard normal distribution, after Box and Muller.
fn normal() -> f64 {
    // In 0 < x <= 1, so that the logarithm is finite.
    let radius = (-2.0 * (1.0 - random::unit()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random::unit()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::Place;
    use crate::testing::{make, sample};
    use serde_json::json;

    #[test]
    fn the_numbers_are_of_the_distributions_that_were_asked_for() {
        let entry = json!({"gauss_mean": 3, "gauss_stddev": 0.5});
        let mut monitor = make(&DESCRIPTION, &entry, &Place::new("/", "/")).unwrap();
        let (mut uniform, mut gauss) = (Vec::new(), Vec::new());
        for n in 1..=2000 {
            let lines = sample(monitor.as_mut(), "test_monitor(a)").unwrap();
            let words: Vec<&str> = lines.split_ascii_whitespace().collect();
            assert_eq!(words.len(), 12, "{lines}");
            assert_eq!([words[2], words[3]], ["[test_monitor(a)]", "uniform"]);
            assert_eq!([words[8], words[9]], ["[test_monitor(a)]", "gauss"]);
            assert_eq!(
                [words[5], words[11]],
                [format!("count={n}"), format!("count={n}")]
            );
            uniform.push(words[4].parse::<f64>().unwrap());
            gauss.push(words[10].parse::<f64>().unwrap());
        }
        let mean = |numbers: &[f64]| numbers.iter().sum::<f64>() / numbers.len() as f64;
        let spread = |numbers: &[f64]| {
            let middle = mean(numbers);
            let squares: Vec<f64> = numbers.iter().map(|x| (x - middle).powi(2)).collect();
            mean(&squares).sqrt()
        };
        // Ten standard errors wide.
        assert!(uniform.iter().all(|x| (0.0..1.0).contains(x)));
        assert!((mean(&uniform) - 0.5).abs() < 0.07);
        assert!((mean(&gauss) - 3.0).abs() < 0.12);
        assert!((spread(&gauss) - 0.5).abs() < 0.08);
    }

    #[test]
    fn a_mean_is_needed_and_bounds_hold() {
        let text = |entry| {
            let place = Place::new("/", "/");
            let made = make(&DESCRIPTION, &entry, &place);
            made.map(|_| ()).unwrap_err().to_string()
        };
        assert_eq!(text(json!({})), "Missing required field \"gauss_mean\"");
        assert_eq!(
            text(json!({"gauss_mean": 11})),
            "Value of 11 in field \"gauss_mean\" is invalid; maximum is 10"
        );
    }
}
