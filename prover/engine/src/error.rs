//! What can go wrong in an engine, apart from nothing: the integer program itself never fails.

use monai_protocol::selection::SelectionError;

/// Why an engine refused a job, or stopped one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A prompt without ids.
    #[error("the prompt has no ids")]
    EmptyPrompt,
    /// An id that the model does not have.
    #[error("id {id} at position {position} is not below the vocabulary of {vocab}")]
    UnknownId {
        /// The id that came.
        id: u32,
        /// Where in prompt and resumed output, from 0.
        position: usize,
        /// Ids of the model.
        vocab: usize,
    },
    /// Prompt and output could exceed the model's registered length.
    #[error(
        "prompt of {prompt} ids and {max_tokens} output ids exceed the model's {max_positions} positions"
    )]
    TooLong {
        /// Ids of the prompt.
        prompt: usize,
        /// Most output ids that were asked for.
        max_tokens: usize,
        /// `Arch::max_positions`.
        max_positions: usize,
    },
    /// The job alone needs more key/value memory than the engine may use.
    #[error("the job needs {needed} key/value blocks, the engine has {total}")]
    KvTooSmall {
        /// Blocks that the whole sequence takes.
        needed: usize,
        /// Blocks within the memory limit.
        total: usize,
    },
    /// Selection parameters outside their bounds.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// `tau` is above what the model's bounds allow.
    #[error("tau is {came}, the model allows at most {max}")]
    TauTooLarge {
        /// What came.
        came: u32,
        /// `Arch::tau_max`.
        max: u32,
    },
    /// More alternatives were asked for than an answer carries.
    #[error("{came} log-probabilities asked for, at most {max} are given")]
    TooManyLogprobs {
        /// What came.
        came: usize,
        /// [`crate::MAX_LOGPROBS`].
        max: usize,
    },
    /// The resumed output goes on after an id that ends the answer, or is longer than `max_tokens`.
    #[error("the resumed output can't be continued: it ends at index {index}")]
    ResumeEnded {
        /// Index of the output id at which the answer had ended.
        index: usize,
    },
    /// The resumed output is not what the model decodes.
    #[error("{0}")]
    ResumeMismatch(Mismatch),
    /// Streams and queue are full.
    #[error("the engine is busy: {queued} jobs wait already")]
    Busy {
        /// Jobs in the queue.
        queued: usize,
    },
    /// The engine takes no new jobs.
    #[error("the engine is draining")]
    Draining,
    /// The engine has stopped.
    #[error("the engine has stopped")]
    Stopped,
    /// The kernel that was asked for does not run on this processor.
    #[error("kernel {0} is not available on this processor")]
    KernelUnavailable(crate::Kernel),
    /// A number in the configuration is out of range.
    #[error("{field} is {came}, must be in [{min}, {max}]")]
    Config {
        /// The field.
        field: &'static str,
        /// What came.
        came: usize,
        /// Smallest allowed value.
        min: usize,
        /// Largest allowed value.
        max: usize,
    },
    /// The model's shape is not one that the engine computes.
    #[error("the model's shape is not supported: {0}")]
    Shape(&'static str),
    /// The operating system refused memory.
    #[error("the system gives no memory: {0}")]
    Memory(String),
    /// The operating system refused a thread.
    #[error("a worker thread could not be started: {0}")]
    Thread(String),
    /// The device of the candle engine failed.
    #[error("device: {0}")]
    Device(String),
}

/// The first place where a claimed output is not what the model decodes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Another id is selected.
    #[error("position {position}: the model selects {expected}, the output has {came}")]
    Id {
        /// Index in prompt and output together, from 0.
        position: usize,
        /// What the model selects there.
        expected: u32,
        /// What the output claims.
        came: u32,
    },
    /// The output goes on although an end id or `max_tokens` had ended it.
    #[error("position {position}: the answer had ended before")]
    PastEnd {
        /// Index in prompt and output together of the first id too many.
        position: usize,
    },
    /// The finish is not the one that the stop rule gives.
    #[error("finish is {came}, the stop rule says {expected}")]
    Finish {
        /// What the stop rule gives, `unfinished` where the answer goes on.
        expected: &'static str,
        /// What was claimed.
        came: &'static str,
    },
}
