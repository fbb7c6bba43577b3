//! An answer of the engine, and the receipt that shows it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use monai_engine::{Engine, EngineConfig, Job};
use monai_model::artefact::Model;
use monai_protocol::draw::{Table, TableEntry, context_digest};
use monai_protocol::messages::{Attestation, Intake, RequestMessage, Response};
use monai_protocol::receipt::{DrawRecord, RECEIPT_VERSION, Receipt, Signed, charge};
use monai_protocol::types::{Domain, EpochId, Retry};
use monai_protocol::{
    Address, Amount, Assurance, Blinding, ChainId, Finish, Lane, NodeIndex, Request, SecretKey,
    SelectionParams, Slot, Typed, insecure_devnet_beacon, output_commitment,
};

/// Unix milliseconds at which the answer is said to have been given.
const WHEN: u64 = 1_800_000_000_000;
/// Seeds that are tried until an answer has its full length.
const SEEDS: u64 = 200;

/// An answer whose receipt is in a file.
pub(crate) struct Answer {
    pub(crate) receipt: PathBuf,
    pub(crate) proof: PathBuf,
    engine: Arc<Engine>,
    request: Request,
    output: Vec<u32>,
}

impl Answer {
    /// Has the engine answer `prompt` with as many ids, by seeded sampling in the nucleus of 0.92.
    pub(crate) fn new(
        engine: &Arc<Engine>,
        model: &Model,
        prompt: &[u32],
        dir: &std::path::Path,
    ) -> Result<Self> {
        let n = prompt.len();
        let mut params = SelectionParams::greedy(u32::try_from(n)?);
        // Temperature 1.
        params.tau = u32::try_from((model.arch.tau_one + (1 << 31)) >> 32)?.clamp(1, model.arch.tau_max);
        (params.top_k, params.top_p) = (0, 60_000);
        let domain = Domain { chain_id: ChainId(31_337), rollup: Address([0xbe; 20]) };
        let key = SecretKey::from_bytes(&[7; 32]).context("key")?;
        for seed in 1..=SEEDS {
            params.seed = seed;
            let (output, finish) =
                engine.submit(Job::new(prompt.to_vec(), params.clone()))?.blocking_rest()?;
            if finish != Finish::Length {
                continue;
            }
            let request = Request {
                domain,
                model: model.id,
                params,
                prompt: prompt.to_vec(),
                user: key.address(),
                nonce: 1,
                blinding: Blinding(0x0123_4567_89ab_cdef << 17),
                expiry: WHEN / 1000 + 60,
                max_price: Amount(1_000_000),
                assurance: Assurance::Proved,
                by_preference: true,
            };
            let receipt = receipt(&request, &output, finish, &key)?;
            let path = dir.join(format!("answer-{}.json", 2 * n));
            std::fs::write(&path, receipt.to_json()?)?;
            let proof = path.with_extension("proof");
            return Ok(Self { receipt: path, proof, engine: engine.clone(), request, output });
        }
        bail!("no seed of {SEEDS} gives an answer of {n} ids")
    }

    /// Seconds that the engine takes to give the answer again.
    pub(crate) fn time_inference(&self) -> Result<f64> {
        let start = Instant::now();
        let job = Job::new(self.request.prompt.clone(), self.request.params.clone());
        let (output, _) = self.engine.submit(job)?.blocking_rest()?;
        ensure!(output == self.output, "the engine answers differently");
        Ok(start.elapsed().as_secs_f64())
    }
}

/// The engine for answers: nothing is remembered between them.
pub(crate) fn engine(model: &Arc<Model>) -> Result<Arc<Engine>> {
    let config = EngineConfig { prefix_reuse: false, ..EngineConfig::default() };
    Ok(Arc::new(Engine::new(model.clone(), config)?))
}

/// A receipt whose sequencer, node and user are one key. It is true in all that a proof is about.
fn receipt(request: &Request, output: &[u32], finish: Finish, key: &SecretKey) -> Result<Receipt> {
    let domain = &request.domain;
    let (r, model, lane, slot) = (request.commitment(), request.model, Lane(0), Slot(0));
    let n_out = u32::try_from(output.len())?;
    let (price, node) = (Amount(1), key.address());
    let message = RequestMessage {
        request: r,
        model,
        max_price: request.max_price,
        nonce: request.nonce,
        expiry: request.expiry,
    };
    let response = Response {
        request: r,
        model,
        lane,
        slot,
        output: output_commitment(request.blinding, finish, output),
        n_in: request.n_in(),
        n_out,
        finish,
        received_ms: WHEN,
        first_token_ms: WHEN + 100,
        done_ms: WHEN + 1000,
    };
    let beacon = insecure_devnet_beacon(EpochId(0));
    let table =
        Table { epoch: EpochId(0), model, entries: vec![TableEntry { slot: NodeIndex(0), node, weight: 1 }] };
    let attestation = Attestation {
        response: response.digest(domain),
        node,
        epoch: EpochId(0),
        retry: Retry(0),
        resumed_from: 0,
        dispatched_ms: WHEN,
        first_token_ms: WHEN + 100,
        done_ms: WHEN + 1000,
        input_price: price,
        output_price: price,
        charge: charge(request.n_in(), n_out, price, price).context("charge")?,
        draw: context_digest(&beacon, &table, None),
    };
    let intake = Intake { request: r, model, lane, slot, received_ms: WHEN };
    Ok(Receipt {
        version: RECEIPT_VERSION,
        user_signature: Some(message.sign(domain, key)?),
        intake: signed(intake, domain, key)?,
        attempts: Vec::new(),
        output: output.to_vec(),
        response: signed(response, domain, key)?,
        progress: Vec::new(),
        cancel: None,
        attestation: signed(attestation, domain, key)?,
        draw: DrawRecord { beacon, table, chain: None, link: None },
        inclusion: None,
        audit: None,
        request: request.clone(),
    })
}

fn signed<M: Typed>(message: M, domain: &Domain, key: &SecretKey) -> Result<Signed<M>> {
    let signature = message.sign(domain, key)?;
    Ok(Signed { message, signature })
}
