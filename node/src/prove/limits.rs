//! `monai prove --limits`: how long an answer this machine can prove.

use super::kit::header_of;
use super::memory::{available, gib};
use crate::error::{Error, Result};
use crate::home::Home;
use crate::models::ModelStore;
use monai_inference::shape::Shape;
use monai_prover::{MemoryEstimate, most_positions};
use serde_json::json;

/// Prints the longest answer that fits, and what shorter ones take.
pub(super) fn print(model: &str, as_json: bool, home: &Home) -> Result<()> {
    let model = ModelStore::new(home.models()).load(model)?;
    let header = header_of(&model)?;
    let free = available().ok_or_else(|| Error::Local("this system does not tell its free memory".into()))?;
    let shape = |e: monai_inference::ShapeError| Error::Prover(e.to_string());
    let most = most_positions(&header, free).map_err(shape)?;
    let mut table = Vec::new();
    let mut ids = 64;
    while ids <= header.arch.max_positions.min(1 << 14) {
        let shape = Shape::new(&header, ids / 2, ids / 2).map_err(shape)?;
        table.push((ids, MemoryEstimate::new(&shape).total()));
        ids *= 2;
    }
    if as_json {
        let table: Vec<_> = table.iter().map(|(ids, bytes)| json!({"ids": ids, "bytes": bytes})).collect();
        println!(
            "{}",
            json!({"model": model.id, "free": free, "most_ids": most, "registered": header.arch.max_positions, "table": table})
        );
        return Ok(());
    }
    println!("{} of memory are free", gib(free));
    for (ids, bytes) in table {
        println!("  {ids:>6} ids  {:>9}{}", gib(bytes), if bytes > free { "  too much" } else { "" });
    }
    match most {
        Some(n) => println!("the longest answer that can be proved here: {n} ids, half of them prompt"),
        None => println!("no answer of this model can be proved here"),
    }
    if most.is_none_or(|n| n < header.arch.max_positions) {
        println!(
            "the model is registered for {}; import it with --max-positions {} to promise no more than can be proved",
            header.arch.max_positions,
            most.unwrap_or(0)
        );
    }
    Ok(())
}
