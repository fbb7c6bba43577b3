//! Proves sampled answers of an imported model, all in one proof, and prints what each stage costs.
//!
//! ```text
//! cargo run -p monai-prover --example prove_answer -- MODEL SETUP_CACHE PROMPT_IDS OUTPUT_IDS [CHUNK_BITS [PROOF_FILE|- [ANSWERS]]]
//! ```
//!
//! MODEL is an artefact's file, or `tiny` for the tests' model. The prompt is the first ids of the vocabulary; each answer
//! has its own seed. The setup is an INSECURE development one, cached in SETUP_CACHE; the model's commitment is cached beside
//! it. Ends with the memory that was expected beside what was measured.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use monai_inference::shape::Shape;
use monai_inference::{Preimage, ProofFile, Public, RegisteredModel, verify_many};
use monai_model::artefact::Model;
use monai_model::reference::Reference;
use monai_model::select::select;
use monai_protocol::types::Domain;
use monai_protocol::{
    Address, Amount, Assurance, Blinding, ChainId, Finish, Request, SelectionParams, output_commitment,
};
use monai_prover::commit::Srs;
use monai_prover::{Answer, MemoryEstimate, ModelTensors, ProvingModel, commit_model, header, prove_many};

fn peak_gib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / f64::from(1 << 20)
}

/// What the model answers to a prompt of `n_in` ids, of at most `n_out`.
fn answer(model: &Model, n_in: u32, n_out: usize, seed: u64) -> Result<Answer, Box<dyn std::error::Error>> {
    let mut params = SelectionParams::greedy(n_out as u32);
    params.tau = ((model.arch.tau_one + (1 << 31)) >> 32) as u32;
    (params.top_k, params.top_p, params.seed) = (0, 60_000, seed);
    let ids = model.arch.vocab.min(1 << 20) as u32;
    let request = Request {
        domain: Domain { chain_id: ChainId(31337), rollup: Address([0; 20]) },
        model: model.id,
        params,
        prompt: (0..n_in).map(|i| (100 + 37 * i) % ids).collect(),
        user: Address([1; 20]),
        nonce: seed,
        blinding: Blinding(1),
        expiry: 0,
        max_price: Amount(0),
        assurance: Assurance::Proved,
        by_preference: false,
    };
    let mut reference = Reference::new(model);
    let mut residual = Vec::new();
    for id in &request.prompt {
        residual = reference.advance(*id);
    }
    let mut output = Vec::new();
    let finish = loop {
        let position = (request.prompt.len() + output.len()) as u64;
        let word = request.params.word(position);
        let id = select(&reference.logits(&residual), &request.params, &model.tables.weight, word)
            .ok_or("empty vocabulary")?;
        output.push(id);
        if model.text.eos_ids.contains(&id) {
            break Finish::Stop;
        }
        if output.len() == n_out {
            break Finish::Length;
        }
        residual = reference.advance(id);
    };
    let public = Public {
        request: request.commitment(),
        output: output_commitment(request.blinding, finish, &output),
        n_in,
        n_out: output.len() as u32,
        finish,
    };
    Ok((public, Preimage { request, output }))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, path, cache, n_in, n_out, rest @ ..] = args.as_slice() else {
        return Err(
            "usage: prove_answer MODEL SETUP_CACHE PROMPT_IDS OUTPUT_IDS [CHUNK_BITS [PROOF_FILE [ANSWERS]]]"
                .into(),
        );
    };
    let bits: usize = rest.first().map_or(Ok(21), |b| b.parse())?;
    let number: u64 = rest.get(2).map_or(Ok(1), |n| n.parse())?;
    let (n_in, n_out): (u32, usize) = (n_in.parse()?, n_out.parse()?);
    let clock = Instant::now();
    let say =
        |what: &str| println!("{:8.1} s  peak {:5.2} GiB  {what}", clock.elapsed().as_secs_f64(), peak_gib());

    let model = match path.as_str() {
        "tiny" => monai_model::testing::tiny(&monai_model::testing::TinyOptions::default())?,
        path => monai_model::file::load(Path::new(path), None)?,
    };
    let header = header(&model, bits)?;
    let answers =
        (0..number).map(|i| answer(&model, n_in, n_out, 7 + i)).collect::<Result<Vec<Answer>, _>>()?;
    let ids: Vec<usize> = answers.iter().map(|(_, preimage)| preimage.output.len()).collect();
    say(&format!("answered with {ids:?} ids"));

    let srs = Srs::insecure_dev_cached(bits, b"prove_answer example", Path::new(cache))?;
    say("setup");
    let tensors = ModelTensors::new(&model, &header)?;
    let chunks = Path::new(cache).with_extension("chunks");
    let go = &mut |_, _| ControlFlow::Continue(());
    let commitment = commit_model(&model, &tensors, &header, &srs, Some(&chunks), go)?;
    let registered = RegisteredModel::new(&commitment.digest(), &commitment, srs.key())?;
    say(&format!("model committed in {} chunks", registered.chunks().len()));
    let model = ProvingModel { model: &model, tensors, registered };
    let shapes = ids.iter().map(|n| Shape::new(&header, n_in as usize, *n)).collect::<Result<Vec<_>, _>>()?;
    let expected = MemoryEstimate::of_all(&shapes).total();
    let start = Instant::now();
    let (proof, stages) = prove_many(&model, &srs, &answers, &())?;
    say(&format!("proved in {:.1} s", start.elapsed().as_secs_f64()));
    println!(
        "memory expected {:.2} GiB, measured {:.2} GiB",
        expected as f64 / f64::from(1 << 30),
        peak_gib()
    );
    for time in &stages.0 {
        println!("{:10.2} s {:10.2} core-s  {}", time.wall.as_secs_f64(), time.cpu.as_secs_f64(), time.name);
    }
    let publics: Vec<Public> = answers.iter().map(|(public, _)| *public).collect();
    if let Some(path) = rest.get(1).filter(|path| *path != "-") {
        std::fs::write(path, ProofFile::new(&model.registered, publics.clone(), proof.clone()).to_bytes())?;
        println!("M {}", model.registered.digest());
    }
    let start = Instant::now();
    verify_many(&model.registered, &publics, &proof)?;
    println!("verified in {:.0} ms, {} bytes", start.elapsed().as_secs_f64() * 1e3, proof.to_bytes().len());
    Ok(())
}
