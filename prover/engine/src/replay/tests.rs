//! Re-execution, traces and losses against the reference.

use monai_model::artefact::PairOrder;
use monai_model::reference::{linear_raw, normalise};
use monai_model::semantics as s;

use super::*;
use crate::testing::{Variant, ids, model, reference_answer, sampled, variants};

fn replay(model: &Arc<Model>) -> Replay {
    Replay::new(Program::new(Arc::clone(model), None).unwrap(), 2).unwrap()
}

#[test]
fn true_answers_are_confirmed_and_any_other_id_is_named() {
    let model = model(&Variant::default(), 8);
    let mut replay = replay(&model);
    for params in
        [SelectionParams::greedy(25), sampled(25, 9), SelectionParams { top_k: 5, ..sampled(25, 1) }]
    {
        let prompt = ids(&model, 2, 70);
        let (output, finish) = reference_answer(&model, &prompt, &params);
        assert_eq!(replay.reexecute(&prompt, &params, &output, Some(finish)), Ok(()));
        assert_eq!(reexecute(&model, 1, &prompt, &params, &output, Some(finish)), Ok(()));
        for i in 0..output.len() {
            let mut wrong = output.clone();
            wrong[i] = if wrong[i] == 3 { 4 } else { 3 };
            let mismatch = Mismatch::Id { position: 70 + i, expected: output[i], came: wrong[i] };
            assert_eq!(replay.reexecute(&prompt, &params, &wrong, Some(finish)), Err(mismatch.into()));
        }
        // Another prompt has another answer.
        let mut other = prompt.clone();
        other[69] = if other[69] == 3 { 4 } else { 3 };
        assert!(replay.reexecute(&other, &params, &output, None).is_err());
    }
}

#[test]
fn the_stop_rule_is_checked() {
    let model = model(&Variant::default(), 8);
    let mut replay = replay(&model);
    let (prompt, params) = (ids(&model, 2, 20), sampled(25, 9));
    let (output, _) = reference_answer(&model, &prompt, &params);
    assert!(output.len() > 6);
    let part = &output[..6];
    let finish = |expected, came| Err(ReexecutionError::Mismatch(Mismatch::Finish { expected, came }));
    assert_eq!(replay.reexecute(&prompt, &params, part, None), Ok(()));
    assert_eq!(replay.reexecute(&prompt, &params, part, Some(Finish::Cancelled)), Ok(()));
    assert_eq!(replay.reexecute(&prompt, &params, part, Some(Finish::Stop)), finish("unfinished", "stop"));
    assert_eq!(
        replay.reexecute(&prompt, &params, part, Some(Finish::Length)),
        finish("unfinished", "length")
    );
    let short = SelectionParams { max_tokens: 6, ..params.clone() };
    assert_eq!(replay.reexecute(&prompt, &short, part, Some(Finish::Length)), Ok(()));
    assert_eq!(
        replay.reexecute(&prompt, &short, part, Some(Finish::Cancelled)),
        finish("length", "cancelled")
    );
    let past = |position| Err(ReexecutionError::Mismatch(Mismatch::PastEnd { position }));
    assert_eq!(replay.reexecute(&prompt, &short, &output[..7], None), past(26));
    let at = part.iter().position(|&id| id == part[3]).unwrap();
    let stopping = SelectionParams { stop_ids: vec![part[3]], ..params.clone() };
    assert_eq!(replay.reexecute(&prompt, &stopping, &part[..=at], Some(Finish::Stop)), Ok(()));
    assert_eq!(replay.reexecute(&prompt, &stopping, &part[..at + 2], None), past(20 + at + 1));
    // Nothing at all is an answer only if it was cancelled.
    assert_eq!(replay.reexecute(&prompt, &params, &[], Some(Finish::Cancelled)), Ok(()));
    assert!(replay.reexecute(&prompt, &params, &[], Some(Finish::Length)).is_err());
    assert_eq!(
        replay.reexecute(&[], &params, part, None),
        Err(ReexecutionError::Engine(EngineError::EmptyPrompt))
    );
    assert!(matches!(
        replay.reexecute(&prompt, &params, &[u32::MAX], None),
        Err(ReexecutionError::Engine(EngineError::UnknownId { .. }))
    ));
}

/// Rules 2 to 6 for one position and layer, straight from `SEMANTICS.md`, against the tensors of a trace.
fn check_layer(model: &Model, trace: &Trace, l: usize, p: usize, h: &mut [i64]) {
    let (a, layer, t) = (&model.arch, &model.layers[l], &trace.layers[l]);
    let (d, e, f) = (a.hidden, a.head_dim, a.ffn);
    let wide = |v: &[i16]| v.iter().map(|&v| i64::from(v)).collect::<Vec<_>>();
    let inverse = |h: &[i64]| s::norm_inverse(h.iter().map(|&v| (v * v) as u128).sum(), a.norm_eps);
    assert_eq!(t.attention_inv[p], inverse(h));
    let x = normalise(h, a.norm_eps);
    assert_eq!(wide(&t.attention_y[p * d..][..d]), x);
    let rotated = |m, norm: Option<&monai_model::artefact::HeadNorm>| {
        let mut raw = linear_raw(m, &x);
        for head in raw.chunks_exact_mut(e) {
            if let Some(norm) = norm {
                let y = normalise(&head.iter().map(|&v| s::r16(v)).collect::<Vec<_>>(), norm.eps);
                head.iter_mut().zip(y).zip(&norm.gain).for_each(|((v, y), &g)| *v = i64::from(g) * y);
            }
            for i in 0..e / 2 {
                let (b, c) = match a.pair_order {
                    PairOrder::Interleaved => (2 * i, 2 * i + 1),
                    PairOrder::Half => (i, i + e / 2),
                };
                let at = p * e / 2 + i;
                (head[b], head[c]) =
                    s::rope_pair(head[b], head[c], model.tables.cos[at], model.tables.sin[at]);
            }
        }
        raw
    };
    let (q, kv) = (a.heads * e, a.kv_heads * e);
    let queries = rotated(&layer.q, layer.q_norm.as_ref());
    assert_eq!(wide(&t.q[p * q..][..q]), queries);
    assert_eq!(wide(&t.k[p * kv..][..kv]), rotated(&layer.k, layer.k_norm.as_ref()));
    let values: Vec<i64> = linear_raw(&layer.v, &x).into_iter().map(s::r16).collect();
    assert_eq!(wide(&t.v[p * kv..][..kv]), values);
    let mut out = Vec::new();
    for head in 0..a.heads {
        let group = head / (a.heads / a.kv_heads) * e;
        let row = trace.triangle(head, p)..trace.triangle(head, p) + p + 1;
        let scores: Vec<i64> = (0..=p)
            .map(|j| {
                let key = &t.k[j * kv + group..][..e];
                let dot = queries[head * e..][..e].iter().zip(key).map(|(&q, &k)| q * i64::from(k)).sum();
                s::score(layer.score_multiplier, dot)
            })
            .collect();
        assert_eq!(t.scores[row.clone()], scores);
        let max = *scores.iter().max().unwrap();
        let weights: Vec<u64> =
            scores.iter().map(|v| s::softmax_weight(&model.tables.exp, max - v)).collect();
        assert!(t.e[row].iter().map(|&e| u64::from(e)).eq(weights.iter().copied()));
        let z = weights.iter().sum();
        let at = head * trace.ids.len() + p;
        assert_eq!((t.max[at], t.z[at], t.softmax_inv[at]), (max, z, s::softmax_inverse(z)));
        out.extend((0..e).map(|c| {
            let sum = (0..=p).map(|j| weights[j] as i64 * i64::from(t.v[j * kv + group + c])).sum();
            s::softmax_apply(sum, s::softmax_inverse(z))
        }));
    }
    assert_eq!(wide(&t.o[p * q..][..q]), out);
    let added: Vec<i64> = linear_raw(&layer.o, &out).into_iter().map(s::r16).collect();
    assert_eq!(t.attention_out[p * d..][..d], added);
    h.iter_mut().zip(added).for_each(|(h, v)| *h += v);
    assert_eq!(t.ffn_inv[p], inverse(h));
    let x = normalise(h, a.norm_eps);
    assert_eq!(wide(&t.ffn_y[p * d..][..d]), x);
    let gate: Vec<i64> = linear_raw(&layer.gate, &x).into_iter().map(s::r16).collect();
    let up = linear_raw(&layer.up, &x);
    assert_eq!(wide(&t.g[p * f..][..f]), gate);
    assert_eq!(t.up[p * f..][..f], up);
    let silu = |g: i64| i64::from(model.tables.silu[(g + (1 << 15)) as usize]);
    let products: Vec<i64> = gate.iter().zip(&up).map(|(&g, &u)| silu(g) * u).collect();
    assert_eq!(t.p[p * f..][..f], products);
    let x = s::row_exponent(*products.iter().min().unwrap(), *products.iter().max().unwrap()).unwrap();
    assert_eq!(t.exponent[p], x);
    let row: Vec<i64> = products.iter().map(|&v| s::gated(v, x)).collect();
    assert_eq!(wide(&t.t[p * f..][..f]), row);
    let added: Vec<i64> = linear_raw(&layer.down, &row).into_iter().map(|a| s::r32(a << x)).collect();
    assert_eq!(t.ffn_out[p * d..][..d], added);
    h.iter_mut().zip(added).for_each(|(h, v)| *h += v);
}

#[test]
fn every_tensor_of_a_trace_follows_the_rules() {
    for v in variants() {
        let model = model(&v, 4);
        let (prompt, params) = (ids(&model, 6, 130), sampled(12, 3));
        let (output, _) = reference_answer(&model, &prompt, &params);
        let trace = replay(&model).trace(&prompt, &params, &output).unwrap();
        let all = joined(&prompt, &output);
        assert_eq!(trace.ids, all);
        assert!(
            trace.layers.iter().any(|l| l.exponent.iter().any(|&x| x > 0)),
            "exponents are exercised: {v:?}"
        );
        for (p, &id) in all.iter().enumerate() {
            let e = &model.embedding;
            let m = i64::from(e.multiplier[id as usize]);
            let mut h: Vec<i64> = e.row(id as usize).iter().map(|&w| s::r16(m * i64::from(w))).collect();
            for l in 0..model.layers.len() {
                check_layer(&model, &trace, l, p, &mut h);
            }
            let Some(last) = (p + 1).checked_sub(prompt.len()).map(|i| &trace.finals[i]) else { continue };
            assert_eq!(last.position, p);
            let y = normalise(&h, model.arch.norm_eps);
            assert!(last.y.iter().map(|&v| i64::from(v)).eq(y.iter().copied()));
            let z: Vec<i64> =
                y.iter().zip(&model.final_gain).map(|(&y, &g)| s::r16(y * i64::from(g))).collect();
            assert!(last.z.iter().map(|&v| i64::from(v)).eq(z.iter().copied()));
            assert_eq!(last.logits, linear_raw(model.head(), &z));
            if let Some(&id) = output.get(p + 1 - prompt.len()) {
                assert_eq!(last.selected, id);
            }
        }
        assert_eq!(trace.finals.len(), output.len() + 1);
    }
}

#[test]
fn loss_is_the_mean_over_all_ids_but_the_first() {
    let model = model(&Variant::default(), 8);
    let ids = ids(&model, 1, 30);
    let all = crate::testing::reference_logits(&model, &ids);
    let scale = f64::from(crate::testing::TAU) / 2f64.powi(32 + 12);
    let total: f64 = (0..29)
        .map(|p| {
            let real: Vec<f64> = all[p].iter().map(|&a| a as f64 * scale).collect();
            real.iter().map(|v| v.exp()).sum::<f64>().ln() - real[ids[p + 1] as usize]
        })
        .sum();
    let came = replay(&model).nll(&ids).unwrap();
    assert_eq!(came.tokens, 29);
    assert!(total / 29.0 > 1.0, "a loss that says something");
    assert!((came.nll - total / 29.0).abs() < 1e-9, "{} {}", came.nll, total / 29.0);
    assert_eq!(replay(&model).nll(&ids[..1]).unwrap(), Nll { nll: 0.0, tokens: 0 });
}
