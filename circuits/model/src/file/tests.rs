//! Files that were changed, cut short, or made by somebody who wants a bound to be wrong.

use proptest::prelude::*;

use super::*;
use crate::artefact::{Int8s, Linear, Model};
use crate::bounds::BoundError;
use crate::error::ModelError;
use crate::testing::{TinyOptions, tiny};

fn small() -> Model {
    let options = TinyOptions {
        layers: 1,
        hidden: 64,
        ffn: 64,
        heads: 2,
        kv_heads: 1,
        max_positions: 16,
        ..TinyOptions::default()
    };
    tiny(&options).unwrap()
}

fn bytes(model: &Model) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    write(model, file.path()).unwrap();
    std::fs::read(file.path()).unwrap()
}

fn load_bytes(bytes: &[u8]) -> Result<Model, ModelError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    load(file.path(), None)
}

#[test]
fn every_truncation_and_every_tail_is_an_error() {
    let all = bytes(&small());
    for len in (0..all.len()).step_by(1009).chain([all.len() - 1]) {
        assert!(load_bytes(&all[..len]).is_err(), "{len} bytes");
    }
    let longer = [all.as_slice(), &[0]].concat();
    assert!(matches!(load_bytes(&longer), Err(ModelError::File(FileError::Length(_)))));
}

#[test]
fn the_name_is_not_part_of_the_identity() {
    let mut model = small();
    let before = identify(&mut model).unwrap();
    model.name = "another".into();
    assert_eq!(identify(&mut model).unwrap(), before);
    assert_eq!(load_bytes(&bytes(&model)).unwrap().name, "another");
    model.name = "x".repeat(MAX_NAME_BYTES + 1);
    assert!(write(&model, std::path::Path::new("/nowhere")).is_err());
}

#[test]
fn another_model_than_the_expected_is_refused() {
    let model = small();
    let file = tempfile::NamedTempFile::new().unwrap();
    write(&model, file.path()).unwrap();
    let other = crate::artefact::ModelId([7; 32]);
    let refused = load(file.path(), Some(&other)).unwrap_err();
    assert!(matches!(refused, ModelError::File(FileError::Digest { section, .. }) if section == "model"));
}

#[test]
fn sub_digests_change_with_their_parts_only() {
    let digests = |m: &Model| write::header(m).digests().unwrap();
    let model = small();
    let base = digests(&model);
    let mut template = model.clone();
    template.text.chat_template = Some("{{ messages }}".into());
    let d = digests(&template);
    assert_eq!((d.weights, d.tokenizer, d.architecture), (base.weights, base.tokenizer, base.architecture));
    assert!(d.template != base.template && d.model != base.model);
    let mut gain = model.clone();
    gain.final_gain[0] += 1;
    let d = digests(&gain);
    assert!(d.weights != base.weights && d.template == base.template && d.model != base.model);
    let mut arch = model;
    arch.arch.norm_eps += 1;
    let d = digests(&arch);
    assert!(d.architecture != base.architecture && d.weights == base.weights);
}

/// Writes a changed model, with digests that fit, and gives the reason why it is refused.
fn refused(change: impl FnOnce(&mut Model)) -> ModelError {
    let mut model = small();
    change(&mut model);
    load_bytes(&bytes(&model)).map(|_| ()).unwrap_err()
}

fn bound(change: impl FnOnce(&mut Model)) -> BoundError {
    match refused(change) {
        ModelError::Bound(b) => b,
        other => panic!("not a bound: {other}"),
    }
}

/// A row at the largest weights, so that its bound is as large as its multiplier allows.
fn loud(m: &mut Linear, row: usize) {
    let mut w = m.weight.to_vec();
    w[row * m.cols..(row + 1) * m.cols].fill(127);
    m.weight = Int8s::owned(w);
}

#[test]
fn each_bound_refuses_a_model_that_breaks_only_it() {
    let b = bound(|m| {
        loud(&mut m.layers[0].v, 5);
        m.layers[0].v.multiplier[5] = 1 << 20;
    });
    assert_eq!((b.what, b.layer, b.channel), ("v", Some(0), 5));
    assert!(b.bound > b.limit);
    let b = bound(|m| m.layers[0].q.multiplier[4] = 1 << 24);
    assert_eq!((b.what, b.channel), ("q", 4));
    let b = bound(|m| m.layers[0].k.multiplier[7] = 1 << 24);
    assert_eq!((b.what, b.channel), ("k", 6), "pairs are reported by their first channel");
    let b = bound(|m| m.layers[0].score_multiplier = 1 << 40);
    assert_eq!(b.what, "score product of query head");
    let b = bound(|m| m.layers[0].score_multiplier = 1 << 25);
    assert_eq!(b.what, "score of query head");
    let b = bound(|m| m.layers[0].o.multiplier[2] = i32::MAX);
    assert_eq!((b.what, b.channel), ("o", 2));
    let b = bound(|m| m.layers[0].gate.multiplier[63] = 1 << 20);
    assert_eq!((b.what, b.channel), ("gate", 63));
    let b = bound(|m| m.layers[0].up.multiplier[9] = i32::MAX);
    assert_eq!((b.what, b.channel), ("SiLU times up", 9));
    let b = bound(|m| m.layers[0].down.multiplier[11] = i32::MAX);
    assert_eq!((b.what, b.channel), ("down", 11));
    let b = bound(|m| m.tables.silu[40_000] = 1 << 23);
    assert_eq!(b.what, "SiLU table");
    let b = bound(|m| m.tables.cos[40] = i16::MAX);
    assert!(b.what == "q" || b.what == "k", "a table that is no rotation: {b}");
    let b = bound(|m| m.final_gain[1] = 65_537);
    assert_eq!((b.what, b.channel), ("final gain", 1));
    let b = bound(|m| m.arch.tau_max += 1);
    assert_eq!(b.what, "tau_max");
    let b = bound(|m| m.layers[0].up.acc32 = false);
    assert_eq!(b.what, "acc32 flag of up");
}

#[test]
fn values_out_of_range_are_refused() {
    let says = |change: fn(&mut Model), word: &str| {
        let text = refused(change).to_string();
        assert!(text.contains(word), "{text}");
    };
    says(|m| m.layers[0].v.multiplier[0] = 0, "below 1");
    says(|m| m.layers[0].score_multiplier = 0, "below 1");
    says(|m| m.tables.exp[7] ^= 1, "not the frozen one");
    says(|m| m.tables.weight[7] ^= 1, "not the frozen one");
    says(|m| m.arch.norm_eps = 0, "constant");
    says(|m| m.arch.residual_bits = 40, "constant");
    says(|m| m.text.eos_ids.clear(), "end ids is 0");
    says(|m| m.text.eos_ids = vec![1 << 30], "end or begin id");
    says(|m| m.arch.heads = 3, "section");
    says(|m| m.name = "a\nb".into(), "control");
    says(
        |m| {
            let mut w = m.layers[0].o.weight.to_vec();
            w[3] = -128;
            m.layers[0].o.weight = Int8s::owned(w);
        },
        "-128",
    );
}

#[test]
fn a_store_keeps_models_by_identity_and_replaces_broken_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut model = small();
    let id = store.add(&mut model).unwrap();
    assert_eq!(store.list().unwrap(), [Stored { id, path: store.path(&id) }]);
    assert_eq!(store.load(&id).unwrap().id, id);
    std::fs::write(store.path(&id), b"cut short").unwrap();
    assert!(store.load(&id).is_err());
    assert_eq!(store.list().unwrap(), []);
    assert_eq!(store.add(&mut model).unwrap(), id);
    assert!(store.load(&id).is_ok());
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 1, "no temporary file is left: {names:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_changed_byte_is_noticed(seed in any::<u64>(), bit in 0u8..8, in_header: bool) {
        let model = small();
        let mut all = bytes(&model);
        let end = all.len() - model.name.len() - 2;
        let at = (seed % if in_header { 4096 } else { end as u64 }) as usize;
        all[at] ^= 1 << bit;
        match load_bytes(&all) {
            // Sizes of text sections and the like may give another valid header: then it is another model.
            Ok(other) => prop_assert_ne!(other.id, model.id, "byte {}", at),
            Err(e) => {
                let typed = !matches!(e, ModelError::Io { .. });
                prop_assert!(typed, "{}", e);
            }
        }
    }
}
