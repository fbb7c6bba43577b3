//! The forward pass: rows of any sequences, in prefill or decode, through all layers in one go.
//!
//! A *row* is one position of one sequence. Rows meet only in attention, so which rows share a pass changes no bit. Each
//! layer is a handful of parallel sections (see [`crate::pool`]): norm, q/k/v with RoPE, attention, output projection,
//! norm, gate and up with SiLU, row exponent, down.
//!
//! # What was measured
//! SmolLM2, 512 ids of prompt and 64 decoded, two Zen 3 cores at 2.4 GHz (`bench-engine --engine-only --profile`, idle
//! machine): prefill 460 and 900 ids a second on one and two threads, decoding 110 and 160. Shares of decoding: gate and
//! up 34%, logits 17%, down 16%, attention 14%, q/k/v 12%, output 6%, all else 1%; of prefill: gate and up 38%,
//! attention 22%, down 17%, q/k/v 13%, output 7%, all else 3%. The element-wise sections are therefore left to the
//! compiler's vectoriser. Attention took 24% of decoding on two threads while each query head was an item of its own
//! and values were summed panel by panel across blocks: it read keys three times and jumped through memory.

mod attention;
mod heads;
mod linear;
mod profile;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use profile::{Profile, Stage};

use crate::elementwise as ew;
use crate::error::EngineError;
use crate::kernel::{LANES, TILE};
use crate::kv::Table;
use crate::pool::{Pool, Shards};
use crate::program::Program;
use crate::trace::{LayerSink, Trace};
use attention::Scratch;

/// Most rows of one pass. More rows would not raise the arithmetic intensity of the tiles any further.
pub(crate) const MAX_ROWS: usize = 128;
/// Rows that one item of a section handles, a multiple of [`TILE`].
const ROW_GROUP: usize = 8 * TILE;

/// One position of one sequence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// The id at this position; below the vocabulary.
    pub(crate) id: u32,
    /// Its index in the sequence; below `max_positions`.
    pub(crate) position: usize,
    /// Index of the sequence's table in this pass.
    pub(crate) sequence: usize,
    /// Whether its logits are wanted.
    pub(crate) logits: bool,
}

/// Threads and memory for passes of one program.
#[derive(Debug)]
pub(crate) struct Forward {
    program: Arc<Program>,
    pool: Pool,
    /// Residuals `[rows, hidden]`.
    h: Vec<i64>,
    /// Normalised rows, then queries and attention outputs: 16-bit inputs of matrices.
    y: Vec<i16>,
    q: Vec<i16>,
    o: Vec<i16>,
    /// Products `P` `[rows, ffn]`, and the rows `t` with their exponents.
    p: Vec<i64>,
    t: Vec<i16>,
    exponent: Vec<u32>,
    inv: Vec<u64>,
    scratch: Vec<Scratch>,
    /// Raw logits `[rows that wanted them, vocab]` of the last pass.
    logits: Vec<i64>,
    /// Time a stage, where somebody asked for it.
    pub(crate) profile: Option<Box<Profile>>,
}

impl Forward {
    /// Threads and memory for a program.
    pub(crate) fn new(program: Arc<Program>, threads: usize) -> Result<Self, EngineError> {
        let pool = Pool::new(threads)?;
        let scratch = (0..threads).map(|_| Scratch::default()).collect();
        Ok(Self {
            program,
            pool,
            h: Vec::new(),
            y: Vec::new(),
            q: Vec::new(),
            o: Vec::new(),
            p: Vec::new(),
            t: Vec::new(),
            exponent: Vec::new(),
            inv: Vec::new(),
            scratch,
            logits: Vec::new(),
            profile: None,
        })
    }

    /// The program it runs.
    pub(crate) fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Raw logits of the `i`-th row that wanted them in the last pass.
    pub(crate) fn logits(&self, i: usize) -> &[i64] {
        let vocab = self.program.model.arch.vocab;
        &self.logits[i * vocab..(i + 1) * vocab]
    }

    /// Runs the rows. Rows of one sequence are in order of position, and all earlier positions of the sequence are in
    /// its table from earlier passes or are earlier rows of this one. No two rows are the same position of one table
    /// memory.
    ///
    /// With a trace, the rows are consecutive positions of one sequence.
    ///
    /// # Errors
    /// If the device of the program fails; then nothing of the pass counts.
    pub(crate) fn run(
        &mut self,
        rows: &[Row],
        tables: &[Table],
        mut trace: Option<&mut Trace>,
    ) -> Result<(), EngineError> {
        assert!(rows.len() <= MAX_ROWS, "a pass has at most {MAX_ROWS} rows");
        let program = Arc::clone(&self.program);
        self.embed(&program, rows);
        for layer in 0..program.layers.len() {
            let mut sink = trace.as_deref_mut().map(|t| t.layer_sink(layer, program.isa, &program.exp));
            self.attention_block(&program, layer, rows, tables, sink.as_mut())?;
            self.feed_forward(&program, layer, rows, sink.as_mut())?;
        }
        self.head(&program, rows, trace)
    }

    fn mark(&mut self, stage: Stage) {
        if let Some(p) = &mut self.profile {
            p.mark(stage);
        }
    }

    /// `x0 = r16(M W)` of every row.
    fn embed(&mut self, program: &Program, rows: &[Row]) {
        if let Some(p) = &mut self.profile {
            p.begin();
        }
        let a = &program.model.arch;
        let n = rows.len();
        self.h.resize(n * a.hidden, 0);
        self.y.resize(n * a.hidden, 0);
        self.q.resize(n * a.heads * a.head_dim, 0);
        self.o.resize(n * a.heads * a.head_dim, 0);
        self.p.resize(n * a.ffn, 0);
        self.t.resize(n * a.ffn, 0);
        self.exponent.resize(n, 0);
        self.inv.resize(n, 0);
        let e = &program.model.embedding;
        for (row, h) in rows.iter().zip(self.h.chunks_exact_mut(a.hidden)) {
            let m = i64::from(e.multiplier[row.id as usize]);
            for (h, &w) in h.iter_mut().zip(e.row(row.id as usize)) {
                *h = monai_model::semantics::r16(m * i64::from(w));
            }
        }
        self.mark(Stage::Norm);
    }

    /// Norms of all rows into `y` and `inv`.
    fn norm(&mut self, program: &Program, rows: usize) {
        let hidden = program.model.arch.hidden;
        let eps = program.model.arch.norm_eps;
        let (h, y, inv) = (&self.h, Shards::new(&mut self.y), Shards::new(&mut self.inv));
        each_row(&mut self.pool, rows, &|row| {
            // SAFETY: a row is one item's alone.
            let (y, inv) = unsafe { (y.part(row * hidden, hidden), inv.part(row, 1)) };
            inv[0] = ew::normalise(program.isa, &h[row * hidden..(row + 1) * hidden], eps, y);
        });
        self.mark(Stage::Norm);
    }

    fn attention_block(
        &mut self,
        program: &Program,
        layer: usize,
        rows: &[Row],
        tables: &[Table],
        mut sink: Option<&mut LayerSink<'_>>,
    ) -> Result<(), EngineError> {
        let n = rows.len();
        self.norm(program, n);
        if let Some(s) = &mut sink {
            s.attention_norm(rows, &self.inv, &self.y, &self.h);
        }
        let q = Shards::new(&mut self.q);
        heads::project(program, &mut self.pool, layer, rows, &self.y, &q, tables, sink.as_deref())?;
        self.mark(Stage::Qkv);
        let o = Shards::new(&mut self.o);
        let scratch = Shards::new(&mut self.scratch);
        attention::attend(
            program,
            &mut self.pool,
            layer,
            rows,
            tables,
            &self.q,
            &o,
            &scratch,
            sink.as_deref(),
        );
        self.mark(Stage::Attention);
        let w = &program.layers[layer].o;
        let h = Shards::new(&mut self.h);
        linear::panels(program.isa, &mut self.pool, w, &self.o, n, &|row, first, raw| {
            // SAFETY: a panel of a row is one item's alone.
            ew::add_r16(program.isa, unsafe { h.part(row * w.rows + first, raw.len()) }, raw);
        })?;
        self.mark(Stage::Output);
        if let Some(s) = &mut sink {
            s.attention_output(rows, &self.q, &self.o, &self.h);
        }
        Ok(())
    }

    fn feed_forward(
        &mut self,
        program: &Program,
        layer: usize,
        rows: &[Row],
        mut sink: Option<&mut LayerSink<'_>>,
    ) -> Result<(), EngineError> {
        let n = rows.len();
        let isa = program.isa;
        let ffn = program.model.arch.ffn;
        self.norm(program, n);
        if let Some(s) = &mut sink {
            s.ffn_norm(rows, &self.inv, &self.y);
        }
        let l = &program.layers[layer];
        let Some(silu) = program.model.tables.silu.first_chunk() else {
            unreachable!("a program's tables have been checked");
        };
        let p = Shards::new(&mut self.p);
        let observer = sink.as_deref();
        linear::panel_pairs(
            isa,
            &mut self.pool,
            &l.gate,
            &l.up,
            &self.y,
            n,
            &|row, first, len, gate, up| {
                // SAFETY: a panel of a row is one item's alone.
                ew::gate_products(isa, gate, up, silu, unsafe { p.part(row * ffn + first, len) });
                if let Some(s) = observer {
                    s.gate_and_up(rows[row].position, first, &gate[..len], &up[..len]);
                }
            },
        )?;
        self.mark(Stage::GateUp);
        let (p, t, exponent) = (&self.p, Shards::new(&mut self.t), Shards::new(&mut self.exponent));
        each_row(&mut self.pool, n, &|row| {
            // SAFETY: a row is one item's alone.
            let (t, exponent) = unsafe { (t.part(row * ffn, ffn), exponent.part(row, 1)) };
            exponent[0] = ew::gated_row(isa, &p[row * ffn..(row + 1) * ffn], t);
        });
        self.mark(Stage::Exponent);
        let w = &l.down;
        let (h, exponent) = (Shards::new(&mut self.h), &self.exponent);
        linear::panels(isa, &mut self.pool, w, &self.t, n, &|row, first, raw| {
            // SAFETY: a panel of a row is one item's alone.
            ew::add_r32(isa, unsafe { h.part(row * w.rows + first, raw.len()) }, raw, exponent[row]);
        })?;
        self.mark(Stage::Down);
        if let Some(s) = &mut sink {
            s.ffn_output(rows, &self.p, &self.t, &self.exponent, &self.h);
        }
        Ok(())
    }

    /// Last norm and logits of the rows that want them.
    fn head(
        &mut self,
        program: &Program,
        rows: &[Row],
        trace: Option<&mut Trace>,
    ) -> Result<(), EngineError> {
        let a = &program.model.arch;
        let hidden = a.hidden;
        let mut wanted = 0;
        let mut kept = Vec::new();
        for (i, row) in rows.iter().enumerate().filter(|(_, row)| row.logits) {
            let h = &self.h[i * hidden..(i + 1) * hidden];
            let y = &mut self.y[wanted * hidden..(wanted + 1) * hidden];
            let inv = ew::normalise(program.isa, h, a.norm_eps, y);
            if trace.is_some() {
                kept.push((row.position, inv, y.to_vec()));
            }
            ew::final_gain(program.isa, y, &program.model.final_gain);
            wanted += 1;
        }
        self.mark(Stage::Norm);
        self.logits.resize(wanted * a.vocab, 0);
        let logits = Shards::new(&mut self.logits);
        linear::panels(program.isa, &mut self.pool, &program.head, &self.y, wanted, &|row, first, raw| {
            // SAFETY: a panel of a row is one item's alone.
            unsafe { logits.part(row * a.vocab + first, raw.len()) }.copy_from_slice(raw);
        })?;
        self.mark(Stage::Logits);
        if let Some(t) = trace {
            for (i, (position, inv, y)) in kept.into_iter().enumerate() {
                let z = &self.y[i * hidden..(i + 1) * hidden];
                t.push_final(position, inv, y, z, &self.logits[i * a.vocab..(i + 1) * a.vocab]);
            }
        }
        Ok(())
    }
}

/// Runs `body` for each row, in parallel where there is enough to share.
fn each_row(pool: &mut Pool, rows: usize, body: &(dyn Fn(usize) + Sync)) {
    if rows <= 2 {
        (0..rows).for_each(body);
        return;
    }
    pool.run(rows, &|_, row| body(row));
}

/// `(first, number)` of the rows of group `i`.
fn row_group(i: usize, rows: usize) -> (usize, usize) {
    let first = i * ROW_GROUP;
    (first, ROW_GROUP.min(rows - first))
}

/// Number of channels of a panel that are not padding.
fn panel_width(rows: usize, panel: usize) -> usize {
    LANES.min(rows - panel * LANES)
}
