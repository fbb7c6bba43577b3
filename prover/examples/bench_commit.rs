//! Times the commitment: `cargo run -p monai-prover --example bench_commit [log2 of the size] [setup file]`.
//!
//! Prints nanoseconds a point for each kind of scalar, one linear combination, and one opening. Each
//! number is the best of three, on as many threads as `RAYON_NUM_THREADS` says.

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use ark_bn254::Fr;
use ark_ff::Field;
use monai_inference::commitment::{KeccakTranscript, verify_opening};
use monai_prover::commit::{ChunkRef, Srs, combine, open};

fn noise(i: usize) -> u64 {
    (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// Best of three, in seconds.
fn best<T>(mut run: impl FnMut() -> T) -> (f64, T) {
    let mut least = f64::MAX;
    let mut last = None;
    for _ in 0..3 {
        let start = Instant::now();
        let out = run();
        least = least.min(start.elapsed().as_secs_f64());
        last = Some(out);
    }
    (least, last.unwrap_or_else(|| unreachable!("it ran")))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let variables: usize = arguments.next().map_or(Ok(20), |s| s.parse())?;
    let path = arguments
        .next()
        .map_or_else(|| std::env::temp_dir().join(format!("monai-srs-{variables}")), PathBuf::from);
    let n = 1usize << variables;
    println!("2^{variables} values, {} threads", rayon::current_num_threads());

    let start = Instant::now();
    let made = Srs::insecure_dev(variables, b"bench")?;
    println!("setup made      {:8.3} s  ({})", start.elapsed().as_secs_f64(), made.kind());
    drop(made);
    let srs = Srs::insecure_dev_cached(variables, b"bench", &path)?;
    let start = Instant::now();
    drop(Srs::load(&path)?);
    println!("setup loaded    {:8.3} s", start.elapsed().as_secs_f64());

    let i8s: Vec<i8> = (0..n).map(|i| noise(i) as i8).collect();
    let i16s: Vec<i16> = (0..n).map(|i| noise(i) as i16).collect();
    let u16s: Vec<u16> = (0..n).map(|i| noise(i) as u16).collect();
    let i20s: Vec<i32> = (0..n).map(|i| noise(i) as i32 >> 12).collect();
    let i32s: Vec<i32> = (0..n).map(|i| noise(i) as i32).collect();
    let i64s: Vec<i64> = (0..n).map(|i| noise(i) as i64).collect();
    let wide: Vec<Fr> = (0..n).map(|i| Fr::from(noise(i)).pow([5])).collect();
    let kinds = [
        ("i8", ChunkRef::I8(&i8s)),
        ("i16", ChunkRef::I16(&i16s)),
        ("u16", ChunkRef::U16(&u16s)),
        ("20 bits", ChunkRef::I32(&i20s)),
        ("i32", ChunkRef::I32(&i32s)),
        ("i64", ChunkRef::I64(&i64s)),
        ("full width", ChunkRef::Fr(&wide)),
    ];
    for (name, chunk) in kinds {
        let (seconds, c) = best(|| srs.commit(chunk));
        c?;
        println!("commit {name:<10} {seconds:8.3} s  {:8.1} ns/point", seconds * 1e9 / n as f64);
    }

    let chunks: Vec<ChunkRef<'_>> =
        (0..64).map(|_| ChunkRef::I8(&i8s)).chain((0..14).map(|_| ChunkRef::I16(&i16s))).collect();
    let coefficients: Vec<Fr> = (0..chunks.len()).map(|i| Fr::from(noise(i)).pow([7])).collect();
    let (seconds, _) = best(|| combine(&chunks, &coefficients, n));
    println!(
        "combine {} chunks {seconds:6.3} s  {:8.2} ns/value",
        chunks.len(),
        seconds * 1e9 / (n * chunks.len()) as f64
    );

    let (c8, c16) = (srs.commit(ChunkRef::I8(&i8s))?, srs.commit(ChunkRef::I16(&i16s))?);
    let commitments: Vec<_> = (0..64).map(|_| c8).chain((0..14).map(|_| c16)).collect();
    let point: Vec<Fr> = (0..variables).map(|i| Fr::from(noise(i + 77)).pow([11])).collect();
    let (seconds, opened) = best(|| {
        open(&srs, &chunks, &commitments, &coefficients, &point, &mut KeccakTranscript::new(b"bench"))
    });
    let (value, proof) = opened?;
    println!("open            {seconds:8.3} s  ({} bytes)", proof.to_bytes().len());
    let (seconds, verified) = best(|| {
        let t = &mut KeccakTranscript::new(b"bench");
        verify_opening(srs.key(), &commitments, &coefficients, &point, &value, &proof, t)
    });
    verified?;
    println!("verify          {:8.3} ms", seconds * 1e3);
    Ok(())
}
