//! Imports a GGUF file or a Hugging Face folder into a store and says what came out and how long it took.
//!
//! `cargo run -p monai-model --example import -- SOURCE STORE`

use std::path::Path;
use std::time::Instant;

use monai_model::file::Store;
use monai_model::quantise::{ImportOptions, import};
use monai_model::source::open;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, source, dir] = args.as_slice() else { return Err("usage: import SOURCE STORE".into()) };
    let start = Instant::now();
    let source = open(Path::new(source))?;
    let mut model = import(source.as_ref(), &ImportOptions::default(), &())?;
    println!("imported in {:.2?}", start.elapsed());
    let start = Instant::now();
    let store = Store::open(dir)?;
    let id = store.add(&mut model)?;
    println!("written in {:.2?}: {}", start.elapsed(), store.path(&id).display());
    let start = Instant::now();
    let model = store.load(&id)?;
    println!("loaded and checked in {:.2?}: {:?}", start.elapsed(), model.arch);
    let layers = model.layers.iter().filter(|l| l.down.acc32 && l.up.acc32 && l.q.acc32).count();
    println!("{layers} layers have 32-bit sums; head {}", model.head().acc32);
    Ok(())
}
