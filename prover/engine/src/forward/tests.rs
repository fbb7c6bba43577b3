//! The forward pass against the slow reference, all bits of all logits.

use std::ops::ControlFlow;
use std::sync::Arc;

use monai_model::artefact::Model;
use monai_model::testing::{TinyOptions, tiny};

use super::{Forward, Row};
use crate::kernel::Kernel;
use crate::kv::KvCache;
use crate::program::Program;
use crate::replay::Replay;
use crate::testing::{Variant, ids, model, reference_logits, variants};

/// Random models of every shape, and models that import has made.
fn models() -> Vec<(String, Arc<Model>)> {
    let random = variants().into_iter().map(|v| (format!("{v:?}"), model(&v, 5)));
    let base = TinyOptions::default();
    let made = [
        base.clone(),
        TinyOptions { qkv_bias: true, tied_head: false, ..base.clone() },
        TinyOptions { qk_norm: true, head_dim: 64, kv_heads: 1, ..base },
    ]
    .map(|o| (format!("{o:?}"), Arc::new(tiny(&o).unwrap())));
    random.chain(made).collect()
}

fn logits(model: &Arc<Model>, kernel: Kernel, threads: usize, ids: &[u32]) -> Vec<Vec<i64>> {
    let program = Program::new(Arc::clone(model), Some(kernel)).unwrap();
    Replay::new(program, threads).unwrap().logits(ids).unwrap()
}

#[test]
fn logits_equal_the_reference_on_every_kernel_with_one_and_two_threads() {
    for (name, model) in models() {
        // More than a pass of rows, and more than two blocks of keys.
        let ids = ids(&model, 9, 137);
        let expected = reference_logits(&model, &ids);
        assert!(
            expected[0] != expected[1] && expected[136].iter().any(|&a| a.abs() > 1 << 20),
            "logits that say something"
        );
        for kernel in Kernel::available() {
            for threads in [1, 2, 3] {
                assert!(logits(&model, kernel, threads, &ids) == expected, "{kernel} {threads} {name}");
            }
        }
    }
}

#[test]
fn candle_logits_equal_the_reference() {
    for (name, model) in models() {
        let ids = ids(&model, 9, 70);
        let program = Program::on_device(Arc::clone(&model), &candle_core::Device::Cpu).unwrap();
        let came = Replay::new(program, 2).unwrap().logits(&ids).unwrap();
        assert!(came == reference_logits(&model, &ids), "{name}");
    }
}

/// Rows of several sequences in one pass, by the given numbers a pass, against each sequence alone.
fn batched(model: &Arc<Model>, threads: usize, sequences: &[Vec<u32>], steps: &[usize]) {
    let program = Program::new(Arc::clone(model), None).unwrap();
    let mut forward = Forward::new(Arc::clone(&program), threads).unwrap();
    let mut cache = KvCache::new(program.kv, 64 * program.kv.block_len() * 2, false).unwrap();
    let blocks: Vec<Vec<usize>> = sequences
        .iter()
        .map(|s| (0..KvCache::blocks_for(s.len())).map(|_| cache.allocate().unwrap()).collect())
        .collect();
    let expected: Vec<_> = sequences.iter().map(|s| reference_logits(model, s)).collect();
    let mut computed = vec![0; sequences.len()];
    for &step in steps.iter().cycle() {
        let mut rows = Vec::new();
        for (sequence, ids) in sequences.iter().enumerate() {
            let end = ids.len().min(computed[sequence] + step);
            rows.extend((computed[sequence]..end).map(|position| Row {
                id: ids[position],
                position,
                sequence,
                logits: position % 3 != 1,
            }));
            computed[sequence] = end;
        }
        if rows.is_empty() {
            return;
        }
        let tables: Vec<_> = blocks.iter().map(|b| cache.table(b)).collect();
        forward.run(&rows, &tables, None).unwrap();
        for (i, row) in rows.iter().filter(|r| r.logits).enumerate() {
            assert!(forward.logits(i) == expected[row.sequence][row.position], "{row:?} threads {threads}");
        }
    }
}

#[test]
fn batches_of_one_and_seven_give_the_bits_of_the_reference() {
    for v in [Variant::default(), variants().pop().unwrap()] {
        let model = model(&v, 3);
        let sequences: Vec<Vec<u32>> = (0..7).map(|i| ids(&model, i, 40 + 9 * i as usize)).collect();
        for threads in [1, 2] {
            batched(&model, threads, &sequences[..1], &[1]);
            batched(&model, threads, &sequences, &[1]);
            batched(&model, threads, &sequences, &[17, 1, 1, 5]);
        }
    }
}

#[test]
fn unreadable_positions_are_refused_not_computed() {
    let model = model(&Variant::default(), 1);
    let program = Program::new(Arc::clone(&model), None).unwrap();
    let mut replay = Replay::new(program, 1).unwrap();
    let go = |_: usize, _: &[i64]| ControlFlow::Continue(());
    assert!(replay.for_each_logits(&[model.arch.vocab as u32], 0, go).is_err());
    assert!(replay.for_each_logits(&vec![0; model.arch.max_positions + 1], 0, go).is_err());
    assert!(replay.for_each_logits(&vec![0; model.arch.max_positions], 0, go).is_ok());
    assert!(replay.logits(&[]).unwrap().is_empty());
}
