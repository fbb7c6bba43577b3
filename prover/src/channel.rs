//! The prover's end of the transcript: what is sent is absorbed and recorded.

use monai_inference::transcript::{Label, Transcript};
use monai_protocol::Fr;

/// Transcript and messages of one proof.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) transcript: Transcript,
    pub(crate) messages: Vec<Fr>,
}

impl Channel {
    pub(crate) fn new(transcript: Transcript) -> Self {
        Self { transcript, messages: Vec::new() }
    }

    pub(crate) fn send(&mut self, label: Label, x: Fr) {
        self.transcript.absorb(label, &x);
        self.messages.push(x);
    }

    pub(crate) fn challenge(&mut self, label: Label) -> Fr {
        self.transcript.challenge(label)
    }
}
