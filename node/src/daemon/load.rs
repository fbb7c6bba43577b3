//! What the node reports about itself: memory and throughput.

use monai_protocol::wire::Stats;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;

/// Output ids that left this process, over all sessions.
#[derive(Debug, Default)]
pub(super) struct Meter {
    tokens: AtomicU64,
}

impl Meter {
    /// One more id has left.
    pub(super) fn count(&self) {
        self.tokens.fetch_add(1, Ordering::Relaxed);
    }
}

/// Reads the meter once an interval.
#[derive(Debug)]
pub(super) struct Sampler {
    seen: u64,
    at: Instant,
}

impl Sampler {
    /// Starts an interval.
    pub(super) fn new(meter: &Meter, now: Instant) -> Self {
        Self { seen: meter.tokens.load(Ordering::Relaxed), at: now }
    }

    /// Ends an interval and starts the next.
    pub(super) fn sample(&mut self, meter: &Meter, now: Instant, active: usize, queued: usize) -> Stats {
        let tokens = meter.tokens.load(Ordering::Relaxed);
        let micros = (now - self.at).as_micros().max(1);
        let milli = u128::from(tokens - self.seen) * 1_000_000_000 / micros;
        (self.seen, self.at) = (tokens, now);
        Stats {
            // Zero where the system does not tell; operators see the same number in its own tools.
            rss_bytes: monai_engine::memory().map_or(0, |m| m.resident),
            milli_tokens_per_s: u64::try_from(milli).unwrap_or(u64::MAX),
            active: u32::try_from(active).unwrap_or(u32::MAX),
            queued: u32::try_from(queued).unwrap_or(u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_interval() {
        let (meter, start) = (Meter::default(), Instant::now());
        let mut sampler = Sampler::new(&meter, start);
        (0..30).for_each(|_| meter.count());
        let two = start + std::time::Duration::from_secs(2);
        let stats = sampler.sample(&meter, two, 3, 1);
        assert_eq!((stats.milli_tokens_per_s, stats.active, stats.queued), (15_000, 3, 1));
        let three = start + std::time::Duration::from_secs(3);
        assert_eq!(sampler.sample(&meter, three, 0, 0).milli_tokens_per_s, 0);
    }
}
