//! Answers of an imported model at the edges of its statement, each traced and checked by all relations, without
//! commitments; with `--prove`, also proved and verified.
//!
//! ```text
//! cargo run -p monai-prover --example worst_cases -- MODEL.monai [--ids N] [--prove SETUP_CACHE]
//! ```
//!
//! Prints for each case what it reaches: the largest residual, row exponents above 0, logits that tie with the maximum, the
//! sizes of nuclei.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use monai_engine::{Engine, EngineConfig, Job};
use monai_inference::shape::Shape;
use monai_inference::tensor::Tensor;
use monai_inference::{Preimage, Public, RegisteredModel, verify};
use monai_model::artefact::Model;
use monai_protocol::types::Domain;
use monai_protocol::{
    Address, Amount, Assurance, Blinding, ChainId, Request, SelectionParams, output_commitment,
};
use monai_prover::commit::Srs;
use monai_prover::{
    ModelTensors, ProvingModel, Stages, Witness, check_relations, chunk_bits, commit_model, header,
    prove_witnesses, trace,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

struct Case {
    name: &'static str,
    prompt: Vec<u32>,
    params: SelectionParams,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: worst_cases MODEL.monai [--ids N] [--prove SETUP_CACHE]";
    let path = arguments.next().ok_or(usage)?;
    let (mut ids, mut setup): (usize, Option<PathBuf>) = (64, None);
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or(usage)?;
        match option.as_str() {
            "--ids" => ids = value.parse()?,
            "--prove" => setup = Some(value.into()),
            _ => return Err(usage.into()),
        }
    }
    let model = Arc::new(monai_model::file::load(Path::new(&path), None)?);
    let config = EngineConfig { prefix_reuse: false, ..EngineConfig::default() };
    let engine = Engine::new(model.clone(), config)?;
    let bits = chunk_bits(&model)?;
    let header = header(&model, bits)?;
    let tensors = ModelTensors::new(&model, &header)?;
    // Relations alone need no commitment: a setup of two points stands for it.
    let srs = match &setup {
        Some(path) => Srs::insecure_dev_cached(bits, b"worst cases", path)?,
        None => Srs::insecure_dev(bits.min(10), b"worst cases")?,
    };
    let registered = match &setup {
        Some(path) => {
            let cache = path.with_extension("worst-cases");
            let go = &mut |_, _| std::ops::ControlFlow::Continue(());
            let c = commit_model(&model, &tensors, &header, &srs, Some(&cache), go)?;
            Some(RegisteredModel::new(&c.digest(), &c, srs.key())?)
        }
        None => None,
    };
    for case in cases(&model, ids) {
        run(&case, &model, &engine, &header, &tensors, registered.as_ref(), &srs)?;
    }
    Ok(())
}

/// Ids by the norm of their embedding, largest first.
fn by_norm(model: &Model) -> Vec<u32> {
    let e = &model.embedding;
    let mut all: Vec<(i64, u32)> = (0..e.rows)
        .map(|n| {
            let m = i64::from(e.multiplier[n]);
            let sum: i64 = e.row(n).iter().map(|w| i64::from(*w) * i64::from(*w)).sum();
            (sum * m / 1024 * m, n as u32)
        })
        .collect();
    all.sort_unstable_by(|a, b| b.cmp(a));
    all.into_iter().map(|(_, id)| id).collect()
}

fn cases(model: &Model, ids: usize) -> Vec<Case> {
    let (half, tau) =
        (ids / 2, ((model.arch.tau_one + (1 << 31)) >> 32).clamp(1, model.arch.tau_max.into()) as u32);
    let norms = by_norm(model);
    let greedy = SelectionParams { tau, ..SelectionParams::greedy(half as u32) };
    let sampled = SelectionParams { tau, top_k: 0, top_p: 60_000, seed: 11, ..greedy.clone() };
    let spread: Vec<u32> = (0..half as u32).map(|i| 100 + 37 * i).collect();
    let case = |name, prompt: &[u32], params: &SelectionParams| Case {
        name,
        prompt: prompt.to_vec(),
        params: params.clone(),
    };
    vec![
        case("greedy", &spread, &greedy),
        case("largest embeddings, greedy", &norms[..half], &greedy),
        case("smallest embeddings", &norms[norms.len() - half..], &sampled),
        case(
            "one id throughout: the largest residual of a trained model is at its first position",
            &vec![norms[0]; half],
            &sampled,
        ),
        case(
            "first id alone: a prompt of one",
            &[1],
            &SelectionParams { max_tokens: ids as u32 - 1, ..sampled.clone() },
        ),
        case(
            "temperature so high that almost all logits tie",
            &spread,
            &SelectionParams { tau: 1, top_p: 65_536, ..sampled.clone() },
        ),
        case(
            "lowest temperature: logits farther than the table",
            &spread,
            &SelectionParams { tau: model.arch.tau_max, ..sampled.clone() },
        ),
        case("smallest nucleus", &spread, &SelectionParams { top_p: 1, ..sampled.clone() }),
        case(
            "nucleus one step from everything",
            &spread,
            &SelectionParams { top_p: 65_535, ..sampled.clone() },
        ),
        case(
            "all three limits",
            &spread,
            &SelectionParams { top_k: 40, delta_min_p: 9_000, ..sampled.clone() },
        ),
        case("two ranks", &spread, &SelectionParams { top_k: 2, top_p: 65_536, ..sampled }),
    ]
}

#[allow(clippy::too_many_arguments)]
fn run(
    case: &Case,
    model: &Model,
    engine: &Engine,
    header: &monai_inference::ModelHeader,
    tensors: &ModelTensors,
    registered: Option<&RegisteredModel>,
    srs: &Srs,
) -> Result<()> {
    let (output, finish) =
        engine.submit(Job::new(case.prompt.clone(), case.params.clone()))?.blocking_rest()?;
    let request = Request {
        domain: Domain { chain_id: ChainId(31_337), rollup: Address([0; 20]) },
        model: model.id,
        params: case.params.clone(),
        prompt: case.prompt.clone(),
        user: Address([1; 20]),
        nonce: 0,
        blinding: Blinding(1),
        expiry: 0,
        max_price: Amount(0),
        assurance: Assurance::Proved,
        by_preference: false,
    };
    let public = Public {
        request: request.commitment(),
        output: output_commitment(request.blinding, finish, &output),
        n_in: request.n_in(),
        n_out: output.len() as u32,
        finish,
    };
    let shape = Shape::new(header, case.prompt.len(), output.len())?;
    let w = trace(model, &shape, &request, &output)?;
    println!("{}: {} + {} ids, {finish:?}", case.name, case.prompt.len(), output.len());
    reach(&w, &shape, output.len());
    let preimage = Preimage { request, output };
    match registered {
        Some(registered) => {
            let proving = ProvingModel { model, tensors: tensors.clone(), registered: registered.clone() };
            check_relations(&proving, &public, &preimage, &w)?;
            let proof =
                prove_witnesses(&proving, srs, &[(public, preimage)], &[&w], &mut Stages::default(), &())?;
            verify(registered, &public, &proof)?;
            println!("  proved and verified, {} bytes", proof.to_bytes().len());
        }
        None => {
            monai_prover::check_relations_of(header, tensors, &public, &preimage, &w)?;
            println!("  every relation holds");
        }
    }
    Ok(())
}

/// Prints what a witness reaches.
fn reach(w: &Witness, shape: &Shape, outputs: usize) {
    let residual = w.raw.residual.iter().map(|v| v.unsigned_abs()).max().unwrap_or(0);
    let exponents = w.slice(Tensor::FfnExponent);
    let above = exponents.iter().filter(|x| **x > 0).count();
    let largest = exponents.iter().max().unwrap_or(&0);
    let rows = 1usize << shape.output_bits;
    let (lo, hi) = (w.slice(Tensor::LogitLo), w.slice(Tensor::LogitHi));
    let ties = |row: usize| {
        (0..shape.vocab).filter(move |v| {
            let at = (v / 64 * rows + row) * 64 + v % 64;
            lo[at] == 0 && hi[at] == 0
        })
    };
    let most_ties = (0..outputs).map(|row| ties(row).count()).max().unwrap_or(0);
    let kept = || w.rows.iter().map(|r| r.kept);
    println!(
        "  residual up to {residual}; {above} of {} rows with an exponent, up to {largest}; up to {most_ties} ids at the \
         maximum; {} to {} ids kept",
        exponents.len(),
        kept().min().unwrap_or(0),
        kept().max().unwrap_or(0)
    );
}
