//! Running the model again and comparing.

use crate::receipt::{Receipt, ReceiptError};
use crate::selection::SelectionParams;
use crate::types::{Finish, ModelId};
use std::fmt::Display;

/// Runs a model again. Implemented where there is an engine.
pub trait Reexecute {
    /// Why it could not run.
    type Error: Display;

    /// The output ids and the finish (stop or length) that the model decodes from `prompt`, stopping
    /// early after `at_most` ids: then the finish is not looked at.
    ///
    /// # Errors
    /// If the model is unknown or can't run.
    fn reexecute(
        &self,
        model: &ModelId,
        prompt: &[u32],
        params: &SelectionParams,
        at_most: u32,
    ) -> Result<(Vec<u32>, Finish), Self::Error>;
}

impl Receipt {
    /// Runs the model again and compares every id and the finish.
    ///
    /// # Errors
    /// [`ReceiptError::Output`] at the first difference, [`ReceiptError::Reexecution`] if it can't run.
    pub fn reexecute<E: Reexecute>(&self, engine: &E) -> Result<(), ReceiptError> {
        let cancelled = self.response.message.finish == Finish::Cancelled;
        let at_most = if cancelled { self.response.message.n_out } else { self.request.params.max_tokens };
        let (ids, finish) = if at_most == 0 {
            (Vec::new(), Finish::Cancelled)
        } else {
            engine
                .reexecute(&self.request.model, &self.request.prompt, &self.request.params, at_most)
                .map_err(|e| ReceiptError::Reexecution(e.to_string()))?
        };
        let show = |id: Option<&u32>| id.map_or_else(|| "the end".to_owned(), u32::to_string);
        for index in 0..ids.len().max(self.output.len()) {
            let (expected, came) = (ids.get(index), self.output.get(index));
            if expected != came {
                return Err(ReceiptError::Output { index, expected: show(expected), came: show(came) });
            }
        }
        // How the model ends it is not known of an answer that was cut, unless its last id ends it.
        let ended = !cancelled || finish == Finish::Stop;
        if ended && finish != self.response.message.finish {
            return Err(ReceiptError::Output {
                index: ids.len(),
                expected: format!("{finish:?}").to_lowercase(),
                came: format!("{:?}", self.response.message.finish).to_lowercase(),
            });
        }
        Ok(())
    }
}
