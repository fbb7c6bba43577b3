//! The importer, the file and the bounds on tiny models of every shape.

use super::*;
use crate::bounds;
use crate::file::{load, write};
use crate::reference::Reference;

fn shapes() -> Vec<TinyOptions> {
    let base = TinyOptions::default();
    vec![
        base.clone(),
        TinyOptions { pair_order: PairOrder::Half, qkv_bias: true, ..base.clone() },
        TinyOptions {
            pair_order: PairOrder::Half,
            qk_norm: true,
            head_dim: 64,
            tied_head: false,
            ..base.clone()
        },
        TinyOptions { head_dim: 128, heads: 2, kv_heads: 1, ..base.clone() },
        TinyOptions { qk_norm: true, qkv_bias: true, heads: 3, kv_heads: 3, ..base },
    ]
}

#[test]
fn every_shape_imports_runs_and_survives_the_file() {
    let dir = tempfile::tempdir().unwrap();
    for options in shapes() {
        let model = tiny(&options).unwrap();
        let path = dir.path().join("m");
        assert_eq!(write(&model, &path).unwrap(), model.id);
        let loaded = load(&path, Some(&model.id)).unwrap();
        assert_eq!(bounds::check(&loaded), bounds::check(&model));
        assert_eq!((loaded.id, &loaded.arch, &loaded.text), (model.id, &model.arch, &model.text));
        let (mut a, mut b) = (Reference::new(&model), Reference::new(&loaded));
        for id in [5u32, 77, 300, 2, 5] {
            let h = a.advance(id);
            assert_eq!(h, b.advance(id));
            assert_eq!(a.logits(&h), b.logits(&h));
        }
    }
}

#[test]
fn import_is_a_function_of_the_source() {
    for options in shapes() {
        assert_eq!(tiny(&options).unwrap().id, tiny(&options).unwrap().id);
    }
    let other = TinyOptions { seed: 2, ..TinyOptions::default() };
    assert_ne!(tiny(&other).unwrap().id, tiny(&TinyOptions::default()).unwrap().id);
}

/// The integer program follows the floating-point model: logits agree to within the quantisation.
#[test]
fn the_integer_logits_are_near_those_in_floating_point() {
    for options in shapes() {
        let source = TinySource::new(&options).unwrap();
        let model = tiny(&options).unwrap();
        let ids = [3u32, 100, 7, 264, 31, 31, 90];
        let float = float_logits(&source, &ids);
        let mut r = Reference::new(&model);
        let h = ids.iter().fold(Vec::new(), |_, &id| r.advance(id));
        let unit = model.arch.tau_one as f64 / 2f64.powi(76);
        let spread = float.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        for (n, (&a, f)) in r.logits(&h).iter().zip(&float).enumerate() {
            let error = (a as f64 * unit - f).abs();
            assert!(error < 0.05 * spread, "id {n}: {} against {f} ({options:?})", a as f64 * unit);
        }
    }
}

/// A plain floating-point forward pass, written from the definition of the architecture.
fn float_logits(source: &TinySource, ids: &[u32]) -> Vec<f64> {
    let a = source.arch();
    let get = |p: Part| -> Vec<f64> { source.values(p).unwrap().into_iter().map(f64::from).collect() };
    let mul = |w: &[f64], x: &[f64]| -> Vec<f64> {
        w.chunks(x.len()).map(|r| r.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
    };
    let norm = |x: &[f64], g: &[f64]| -> Vec<f64> {
        let r = (x.iter().map(|v| v * v).sum::<f64>() / x.len() as f64 + a.norm_eps).sqrt();
        x.iter().zip(g).map(|(v, g)| v / r * g).collect()
    };
    let e = a.head_dim;
    let prepare = |w: Part, b: Part, n: Option<Part>, x: &[f64], position: usize| -> Vec<f64> {
        let mut y = mul(&get(w), x);
        if a.qkv_bias {
            y.iter_mut().zip(get(b)).for_each(|(y, b)| *y += b);
        }
        if let (true, Some(n)) = (a.qk_norm, n) {
            let g = get(n);
            y = y.chunks(e).flat_map(|h| norm(h, &g)).collect();
        }
        if n.is_some() {
            for head in y.chunks_mut(e) {
                for (i, f) in a.rope_frequencies.iter().enumerate() {
                    let (p, q) = a.pair_order.channels(i, e);
                    let (s, c) = (position as f64 * f).sin_cos();
                    (head[p], head[q]) = (head[p] * c - head[q] * s, head[p] * s + head[q] * c);
                }
            }
        }
        y
    };
    let table = get(Part::Embedding);
    let mut rows: Vec<Vec<f64>> =
        ids.iter().map(|&id| table[id as usize * a.hidden..][..a.hidden].to_vec()).collect();
    for l in 0..a.layers {
        let (mut q, mut k, mut v) = (Vec::new(), Vec::new(), Vec::new());
        for (p, h) in rows.iter().enumerate() {
            let x = norm(h, &get(Part::AttnNorm(l)));
            q.push(prepare(Part::Q(l), Part::QBias(l), Some(Part::QNorm(l)), &x, p));
            k.push(prepare(Part::K(l), Part::KBias(l), Some(Part::KNorm(l)), &x, p));
            v.push(prepare(Part::V(l), Part::VBias(l), None, &x, p));
        }
        for (p, h) in rows.iter_mut().enumerate() {
            let mut out = Vec::new();
            for head in 0..a.heads {
                let g = head / (a.heads / a.kv_heads) * e;
                let query = &q[p][head * e..][..e];
                let w: Vec<f64> = (0..=p)
                    .map(|j| {
                        query.iter().zip(&k[j][g..]).map(|(a, b)| a * b).sum::<f64>() / (e as f64).sqrt()
                    })
                    .map(f64::exp)
                    .collect();
                let z: f64 = w.iter().sum();
                out.extend((0..e).map(|c| (0..=p).map(|j| w[j] * v[j][g + c]).sum::<f64>() / z));
            }
            h.iter_mut().zip(mul(&get(Part::O(l)), &out)).for_each(|(h, o)| *h += o);
            let x = norm(h, &get(Part::FfnNorm(l)));
            let gate = mul(&get(Part::Gate(l)), &x);
            let up = mul(&get(Part::Up(l)), &x);
            let t: Vec<f64> = gate.iter().zip(&up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
            h.iter_mut().zip(mul(&get(Part::Down(l)), &t)).for_each(|(h, o)| *h += o);
        }
    }
    let x = norm(&rows[ids.len() - 1], &get(Part::FinalNorm));
    mul(&get(if a.tied_head { Part::Embedding } else { Part::Head }), &x)
}

/// Whatever changes these identities changes what is committed on chain: a new format version, not a new pin.
#[test]
fn the_identities_of_tiny_models_are_pinned() {
    let got: Vec<String> = shapes().iter().map(|o| hex::encode(tiny(o).unwrap().id.0)).collect();
    let pinned = [
        "f04819cfd6426a44ffc24401d7577ea33fdf889b363f825b80d1af00abc14fdb",
        "84351ef07fe8868c8d01aa9886d8770c2394ada8d0b57f2cad8795dc300ca729",
        "431ac5653dd9e905a0142dabb8d11512e5a50f9e39cd17773c3eb64a2a96cbf0",
        "f10fd88cee2b840cb88db2c03718044eb1316f612d985e0a58d1b52078992878",
        "a5d2f47f336651e04b0082d081aca1c515841852b7773e2b7499af98db0ca890",
    ];
    assert_eq!(got, pinned);
}
