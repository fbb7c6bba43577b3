//! The program on a committed proof of a tiny model: exit codes, output, and no dependency on a prover.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use monai_inference::ProofFile;
use monai_inference::commitment::ModelCommitment;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(name)
}

fn proof() -> ProofFile {
    ProofFile::from_bytes(&std::fs::read(data("tiny.proof")).unwrap()).unwrap()
}

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_monai-verify")).args(args).output().unwrap()
}

fn code(args: &[&str]) -> i32 {
    run(args).status.code().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_valid_proof_is_accepted_by_digest_and_by_file() {
    let (path, commitment, key) = (data("tiny.proof"), data("tiny.commitment"), data("tiny.key"));
    let m = proof().commitment.digest().to_string();
    let (r, o) = (proof().publics[0].request.to_string(), proof().publics[0].output.to_string());
    for given in [m.as_str(), &m[2..], text(&commitment)] {
        let out = run(&[text(&path), "--model-commitment", given]);
        assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
        let said = String::from_utf8(out.stdout).unwrap();
        for part in ["valid", &m, &r, &o, "INSECURE SETUP", "Not zero-knowledge"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    let n = proof().publics[0].n_out.to_string();
    let out = run(&[
        text(&path),
        "--model-commitment",
        &m,
        "--setup",
        text(&key),
        "--request",
        &r,
        "--output",
        &o,
        "--n-in",
        "5",
        "--n-out",
        &n,
        "--json",
    ]);
    assert_eq!(out.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(json["valid"], true);
    assert_eq!(json["model_commitment"], m);
    assert_eq!(json["answers"][0]["request"], r);
    assert_eq!(json["secure_setup"], false);
    assert_eq!(json["zero_knowledge"], false);
}

#[test]
fn what_is_not_what_was_asked_for_is_refused_with_1() {
    let path = data("tiny.proof");
    let m = proof().commitment.digest().to_string();
    let other = m.replace(&m[60..], &"0".repeat(6));
    assert_eq!(code(&[text(&path), "--model-commitment", &other]), 1);
    let with = |args: &[&str]| {
        let mut all = vec![text(&path), "--model-commitment", &m];
        all.extend(args);
        code(&all)
    };
    let (r, o) = (proof().publics[0].request.to_string(), proof().publics[0].output.to_string());
    assert_eq!(with(&["--request", &o]), 1);
    assert_eq!(with(&["--output", &r]), 1);
    assert_eq!(with(&["--n-in", "6"]), 1);
    assert_eq!(with(&["--n-out", "9"]), 1);
    assert_eq!(with(&["--finish", "cancelled"]), 1);
    assert_eq!(with(&["--require-ceremony"]), 1);
    let out = run(&[text(&path), "--model-commitment", &m, "--n-in", "6", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(json["valid"], false);
    assert!(json["error"].as_str().unwrap().contains("n_in"));
}

#[test]
fn damaged_and_arbitrary_files_are_refused_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let m = proof().commitment.digest().to_string();
    let bytes = std::fs::read(data("tiny.proof")).unwrap();
    let path = folder.path().join("proof");
    let check = |name: &str, bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let out = run(&[text(&path), "--model-commitment", &m]);
        assert_eq!(out.status.code(), Some(1), "{name}");
        assert!(!String::from_utf8_lossy(&out.stderr).contains("panicked"), "{name}");
    };
    check("empty", &[]);
    check("cut", &bytes[..bytes.len() / 2]);
    check("noise", &[0xa5; 3000]);
    for at in [0, 4, 5, 40, 73, 78, 90, 230, 400, 4000, bytes.len() - 1] {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        check(&format!("byte {at}"), &bad);
    }
    let mut long = bytes.clone();
    long.push(0);
    check("a byte more", &long);
}

#[test]
fn wrong_arguments_and_unreadable_files_give_2() {
    let (path, key) = (data("tiny.proof"), data("tiny.key"));
    let m = proof().commitment.digest().to_string();
    assert_eq!(code(&[]), 2);
    assert_eq!(code(&[text(&path)]), 2);
    assert_eq!(code(&["/nowhere/at/all", "--model-commitment", &m]), 2);
    assert_eq!(code(&[text(&path), "--model-commitment", "/nowhere/at/all"]), 2);
    assert_eq!(code(&[text(&path), "--model-commitment", text(&key)]), 2);
    assert_eq!(code(&[text(&path), "--model-commitment", &m, "--setup", text(&path)]), 2);
    assert_eq!(code(&[text(&path), "--model-commitment", &m, "--request", "0x12"]), 2);
    assert_eq!(code(&[text(&path), "--model-commitment", &m, "--finish", "never"]), 2);
    // A folder is no file; a device without an end is cut off at the limit.
    assert_eq!(code(&["/", "--model-commitment", &m]), 2);
    assert_eq!(code(&["/dev/zero", "--model-commitment", &m]), 2);
}

/// Another setup's key and another model's commitment, each well-formed.
#[test]
fn another_key_or_model_is_refused_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let path = data("tiny.proof");
    let commitment = std::fs::read(data("tiny.commitment")).unwrap();
    let mut other = ModelCommitment::from_bytes(&commitment).unwrap();
    other.template[0] ^= 1;
    let file = folder.path().join("other");
    std::fs::write(&file, other.to_bytes()).unwrap();
    assert_eq!(code(&[text(&path), "--model-commitment", text(&file)]), 1);
    let mut key = std::fs::read(data("tiny.key")).unwrap();
    // The same point for larger chunks is another key.
    key[6] += 1;
    std::fs::write(&file, key).unwrap();
    let m = proof().commitment.digest().to_string();
    assert_eq!(code(&[text(&path), "--model-commitment", &m, "--setup", text(&file)]), 1);
}

#[test]
fn no_prover_is_among_the_dependencies() {
    let out = Command::new(env!("CARGO"))
        .args(["tree", "-p", "monai-verify", "-e", "normal", "--prefix", "none", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let list = String::from_utf8(out.stdout).unwrap();
    assert!(list.contains("monai-inference"));
    for name in ["monai-prover", "monai-engine", "candle", "halo2", "rocksdb", "tokio"] {
        assert!(!list.lines().any(|l| l.starts_with(name)), "{name} is a dependency");
    }
}
