//! What is printed.

use std::io::Write;
use std::time::Duration;

use monai_inference::commitment::SetupKind;
use monai_inference::{Public, RegisteredModel};
use monai_protocol::codec::encode_hex;
use monai_protocol::{ModelId, OutputCommitment, RequestCommitment};
use serde::Serialize;

/// What a valid proof shows.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    valid: bool,
    model_commitment: String,
    model: ModelId,
    answers: Vec<Answer>,
    setup: String,
    setup_key: String,
    secure_setup: bool,
    zero_knowledge: bool,
    proof_bytes: usize,
    verify_ms: f64,
}

/// One answer that the proof is about.
#[derive(Debug, Serialize)]
struct Answer {
    request: RequestCommitment,
    output: OutputCommitment,
    n_in: u32,
    n_out: u32,
    finish: &'static str,
}

impl From<&Public> for Answer {
    fn from(public: &Public) -> Self {
        let Public { request, output, n_in, n_out, finish } = *public;
        Self { request, output, n_in, n_out, finish: finish.name() }
    }
}

impl Report {
    pub(crate) fn new(
        model: &RegisteredModel,
        publics: &[Public],
        proof_bytes: usize,
        time: Duration,
    ) -> Self {
        Self {
            valid: true,
            model_commitment: model.digest().to_string(),
            model: model.header().id,
            answers: publics.iter().map(Answer::from).collect(),
            setup: model.key().kind().to_string(),
            setup_key: encode_hex(&model.key().digest()),
            secure_setup: model.key().kind() == SetupKind::Ceremony,
            // The unwrapped proof shows prompt, answer and parameters.
            zero_knowledge: false,
            proof_bytes,
            verify_ms: (time.as_secs_f64() * 1e4).round() / 10.0,
        }
    }

    pub(crate) fn print(&self, json: bool) {
        let mut out = std::io::stdout().lock();
        // A closed pipe is the reader's choice, no fault of the proof.
        let _ = if json { self.json(&mut out) } else { self.text(&mut out) };
    }

    fn json(&self, out: &mut impl Write) -> std::io::Result<()> {
        writeln!(out, "{}", serde_json::to_string(self).unwrap_or_default())
    }

    fn text(&self, out: &mut impl Write) -> std::io::Result<()> {
        match self.answers.len() {
            1 => writeln!(out, "valid: the answer is what the model decodes from the request")?,
            n => writeln!(out, "valid: all {n} answers are what the model decodes from the requests")?,
        }
        writeln!(out, "  {:<18}{}", "model commitment", self.model_commitment)?;
        writeln!(out, "  {:<18}{}", "model", self.model)?;
        for a in &self.answers {
            writeln!(out, "  {:<18}{}", "request", a.request)?;
            writeln!(out, "  {:<18}{}", "output", a.output)?;
            writeln!(out, "  {:<18}{} in, {} out, {}", "ids", a.n_in, a.n_out, a.finish)?;
        }
        writeln!(out, "  {:<18}{}, key {}", "setup", self.setup, self.setup_key)?;
        writeln!(out, "  {:<18}{} bytes, {} ms", "proof", self.proof_bytes, self.verify_ms)?;
        if !self.secure_setup {
            writeln!(
                out,
                "INSECURE SETUP: whoever knows its secret can make valid proofs of false answers. Not for production."
            )?;
        }
        writeln!(out, "Not zero-knowledge: this proof shows prompt, answer and parameters to whoever has it.")
    }
}

/// Says why a proof is not accepted: JSON on standard output, text on standard error.
pub(crate) fn refused(why: &str, json: bool) {
    let _ = if json {
        let line = serde_json::json!({ "valid": false, "error": why });
        writeln!(std::io::stdout().lock(), "{line}")
    } else {
        writeln!(std::io::stderr().lock(), "refused: {why}")
    };
}
