//! The door through which batches go to L1.

use std::future::Future;
use std::pin::Pin;

use monai_protocol::BatchHeader;
use monai_protocol::receipt::Signed;

/// Why something was not posted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostError {
    /// Try again: the chain is away, fees are too high, the transaction was dropped.
    #[error("not now: {0}")]
    Later(String),
    /// The contract refuses it in the state that L1 is in now.
    #[error("refused: {0}")]
    Refused(String),
}

/// Posts batches, in the order of their numbers. A batch is posted again only byte for byte as before.
pub trait BatchPoster: Send + Sync {
    /// Posts one batch: its signed header, and its leaves as they are laid into a blob or calldata.
    /// Returns once the transaction is in a block.
    fn post<'a>(
        &'a self,
        header: &'a Signed<BatchHeader>,
        leaves: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = Result<(), PostError>> + Send + 'a>>;
}
