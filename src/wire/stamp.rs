//! Event times as decimal digits, counted up without formatting.

/// Nanoseconds since the epoch in decimal. One clock read serves many lines: each event takes
/// [`Stamp::next`], a nanosecond after the one before it, which keeps the order of a file's lines.
#[derive(Debug, Clone)]
pub struct Stamp {
    digits: [u8; 20],
    start: usize,
}

impl Stamp {
    /// Starts at a moment.
    pub fn new(nanos: u64) -> Self {
        let mut stamp = Stamp {
            digits: [b'0'; 20],
            start: 0,
        };
        stamp.set(nanos);
        stamp
    }

    /// Sets the moment, but never to before the digits it already has: time stamps of one log do
    /// not run backwards when the clock is set back by a little.
    ///
    /// A clock that is set back by more than a minute is believed, unless `strictly` asks for times
    /// that never decrease (`enforce_monotonic_timestamps`).
    pub fn advance_to(&mut self, nanos: u64, strictly: bool) {
        let now = self.value();
        if nanos > now || (!strictly && now - nanos > 60_000_000_000) {
            self.set(nanos);
        }
    }

    fn set(&mut self, mut nanos: u64) {
        let mut at = 20;
        loop {
            at -= 1;
            self.digits[at] = b'0' + (nanos % 10) as u8;
            nanos /= 10;
            if nanos == 0 {
                break;
            }
        }
        self.start = at;
    }

    fn value(&self) -> u64 {
        self.as_bytes().iter().fold(0u64, |n, d| {
            n.wrapping_mul(10).wrapping_add(u64::from(d - b'0'))
        })
    }

    /// The digits.
    pub fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }

    /// One nanosecond later.
    #[inline]
    pub fn next(&mut self) {
        let mut at = 19;
        loop {
            if self.digits[at] != b'9' {
                self.digits[at] += 1;
                self.start = self.start.min(at);
                return;
            }
            self.digits[at] = b'0';
            if at == 0 {
                return; // 10^20 ns is beyond u64, the clock can't say that
            }
            at -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_over_carries() {
        let mut s = Stamp::new(1_699_999_999_999_999_998);
        s.next();
        assert_eq!(s.as_bytes(), b"1699999999999999999");
        s.next();
        assert_eq!(s.as_bytes(), b"1700000000000000000");
        let mut s = Stamp::new(99);
        s.next();
        assert_eq!(s.as_bytes(), b"100");
    }

    #[test]
    fn a_small_step_back_of_the_clock_does_not_reorder() {
        let mut s = Stamp::new(1_700_000_000_000_000_500);
        s.advance_to(1_700_000_000_000_000_100, false);
        assert_eq!(s.as_bytes(), b"1700000000000000500");
        s.advance_to(1_600_000_000_000_000_000, true);
        assert_eq!(s.as_bytes(), b"1700000000000000500");
        s.advance_to(1_600_000_000_000_000_000, false);
        assert_eq!(s.as_bytes(), b"1600000000000000000");
    }
}
