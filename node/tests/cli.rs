//! The command line: exit codes, keys, models, configuration, the devnet.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use std::process::Output;
use support::home::{PASSWORD, TestHome};
use support::process::{Daemon, monai, run, signal};

fn text(output: &Output) -> (i32, String, String) {
    let utf8 = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
    (output.status.code().unwrap(), utf8(&output.stdout), utf8(&output.stderr))
}

#[test]
fn help_and_completions() {
    let dir = tempfile::tempdir().unwrap();
    for command in [
        "devnet",
        "node",
        "sequencer",
        "chat",
        "proxy",
        "audit",
        "prove",
        "verify",
        "model",
        "keys",
        "network",
        "store",
    ] {
        let (code, out, _) = text(&run(monai(dir.path()).args([command, "--help"])));
        assert_eq!(code, 0, "{command}");
        assert!(out.contains("Usage: monai"), "{command}: {out}");
    }
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (code, out, _) = text(&run(monai(dir.path()).args(["completions", shell])));
        assert!(code == 0 && out.contains("monai") && out.contains("devnet"), "{shell}");
    }
}

#[test]
fn exit_codes_say_what_kind_of_failure_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let receipt = dir.path().join("receipt.json");
    std::fs::write(&receipt, "{}").unwrap();
    let code = |args: &[&str]| text(&run(monai(dir.path()).args(args))).0;
    let receipt = receipt.to_str().unwrap();
    assert_eq!(code(&["audit"]), 2);
    assert_eq!(code(&["fly"]), 2);
    assert_eq!(code(&["audit", receipt]), 3);
    assert_eq!(code(&["audit", "absent.json"]), 3);
    assert_eq!(code(&["model", "info", "absent"]), 3);
    assert_eq!(code(&["node", "--sequencer", "ws://127.0.0.1:1"]), 3);
    assert_eq!(code(&["node"]), 2);
    assert_eq!(code(&["chat", "hello", "--url", "http://127.0.0.1:1/v1"]), 4);
    assert_eq!(code(&["chat", "hello", "--url", "ftp://x"]), 2);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let (code, _, err) = text(&run(monai(dir.path()).args(["devnet", "--no-l1", "--port", &port])));
    assert_eq!(code, 5);
    assert!(err.contains(&port) && err.contains("another program listens there"), "{err}");
    std::fs::write(dir.path().join("monai.toml"), "[node]\nmax_streams = 3\n").unwrap();
    let (code, _, err) = text(&run(monai(dir.path()).args(["keys", "list"])));
    assert_eq!(code, 2);
    assert!(err.contains("monai.toml") && err.contains("max_streams"), "{err}");
}

#[test]
fn keys_are_made_listed_and_moved_without_showing_them() {
    let dir = tempfile::tempdir().unwrap();
    let keys = |args: &[&str]| {
        let mut command = monai(dir.path());
        text(&run(command.arg("keys").args(args).env("MONAI_PASSWORD", PASSWORD)))
    };
    let (code, out, _) = keys(&["new", "operator", "--json"]);
    assert_eq!(code, 0);
    let made: Value = serde_json::from_str(&out).unwrap();
    let address = made["address"].as_str().unwrap();
    assert_eq!(keys(&["show-address", "operator"]).1.trim(), address);
    assert!(keys(&["list"]).1.contains(address));
    let exported: Value = serde_json::from_str(&keys(&["export-address", "operator"]).1).unwrap();
    assert_eq!(exported, json!({"name": "operator", "address": address}));
    let path = made["path"].as_str().unwrap();
    assert_eq!(keys(&["import", "copy", path]).0, 0);
    assert_eq!(keys(&["show-address", "copy"]).1.trim(), address);
    assert_eq!(keys(&["new", "operator"]).0, 2);
    let (code, _, err) = text(&run(monai(dir.path()).args(["keys", "new", "x"])));
    assert_eq!(code, 2);
    assert!(err.contains("--password-file"), "{err}");
    let mut command = monai(dir.path());
    command.args(["keys", "import", "bad", path]).env("MONAI_PASSWORD", "wrong");
    assert_eq!(text(&run(&mut command)).0, 5);

    // A private key comes in on standard input only; what is no key is not quoted.
    use std::io::Write as _;
    let import = |name: &str, secret: &str| {
        let mut command = monai(dir.path());
        command.args(["keys", "import", name, "-"]).env("MONAI_PASSWORD", PASSWORD);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(secret.as_bytes()).unwrap();
        text(&child.wait_with_output().unwrap())
    };
    let one = format!("{:064x}\n", 1);
    let (code, out, _) = import("one", &one);
    assert_eq!(code, 0);
    assert!(out.contains("0x7e5f4552091a69125d5dfcb7b8c2659029395bdf"));
    let (code, out, err) = import("none", "deadbeefdeadbeef");
    assert_eq!(code, 2);
    assert!(!out.contains("deadbeef") && !err.contains("deadbeef"));
}

#[test]
fn models_are_listed_shown_and_evaluated() {
    let home = TestHome::new();
    let model = |args: &[&str]| text(&run(monai(home.path()).arg("model").args(args)));
    let listed: Value = serde_json::from_str(&model(&["list", "--json"]).1).unwrap();
    let id = home.model.id.to_string();
    assert_eq!((&listed[0]["name"], &listed[0]["digest"]), (&json!("tiny"), &json!(id)));
    for name in ["tiny", &id, &id[2..14], home.model.path.to_str().unwrap()] {
        let info: Value = serde_json::from_str(&model(&["info", name, "--json"]).1).unwrap();
        assert_eq!(info["digest"], id, "{name}");
    }
    let ids = home.path().join("ids.json");
    std::fs::write(&ids, "[1, 50, 60, 70, 80, 90]").unwrap();
    let (code, out, _) = model(&["eval", "tiny", "--ids", ids.to_str().unwrap(), "--json"]);
    assert_eq!(code, 0);
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(found["tokens"], 5);
    // The same number from the reference's definition: f64 softmax of the integer logits at temperature 1.
    let loaded = home.model.load().unwrap();
    let expected = nll_by_reference(&loaded, &[1, 50, 60, 70, 80, 90]);
    let nll = found["nll"].as_f64().unwrap();
    assert!((nll - expected).abs() < 1e-9, "{nll} is not {expected}");
    for bad in ["[1]", "[1, 99999999]", "{}", "[1, -2]"] {
        std::fs::write(&ids, bad).unwrap();
        assert_ne!(model(&["eval", "tiny", "--ids", ids.to_str().unwrap()]).0, 0, "{bad}");
    }
}

fn nll_by_reference(model: &monai_model::artefact::Model, ids: &[u32]) -> f64 {
    use monai_model::reference::Reference;
    let mut reference = Reference::new(model);
    let tau = i128::from((model.arch.tau_one + (1 << 31)) >> 32);
    let mut total = 0.0;
    for pair in ids.windows(2) {
        let residual = reference.advance(pair[0]);
        let raw = reference.logits(&residual);
        let logits: Vec<f64> =
            raw.iter().map(|&a| ((i128::from(a) * tau + (1 << 31)) >> 32) as f64 / 4096.0).collect();
        let top = logits.iter().copied().fold(f64::MIN, f64::max);
        let sum: f64 = logits.iter().map(|l| (l - top).exp()).sum();
        total += top + sum.ln() - logits[pair[1] as usize];
    }
    total / (ids.len() - 1) as f64
}

/// The devnet: ready with a real answer, children that are brought back, one folder one devnet, nothing left behind.
#[test]
fn a_devnet_runs_restarts_and_stops() {
    let home = TestHome::new();
    let log = home.path().join("devnet.log");
    let start = || {
        let mut command = monai(home.path());
        Daemon::start(command.args(["devnet", "--no-l1", "--port", "0", "--model", "tiny"]), &log)
    };
    let mut devnet = start();
    let url = devnet.line("ready ");
    let chat = || {
        let mut command = monai(home.path());
        let args = ["chat", "hello", "--max-tokens", "4", "--json", "--receipt", "r.json", "--url", &url];
        text(&run(command.args(args)))
    };
    assert_eq!(chat().0, 0);
    // Audit finds anchors and model by itself.
    let (code, out, err) = text(&run(monai(home.path()).args(["audit", "r.json", "--reexecute"])));
    assert_eq!(code, 0, "{out}{err}");
    let (code, _, err) =
        text(&run(monai(home.path()).args(["devnet", "--no-l1", "--port", "0", "--model", "tiny"])));
    assert_eq!(code, 5, "{err}");
    assert!(err.contains("another devnet runs"), "{err}");

    let pids = pids(&log);
    assert_eq!(pids.len(), 4);
    // All nodes die at once; the devnet brings them back.
    pids[1..].iter().for_each(|&p| signal(p, "KILL"));
    let deadline = std::time::Instant::now() + support::process::PATIENCE;
    while chat().0 != 0 {
        assert!(std::time::Instant::now() < deadline, "the nodes do not come back");
    }
    devnet.signal("TERM");
    assert_eq!(devnet.wait().code(), Some(0));
    gone(&pids);

    // The same keys and receipts after a restart; then the parent is killed, and its children follow.
    let anchors = std::fs::read_to_string(home.path().join("devnet/anchors.json")).unwrap();
    let before: Value = serde_json::from_str(&anchors).unwrap();
    std::fs::remove_file(&log).unwrap();
    let mut devnet = start();
    devnet.line("ready ");
    let after: Value =
        serde_json::from_slice(&std::fs::read(home.path().join("devnet/anchors.json")).unwrap()).unwrap();
    assert_eq!(before["sequencer"], after["sequencer"]);
    let (code, out, _) = text(&run(monai(home.path()).args(["audit", "r.json"])));
    assert_eq!(code, 0, "{out}");
    devnet.kill();
    gone(&self::pids(&log));
}

/// Process ids that the devnet has named in its log.
fn pids(log: &std::path::Path) -> Vec<u32> {
    let text = std::fs::read_to_string(log).unwrap();
    text.split("(pid ").skip(1).map(|rest| rest.split(')').next().unwrap().parse().unwrap()).collect()
}

/// Waits until none of the processes runs.
fn gone(pids: &[u32]) {
    let deadline = std::time::Instant::now() + support::process::PATIENCE;
    // A zombie of a killed parent is reaped by init; its command line is empty.
    let runs = |pid: &u32| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|c| !c.is_empty());
    while pids.iter().any(runs) {
        assert!(std::time::Instant::now() < deadline, "{pids:?} still run");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
