//! Different speeds for the nodes of one machine, so that scores and draws have something to tell apart.

/// How fast one node may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Speed {
    /// Threads of its engine.
    pub(super) threads: usize,
    /// Upper bound on one stream.
    pub(super) tokens_per_second: Option<f64>,
}

/// Paces that repeat: the machine's own speed, then two slower ones that are still pleasant to read.
const PACES: [Option<f64>; 3] = [None, Some(24.0), Some(16.0)];

impl Speed {
    /// Speeds for `n` nodes: the first has all threads, later ones half and a quarter.
    pub(super) fn of_nodes(n: usize) -> Vec<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        (0..n)
            .map(|i| Self { threads: (cores >> (i % 3)).max(1), tokens_per_second: PACES[i % PACES.len()] })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_nodes_differ() {
        let speeds = Speed::of_nodes(3);
        assert!(speeds[0] != speeds[1] && speeds[1] != speeds[2] && speeds[0] != speeds[2]);
        assert!(speeds.iter().all(|s| s.threads >= 1));
    }
}
