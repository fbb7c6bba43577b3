//! What M binds: an artefact, a setup or a list that differs from the registered one is refused, by name.
#![allow(clippy::unwrap_used)]

mod common;

use std::ops::ControlFlow;

use common::*;
use monai_inference::commitment::ModelCommitment;
use monai_inference::{ModelDigest, RegisteredModel, RegistrationError};
use monai_model::artefact::{Int8s, Model};
use monai_model::file::identify;
use monai_model::testing::{TinyOptions, tiny};
use monai_prover::commit::Srs;
use monai_prover::{
    ModelTensors, ProveError, RegistrationCheckError as Check, check_registration, commit_model, header,
};

fn registered() -> (&'static ModelCommitment, ModelDigest, &'static Model) {
    let m = shared();
    (m.registered.commitment(), *m.registered.digest(), m.model)
}

fn check(m: &ModelDigest, c: &ModelCommitment, model: &Model, srs: &Srs) -> Result<(), Check> {
    check_registration(m, c, model, srs, &mut |_, _| ControlFlow::Continue(()))
}

/// The tiny model with a change, under its new identity.
fn changed(change: impl FnOnce(&mut Model)) -> Model {
    let mut model = tiny(&TinyOptions::default()).unwrap();
    change(&mut model);
    identify(&mut model).unwrap();
    model
}

#[test]
fn the_registered_artefact_passes() {
    let (c, m, model) = registered();
    check(&m, c, model, srs()).unwrap();
    let again = ModelCommitment::from_bytes(&c.to_bytes()).unwrap();
    assert_eq!((&again, again.digest()), (c, m));
    assert_eq!(m.to_string().parse::<ModelDigest>().unwrap(), m);
    RegisteredModel::from_bytes(&m, &c.to_bytes(), srs().key()).unwrap();
}

#[test]
fn an_artefact_that_differs_is_refused_by_name() {
    let (c, m, _) = registered();
    let flip = |weight: &mut Int8s, at: usize| {
        let mut values = weight.to_vec();
        values[at] ^= 1;
        *weight = Int8s::owned(values);
    };
    let identity = |model: &Model| {
        assert!(matches!(check(&m, c, model, srs()), Err(Check::Differs("model identity"))));
    };
    identity(&changed(|m| flip(&mut m.layers[1].up.weight, 77)));
    identity(&changed(|m| m.tables.silu[40_000] += 1));
    identity(&changed(|m| m.tables.cos[3] ^= 1));
    identity(&changed(|m| m.text.chat_template = Some("{{ messages }}!".into())));
    identity(&changed(|m| m.text.tokenizer_json.push(' ')));
    identity(&changed(|m| m.text.eos_ids.push(7)));
    identity(&changed(|m| m.final_gain[0] ^= 1));
    // Content under the registered identity.
    let mut stale = changed(|m| flip(&mut m.layers[1].up.weight, 77));
    stale.id = c.model;
    assert!(matches!(check(&m, c, &stale, srs()), Err(Check::Content)));
}

/// Who registers a commitment of its own making, under its own M, is caught by whoever recomputes it.
#[test]
fn a_false_registration_is_found_by_recomputing() {
    let (c, _, model) = registered();
    let refused = |change: &dyn Fn(&mut ModelCommitment)| {
        let mut other = c.clone();
        change(&mut other);
        check(&other.digest(), &other, model, srs()).unwrap_err()
    };
    let part = |name: &str, change: &dyn Fn(&mut ModelCommitment)| {
        let error = refused(change);
        assert!(matches!(error, Check::Differs(part) if part == name), "{name}: {error}");
    };
    part("model identity", &|c| c.model.0[0] ^= 1);
    part("architecture digest", &|c| c.architecture[9] ^= 1);
    part("tokenizer digest", &|c| c.tokenizer[9] ^= 1);
    part("template digest", &|c| c.template[9] ^= 1);
    part("architecture", &|c| c.constants.arch.norm_eps += 1);
    part("architecture", &|c| c.constants.arch.tau_max += 1);
    part("score multipliers", &|c| c.constants.score_multipliers[1] += 1);
    part("end ids", &|c| c.constants.eos_ids.push(250));
    let last = c.chunks.len() - 1;
    assert!(last > 0);
    for i in 0..=last {
        assert!(matches!(
            refused(&|c| c.chunks[i] = c.chunks[(i + 1) % c.chunks.len()]),
            Check::Chunk { chunk } if chunk == i
        ));
    }
    assert!(matches!(refused(&|c| c.chunks.swap(0, last)), Check::Chunk { chunk: 0 }));
    let registration = |change: &dyn Fn(&mut ModelCommitment)| match refused(change) {
        Check::Registration(e) => e,
        other => panic!("{other}"),
    };
    assert!(matches!(registration(&|c| c.chunks.truncate(last)), RegistrationError::Chunks { .. }));
    assert!(matches!(registration(&|c| c.chunk_bits -= 1), RegistrationError::Chunks { .. }));
    assert!(matches!(registration(&|c| c.chunk_bits += 1), RegistrationError::ChunkBits { .. }));
    assert!(matches!(registration(&|c| c.constants.biased |= 0x80), RegistrationError::Biased(_)));
    assert!(matches!(registration(&|c| c.setup[0] ^= 1), RegistrationError::Setup));
    assert!(matches!(registration(&|c| c.constants.arch.qk_norm = true), RegistrationError::Shape(_)));
    // A bias where the artefact has none takes room in the layout.
    let error = refused(&|c| c.constants.biased |= 1);
    assert!(
        matches!(error, Check::Registration(RegistrationError::Chunks { .. }) | Check::Differs(_)),
        "{error}"
    );
}

#[test]
fn the_eps_of_head_norms_is_registered() {
    let o = TinyOptions { qk_norm: true, layers: 1, hidden: 64, ffn: 64, ..TinyOptions::default() };
    let m = proving(model(&o));
    let c = m.registered.commitment();
    check(&c.digest(), c, m.model, srs()).unwrap();
    assert_eq!(&ModelCommitment::from_bytes(&c.to_bytes()).unwrap(), c);
    let mut other = c.clone();
    other.constants.head_norm_eps[1] += 1;
    assert_ne!(other.digest(), c.digest());
    let error = check(&other.digest(), &other, m.model, srs()).unwrap_err();
    assert!(matches!(error, Check::Differs("eps of head norms")), "{error}");
    other.constants.head_norm_eps.pop();
    let error = check(&other.digest(), &other, m.model, srs()).unwrap_err();
    assert!(matches!(error, Check::Registration(RegistrationError::Shape(_))), "{error}");
}

#[test]
fn tables_and_bounds_are_checked_even_where_everything_else_agrees() {
    let register = |model: &Model| {
        let header = header(model, CHUNK_BITS).unwrap();
        let tensors = ModelTensors::new(model, &header).unwrap();
        tensors.commit(model, &header, srs()).unwrap().commitment().clone()
    };
    let error = |model: &Model| {
        let c = register(model);
        check(&c.digest(), &c, model, srs()).unwrap_err()
    };
    // A second entry as large as the first: a softmax maximum would no longer be pinned.
    assert!(matches!(error(&changed(|m| m.tables.exp[1] = 65_535)), Check::Table("EXP")));
    assert!(matches!(error(&changed(|m| m.tables.weight[1] = (1 << 31) - 1)), Check::Table("WEIGHT")));
    assert!(matches!(error(&changed(|m| m.tables.silu[1] = 1 << 24)), Check::Bound(_)));
    assert!(matches!(error(&changed(|m| m.layers[0].v.multiplier[3] = 1 << 30)), Check::Bound(_)));
    assert!(matches!(error(&changed(|m| m.arch.tau_max += 1)), Check::Bound(_)));
}

#[test]
fn another_setup_is_refused() {
    let (c, m, model) = registered();
    let other = Srs::insecure_dev(CHUNK_BITS, b"another secret").unwrap();
    assert_eq!(RegisteredModel::new(&m, c, other.key()), Err(RegistrationError::Setup));
    let error = check(&m, c, model, &other).unwrap_err();
    assert!(matches!(error, Check::Registration(RegistrationError::Setup)));
}

#[test]
fn committing_resumes_and_stops() {
    let (c, m, model) = registered();
    let header = header(model, CHUNK_BITS).unwrap();
    let tensors = ModelTensors::new(model, &header).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("chunks");
    let mut made = Vec::new();
    let run = |most: usize, made: &mut Vec<usize>| {
        commit_model(model, &tensors, &header, srs(), Some(&cache), &mut |done, all| {
            if done < all && made.len() == most {
                return ControlFlow::Break(());
            }
            made.push(done);
            ControlFlow::Continue(())
        })
    };
    let stopped = run(2, &mut made);
    assert!(matches!(stopped, Err(ProveError::Cancelled(_))));
    assert_eq!(made, [0, 1]);
    made.clear();
    let whole = run(usize::MAX, &mut made).unwrap();
    assert_eq!(made, (2..=c.chunks.len()).collect::<Vec<_>>());
    assert_eq!((&whole, whole.digest()), (c, m));
    let stopped = check_registration(&m, c, model, srs(), &mut |done, _| {
        if done == 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(stopped, Err(Check::Stopped)));
}
