//! How long to wait before dialling again.

use rand::Rng as _;
use std::time::Duration;

/// The first wait is at most this.
const FIRST: Duration = Duration::from_millis(250);
/// No wait is longer than this.
const LONGEST: Duration = Duration::from_secs(30);

/// Exponential waits with jitter, so that the nodes of a restarted sequencer don't come back all at
/// the same moment.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    ceiling: Duration,
}

impl Backoff {
    /// Starts with short waits.
    pub(super) fn new() -> Self {
        Self { ceiling: FIRST }
    }

    /// The next wait: between half of the ceiling and the ceiling, which doubles each time.
    pub(super) fn next_wait(&mut self) -> Duration {
        let wait = self.ceiling.mul_f64(rand::rng().random_range(0.5..=1.0));
        self.ceiling = (self.ceiling * 2).min(LONGEST);
        wait
    }

    /// Short waits again, after a session that was welcomed.
    pub(super) fn reset(&mut self) {
        self.ceiling = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_start_again() {
        let mut backoff = Backoff::new();
        let mut ceiling = FIRST;
        for _ in 0..20 {
            let wait = backoff.next_wait();
            assert!(wait >= ceiling / 2 && wait <= ceiling, "{wait:?} of {ceiling:?}");
            ceiling = (ceiling * 2).min(LONGEST);
        }
        assert_eq!(ceiling, LONGEST);
        backoff.reset();
        assert!(backoff.next_wait() <= FIRST);
    }
}
