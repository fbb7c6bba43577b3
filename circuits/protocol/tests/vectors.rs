//! The test vectors that contracts and circuits share: `vectors/protocol.json`.
//!
//! The file is checked, not trusted: every value is computed again. `MONAI_WRITE_VECTORS=1` writes it,
//! which is right only when the protocol is meant to change.
#![allow(clippy::unwrap_used)]

mod world;

use monai_protocol::batch::{leaf_data_hash, leaf_tree, links_digest, speed_digest};
use monai_protocol::draw::{context_digest, draw_order, word};
use monai_protocol::field::to_bytes;
use monai_protocol::messages::{Miss, NodeHello, RequestMessage, type_strings};
use monai_protocol::output::output_salt;
use monai_protocol::*;
use serde_json::{Value, json};
use world::{Fail, LANE, MODEL, World};

fn hex(x: Fr) -> Value {
    codec::encode_hex(&to_bytes(x)).into()
}

fn compute() -> Value {
    let mut w = World::new(5);
    let d = w.domain;
    let mut all = vec![
        w.answer(0, &[Fail::Miss, Fail::Refuse, Fail::Busy], Finish::Cancelled, 130),
        w.answer(1, &[], Finish::Stop, 70),
        w.answer(2, &[Fail::Miss], Finish::Length, 9),
    ];
    let state_before = w.state.root();
    let batch = w.batch(&mut all);
    w.audit(&mut all[0]);
    let full = &all[0];
    let f = |x: u64| Fr::from(x);
    let minus_one = -f(1);
    let slot = Slot(77);
    let inputs = w.inputs(slot);
    let table = w.table();
    let tree = leaf_tree(&batch.leaves).unwrap();
    let proof = tree.prove(3).unwrap();

    let request = &full.request;
    let user_message = RequestMessage {
        request: request.commitment(),
        model: MODEL,
        max_price: request.max_price,
        nonce: request.nonce,
        expiry: request.expiry,
    };
    let receipt::Attempt::Missed(miss) = &full.attempts[0] else { panic!() };
    let receipt::Attempt::Refused(refused) = &full.attempts[1] else { panic!() };
    let receipt::Attempt::Busy(busy) = &full.attempts[2] else { panic!() };
    let hello = NodeHello {
        challenge: Keccak([4; 32]),
        node: busy.node,
        sequencer: w.sequencer.address(),
        credits: vec![busy.credit.message.clone()],
    };
    let typed = |name: &str, message: Value, digest: Keccak, signature: Option<Signature>| json!({"name": name, "message": message, "digest": digest, "signature": signature});
    let miss_message: &Miss = &miss.message;

    json!({
        "note": "Values that Rust, Solidity and circuits must agree on. Field elements are 32 bytes, big-endian.",
        "poseidon": {
            "permute": [
                {"in": [hex(f(0)), hex(f(1)), hex(f(2))], "out": permute([f(0), f(1), f(2)]).map(hex)},
                {"in": ([minus_one; 3].map(hex)), "out": permute([minus_one; 3]).map(hex)},
            ],
            "poseidon2": [
                {"left": hex(f(1)), "right": hex(f(2)), "out": hex(poseidon2(f(1), f(2)))},
                {"left": hex(minus_one), "right": hex(f(0)), "out": hex(poseidon2(minus_one, f(0)))},
            ],
            "hash": [
                {"tag": Tag::Ids as u64, "in": [], "out": hex(hash(Tag::Ids, &[]))},
                {"tag": Tag::Seed as u64, "in": [hex(f(9)), hex(f(3))], "out": hex(hash(Tag::Seed, &[f(9), f(3)]))},
                {"tag": Tag::Output as u64, "in": [hex(f(1)), hex(f(2)), hex(f(3))],
                 "out": hex(hash(Tag::Output, &[f(1), f(2), f(3)]))},
            ],
            "mds": poseidon::constants().mds.map(|row| row.map(hex)),
            "first_round_constants": poseidon::constants().round[0].map(hex),
            "last_round_constants": poseidon::constants().round[64].map(hex),
        },
        "request": {
            "request": request,
            "h_ids": ids::hash_ids(&request.prompt),
            "default_seed": request.default_seed().to_string(),
            "commitment": request.commitment(),
            "sampling_word": {"position": 20, "word": sampling_word(request.params.seed, 20).to_string()},
        },
        "output": {
            "blinding": request.blinding,
            "salt": hex(output_salt(request.blinding)),
            "finish": full.response.message.finish,
            "ids": full.output,
            "commitment": full.response.message.output,
            "running": full.progress.iter().map(|p| json!({"up_to": p.message.up_to, "hash": p.message.running}))
                .collect::<Vec<_>>(),
        },
        "leaves": batch.leaves.iter().map(|l| json!({
            "leaf": l, "elements": l.elements().unwrap().map(hex), "hash": l.hash().unwrap(),
        })).collect::<Vec<_>>(),
        "zero_leaf_hash": leaf::zero_leaf_hash(),
        "tree": {"root": tree.root(), "proof": proof},
        "chain": {
            "anchor": w.chain.anchor(MODEL, LANE, EpochId(0)),
            "links": ([0, 1, 63].map(|j| json!({"index": j, "link": w.chain.link(j).unwrap()}))),
        },
        "draw": {
            "beacon": inputs.beacon, "link": inputs.link, "model": MODEL, "lane": LANE, "slot": slot,
            "table": table, "table_digest": table.digest(),
            "context": context_digest(&inputs.beacon, &table, Some(&w.chain.anchor(MODEL, LANE, EpochId(0)))),
            "first_words": ([0u8, 1, 2].map(|r| word(&inputs, Retry(r), 0).to_string())),
            "order": draw_order(&inputs, &table, Retry(4)).unwrap(),
        },
        "batch": {
            "header": batch.header, "lanes": batch.lanes, "speed": batch.speed,
            "speed_digest": speed_digest(&batch.speed),
            "links_digest": links_digest(&batch.lanes, speed_digest(&batch.speed)),
            "leaf_data_hash": leaf_data_hash(&batch.leaves).unwrap(),
            "state_before": state_before,
            "digest": batch.header.batch_digest(),
        },
        "eip712": {
            "domain": d,
            "types": type_strings().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
            "sequencer": w.sequencer.address(), "user": w.user.address(), "auditor": w.auditor.address(),
            "node": full.attestation.message.node,
            "messages": [
                typed("Request", json!(user_message), user_message.digest(&d), full.user_signature),
                typed("Intake", json!(full.intake.message), full.intake.message.digest(&d), Some(full.intake.signature)),
                typed("Response", json!(full.response.message), full.response.message.digest(&d), Some(full.response.signature)),
                typed("Attestation", json!(full.attestation.message), full.attestation.message.digest(&d), Some(full.attestation.signature)),
                typed("Progress", json!(full.progress[0].message), full.progress[0].message.digest(&d), Some(full.progress[0].signature)),
                typed("Cancel", json!(full.cancel.as_ref().unwrap().message), full.cancel.as_ref().unwrap().message.digest(&d), Some(full.cancel.as_ref().unwrap().signature)),
                typed("Miss", json!(miss_message), miss_message.digest(&d), Some(miss.signature)),
                typed("Refusal", json!(refused.refusal.message), refused.refusal.message.digest(&d), Some(refused.refusal.signature)),
                typed("Refusal", json!(busy.refusal.message), busy.refusal.message.digest(&d), Some(busy.refusal.signature)),
                typed("Credit", json!(busy.credit.message), busy.credit.message.digest(&d), Some(busy.credit.signature)),
                typed("NodeHello", json!(hello), hello.digest(&d), None),
                typed("Audit", json!(full.audit.as_ref().unwrap().audit.message), full.audit.as_ref().unwrap().audit.message.digest(&d), Some(full.audit.as_ref().unwrap().audit.signature)),
                typed("Batch", json!({"number": 0, "header": batch.header.batch_digest()}), batch.header.digest(&d),
                    Some(full.inclusion.as_ref().unwrap().header.signature)),
            ],
        },
        "emission": emission(&w),
        "beacon": {"epoch": 5, "insecure_devnet_beacon": insecure_devnet_beacon(EpochId(5))},
        "receipt": full,
    })
}

/// An epoch of the vectors' table, as `Emissions` pays it: the pot of the first epoch, three nodes drawn of five.
fn emission(w: &World) -> Value {
    let table = w.table();
    let p = Parameters::default();
    let counts = [(40, 0, 0), (17, 3, 1), (0, 9, 0)];
    let counters: std::collections::BTreeMap<_, _> = table
        .entries
        .iter()
        .zip(counts)
        .map(|(e, (answered, missed, busy))| {
            (e.node, NodeCounters { answered, missed, busy, tokens: 64 * answered, millis: 1_000 * answered })
        })
        .collect();
    let pot = emission::Pot::initial(&p);
    let (payout, next) = emission::settle(&pot, Some(&table), &counters, &w.snapshot, &p);
    let earned: u64 = payout.cells.values().map(|c| c.share).sum();
    json!({
        "pot": pot.schedule, "treasury_share": p.treasury_share.to_string(),
        "total_weight": table.total().to_string(),
        "rows": payout.nodes.iter().map(|(node, amount)| {
            let (e, c) = (table.entry(node).unwrap(), counters[node]);
            json!({
                "slot": e.slot, "weight": e.weight.to_string(), "counters": c,
                "share": payout.cells[node].share.to_string(), "pays": amount,
            })
        }).collect::<Vec<_>>(),
        "earned": earned.to_string(), "paid": Amount(pot.schedule.0 - next.carry.0),
        "treasury": payout.treasury, "carry": next.carry,
    })
}

fn path(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name)
}

fn compare(name: &str, computed: &Value) {
    if std::env::var_os("MONAI_WRITE_VECTORS").is_some() {
        std::fs::create_dir_all(path("")).unwrap();
        std::fs::write(path(name), serde_json::to_string_pretty(computed).unwrap() + "\n").unwrap();
    }
    let stored: Value = serde_json::from_slice(&std::fs::read(path(name)).unwrap()).unwrap();
    for (key, value) in computed.as_object().unwrap() {
        assert_eq!(&stored[key], value, "{name}: {key} has changed");
    }
    assert_eq!(&stored, computed, "{name}");
}

#[test]
fn protocol_vectors_hold() {
    compare("protocol.json", &compute());
}

#[test]
fn parameters_are_published() {
    let p = Parameters::default();
    compare("parameters.json", &json!({ "parameters": p.export() }));
}
