//! The sections of a model, in the one order that the file has.

use std::borrow::Cow;

use super::header::{Kind, TEMPLATE, TOKENIZER};
use crate::artefact::{Arch, HeadNorm, Linear, Model};
use crate::semantics::TABLE_LEN;

/// Which parts of a model are there beyond what its architecture says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Presence {
    pub(super) q_bias: bool,
    pub(super) k_bias: bool,
    pub(super) v_bias: bool,
    pub(super) o_bias: bool,
}

/// Name, type, rows and columns of one section that a model must have.
pub(super) struct Expected {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) rows: usize,
    pub(super) cols: usize,
}

/// A matrix's rows and columns by its name inside a layer.
pub(super) fn layer_matrices(a: &Arch) -> [(&'static str, usize, usize); 7] {
    let (q, kv) = (a.heads * a.head_dim, a.kv_heads * a.head_dim);
    [
        ("q", q, a.hidden),
        ("k", kv, a.hidden),
        ("v", kv, a.hidden),
        ("o", a.hidden, q),
        ("gate", a.ffn, a.hidden),
        ("up", a.ffn, a.hidden),
        ("down", a.hidden, a.ffn),
    ]
}

/// All sections but the text, in order. `bias` tells for each layer which matrices have one.
pub(super) fn expected(a: &Arch, bias: impl Fn(usize) -> Presence) -> Vec<Expected> {
    let mut out = Vec::new();
    let mut push = |name: String, kind, rows, cols| out.push(Expected { name, kind, rows, cols });
    push("embedding.weight".into(), Kind::I8, a.vocab, a.hidden);
    push("embedding.multiplier".into(), Kind::I32, 1, a.vocab);
    if !a.tied_head {
        push("head.weight".into(), Kind::I8, a.vocab, a.hidden);
        push("head.multiplier".into(), Kind::I32, 1, a.vocab);
    }
    for l in 0..a.layers {
        let has = bias(l);
        for (m, rows, cols) in layer_matrices(a) {
            push(format!("layers.{l}.{m}.weight"), Kind::I8, rows, cols);
            push(format!("layers.{l}.{m}.multiplier"), Kind::I32, 1, rows);
            let biased = match m {
                "q" => has.q_bias,
                "k" => has.k_bias,
                "v" => has.v_bias,
                "o" => has.o_bias,
                _ => false,
            };
            if biased {
                push(format!("layers.{l}.{m}.bias"), Kind::I64, 1, rows);
            }
        }
        if a.qk_norm {
            push(format!("layers.{l}.q_norm.gain"), Kind::I32, 1, a.head_dim);
            push(format!("layers.{l}.k_norm.gain"), Kind::I32, 1, a.head_dim);
        }
    }
    if a.qk_norm {
        // The eps of q's and k's head norm, layer by layer.
        push("head_norm_eps".into(), Kind::I64, a.layers, 2);
    }
    push("score_multiplier".into(), Kind::I64, 1, a.layers);
    push("final_gain".into(), Kind::I32, 1, a.hidden);
    push("tables.exp".into(), Kind::U16, 1, TABLE_LEN);
    push("tables.silu".into(), Kind::I32, 1, TABLE_LEN);
    push("tables.weight".into(), Kind::U32, 1, TABLE_LEN);
    push("tables.cos".into(), Kind::I16, a.max_positions, a.head_dim / 2);
    push("tables.sin".into(), Kind::I16, a.max_positions, a.head_dim / 2);
    out
}

/// The bytes of every section of a model, text included, in the order of [`expected`].
/// All values are little-endian.
pub(super) fn contents<'a>(m: &'a Model) -> Vec<Section<'a>> {
    let a = &m.arch;
    let list = expected(a, |l| {
        let y = &m.layers[l];
        let has = |m: &Linear| !m.bias.is_empty();
        Presence { q_bias: has(&y.q), k_bias: has(&y.k), v_bias: has(&y.v), o_bias: has(&y.o) }
    });
    let mut out: Vec<_> =
        list.into_iter().map(|shape| Section { bytes: section(m, &shape.name), shape }).collect();
    let text = |name: &str, s: &'a str| Section {
        shape: Expected { name: name.into(), kind: Kind::Utf8, rows: 1, cols: s.len() },
        bytes: Cow::Borrowed(s.as_bytes()),
    };
    out.push(text(TOKENIZER, &m.text.tokenizer_json));
    if let Some(t) = &m.text.chat_template {
        out.push(text(TEMPLATE, t));
    }
    out
}

/// One section with its bytes.
pub(super) struct Section<'a> {
    pub(super) shape: Expected,
    pub(super) bytes: Cow<'a, [u8]>,
}

fn section<'a>(m: &'a Model, name: &str) -> Cow<'a, [u8]> {
    let mut parts = name.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("embedding"), Some(field), ..) => linear(&m.embedding, field),
        (Some("head"), Some(field), ..) => linear(m.head(), field),
        (Some("layers"), Some(l), Some(part), Some(field)) => {
            let l: usize = l.parse().unwrap_or(0);
            let y = &m.layers[l];
            match part {
                "q" => linear(&y.q, field),
                "k" => linear(&y.k, field),
                "v" => linear(&y.v, field),
                "o" => linear(&y.o, field),
                "gate" => linear(&y.gate, field),
                "up" => linear(&y.up, field),
                "down" => linear(&y.down, field),
                "q_norm" => gain(y.q_norm.as_ref()),
                _ => gain(y.k_norm.as_ref()),
            }
        }
        (Some("head_norm_eps"), ..) => {
            let eps = |n: &Option<HeadNorm>| n.as_ref().map_or(1, |n| n.eps as i64);
            let all: Vec<i64> = m.layers.iter().flat_map(|y| [eps(&y.q_norm), eps(&y.k_norm)]).collect();
            bytes(&all, i64::to_le_bytes)
        }
        (Some("score_multiplier"), ..) => {
            let all: Vec<i64> = m.layers.iter().map(|y| y.score_multiplier).collect();
            bytes(&all, i64::to_le_bytes)
        }
        (Some("final_gain"), ..) => bytes(&m.final_gain, i32::to_le_bytes),
        (Some("tables"), Some("exp"), ..) => bytes(&m.tables.exp, u16::to_le_bytes),
        (Some("tables"), Some("silu"), ..) => bytes(&m.tables.silu, i32::to_le_bytes),
        (Some("tables"), Some("weight"), ..) => bytes(&m.tables.weight, u32::to_le_bytes),
        (Some("tables"), Some("cos"), ..) => bytes(&m.tables.cos, i16::to_le_bytes),
        _ => bytes(&m.tables.sin, i16::to_le_bytes),
    }
}

fn linear<'a>(m: &'a Linear, field: &str) -> Cow<'a, [u8]> {
    match field {
        "weight" => Cow::Borrowed(bytemuck::cast_slice(&m.weight)),
        "multiplier" => bytes(&m.multiplier, i32::to_le_bytes),
        _ => bytes(&m.bias, i64::to_le_bytes),
    }
}

fn gain(norm: Option<&HeadNorm>) -> Cow<'_, [u8]> {
    bytes(norm.map_or(&[], |n| &n.gain), i32::to_le_bytes)
}

fn bytes<T: Copy, const N: usize>(values: &[T], encode: fn(T) -> [u8; N]) -> Cow<'static, [u8]> {
    values.iter().flat_map(|&v| encode(v)).collect::<Vec<u8>>().into()
}
