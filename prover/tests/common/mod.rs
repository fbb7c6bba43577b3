//! Tiny models, their honest answers, and the statements about them.
#![allow(dead_code, clippy::unwrap_used)]

use std::sync::OnceLock;

use monai_inference::{Preimage, Public, RegisteredModel};
use monai_model::artefact::Model;
use monai_model::reference::Reference;
use monai_model::select::select;
use monai_model::testing::{TinyOptions, tiny};
use monai_protocol::types::Domain;
use monai_protocol::{
    Address, Amount, Assurance, Blinding, ChainId, Finish, Request, SelectionParams, output_commitment,
};
use monai_prover::commit::Srs;
use monai_prover::{ModelTensors, ProvingModel, header};

pub(crate) const CHUNK_BITS: usize = 16;

pub(crate) fn srs() -> &'static Srs {
    static SRS: OnceLock<Srs> = OnceLock::new();
    SRS.get_or_init(|| Srs::insecure_dev(CHUNK_BITS, b"end to end").unwrap())
}

pub(crate) fn model(options: &TinyOptions) -> &'static Model {
    Box::leak(Box::new(tiny(options).unwrap()))
}

pub(crate) fn proving(model: &'static Model) -> ProvingModel<'static> {
    let header = header(model, CHUNK_BITS).unwrap();
    let tensors = ModelTensors::new(model, &header).unwrap();
    let registered: RegisteredModel = tensors.commit(model, &header, srs()).unwrap();
    ProvingModel { model, tensors, registered }
}

/// The default tiny model, laid out and committed once.
pub(crate) fn shared() -> &'static ProvingModel<'static> {
    static SHARED: OnceLock<ProvingModel<'static>> = OnceLock::new();
    SHARED.get_or_init(|| proving(model(&TinyOptions::default())))
}

pub(crate) fn request(model: &Model, prompt: &[u32], params: SelectionParams) -> Request {
    Request {
        domain: Domain { chain_id: ChainId(31337), rollup: Address([7; 20]) },
        model: model.id,
        params,
        prompt: prompt.to_vec(),
        user: Address([9; 20]),
        nonce: 3,
        blinding: Blinding(0x1234_5678_9abc_def0),
        expiry: 2_000_000_000,
        max_price: Amount(5),
        assurance: Assurance::Proved,
        by_preference: false,
    }
}

/// What the reference answers.
pub(crate) fn answer(model: &Model, request: &Request) -> (Vec<u32>, Finish) {
    let mut r = Reference::new(model);
    let mut residual = Vec::new();
    for id in &request.prompt {
        residual = r.advance(*id);
    }
    let mut output = Vec::new();
    let p = &request.params;
    loop {
        let position = (request.prompt.len() + output.len()) as u64;
        let id = select(&r.logits(&residual), p, &model.tables.weight, p.word(position)).unwrap();
        output.push(id);
        if model.text.eos_ids.contains(&id) || p.stop_ids.contains(&id) {
            return (output, Finish::Stop);
        }
        if output.len() == p.max_tokens as usize {
            return (output, Finish::Length);
        }
        residual = r.advance(id);
    }
}

pub(crate) fn statement(request: &Request, output: &[u32], finish: Finish) -> (Public, Preimage) {
    let public = Public {
        request: request.commitment(),
        output: output_commitment(request.blinding, finish, output),
        n_in: request.n_in(),
        n_out: output.len() as u32,
        finish,
    };
    (public, Preimage { request: request.clone(), output: output.to_vec() })
}

pub(crate) fn greedy(model: &Model, max_tokens: u32) -> SelectionParams {
    let mut p = SelectionParams::greedy(max_tokens);
    p.tau = tau(model);
    p
}

/// Temperature 1.
pub(crate) fn tau(model: &Model) -> u32 {
    ((model.arch.tau_one + (1 << 31)) >> 32).clamp(1, model.arch.tau_max.into()) as u32
}
