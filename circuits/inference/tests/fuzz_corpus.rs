//! The fuzz targets' entry functions on the committed corpus and on mutations of it, with the stable compiler.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../fuzz/entry.rs"]
mod entry;

use std::path::Path;

/// Files of a corpus, by name.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 5, "the corpus of {target} is there");
    paths.into_iter().map(|p| std::fs::read(p).unwrap()).collect()
}

struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }

    /// One small change: a bit, a byte, a cut, a repeated part, or another file's part.
    fn mutate(&mut self, bytes: &[u8], other: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        let at = self.next(out.len() + 1).min(out.len());
        match self.next(5) {
            0 if at < out.len() => out[at] ^= 1 << self.next(8),
            1 if at < out.len() => out[at] = self.next(256) as u8,
            2 => out.truncate(at),
            3 => {
                let end = (at + self.next(80)).min(out.len());
                let part = out[at..end].to_vec();
                out.splice(at..at, part);
            }
            _ => {
                let from = self.next(other.len() + 1).min(other.len());
                let to = (from + self.next(120)).min(other.len());
                out.splice(at..at, other[from..to].to_vec());
            }
        }
        out
    }
}

fn run(target: &str, rounds: usize, entry: fn(&[u8])) {
    let files = corpus(target);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for file in &files {
        entry(file);
    }
    for round in 0..rounds {
        let mut bytes = files[round % files.len()].clone();
        for _ in 0..=random.next(3) {
            let other = random.next(files.len());
            bytes = random.mutate(&bytes, &files[other]);
        }
        entry(&bytes);
    }
}

#[test]
fn decoders_never_panic_and_are_canonical() {
    run("decode", 20_000, entry::decode);
    entry::decode(include_bytes!("data/tiny.proof"));
    entry::decode(&include_bytes!("data/tiny.proof")[150..]);
}

#[test]
fn the_verifier_never_panics_and_accepts_nothing_else() {
    run("verify", 150, entry::verify_bytes);
}
