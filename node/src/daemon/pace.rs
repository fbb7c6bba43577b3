//! An upper bound on the speed of one stream, for tests and for devnets whose nodes should differ.

use std::time::Duration;
use tokio::time::Instant;

/// Spaces the tokens of one stream. The first one is never held back.
#[derive(Debug)]
pub(super) struct Pace {
    gap: Option<Duration>,
    next: Option<Instant>,
}

impl Pace {
    /// At most `rate` tokens a second; `None` does not wait.
    pub(super) fn new(rate: Option<f64>) -> Self {
        let gap = rate.and_then(|r| Duration::try_from_secs_f64(1.0 / r).ok());
        Self { gap, next: None }
    }

    /// When a token that is there `now` may leave.
    pub(super) fn due(&mut self, now: Instant) -> Option<Instant> {
        let gap = self.gap?;
        let due = self.next.unwrap_or(now).max(now);
        self.next = Some(due + gap);
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_keep_their_distance_but_the_first_does_not_wait() {
        let mut pace = Pace::new(Some(10.0));
        let start = Instant::now();
        for k in 0..5u32 {
            // All tokens are there at once; they leave 100 ms apart.
            assert_eq!(pace.due(start).unwrap() - start, Duration::from_millis(100) * k);
        }
        // A stream that was slow by itself does not catch up in a burst.
        let late = start + Duration::from_secs(60);
        assert_eq!(pace.due(late), Some(late));
        assert_eq!(pace.due(late).unwrap() - late, Duration::from_millis(100));
        assert!(Pace::new(None).due(start).is_none());
    }
}
