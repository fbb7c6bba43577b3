//! Keeps the anchors file up to date with what the network publishes.
//!
//! On a devnet the sequencer of this machine stands in for L1: tables, chains and batches are taken
//! from its endpoint the first time they are seen, and never replaced. A receipt that contradicts
//! what was published earlier is found out.

use super::layout::Layout;
use crate::anchors::Anchors;
use crate::openai::Endpoint;
use monai_protocol::TrustAnchors;
use monai_protocol::chain::ChainAnchor;

/// Looks once. What can't be read now is read the next time; audits say `pending` until then.
pub(super) async fn once(endpoint: &Endpoint, layout: &Layout) {
    let published = match endpoint.get("/anchors").await {
        Ok(published) => published,
        Err(error) => {
            tracing::debug!(%error, "the anchors can't be read");
            return;
        }
    };
    let path = layout.anchors();
    let known = std::fs::read(&path).ok().and_then(|t| serde_json::from_slice::<TrustAnchors>(&t).ok());
    let (Some(known), Ok(published)) = (known, serde_json::from_value::<TrustAnchors>(published)) else {
        tracing::warn!("the anchors are malformed");
        return;
    };
    let mut trust = known.clone();
    merge(&mut trust, published);
    if trust != known
        && let Err(error) = (Anchors { path, trust }).save()
    {
        tracing::warn!(%error, "the anchors can't be written");
    }
}

/// Adds what is new. Keys, parameters and models stay as they were set up here.
fn merge(known: &mut TrustAnchors, published: TrustAnchors) {
    for (epoch, beacon) in published.beacons {
        known.beacons.entry(epoch).or_insert(beacon);
    }
    for (epoch, tables) in published.tables {
        let ours = known.tables.entry(epoch).or_default();
        for (model, digest) in tables {
            ours.entry(model).or_insert(digest);
        }
    }
    for chain in published.chains {
        let place = |c: &ChainAnchor| (c.model, c.lane, c.first);
        if !known.chains.iter().any(|c| place(c) == place(&chain)) {
            known.chains.push(chain);
        }
    }
    for (number, digest) in published.batches {
        known.batches.entry(number).or_insert(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monai_protocol::Address;
    use monai_protocol::types::{BatchDigest, Beacon, ChainId, Domain, EpochId};

    fn anchors(n: u8, epochs: &[u64]) -> TrustAnchors {
        TrustAnchors {
            domain: Domain { chain_id: ChainId(1), rollup: Address([1; 20]) },
            sequencer: Address([n; 20]),
            models: Default::default(),
            auditors: Default::default(),
            beacons: epochs.iter().map(|&e| (EpochId(e), Beacon([n; 32]))).collect(),
            tables: Default::default(),
            chains: Vec::new(),
            batches: epochs.iter().map(|&e| (e, BatchDigest([n; 32]))).collect(),
            final_before: EpochId(0),
            max_attempts: 8,
            clock_agreement_ms: 1,
            insecure_devnet: true,
        }
    }

    #[test]
    fn what_was_published_once_is_never_replaced() {
        let mut known = anchors(1, &[0, 1]);
        merge(&mut known, anchors(2, &[1, 2]));
        assert_eq!(known.sequencer, Address([1; 20]));
        let batches: Vec<_> = known.batches.values().map(|b| b.0[0]).collect();
        assert_eq!(batches, [1, 1, 2]);
        let beacons: Vec<_> = known.beacons.values().map(|b| b.0[0]).collect();
        assert_eq!(beacons, [1, 1, 2]);
    }
}
