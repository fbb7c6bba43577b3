//! What Prometheus reads at `GET /metrics`. Labels are bounded: models, nodes and fixed words.

use std::time::Duration;

use prometheus::{
    Encoder as _, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder, core::Collector,
};

/// All metrics of one sequencer, in a registry of its own, so several can run in a process.
pub(crate) struct Metrics {
    registry: Registry,
    /// By route and status.
    pub(crate) http: IntCounterVec,
    /// Ids by model and direction (`input`, `output`).
    pub(crate) tokens: IntCounterVec,
    /// Closed slots by model and finish.
    pub(crate) slots: IntCounterVec,
    /// Attempts that gave no answer, by node and reason.
    pub(crate) misses: IntCounterVec,
    /// Attempts that took over a stream with ids already sent.
    pub(crate) failovers: IntCounter,
    /// Receipt of the request to the first id.
    pub(crate) first_token: HistogramVec,
    /// Receipt of the request to its durable receipt.
    pub(crate) duration: HistogramVec,
    /// Answers in flight.
    pub(crate) streams: IntGauge,
    /// Node sessions.
    pub(crate) nodes: IntGauge,
    /// Frames of nodes that were refused, by fault.
    pub(crate) bad_frames: IntCounterVec,
    /// Leaves in a batch.
    pub(crate) batch_leaves: Histogram,
    /// The epoch.
    pub(crate) epoch: IntGauge,
    /// Canaries by model and outcome.
    pub(crate) canaries: IntCounterVec,
    /// Slots closed at start because a crash left them open.
    pub(crate) recovered: IntCounter,
    /// Receipts whose plaintext was deleted.
    pub(crate) erased: IntCounter,
    /// 1 while L1 answers; 0 while it is away, or is not used.
    pub(crate) l1_up: IntGauge,
    /// The newest confirmed block of L1.
    pub(crate) l1_block: IntGauge,
    /// Reorgs of confirmed blocks.
    pub(crate) l1_reorgs: IntCounter,
    /// Reorgs that contradict a table in use.
    pub(crate) l1_conflicts: IntCounter,
    build: IntGaugeVec,
    store_write: Histogram,
    store_group: Histogram,
}

const SECONDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
const WRITE_SECONDS: [f64; 10] = [0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0];
const COUNTS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

fn add<C: Collector + Clone + 'static>(r: &Registry, c: prometheus::Result<C>) -> prometheus::Result<C> {
    let c = c?;
    r.register(Box::new(c.clone()))?;
    Ok(c)
}

impl Metrics {
    /// Fresh metrics at zero.
    pub(crate) fn new() -> prometheus::Result<Self> {
        let r = Registry::new_custom(Some("monai".into()), None)?;
        let counter = |name: &str, help: &str| add(&r, IntCounter::new(name, help));
        let counters = |name: &str, help: &str, labels: &[&str]| {
            add(&r, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let gauge = |name: &str, help: &str| add(&r, IntGauge::new(name, help));
        let times = |name: &str, help: &str| {
            add(&r, HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), &["model"]))
        };
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            add(&r, Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
        };
        let metrics = Self {
            http: counters("http_requests_total", "Requests by route and status.", &["route", "status"])?,
            tokens: counters("tokens_total", "Token ids by model and direction.", &["model", "direction"])?,
            slots: counters("slots_total", "Closed slots by model and finish.", &["model", "finish"])?,
            misses: counters("misses_total", "Attempts without an answer.", &["node", "reason"])?,
            failovers: counter("failovers_total", "Streams that another node continued.")?,
            first_token: times("first_token_seconds", "From receipt of a request to its first id.")?,
            duration: times("request_seconds", "From receipt of a request to its durable receipt.")?,
            streams: gauge("streams", "Answers in flight.")?,
            nodes: gauge("node_sessions", "Authenticated node sessions.")?,
            bad_frames: counters("bad_frames_total", "Refused node frames.", &["fault"])?,
            batch_leaves: histogram("batch_leaves", "Leaves in a batch.", &COUNTS)?,
            epoch: gauge("epoch", "The current epoch.")?,
            canaries: counters("canaries_total", "Canaries by outcome.", &["model", "outcome"])?,
            recovered: counter("recovered_slots_total", "Slots closed after a crash.")?,
            erased: counter("erased_receipts_total", "Receipts whose plaintext was deleted.")?,
            l1_up: gauge("l1_up", "Whether L1 answers.")?,
            l1_block: gauge("l1_block", "The newest confirmed block of L1.")?,
            l1_reorgs: counter("l1_reorgs_total", "Reorgs of confirmed blocks.")?,
            l1_conflicts: counter("l1_conflicts_total", "Reorgs that contradict a table in use.")?,
            build: add(&r, IntGaugeVec::new(Opts::new("build_info", "The program."), &["version"]))?,
            store_write: histogram("store_write_seconds", "Synced writes.", &WRITE_SECONDS)?,
            store_group: histogram("store_group_changes", "Changes in a synced write.", &COUNTS)?,
            registry: r.clone(),
        };
        metrics.build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(metrics)
    }

    /// Counts a synced write of `changes` changes.
    pub(crate) fn store_write(&self, took: Duration, changes: usize) {
        self.store_write.observe(took.as_secs_f64());
        self.store_group.observe(changes as f64);
    }

    /// The text exposition.
    pub(crate) fn text(&self) -> prometheus::Result<String> {
        let mut out = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut out)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exposition_has_what_was_counted() {
        let m = Metrics::new().unwrap();
        m.misses.with_label_values(&["0xab", "stall"]).inc();
        m.store_write(Duration::from_millis(3), 2);
        let text = m.text().unwrap();
        assert!(text.contains("monai_misses_total{node=\"0xab\",reason=\"stall\"} 1"), "{text}");
        assert!(text.contains("monai_store_group_changes_count 1"));
    }
}
