//! A true receipt passes; anything else about it fails, and the error says what.
#![allow(clippy::unwrap_used)]

mod world;

use monai_protocol::receipt::{Pending, Receipt, ReceiptError, Reexecute, check_pair};
use monai_protocol::*;
use serde_json::Value;
use std::collections::BTreeSet;
use world::{Fail, MODEL, NOW, World, key, sign};

fn value(r: &Receipt) -> Value {
    serde_json::to_value(r).unwrap()
}

/// Reads and checks, as an auditor would from a file.
fn check(w: &World, v: &Value) -> Result<receipt::Report, ReceiptError> {
    Receipt::from_json(v.to_string().as_bytes())?.check(&w.anchors(), NOW)
}

#[test]
fn a_complete_receipt_is_final_but_for_what_l1_knows() {
    let mut w = World::new(5);
    let [a, b] = w.complete();
    for r in [&a, &b] {
        let report = check(&w, &value(r)).unwrap();
        assert!(report.draw_verified && report.audited);
        assert_eq!(report.pending, BTreeSet::from([Pending::BatchUnknown, Pending::EpochNotFinal]));
        let mut anchors = w.anchors();
        let header = &r.inclusion.as_ref().unwrap().header.message;
        anchors.batches.insert(0, header.batch_digest());
        anchors.final_before = EpochId(1);
        assert!(r.check(&anchors, NOW).unwrap().pending.is_empty());
    }
}

#[test]
fn a_fresh_receipt_is_valid_and_pending() {
    let w = World::new(3);
    let r = w.answer(0, &[], Finish::Stop, 12);
    let report = check(&w, &value(&r)).unwrap();
    assert!(!report.draw_verified && !report.audited);
    assert_eq!(report.speed_sample_ms, Some(891));
    let want = [Pending::NotBatched, Pending::LinkNotRevealed, Pending::EpochNotFinal];
    assert_eq!(report.pending, BTreeSet::from(want));
}

/// Calls `f` with each copy of `v` in which one leaf differs, and the leaf's path.
fn each_mutation(v: &Value, f: &mut dyn FnMut(&str, &Value)) {
    fn walk(root: &Value, at: &Value, path: &str, f: &mut dyn FnMut(&str, &Value)) {
        match at {
            Value::Object(map) => map.iter().for_each(|(k, x)| walk(root, x, &format!("{path}/{k}"), f)),
            Value::Array(list) => {
                list.iter().enumerate().for_each(|(i, x)| walk(root, x, &format!("{path}/{i}"), f));
            }
            leaf => {
                for other in mutations(leaf) {
                    let mut copy = root.clone();
                    *copy.pointer_mut(path).unwrap() = other;
                    f(path, &copy);
                }
            }
        }
    }
    walk(v, v, "", f);
}

fn mutations(leaf: &Value) -> Vec<Value> {
    match leaf {
        Value::Null => vec![0.into(), "0x00".into(), Value::Bool(false)],
        Value::Bool(b) => vec![(!b).into()],
        Value::Number(n) => {
            let n = n.as_u64().unwrap();
            let mut out = vec![Value::from(n + 1), Value::from(n ^ 1 << 7), Value::Null, Value::from(0.5)];
            out.extend((n > 0).then(|| Value::from(n - 1)));
            out.extend((n > 0).then(|| Value::from(0)));
            out
        }
        Value::String(s) => {
            let mut out = vec![format!("{s}0"), s.to_uppercase(), format!(" {s}"), String::new()];
            // Every sixteenth digit of hex and decimals, first and last included.
            for i in (0..s.len()).filter(|i| i % 16 == 2 || *i + 1 == s.len()) {
                let mut bytes = s.clone().into_bytes();
                bytes[i] = if bytes[i] == b'1' { b'2' } else { b'1' };
                out.push(String::from_utf8(bytes).unwrap());
            }
            for word in ["stop", "length", "cancelled", "signed", "proved", "busy", "missed", "internal"] {
                out.push(word.to_owned());
            }
            out.retain(|x| x != s);
            out.into_iter().map(Value::from).collect()
        }
        Value::Array(_) | Value::Object(_) => unreachable!(),
    }
}

#[test]
fn every_leaf_is_bound() {
    let mut w = World::new(5);
    let [full, _] = w.complete();
    let fresh = w.answer(3, &[Fail::Busy], Finish::Length, 64);
    for r in [full, fresh] {
        let v = value(&r);
        check(&w, &v).unwrap();
        let (mut tried, mut passed) = (0, Vec::new());
        each_mutation(&v, &mut |path, copy| {
            tried += 1;
            if check(&w, copy).is_ok() {
                passed.push(format!(
                    "{path}: {} -> {}",
                    v.pointer(path).unwrap(),
                    copy.pointer(path).unwrap()
                ));
            }
        });
        assert!(tried > 500, "{tried}");
        assert!(passed.is_empty(), "{} of {tried} unbound:\n{}", passed.len(), passed.join("\n"));
    }
}

#[test]
fn without_knowledge_of_l1_every_leaf_is_still_bound_by_signatures() {
    let mut w = World::new(4);
    let mut all = vec![w.answer(0, &[Fail::Miss], Finish::Stop, 8)];
    w.batch(&mut all);
    let mut anchors = w.anchors();
    anchors.tables.clear();
    anchors.chains.clear();
    anchors.insecure_devnet = false;
    let v = value(&all[0]);
    let report = all[0].check(&anchors, NOW).unwrap();
    assert!(report.pending.contains(&Pending::TableUnknown));
    assert!(report.pending.contains(&Pending::ChainUnknown));
    assert!(report.pending.contains(&Pending::BeaconUnknown));
    each_mutation(&v, &mut |path, copy| {
        let read = Receipt::from_json(copy.to_string().as_bytes());
        assert!(read.and_then(|r| r.check(&anchors, NOW)).is_err(), "{path} is unbound");
    });
}

#[test]
fn unknown_and_doubled_fields_are_refused() {
    let w = World::new(3);
    let r = w.answer(0, &[], Finish::Stop, 4);
    let text = r.to_json().unwrap();
    for (from, to) in [
        ("\"version\": 1", "\"version\": 1, \"note\": 1"),
        ("\"version\": 1", "\"version\": 1, \"version\": 1"),
        ("\"nonce\": 0", "\"nonce\": 0, \"colour\": \"red\""),
        ("\"n_in\"", "\"n_in\": 20, \"n_in\""),
    ] {
        let bad = text.replacen(from, to, 1);
        assert_ne!(bad, text);
        assert!(matches!(Receipt::from_json(bad.as_bytes()), Err(ReceiptError::Malformed(_))), "{to}");
    }
}

#[test]
fn errors_name_the_field() {
    let mut w = World::new(5);
    let [full, _] = w.complete();
    let named = |path: &str, new: Value, want: &str| {
        let mut v = value(&full);
        *v.pointer_mut(path).unwrap() = new;
        let error = check(&w, &v).unwrap_err().to_string();
        assert!(error.contains(want), "{path}: {error}");
    };
    named("/output/3", 5.into(), "output (its commitment O): expected 0x");
    named("/request/prompt/0", 5.into(), "request (its commitment R): expected 0x");
    named("/request/params/seed", "5".into(), "request (its commitment R)");
    named("/intake/message/slot", 5.into(), "intake.signature: signed by 0x");
    named("/response/message/done_ms", 5.into(), "response.signature");
    named("/attestation/message/charge", "1".into(), "attestation.signature");
    named("/draw/table/entries/0/weight", "1".into(), "draw.table: expected 0x");
    named("/draw/beacon", format!("0x{}", "11".repeat(32)).into(), "draw.beacon: expected 0x");
    named("/draw/link", Value::Null, "draw.link is missing");
    named("/inclusion/proof/index", 0.into(), "inclusion.proof: expected 0x");
    named("/inclusion/proof/index", 60.into(), "inclusion.proof.index: expected 0 to 7 (exclusive)");
    named("/cancel", Value::Null, "cancel is missing");
    named("/user_signature", Value::Null, "user_signature is missing");
    named("/audit/audit/message/passed", false.into(), "audit.audit.signature");
}

#[test]
fn a_receipt_has_each_running_hash_that_its_node_signed() {
    let mut w = World::new(5);
    let [full, _] = w.complete();
    full.check(&w.anchors(), NOW).unwrap();
    let given = full.attestation.message.resumed_from;
    let mut cut = 0;
    for (i, p) in full.progress.iter().enumerate() {
        let mut r = full.clone();
        r.progress.remove(i);
        let e = r.check(&w.anchors(), NOW);
        if p.message.up_to / 64 > given / 64 {
            cut += 1;
            let said = e.unwrap_err().to_string();
            assert!(said.contains(&format!("running hash at {}", p.message.up_to)), "{said}");
        } else {
            // Blocks that another node had streamed need not be signed by this one.
            e.unwrap();
        }
    }
    assert!(cut > 0, "{given} of {} ids were another's", full.output.len());
}

#[test]
fn foreign_signatures_are_refused_everywhere() {
    let mut w = World::new(5);
    let [full, _] = w.complete();
    let foreign = key(99);
    let d = w.domain;
    let refuse = |what: &str, f: &dyn Fn(&mut Receipt)| {
        let mut r = full.clone();
        f(&mut r);
        let e = r.check(&w.anchors(), NOW);
        assert!(matches!(e, Err(ReceiptError::Signature { .. })), "{what}: {e:?}");
    };
    refuse("intake", &|r| r.intake = sign(r.intake.message.clone(), &d, &foreign));
    refuse("response", &|r| r.response = sign(r.response.message.clone(), &d, &foreign));
    refuse("attestation", &|r| r.attestation = sign(r.attestation.message.clone(), &d, &foreign));
    refuse("progress", &|r| r.progress[1] = sign(r.progress[1].message.clone(), &d, &foreign));
    refuse("cancel", &|r| r.cancel = Some(sign(r.cancel.clone().unwrap().message, &d, &foreign)));
    refuse("user", &|r| {
        r.user_signature = Some(foreign.sign(&Keccak([1; 32])).unwrap());
    });
    refuse("header", &|r| {
        let i = r.inclusion.as_mut().unwrap();
        i.header = sign(i.header.message.clone(), &d, &foreign);
    });
    refuse("audit", &|r| {
        let a = r.audit.as_mut().unwrap();
        a.audit = sign(a.audit.message.clone(), &d, &foreign);
    });
    for i in 0..3 {
        refuse("attempt", &|r| match &mut r.attempts[i] {
            receipt::Attempt::Missed(m) => *m = sign(m.message.clone(), &d, &foreign),
            receipt::Attempt::Refused(x) => x.refusal = sign(x.refusal.message.clone(), &d, &foreign),
            receipt::Attempt::Busy(b) => b.credit = sign(b.credit.message.clone(), &d, &foreign),
        });
    }
    // Signed by the right key, but for another deployment.
    let other = Domain { chain_id: ChainId(1), ..d };
    refuse("domain", &|r| r.intake = sign(r.intake.message.clone(), &other, &w.sequencer));
    // A whole receipt by a foreign sequencer is no better.
    let mut fake = World::new(5);
    fake.sequencer = key(98);
    let [theirs, _] = fake.complete();
    assert!(matches!(theirs.check(&w.anchors(), NOW), Err(ReceiptError::Signature { .. })));
}

#[test]
fn parts_of_two_true_receipts_do_not_mix() {
    let mut w = World::new(5);
    let [a, b] = w.complete();
    let (a, b) = (value(&a), value(&b));
    fn swap(w: &World, a: &Value, b: &Value, path: &str, swapped: &mut usize) {
        let Some(other) = b.pointer(path) else { return };
        let own = a.pointer(path).unwrap();
        if own != other {
            let mut copy = a.clone();
            *copy.pointer_mut(path).unwrap() = other.clone();
            assert!(check(w, &copy).is_err(), "{path} can be swapped");
            *swapped += 1;
        }
        match own {
            Value::Object(m) => m.keys().for_each(|k| swap(w, a, b, &format!("{path}/{k}"), swapped)),
            Value::Array(l) => (0..l.len()).for_each(|i| swap(w, a, b, &format!("{path}/{i}"), swapped)),
            _ => {}
        }
    }
    // Optional parts may be absent: such a receipt only says less. All others bind each other.
    let mut swapped = 0;
    for k in a.as_object().unwrap().keys() {
        let absent = ["cancel", "audit", "inclusion"].contains(&k.as_str()) && b[k].is_null();
        if k == "progress" || absent {
            continue;
        }
        swap(&w, &a, &b, &format!("/{k}"), &mut swapped);
        if b[k] != a[k] {
            swap(&w, &b, &a, &format!("/{k}"), &mut swapped);
        }
    }
    swap(&w, &a, &b, "/progress/0", &mut swapped);
    assert!(swapped > 60, "{swapped}");
}

#[test]
fn a_slot_reassigned_by_the_true_sequencer_contradicts_its_batch_and_the_draw() {
    let mut w = World::new(5);
    let [full, _] = w.complete();
    // The sequencer signs the same answer anew as slot 9: leaf and batch no longer fit.
    let mut moved = full.clone();
    let d = w.domain;
    let node = w.nodes[&full.attestation.message.node].clone();
    moved.attempts.clear();
    moved.progress.iter_mut().for_each(|p| {
        p.message.slot = Slot(2);
        *p = sign(p.message.clone(), &d, &node);
    });
    moved.intake.message.slot = Slot(2);
    moved.intake = sign(moved.intake.message, &d, &w.sequencer);
    moved.response.message.slot = Slot(2);
    moved.response = sign(moved.response.message, &d, &node);
    moved.attestation.message.response = moved.response.message.digest(&d);
    moved.attestation.message.retry = Retry(0);
    moved.attestation.message.resumed_from = 0;
    moved.attestation = sign(moved.attestation.message, &d, &w.sequencer);
    moved.audit = None;
    let error = moved.check(&w.anchors(), NOW).unwrap_err().to_string();
    assert!(error.contains("attestation.message.node") || error.contains("inclusion"), "{error}");
    assert!(matches!(check_pair(&full, &moved), Err(ReceiptError::Equivocation { .. })));
}

#[test]
fn two_receipts_show_a_doubled_slot() {
    let mut w = World::new(3);
    let a = w.answer(0, &[], Finish::Stop, 5);
    let b = w.answer(1, &[], Finish::Stop, 5);
    assert_eq!(check_pair(&a, &b), Ok(()));
    assert_eq!(check_pair(&a, &a), Ok(()));
    // The same slot for another request.
    let mut c = b.clone();
    c.intake.message.slot = Slot(0);
    assert!(check_pair(&a, &c).unwrap_err().to_string().contains("two requests in one slot"));
    // Another answer to the same request in the same slot.
    let other = w.answer(0, &[Fail::Miss], Finish::Stop, 5);
    assert!(check_pair(&a, &other).unwrap_err().to_string().contains("in one slot"));
    // A later, more complete copy of the same receipt is no contradiction.
    let mut done = vec![a.clone()];
    w.batch(&mut done);
    assert_eq!(check_pair(&a, &done[0]), Ok(()));
}

#[test]
fn a_busy_refusal_must_show_exhausted_credit() {
    let w = World::new(4);
    let good = w.answer(0, &[Fail::Busy], Finish::Stop, 5);
    good.check(&w.anchors(), NOW).unwrap();
    for f in [
        (|m: &mut messages::Refusal| m.active.truncate(1)) as fn(&mut messages::Refusal),
        |m| m.active[1] = m.active[0],
        |m| m.active.reverse(),
        |m| m.active[1] = m.request,
        |m| m.reason = messages::RefusalReason::Internal,
    ] {
        let mut r = good.clone();
        if let receipt::Attempt::Busy(b) = &mut r.attempts[0] {
            f(&mut b.refusal.message);
            b.refusal = sign(b.refusal.message.clone(), &w.domain, &w.nodes[&b.node]);
        }
        let e = r.check(&w.anchors(), NOW).unwrap_err().to_string();
        assert!(e.contains("active"), "{e}");
    }
}

#[test]
fn signed_contradictions_are_refused() {
    // What both parties signed can still be wrong; these are re-signed by the right keys.
    let w = World::new(4);
    let good = w.answer(0, &[], Finish::Stop, 5);
    let resign = |f: &dyn Fn(&mut Receipt)| {
        let mut r = good.clone();
        f(&mut r);
        let node = w.nodes[&good.attestation.message.node].clone();
        r.intake = sign(r.intake.message, &w.domain, &w.sequencer);
        r.response = sign(r.response.message, &w.domain, &node);
        r.attestation.message.response = r.response.message.digest(&w.domain);
        r.attestation = sign(r.attestation.message, &w.domain, &w.sequencer);
        r.check(&w.anchors(), NOW).map_err(|e| e.to_string())
    };
    resign(&|_| {}).unwrap();
    let refuse = |want: &str, f: &dyn Fn(&mut Receipt)| {
        let e = resign(f).unwrap_err();
        assert!(e.contains(want), "{e}");
    };
    refuse("n_out", &|r| r.response.message.n_out = 4);
    refuse("n_in", &|r| r.response.message.n_in = 19);
    refuse("charge", &|r| r.attestation.message.charge = Amount(1));
    refuse("at most 1000000", &|r| {
        r.attestation.message.output_price = Amount(1_000_000);
        r.attestation.message.charge = Amount(60 + 5_000_000);
    });
    refuse("request.expiry", &|r| r.intake.message.received_ms += 61_000);
    refuse("received_ms", &|r| {
        r.intake.message.received_ms = (NOW + 301) * 1000;
    });
    refuse("dispatched_ms", &|r| r.attestation.message.dispatched_ms -= 11);
    refuse("done_ms", &|r| r.attestation.message.done_ms = r.attestation.message.first_token_ms - 1);
    refuse("first_token_ms", &|r| r.response.message.first_token_ms = r.response.message.received_ms - 1);
    refuse("resumed_from", &|r| r.attestation.message.resumed_from = 1);
    refuse("retry", &|r| r.attestation.message.retry = Retry(1));
    refuse("epoch", &|r| r.attestation.message.epoch = EpochId(1));
    refuse("length", &|r| {
        r.response.message.finish = Finish::Length;
        r.response.message.output = output_commitment(r.request.blinding, Finish::Length, &r.output);
    });
}

struct Echo(Vec<u32>, Finish);

impl Reexecute for Echo {
    type Error = String;
    fn reexecute(
        &self,
        model: &ModelId,
        _: &[u32],
        _: &SelectionParams,
        at_most: u32,
    ) -> Result<(Vec<u32>, Finish), String> {
        if *model != MODEL {
            return Err("unknown model".into());
        }
        Ok((self.0.iter().copied().take(at_most as usize).collect(), self.1))
    }
}

#[test]
fn reexecution_compares_ids_and_finish() {
    let w = World::new(3);
    let r = w.answer(0, &[], Finish::Stop, 5);
    assert_eq!(r.reexecute(&Echo(r.output.clone(), Finish::Stop)), Ok(()));
    let mut other = r.output.clone();
    other[2] += 1;
    assert!(matches!(r.reexecute(&Echo(other, Finish::Stop)), Err(ReceiptError::Output { index: 2, .. })));
    let longer: Vec<u32> = r.output.iter().copied().chain([9]).collect();
    assert!(matches!(r.reexecute(&Echo(longer, Finish::Stop)), Err(ReceiptError::Output { index: 5, .. })));
    assert!(r.reexecute(&Echo(r.output.clone(), Finish::Length)).is_err());
    // Cancelled at k: the model's longer answer must agree on its first k ids.
    let c = w.answer(0, &[], Finish::Cancelled, 5);
    let longer: Vec<u32> = c.output.iter().copied().chain([9, 9]).collect();
    assert_eq!(c.reexecute(&Echo(longer, Finish::Length)), Ok(()));
    // An answer that the model ends there was not cut.
    assert!(matches!(
        c.reexecute(&Echo(c.output.clone(), Finish::Stop)),
        Err(ReceiptError::Output { index: 5, .. })
    ));
    let empty = w.answer(0, &[], Finish::Cancelled, 0);
    assert_eq!(empty.reexecute(&Echo(vec![1], Finish::Length)), Ok(()));
    empty.check(&w.anchors(), NOW).unwrap();
}
