//! Saying the same thing at most once in a while.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Remembers when each key last spoke. Bounded: past [`Throttle::MOST`] keys it forgets the
/// expired ones, and if that frees nothing, all of them.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<HashMap<String, Instant>>);

impl Throttle {
    /// How many keys are remembered at the most.
    pub const MOST: usize = 1000;

    /// True if `key` may speak: it has not done so for `period`.
    pub fn allow(&self, key: &str, period: Duration) -> bool {
        let now = Instant::now();
        let mut last = match self.0.lock() {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        };
        if let Some(then) = last.get_mut(key) {
            if now.duration_since(*then) < period {
                return false;
            }
            *then = now;
            return true;
        }
        if last.len() >= Self::MOST {
            last.retain(|_, then| now.duration_since(*then) < period);
            if last.len() >= Self::MOST {
                last.clear();
            }
        }
        last.insert(key.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_keys_stays_bounded() {
        let throttle = Throttle::default();
        assert!(throttle.allow("a", Duration::from_secs(60)));
        assert!(!throttle.allow("a", Duration::from_secs(60)));
        assert!(throttle.allow("a", Duration::ZERO));
        for k in 0..5 * Throttle::MOST {
            assert!(throttle.allow(&k.to_string(), Duration::from_secs(60)));
        }
        assert!(throttle.0.lock().unwrap().len() <= Throttle::MOST);
    }
}
