//! The tiny model, run by the reference engine.

use monai_model::artefact::Model;
use monai_model::reference::Reference;
use monai_model::select::select;
use monai_model::testing::TinyOptions;
use monai_protocol::receipt::Receipt;
use monai_protocol::{Finish, SelectionParams};

pub fn tiny() -> Model {
    monai_model::testing::tiny(&TinyOptions::default()).unwrap()
}

/// What the model answers.
pub fn answer(model: &Model, prompt: &[u32], params: &SelectionParams) -> (Vec<u32>, Finish) {
    let mut run = Reference::new(model);
    let mut residual = Vec::new();
    for id in prompt {
        residual = run.advance(*id);
    }
    let mut ids = Vec::new();
    loop {
        let position = (prompt.len() + ids.len()) as u64;
        let raw = run.logits(&residual);
        let id = select(&raw, params, &model.tables.weight, params.word(position)).unwrap();
        ids.push(id);
        if model.text.eos_ids.contains(&id) || params.stop_ids.contains(&id) {
            return (ids, Finish::Stop);
        }
        if ids.len() as u32 == params.max_tokens {
            return (ids, Finish::Length);
        }
        residual = run.advance(id);
    }
}

/// Checks that a receipt's output is what the model answers.
pub fn reexecute(model: &Model, receipt: &Receipt) {
    let (ids, finish) = answer(model, &receipt.request.prompt, &receipt.request.params);
    let got = &receipt.output;
    match receipt.response.message.finish {
        Finish::Cancelled => assert_eq!(ids[..got.len()], got[..]),
        f => assert_eq!((&ids, finish), (got, f)),
    }
}
