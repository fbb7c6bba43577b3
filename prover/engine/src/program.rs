//! A model made ready to run: shapes checked once, weights in panel order.

use std::sync::Arc;

use candle_core::Device;
use monai_model::artefact::{Layer, Linear, Model};
use monai_model::semantics::TABLE_LEN;
use monai_protocol::{Finish, SelectionParams};

use crate::arena::Arena;
use crate::error::EngineError;
use crate::kernel::packed::{Packed, Place};
use crate::kernel::{Isa, Kernel, LANES};
use crate::kv::KvShape;

/// Widest head: the byte-wise dot product of a query with a key then fits i32 (`255 * 2^15 * 256 < 2^31`).
pub(crate) const MAX_HEAD_DIM: usize = 256;

/// The matrices of a layer in panel order.
#[derive(Debug)]
pub(crate) struct PackedLayer {
    pub(crate) q: Packed,
    pub(crate) k: Packed,
    pub(crate) v: Packed,
    pub(crate) o: Packed,
    pub(crate) gate: Packed,
    pub(crate) up: Packed,
    pub(crate) down: Packed,
}

/// A model ready to run on one kernel or device. Engines and audits of one process share it.
#[derive(Debug)]
pub struct Program {
    pub(crate) model: Arc<Model>,
    pub(crate) isa: Isa,
    pub(crate) layers: Vec<PackedLayer>,
    pub(crate) head: Packed,
    /// The softmax table with one entry more, 0, for all that is out of its reach.
    pub(crate) exp: Vec<u16>,
    pub(crate) kv: KvShape,
}

impl Program {
    /// Checks the model's shape and copies its weights into panel order, with the fastest kernel or the given one.
    ///
    /// # Errors
    /// [`EngineError::Shape`] if tensors disagree with the architecture, [`EngineError::KernelUnavailable`].
    pub fn new(model: Arc<Model>, kernel: Option<Kernel>) -> Result<Arc<Self>, EngineError> {
        Self::build(model, kernel, None)
    }

    /// Checks the model's shape and copies its weights to a candle device, which will multiply the matrices; the rest
    /// runs on the host. The bits are those of [`Self::new`]: see [`crate::candle`].
    ///
    /// # Errors
    /// As [`Self::new`], and [`EngineError::Device`].
    pub fn on_device(model: Arc<Model>, device: &Device) -> Result<Arc<Self>, EngineError> {
        Self::build(model, None, Some(device))
    }

    fn build(
        model: Arc<Model>,
        kernel: Option<Kernel>,
        device: Option<&Device>,
    ) -> Result<Arc<Self>, EngineError> {
        let isa = Isa::check(kernel.unwrap_or_else(Kernel::best))?;
        device.map_or(Ok(()), crate::candle::check_exact)?;
        check_shape(&model)?;
        let mut arena;
        let mut place = match device {
            Some(device) => Place::Device(device),
            None => {
                let matrices = model.layers.iter().flat_map(matrices).chain([model.head()]);
                arena = Arena::new(matrices.map(|m| Arena::rounded(Packed::bytes(m))).sum())?;
                Place::Host(&mut arena)
            }
        };
        let layers = model
            .layers
            .iter()
            .map(|l| {
                let [q, k, v, o, gate, up, down] = matrices(l).map(|m| Packed::new(m, &mut place));
                Ok(PackedLayer { q: q?, k: k?, v: v?, o: o?, gate: gate?, up: up?, down: down? })
            })
            .collect::<Result<_, EngineError>>()?;
        let head = Packed::new(model.head(), &mut place)?;
        let mut exp = model.tables.exp.clone();
        exp.push(0);
        let a = &model.arch;
        let kv = KvShape { layers: a.layers, kv_heads: a.kv_heads, head_dim: a.head_dim };
        Ok(Arc::new(Self { model, isa, layers, head, exp, kv }))
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The kernel it runs on; with a device, the kernel of what stays on the host.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        self.isa.kernel()
    }

    /// Checks that all ids are in the vocabulary; `first` is the position of `ids[0]`.
    pub(crate) fn check_ids(&self, ids: &[u32], first: usize) -> Result<(), EngineError> {
        let vocab = self.model.arch.vocab;
        match ids.iter().position(|&id| id as usize >= vocab) {
            Some(i) => Err(EngineError::UnknownId { id: ids[i], position: first + i, vocab }),
            None => Ok(()),
        }
    }

    /// How the stop rule ends an answer with these ids, if it does.
    #[must_use]
    pub fn finish_after(&self, params: &SelectionParams, output: &[u32]) -> Option<Finish> {
        match output.last() {
            Some(&id) if self.ends(id, &params.stop_ids) => Some(Finish::Stop),
            _ if output.len() >= params.max_tokens as usize => Some(Finish::Length),
            _ => None,
        }
    }

    /// Whether `id` ends an answer with these stop ids.
    pub(crate) fn ends(&self, id: u32, stop_ids: &[u32]) -> bool {
        self.model.text.eos_ids.contains(&id) || stop_ids.contains(&id)
    }
}

/// The matrices of a layer, in the order in which a pass reads them.
fn matrices(l: &Layer) -> [&Linear; 7] {
    [&l.q, &l.k, &l.v, &l.o, &l.gate, &l.up, &l.down]
}

/// Checks everything that the forward pass relies on, so that no later index can fail.
fn check_shape(model: &Model) -> Result<(), EngineError> {
    let a = &model.arch;
    let ensure = |ok: bool, what| if ok { Ok(()) } else { Err(EngineError::Shape(what)) };
    let is = |m: &Linear, rows: usize, cols: usize| m.rows == rows && m.cols == cols;
    ensure(a.hidden > 0 && a.ffn > 0 && a.vocab > 0 && a.max_positions > 0, "a dimension is zero")?;
    ensure(
        a.kv_heads > 0 && a.heads.is_multiple_of(a.kv_heads) && a.heads > 0,
        "kv_heads does not divide heads",
    )?;
    ensure(a.head_dim.is_multiple_of(LANES) && a.head_dim > 0, "head_dim is not a multiple of 16")?;
    ensure(a.head_dim <= MAX_HEAD_DIM, "head_dim is above 256")?;
    ensure(a.norm_eps >= 1, "norm_eps is zero")?;
    let heads = a.heads * a.head_dim;
    let kv_heads = a.kv_heads * a.head_dim;
    ensure(is(&model.embedding, a.vocab, a.hidden), "embedding")?;
    ensure(model.embedding.weight.len() == a.vocab * a.hidden, "embedding")?;
    ensure(model.embedding.multiplier.len() == a.vocab, "embedding")?;
    ensure(is(model.head(), a.vocab, a.hidden), "head")?;
    ensure(model.final_gain.len() == a.hidden, "final_gain")?;
    ensure(model.layers.len() == a.layers, "layers")?;
    for l in &model.layers {
        ensure(is(&l.q, heads, a.hidden), "q")?;
        ensure(is(&l.k, kv_heads, a.hidden) && is(&l.v, kv_heads, a.hidden), "k or v")?;
        ensure(is(&l.o, a.hidden, heads), "o")?;
        ensure(is(&l.gate, a.ffn, a.hidden) && is(&l.up, a.ffn, a.hidden), "gate or up")?;
        ensure(is(&l.down, a.hidden, a.ffn), "down")?;
        for norm in [&l.q_norm, &l.k_norm] {
            let fits = norm.as_ref().is_none_or(|n| n.gain.len() == a.head_dim && n.eps >= 1);
            ensure(fits, "the gain of a head norm")?;
        }
    }
    let t = &model.tables;
    ensure(t.exp.len() == TABLE_LEN && t.silu.len() == TABLE_LEN && t.weight.len() == TABLE_LEN, "tables")?;
    // A softmax row's sum is positive because its maximum is attained.
    ensure(t.exp.first().is_some_and(|&e| e > 0), "the softmax table")?;
    let angles = a.max_positions.checked_mul(a.head_dim / 2);
    ensure(angles == Some(t.cos.len()) && angles == Some(t.sin.len()), "rope tables")
}
