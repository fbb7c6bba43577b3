//! Several answers of one model in one proof.
//!
//! Each answer has its own [`Statement`], witness tensors and relations. They share the model's tensors, the transcript, the
//! reduction and the one opening: its chunks are the answers' witness chunks, one answer after another, then the model's.

use crate::error::{ShapeError, VerifyError};
use crate::proof::MAX_ANSWERS;
use crate::shape::{MAX_POSITIONS, MAX_WITNESS_VALUES, ModelHeader, limited};
use crate::statement::{Public, Shown, Statement};
use crate::tensor::Owner;

/// The checked statements of one proof: at least one, of one model.
#[derive(Clone, Debug)]
pub struct Batch {
    statements: Vec<Statement>,
    /// The first witness chunk of each answer, and their number.
    first: Vec<usize>,
    model_chunks: usize,
    chunk_bits: usize,
}

impl Batch {
    /// Checks all that needs no polynomial, of each answer and of all together.
    ///
    /// # Errors
    /// As [`Statement::new`], and where there is no answer, too many, or too many ids or values in all.
    pub fn new(header: &ModelHeader, publics: &[Public], answers: &[Shown]) -> Result<Self, VerifyError> {
        let most = u64::try_from(MAX_ANSWERS).unwrap_or(u64::MAX);
        let got = u64::try_from(publics.len()).unwrap_or(u64::MAX);
        if !(1..=most).contains(&got) {
            return Err(ShapeError::Range { what: "the number of answers", got, least: 1, most }.into());
        }
        if answers.len() != publics.len() {
            return Err(VerifyError::Count { what: "answers", got: answers.len(), expected: publics.len() });
        }
        let (mut ids, mut values) = (0usize, 0usize);
        let mut batch = Self { statements: Vec::new(), first: vec![0], model_chunks: 0, chunk_bits: 0 };
        let mut chunks = 0usize;
        for (public, shown) in publics.iter().zip(answers) {
            let s = Statement::new(header, public, &shown.preimage, &shown.rows)?;
            ids = ids.saturating_add(s.request.prompt.len()).saturating_add(s.output.len());
            values = values.saturating_add(s.witness.len());
            chunks = chunks.saturating_add(s.witness.chunks());
            batch.first.push(chunks);
            batch.model_chunks = s.model.chunks();
            batch.chunk_bits = s.shape.chunk_bits;
            batch.statements.push(s);
        }
        limited("ids of all answers", ids, MAX_POSITIONS)?;
        limited("values of all answers' tensors", values, MAX_WITNESS_VALUES)?;
        Ok(batch)
    }

    /// One statement an answer.
    #[must_use]
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// The statement of one answer.
    ///
    /// # Errors
    /// [`VerifyError::Internal`] where there is no such answer.
    pub fn statement(&self, answer: usize) -> Result<&Statement, VerifyError> {
        self.statements.get(answer).ok_or(VerifyError::Internal("answer"))
    }

    /// Chunks of all witnesses.
    #[must_use]
    pub fn witness_chunks(&self) -> usize {
        self.first.last().copied().unwrap_or(0)
    }

    /// Chunks of the model.
    #[must_use]
    pub const fn model_chunks(&self) -> usize {
        self.model_chunks
    }

    /// Log of the values in a chunk.
    #[must_use]
    pub const fn chunk_bits(&self) -> usize {
        self.chunk_bits
    }

    /// The chunk at which an answer's witness, or the model, begins.
    ///
    /// # Errors
    /// [`VerifyError::Internal`] where there is no such answer.
    pub fn first_chunk(&self, answer: usize, owner: Owner) -> Result<usize, VerifyError> {
        match owner {
            Owner::Witness => self.first.get(answer).copied().ok_or(VerifyError::Internal("answer")),
            Owner::Model => Ok(self.witness_chunks()),
        }
    }
}
