//! For each constraint, a witness that breaks it: the clear-text twin names it, and the relations refuse it.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use monai_inference::leaf::{Leaf, Remainder};
use monai_inference::shape::Shape;
use monai_inference::statement::Statement;
use monai_inference::tensor::{Table, Tensor};
use monai_inference::{Preimage, Public, VerifyError};
use monai_model::artefact::{HeadNorm, Int8s, Model};
use monai_model::testing::TinyOptions;
use monai_protocol::Fr;
use monai_prover::{
    Constraint, ModelTensors, ProveError, ProvingModel, Witness, broken, check_relations, trace,
};

struct Case {
    name: &'static str,
    change: fn(&mut Witness, &Shape),
    recount: bool,
    breaks: &'static [Constraint],
    check: &'static str,
}

fn bump(w: &mut Witness, t: Tensor, i: usize, by: i32) {
    w.slice_mut(t)[i] += by;
}

/// The first entry of a tensor that satisfies a condition.
fn find(w: &Witness, t: Tensor, f: impl Fn(i32) -> bool) -> usize {
    w.slice(t).iter().position(|v| f(*v)).unwrap()
}

const LEAVES: &str = "the sum over the leaves is the sum over the tables";

fn cases() -> Vec<Case> {
    use Constraint as C;
    let case = |name, change, recount, breaks, check| Case { name, change, recount, breaks, check };
    vec![
        case(
            "a limb out of range, its value kept",
            |w, _| {
                bump(w, Tensor::X0Lo, 3, 1 << 16);
                bump(w, Tensor::X0Hi, 3, -1);
            },
            false,
            &[C::Lookup(Leaf::Range(Tensor::X0Lo))],
            LEAVES,
        ),
        case(
            "a multiplicity",
            |w, _| bump(w, Tensor::Multiplicity(Table::Silu), 5, 1),
            false,
            &[C::Multiplicity(Table::Silu)],
            LEAVES,
        ),
        case(
            "SILU of another gate",
            |w, _| bump(w, Tensor::Silu, 70, 1),
            false,
            &[C::Lookup(Leaf::Silu), C::Remainder(Remainder::Gated)],
            LEAVES,
        ),
        case(
            "a hidden key made visible",
            |w, _| {
                // Query 0 sees key 1, at the weight of its distance.
                bump(w, Tensor::Far, 1, -1);
                let d = w.slice(Tensor::DistanceLo)[1];
                w.slice_mut(Tensor::Weight)[1] = d.clamp(1, 2);
            },
            false,
            &[C::Lookup(Leaf::Distance), C::Lookup(Leaf::Exp), C::SoftmaxInverse],
            LEAVES,
        ),
        case(
            "another output of the norm",
            |w, _| bump(w, Tensor::NormY, 100, 1),
            true,
            &[C::Remainder(Remainder::Norm)],
            "the linear layers' sum",
        ),
        case(
            "a smaller inverse of the norm",
            |w, _| bump(w, Tensor::NormRows, 1, 1),
            true,
            &[C::NormInverse],
            "the norm's product",
        ),
        case(
            "the norm's lower slack",
            |w, s| bump(w, Tensor::NormRows, 3 * s.sites() * s.positions() + 2, 1),
            true,
            &[C::NormInverse],
            "the norm's inverse is pinned from both sides",
        ),
        case(
            "the norm's upper slack",
            |w, s| bump(w, Tensor::NormRows, 7 * s.sites() * s.positions() + 2, 1),
            true,
            &[C::NormInverse],
            "the norm's inverse is pinned from both sides",
        ),
        case(
            "the norm's sum of squares, which is not committed",
            |w, _| w.raw.squares[0] += Fr::from(1u64),
            true,
            &[],
            "the norm's inverse is pinned from both sides",
        ),
        case(
            "the residual, which is not committed",
            |w, _| w.raw.residual[0] += 1,
            true,
            &[],
            "the norm's product",
        ),
        case(
            "x0",
            |w, _| bump(w, Tensor::X0Lo, 5, 1),
            true,
            &[C::Remainder(Remainder::X0), C::NormInverse],
            "the norm's input is what is normalised",
        ),
        case(
            "an output of attention's sub-layer",
            |w, _| bump(w, Tensor::SubLo, 7, 1),
            true,
            &[C::Remainder(Remainder::Output), C::NormInverse],
            "the linear layers' sum",
        ),
        case(
            "a rotated query",
            |w, _| bump(w, Tensor::QueryKey, 9, 1),
            true,
            &[C::Remainder(Remainder::QueryKey)],
            "the scores",
        ),
        case(
            "the upper remainder of a rotated query",
            |w, _| bump(w, Tensor::QueryKeyHi, 9, 1),
            true,
            &[C::Remainder(Remainder::QueryKey)],
            "the rotation",
        ),
        case(
            "a value",
            |w, _| bump(w, Tensor::Value, 9, 1),
            true,
            &[C::Remainder(Remainder::Value)],
            // The mixed values follow from the changed one, so the output is the first that does not fit.
            "the softmax output",
        ),
        case(
            "an attention output",
            |w, _| bump(w, Tensor::AttnOut, 9, 1),
            true,
            &[C::Remainder(Remainder::AttnOut)],
            "the softmax output",
        ),
        case(
            "values mixed otherwise, with outputs that follow",
            mixed_otherwise,
            true,
            &[C::Remainder(Remainder::AttnOut)],
            "the weighted values",
        ),
        case(
            "the remainder of the softmax inverse",
            |w, s| bump(w, Tensor::SoftRows, 4 * s.all_heads() * s.positions(), 1),
            true,
            &[C::SoftmaxInverse],
            "the softmax inverse is pinned",
        ),
        case(
            "the slack of the softmax inverse",
            |w, s| bump(w, Tensor::SoftRows, 6 * s.all_heads() * s.positions(), 1),
            true,
            &[C::SoftmaxInverse],
            "the softmax inverse is pinned",
        ),
        case(
            "a larger maximum",
            |w, _| bump(w, Tensor::SoftRows, 0, 1),
            true,
            &[C::Remainder(Remainder::Score)],
            "the scores",
        ),
        case(
            "two pointers at the maximum",
            |w, _| {
                let i = find(w, Tensor::MaxPointer, |v| v == 1);
                bump(w, Tensor::MaxPointer, i, 1);
            },
            true,
            &[C::MaxPointer, C::MaxAttained],
            "each maximum's pointer sums to one",
        ),
        case(
            "a pointer that misses the maximum",
            |w, _| {
                let i = find(w, Tensor::MaxPointer, |v| v == 1);
                bump(w, Tensor::MaxPointer, i, -1);
                bump(w, Tensor::MaxPointer, i ^ 1, 1);
            },
            true,
            &[C::MaxAttained],
            "each maximum is attained",
        ),
        case(
            "the upper remainder of a gated row",
            |w, _| bump(w, Tensor::GatedHi, 11, 1),
            true,
            &[C::Remainder(Remainder::Gated)],
            "gate times up",
        ),
        case(
            "an exponent's pointer twice",
            |w, _| {
                let i = find(w, Tensor::GatedPointer, |v| v == 1);
                bump(w, Tensor::GatedPointer, i, 1);
            },
            true,
            &[C::ExponentPointer, C::ExponentLeast],
            "each exponent's pointer sums to one",
        ),
        case(
            "the slack of an exponent",
            |w, _| {
                let i = find(w, Tensor::FfnNonzero, |v| v == 1);
                bump(w, Tensor::FfnSlack, i, 1);
            },
            true,
            &[C::ExponentLeast],
            "the exponent is the least at which the row fits",
        ),
        case(
            "a sign that is no bit",
            |w, _| {
                let i = find(w, Tensor::FfnNonzero, |v| v == 0);
                bump(w, Tensor::FfnSign, i, 2);
            },
            true,
            &[C::ExponentSign],
            "the exponent is the least at which the row fits",
        ),
        case(
            "the powers of an exponent",
            |w, _| bump(w, Tensor::FfnUp, 3, 1),
            false,
            &[C::Lookup(Leaf::Power), C::Remainder(Remainder::Down)],
            LEAVES,
        ),
        case(
            "the upper remainder of a feed-forward output",
            |w, _| bump(w, Tensor::DownHi, 3, 1),
            true,
            &[C::Remainder(Remainder::Down)],
            "the exponent is undone",
        ),
        case(
            "a last norm's output",
            |w, _| bump(w, Tensor::FinalZ, 3, 1),
            true,
            &[C::Remainder(Remainder::Final)],
            "the last norm's gain",
        ),
        case(
            "the upper remainder of a logit",
            |w, _| bump(w, Tensor::LogitRemHi, 3, 1),
            true,
            &[C::Remainder(Remainder::Logit)],
            "the linear layers' sum",
        ),
        case(
            "an id that is not kept",
            |w, _| {
                let i = find(w, Tensor::Keep, |v| v == 1);
                bump(w, Tensor::Keep, i, -1);
            },
            true,
            &[C::Lookup(Leaf::Compare), C::Selection],
            "the selection's sums",
        ),
        case(
            "a shown weight",
            |w, _| w.rows[0].all_weight += 1,
            true,
            &[C::Selection],
            "the selection's sums",
        ),
        case(
            "a shown largest logit that another id has",
            |w, _| w.rows[0].argmax = (w.rows[0].argmax + 1) % 300,
            true,
            &[C::Selection],
            "the selection's sums",
        ),
    ]
}

/// Witnesses of a model that normalises heads.
fn head_cases() -> Vec<Case> {
    use Constraint as C;
    let case = |name, change, breaks, check| Case { name, change, recount: true, breaks, check };
    vec![
        case(
            "another input of a head's norm",
            |w, _| bump(w, Tensor::HeadT, 9, 1),
            &[C::Remainder(Remainder::HeadT), C::Remainder(Remainder::HeadNorm), C::HeadInverse],
            "the norm's product",
        ),
        case(
            "another output of a head's norm",
            |w, _| bump(w, Tensor::HeadY, 9, 1),
            &[C::Remainder(Remainder::HeadNorm), C::Remainder(Remainder::QueryKey)],
            "the gain of the heads' norm",
        ),
        case(
            "a larger inverse of a head's norm",
            |w, _| bump(w, Tensor::HeadRows, 2, 1),
            &[C::HeadInverse, C::Remainder(Remainder::HeadNorm)],
            "the norm's product",
        ),
        case(
            "the lower slack of a head's norm",
            |w, s| bump(w, Tensor::HeadRows, 3 * s.all_query_keys() * s.positions() + 2, 1),
            &[C::HeadInverse],
            "the norm's inverse is pinned from both sides",
        ),
        case(
            "the upper slack of a head's norm",
            |w, s| bump(w, Tensor::HeadRows, 7 * s.all_query_keys() * s.positions() + 2, 1),
            &[C::HeadInverse],
            "the norm's inverse is pinned from both sides",
        ),
        case(
            "a head's sum of squares, which is not committed",
            |w, _| w.raw.head_squares[0] += Fr::from(1u64),
            &[],
            "the norm's inverse is pinned from both sides",
        ),
        case("what RoPE turns, which is not committed", turned_otherwise, &[], "the gain of the heads' norm"),
        case(
            "the remainder of a head's input",
            |w, _| w.remainders.get_mut(&Remainder::HeadT).unwrap()[9] ^= 1,
            &[],
            "the linear layers' sum",
        ),
        case(
            "the remainder of a head's output",
            |w, _| w.remainders.get_mut(&Remainder::HeadNorm).unwrap()[9] ^= 1,
            &[],
            "the norm's product",
        ),
    ]
}

/// Turns another value at position 0, where the cosine is 2^14 and the sine 0, and makes the low remainder follow: the
/// rotation holds, and no committed value differs.
fn turned_otherwise(w: &mut Witness, s: &Shape) {
    let turn = 1u16 << 14;
    let first = |i: usize| s.pair_order.channels(i, s.head_dim()).0;
    let rest = &w.remainders[&Remainder::QueryKey];
    let at = (0..s.head_dim() / 2).map(first).find(|c| rest[*c].checked_add(turn).is_some()).unwrap();
    w.remainders.get_mut(&Remainder::QueryKey).unwrap()[at] += turn;
    w.raw.query_key[at] += 1;
}

/// Adds 1 to the sums that one row of attention weights gives, and makes the row's outputs from them.
fn mixed_otherwise(w: &mut Witness, s: &Shape) {
    let (n, e, row) = (s.positions(), s.head_dim(), 1usize);
    let limb = |w: &Witness, i: usize| i64::from(w.slice(Tensor::SoftRows)[i * s.all_heads() * n + row]);
    let inv = limb(w, 2) + (limb(w, 3) << 16);
    w.raw.mixed.insert(row, Fr::from(1u64));
    for at in row * e..(row + 1) * e {
        let value = |t| i64::from(w.slice(t)[at]);
        let rest = i64::from(w.remainders[&Remainder::AttnOut][at]);
        let sum =
            ((value(Tensor::AttnOut) - (1 << 15)) << 32) + (value(Tensor::AttnOutHi) << 16) + rest + inv;
        w.slice_mut(Tensor::AttnOut)[at] = ((sum >> 32) + (1 << 15)) as i32;
        w.slice_mut(Tensor::AttnOutHi)[at] = ((sum >> 16) & 0xffff) as i32;
        w.remainders.get_mut(&Remainder::AttnOut).unwrap()[at] = (sum & 0xffff) as u16;
    }
}

/// Makes the second layer's products so small that its rows need no exponent; the first layer's rows have one.
fn without_exponent(model: &mut Model) {
    let up = &mut model.layers[1].up;
    let mut weight = vec![0i8; up.rows * up.cols];
    for n in 0..up.rows {
        weight[n * up.cols + n % up.cols] = 1;
    }
    up.weight = Int8s::owned(weight);
    up.multiplier.fill(1);
}

type Honest = (ProvingModel<'static>, Public, Preimage, Shape, Witness);

fn options() -> TinyOptions {
    TinyOptions { layers: 2, hidden: 64, heads: 2, kv_heads: 1, ffn: 64, ..TinyOptions::default() }
}

fn honest(model: Model) -> Honest {
    let m = proving(Box::leak(Box::new(model)));
    let mut params = greedy(m.model, 2);
    (params.top_k, params.top_p, params.seed) = (0, 60_000, 9);
    let request = request(m.model, &[1, 20, 30, 40, 50], params);
    let (output, finish) = answer(m.model, &request);
    let (public, preimage) = statement(&request, &output, finish);
    let shape = Shape::new(m.registered.header(), 5, output.len()).unwrap();
    let w = trace(m.model, &shape, &request, &output).unwrap();
    (m, public, preimage, shape, w)
}

fn each_is_refused((m, public, preimage, shape, w): &Honest, cases: Vec<Case>) {
    let s = Statement::new(m.registered.header(), public, preimage, &w.rows).unwrap();
    assert!(broken(m.model, &s, w).is_empty());
    check_relations(m, public, preimage, w).unwrap();
    let mut failed = Vec::new();
    for case in cases {
        let mut w = w.clone();
        (case.change)(&mut w, shape);
        if case.recount {
            w.recount(m.model, shape).unwrap();
        }
        let s = match Statement::new(m.registered.header(), public, preimage, &w.rows) {
            Ok(s) => s,
            Err(e) => {
                failed.push(format!("{}: refused before any relation: {e}", case.name));
                continue;
            }
        };
        let got = broken(m.model, &s, &w);
        let missing: Vec<_> = case.breaks.iter().filter(|c| !got.contains(c)).collect();
        if !missing.is_empty() || got.len() > case.breaks.len() + 6 {
            failed.push(format!("{}: twin says {got:?}, expected {:?}", case.name, case.breaks));
        }
        match check_relations(m, public, preimage, &w) {
            Err(ProveError::Statement(VerifyError::Check(name))) if name == case.check => {}
            other => failed.push(format!("{}: {other:?}, expected {:?}", case.name, case.check)),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn each_constraint_refuses_a_witness_that_breaks_it() {
    let mut model = monai_model::testing::tiny(&options()).unwrap();
    without_exponent(&mut model);
    let honest = honest(model);
    let w = &honest.4;
    assert!(w.slice(Tensor::FfnNonzero).contains(&1) && w.slice(Tensor::FfnNonzero).contains(&0));
    each_is_refused(&honest, cases());
}

#[test]
fn each_constraint_of_normalised_heads_refuses_a_witness_that_breaks_it() {
    let o = TinyOptions { qk_norm: true, ..options() };
    each_is_refused(&honest(monai_model::testing::tiny(&o).unwrap()), head_cases());
}

/// A witness of one model against the tensors of another: each tensor of the model is read by the check that is named.
#[test]
fn tensors_of_another_model_are_refused() {
    let o = TinyOptions {
        layers: 2,
        hidden: 64,
        heads: 2,
        kv_heads: 1,
        ffn: 64,
        qkv_bias: true,
        qk_norm: true,
        tied_head: false,
        ..TinyOptions::default()
    };
    let m = proving(model(&o));
    let request = request(m.model, &[1, 20, 30], greedy(m.model, 2));
    let (output, finish) = answer(m.model, &request);
    let (public, preimage) = statement(&request, &output, finish);
    let header = m.registered.header();
    let shape = Shape::new(header, 3, output.len()).unwrap();
    let w = trace(m.model, &shape, &request, &output).unwrap();
    check_relations(&m, &public, &preimage, &w).unwrap();
    let refused = |name: &str, check: &str, change: &dyn Fn(&mut Model)| {
        let mut other = monai_model::testing::tiny(&o).unwrap();
        change(&mut other);
        let tensors = ModelTensors::new(&other, header).unwrap();
        let m = ProvingModel { model: m.model, tensors, registered: m.registered.clone() };
        match check_relations(&m, &public, &preimage, &w) {
            Err(ProveError::Statement(VerifyError::Check(found))) if found == check => {}
            other => panic!("{name}: {other:?}, expected {check}"),
        }
    };
    let one = |weight: &mut Int8s, at: usize| {
        let mut values = weight.to_vec();
        values[at] ^= 1;
        *weight = Int8s::owned(values);
    };
    let linear = "the linear layers' sum";
    refused("one int8 of q", linear, &|m| one(&mut m.layers[0].q.weight, 5));
    refused("one int8 of k", linear, &|m| one(&mut m.layers[1].k.weight, 5));
    refused("one int8 of v", linear, &|m| one(&mut m.layers[0].v.weight, 5));
    refused("one int8 of o", linear, &|m| one(&mut m.layers[1].o.weight, 5));
    refused("one int8 of gate", linear, &|m| one(&mut m.layers[0].gate.weight, 5));
    refused("one int8 of up", linear, &|m| one(&mut m.layers[1].up.weight, 5));
    refused("one int8 of down", linear, &|m| one(&mut m.layers[0].down.weight, 5));
    refused("one int8 of the head", linear, &|m| one(&mut m.head.as_mut().unwrap().weight, 5));
    refused("a multiplier", linear, &|m| m.layers[0].up.multiplier[7] += 1);
    refused("a bias of q", linear, &|m| m.layers[1].q.bias[3] += 1);
    refused("a bias of k", linear, &|m| m.layers[0].k.bias[3] += 1);
    refused("a bias of v", linear, &|m| m.layers[1].v.bias[3] += 1);
    let fed = m.model.embedding.cols * 20 + 9;
    refused("the embedding of a fed id", "the embedding's sum", &|m| one(&mut m.embedding.weight, fed));
    refused("a gain", "the last norm's gain", &|m| m.final_gain[3] += 1);
    refused("a cosine", "the rotation", &|m| m.tables.cos[1] += 1);
    refused("a sine", "the rotation", &|m| m.tables.sin[1] += 1);
    let gain = |norm: &mut Option<HeadNorm>| norm.as_mut().unwrap().gain[5] += 1;
    refused("a gain of query heads", "the gain of the heads' norm", &|m| gain(&mut m.layers[0].q_norm));
    refused("a gain of key heads", "the gain of the heads' norm", &|m| gain(&mut m.layers[1].k_norm));
    refused("an entry of EXP", LEAVES, &|m| m.tables.exp[0] -= 1);
    refused("an entry of WEIGHT", LEAVES, &|m| m.tables.weight[0] -= 1);
}
