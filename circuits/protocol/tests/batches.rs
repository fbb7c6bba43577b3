//! apply() accepts true batches and refuses doubled, skipped and re-assigned slots.
#![allow(clippy::unwrap_used)]

mod world;

use monai_protocol::batch::{leaf_tree, links_digest, speed_digest};
use monai_protocol::chain::HashChain;
use monai_protocol::draw::{DrawInputs, draw_order};
use monai_protocol::state::{ApplyError, RegisterError};
use monai_protocol::*;
use world::{Fail, LANE, MODEL, World};

/// A world with one batch applied, and the parts of the second.
fn second() -> (World, Vec<LaneRange>, Vec<SpeedTotal>, Vec<Leaf>) {
    let mut w = World::new(5);
    w.batch(&mut [w.answer(0, &[], Finish::Stop, 5), w.answer(1, &[Fail::Miss], Finish::Length, 7)]);
    let all = [
        w.answer(2, &[], Finish::Stop, 5),
        w.answer(3, &[Fail::Miss, Fail::Busy], Finish::Stop, 6),
        w.answer(4, &[], Finish::Cancelled, 0),
    ];
    let (lanes, speed, leaves) = w.parts(&all);
    (w, lanes, speed, leaves)
}

#[test]
fn counters_follow_from_leaves() {
    let (w, lanes, speed, leaves) = second();
    let (_, next) = w.state.seal(MODEL, lanes, speed, leaves.clone(), None).unwrap();
    let sum = |f: fn(&NodeCounters) -> u64| next.counters.models[&MODEL].values().map(f).sum::<u64>();
    assert_eq!((sum(|c| c.answered), sum(|c| c.missed), sum(|c| c.busy)), (4, 2, 1));
    // One that was cancelled before its first id is no answer and no miss (slot 4).
    // Resumed answers are no speed samples (slots 1 and 3).
    assert_eq!(sum(|c| c.tokens), 10);
    assert_eq!(next.lanes[&MODEL][&LANE].next_slot, Slot(5));
    assert_eq!(next.next_batch, 2);
    assert_ne!(next.root(), w.state.root());
}

/// Seals changed leaves with an honest header, so that only the rule in question can refuse them.
fn refuse(f: impl Fn(&mut Vec<LaneRange>, &mut Vec<SpeedTotal>, &mut Vec<Leaf>)) -> ApplyError {
    let (w, mut lanes, mut speed, mut leaves) = second();
    f(&mut lanes, &mut speed, &mut leaves);
    if lanes[0].leaves == 5 {
        lanes[0].leaves = leaves.len() as u32;
    }
    w.state.seal(MODEL, lanes, speed, leaves, None).unwrap_err()
}

#[test]
fn a_skipped_slot() {
    // Slot 3 is left out, or only its last attempt is in, or the batch begins one too late.
    let e = refuse(|_, _, l| drop(l.drain(1..4)));
    assert_eq!(e, ApplyError::Slot { index: 1, expected: Slot(3), came: Slot(4) });
    let e = refuse(|_, _, l| drop(l.drain(1..3)));
    assert_eq!(e, ApplyError::Retry { index: 1, expected: Retry(0), came: Retry(2) });
    let e = refuse(|r, _, l| {
        l.remove(0);
        r[0].first_slot = Slot(3);
    });
    assert!(matches!(e, ApplyError::Header { field: "lanes.first_slot", .. }), "{e}");
    let e = refuse(|r, _, _| r[0].end_slot = Slot(6));
    assert!(matches!(e, ApplyError::Header { field: "lanes.end_slot", .. }), "{e}");
}

#[test]
fn a_doubled_slot() {
    let e = refuse(|_, _, l| l.insert(1, l[0]));
    assert_eq!(e, ApplyError::Slot { index: 1, expected: Slot(3), came: Slot(2) });
    let e = refuse(|_, _, l| {
        // The same request again, as the next slot.
        let mut again = l[0];
        again.meta.slot = Slot(3);
        *l = vec![l[0], again];
    });
    assert!(matches!(e, ApplyError::Node { .. } | ApplyError::Request { .. }), "{e}");
    // A whole batch again.
    let mut w = World::new(3);
    let batch = w.batch(&mut [w.answer(0, &[], Finish::Stop, 5)]);
    assert!(matches!(apply(&w.state, &batch), Err(ApplyError::Header { field: "number", .. })));
    let mut renumbered = batch;
    renumbered.header.number = 1;
    renumbered.header.parent = w.state.head;
    assert!(matches!(
        apply(&w.state, &renumbered),
        Err(ApplyError::Header { field: "lanes.first_slot", .. })
    ));
}

#[test]
fn a_reassigned_slot() {
    // Another node than the drawn one.
    let e = refuse(|_, _, l| l[0].meta.node = NodeIndex(if l[0].meta.node.0 == 40 { 37 } else { 40 }));
    assert!(matches!(e, ApplyError::Node { index: 0, .. }), "{e}");
    let e = refuse(|_, _, l| {
        let node = l[1].meta.node;
        l[1].meta.node = l[2].meta.node;
        l[2].meta.node = node;
    });
    assert!(matches!(e, ApplyError::Node { index: 1, .. }), "{e}");
    // Another request in a later attempt.
    let e = refuse(|_, _, l| l[3].request = l[0].request);
    assert!(matches!(e, ApplyError::Request { index: 3, .. }), "{e}");
    let e = refuse(|_, _, l| l[4].meta.lane = Lane(1));
    assert!(matches!(e, ApplyError::Lane { index: 4, .. }), "{e}");
    let e = refuse(|_, _, l| l[4].meta.node = NodeIndex(5));
    assert!(matches!(e, ApplyError::Inconsistent { index: 4, .. }), "{e}");
}

#[test]
fn a_slot_without_an_answer_needs_all_attempts() {
    let e = refuse(|_, _, l| l.truncate(3));
    assert_eq!(e, ApplyError::Unfinished { lane: LANE, slot: Slot(3), attempts: 2, allowed: 5 });
    let e = refuse(|_, _, l| {
        let mut late = l[3];
        late.meta.retry = Retry(3);
        l.insert(4, late);
    });
    assert_eq!(e, ApplyError::Slot { index: 4, expected: Slot(4), came: Slot(3) });
    // Every node of the table failed: the slot may end.
    let w = World::new(3);
    let all = [w.answer(0, &[Fail::Miss, Fail::Refuse], Finish::Stop, 5)];
    let (lanes, _, mut leaves) = w.parts(&all);
    leaves[2].output = OutputCommitment::NONE;
    leaves[2].meta.n_out = 0;
    leaves[2].meta.finish = Finish::Missed;
    w.state.seal(MODEL, lanes, vec![], leaves, None).unwrap();
}

#[test]
fn links_headers_and_totals_must_be_true() {
    let e = refuse(|r, _, _| r[0].link = chain::step_down(r[0].link));
    assert!(matches!(e, ApplyError::Chain { .. }), "{e}");
    let e = refuse(|_, s, _| s[0].tokens += 100);
    assert!(matches!(e, ApplyError::Speed { .. }), "{e}");
    let e = refuse(|_, s, _| s[0].millis = 0);
    assert!(matches!(e, ApplyError::Speed { .. }), "{e}");
    let e = refuse(|_, s, _| s.push(s[0].clone()));
    assert_eq!(e, ApplyError::Order("speed"));
    let e = refuse(|_, _, l| l[1].meta.n_out = 1);
    assert!(matches!(e, ApplyError::Inconsistent { index: 1, .. }), "{e}");
    let e = refuse(|_, _, l| l[0].output = OutputCommitment::NONE);
    assert!(matches!(e, ApplyError::Inconsistent { index: 0, .. }), "{e}");

    let (w, lanes, speed, leaves) = second();
    let (good, _) = w.state.seal(MODEL, lanes, speed, leaves, None).unwrap();
    let field = |f: fn(&mut Batch)| {
        let mut b = good.clone();
        f(&mut b);
        match apply(&w.state, &b).unwrap_err() {
            ApplyError::Header { field, .. } => field,
            e => panic!("{e}"),
        }
    };
    assert_eq!(field(|b| b.header.number += 1), "number");
    assert_eq!(field(|b| b.header.epoch.0 += 1), "epoch");
    assert_eq!(field(|b| b.header.circuit_version += 1), "circuit_version");
    assert_eq!(field(|b| b.header.parent = BatchDigest::GENESIS), "parent");
    assert_eq!(field(|b| b.header.root = b.header.links), "root");
    assert_eq!(field(|b| b.header.links = b.header.root), "links");
    assert_eq!(field(|b| b.header.state_root = b.header.root), "state_root");
    assert_eq!(field(|b| b.header.node_roots = b.header.root), "node_roots");
    assert_eq!(field(|b| b.header.leaf_count += 1), "leaf_count");
    assert_eq!(field(|b| b.leaves.truncate(1)), "leaf_count");
    assert_eq!(field(|b| b.speed[0].millis += 1), "links");
    assert_eq!(
        field(|b| {
            // A leaf that no lane covers.
            b.leaves.push(b.leaves[0]);
            b.header.leaf_count += 1;
            b.header.root = leaf_tree(&b.leaves).unwrap().root();
        }),
        "leaf_count"
    );
    assert_eq!(
        field(|b| {
            b.lanes[0].leaves += 1;
            b.header.links = links_digest(&b.lanes, speed_digest(&b.speed));
        }),
        "lanes.leaves"
    );
    let mut other_model = good.clone();
    other_model.header.model = ModelId([1; 32]);
    assert!(matches!(apply(&w.state, &other_model), Err(ApplyError::Unregistered { missing: "lane", .. })));
}

#[test]
fn slots_run_on_across_links_epochs_and_chains() {
    let mut w = World::new(4);
    // 130 slots in one batch: three links, of which only the last is revealed.
    let mut all: Vec<_> = (0..130).map(|i| w.answer(i, &[], Finish::Stop, 3)).collect();
    w.batch(&mut all);
    for r in &all {
        assert!(r.check(&w.anchors(), world::NOW).unwrap().draw_verified);
    }
    // A new chain waits for the next epoch, and for the next link's first slot.
    let late = HashChain::derive(&[8; 32], &MODEL, LANE, 3, 10).unwrap();
    let e = w.state.register_chain(late.anchor(MODEL, LANE, EpochId(0)));
    assert!(matches!(e, Err(RegisterError::TooLate { .. })));
    let gap = HashChain::derive(&[8; 32], &MODEL, LANE, 4, 10).unwrap();
    let e = w.state.register_chain(gap.anchor(MODEL, LANE, EpochId(1)));
    assert!(matches!(e, Err(RegisterError::Gap { came: 4, needed: 3 })));
    // Epoch 1 draws with its own beacon and table.
    w.state = w.state.next_epoch(&w.snapshot, insecure_devnet_beacon(EpochId(1)));
    assert!(w.state.counters.models.is_empty());
    let table = w.table();
    assert_eq!(table.epoch, EpochId(1));
    let inputs = DrawInputs { beacon: w.state.beacon, ..w.inputs(Slot(130)) };
    let node = draw_order(&inputs, &table, Retry(0)).unwrap()[0];
    let mut leaf = all[0].leaf().unwrap();
    leaf.meta.slot = Slot(130);
    leaf.meta.node = node;
    let range = LaneRange {
        lane: LANE,
        first_slot: Slot(130),
        end_slot: Slot(131),
        leaves: 1,
        link: w.chain.link(2).unwrap(),
    };
    w.state.seal(MODEL, vec![range], vec![], vec![leaf], None).unwrap();
}

#[test]
fn preference_lanes_place_by_choice_and_count_nothing() {
    let mut w = World::new(3);
    let lane = Lane(Lane::PREFERENCE_BIT);
    w.state.open_preference_lane(MODEL, lane);
    let leaf = |slot, node, retry, finish: Finish| Leaf {
        request: RequestCommitment(Fr::from(slot + 100)),
        output: if finish.answered() { OutputCommitment(Fr::from(7u64)) } else { OutputCommitment::NONE },
        meta: Meta {
            slot: Slot(slot),
            lane,
            node: NodeIndex(node),
            n_in: 4,
            n_out: if finish.answered() { 4 } else { 0 },
            finish,
            retry: Retry(retry),
            version: 1,
        },
    };
    let leaves = vec![
        leaf(0, 34, 0, Finish::Stop),
        leaf(1, 37, 0, Finish::Missed),
        leaf(1, 37, 1, Finish::Stop),
        leaf(2, 40, 0, Finish::Missed),
    ];
    let range = |link| {
        vec![LaneRange { lane, first_slot: Slot(0), end_slot: Slot(3), leaves: 4, link: ChainLink(link) }]
    };
    let (_, next) = w.state.seal(MODEL, range(Fr::default()), vec![], leaves.clone(), None).unwrap();
    assert!(next.counters.models.is_empty());
    assert_eq!(next.lanes[&MODEL][&lane].next_slot, Slot(3));
    assert!(w.state.seal(MODEL, range(Fr::from(1u64)), vec![], leaves, None).is_err());
    let chain = HashChain::derive(&[8; 32], &MODEL, lane, 0, 10).unwrap();
    assert_eq!(
        w.state.register_chain(chain.anchor(MODEL, lane, EpochId(1))),
        Err(RegisterError::Preference(lane))
    );
}

#[test]
fn state_and_batch_survive_json() {
    let (w, lanes, speed, leaves) = second();
    let text = serde_json::to_string(&w.state).unwrap();
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), w.state);
    let (batch, _) = w.state.seal(MODEL, lanes, speed, leaves, None).unwrap();
    let text = serde_json::to_string(&batch).unwrap();
    assert_eq!(serde_json::from_str::<Batch>(&text).unwrap(), batch);
}

#[test]
fn blobs_hold_exactly_the_leaves() {
    use monai_protocol::blob::{BLOB_BYTES, LEAVES_PER_BLOB, decode, encode};
    let w = World::new(3);
    let leaf = w.answer(0, &[], Finish::Stop, 5).leaf().unwrap();
    let leaves: Vec<Leaf> = (0..LEAVES_PER_BLOB as u64 + 2)
        .map(|i| Leaf { meta: Meta { slot: Slot(i), ..leaf.meta }, ..leaf })
        .collect();
    let bytes = encode(&leaves).unwrap();
    assert_eq!(bytes.len(), 2 * BLOB_BYTES);
    assert_eq!(decode(&bytes, leaves.len()).unwrap(), leaves);
    // Leaf i sits at elements 3i.. of its blob.
    let at = 3 * 32 * 7;
    assert_eq!(bytes[at..at + 32], leaf.request.to_bytes());
    assert!(decode(&bytes, leaves.len() - 1).is_err());
    assert!(decode(&bytes[..BLOB_BYTES], leaves.len()).is_err());
    for i in [BLOB_BYTES - 1, 2 * BLOB_BYTES - 1] {
        let mut bad = bytes.clone();
        bad[i] = 1;
        assert!(decode(&bad, leaves.len()).is_err(), "padding byte {i}");
    }
    let mut bad = bytes;
    bad[0] = 0xff;
    assert!(matches!(decode(&bad, leaves.len()), Err(blob::BlobError::NotCanonical(0))));
}
