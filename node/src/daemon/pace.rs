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

    /// When the next token may leave.
    pub(super) fn due(&mut self) -> Option<Instant> {
        let gap = self.gap?;
        let now = Instant::now();
        let due = self.next.unwrap_or(now).max(now);
        self.next = Some(due + gap);
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tokens_keep_their_distance_but_the_first_does_not_wait() {
        let mut pace = Pace::new(Some(10.0));
        let start = Instant::now();
        for k in 0..5u32 {
            tokio::time::sleep_until(pace.due().unwrap()).await;
            assert_eq!(start.elapsed().as_millis(), u128::from(100 * k));
        }
        // A stream that was slow by itself does not catch up in a burst.
        tokio::time::sleep(Duration::from_secs(5)).await;
        pace.due();
        let due = pace.due().unwrap();
        assert!(due - Instant::now() >= Duration::from_millis(99));
        assert!(Pace::new(None).due().is_none());
    }
}
