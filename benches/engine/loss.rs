//! Loss of the integer model beside that of the GGUF dequantised to f32, on the same ids.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::children::{Answering, Input};

/// Fewest ids that the loss is measured on.
const LEAST: usize = 1_500;

/// Mean nats a token of the integer model minus those of the float model (a plain numpy forward pass in f32 with the
/// loss in f64: `benches/peers/float_nll.py`, which shares no code with the import).
pub(crate) fn delta(args: &crate::Args, input: &Input, gguf: &Path, python: &Path) -> Result<f64> {
    ensure!(input.count > LEAST, "the text has only {} ids, {LEAST} are needed", input.count);
    let mut engine = Answering::start("the engine", &mut crate::speed::engine_command(input, 2, false)?)?;
    let integer: f64 = engine.ask("nll")?;
    engine.end()?;
    println!("integer model: {integer:.5} nats a token over {} tokens", input.count - 1);
    let mut command = Command::new(python);
    command.arg(args.peers.join("float_nll.py")).arg(gguf).arg(&input.ids);
    let mut peer = Answering::start("the float model", &mut command)?;
    let float: f64 = peer.ask("nll")?;
    peer.end()?;
    println!("float model:   {float:.5} nats a token");
    ensure!(integer.is_finite() && float.is_finite(), "a loss is not a number");
    Ok(integer - float)
}
