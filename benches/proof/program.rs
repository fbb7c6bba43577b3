//! The programs that are measured, with a home of their own.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use monai_engine::Engine;
use monai_model::artefact::Model;
use monai_model::text::TextCodec;
use serde::Deserialize;

use crate::answer::{Answer, engine};
use crate::child;

/// Name of the model in the home.
const NAME: &str = "bench";

/// `monai` and `monai-verify`, and what they work on.
pub(crate) struct Program {
    monai: PathBuf,
    verify: PathBuf,
    home: PathBuf,
    /// M.
    commitment: String,
    model: Arc<Model>,
    ids: Vec<u32>,
    /// Started for the first answer; dropped while nothing is asked of it would be its threads' business.
    engine: RefCell<Option<Arc<Engine>>>,
}

/// A proof that was made.
pub(crate) struct Proved {
    /// Of the whole process, model and setup loaded.
    pub(crate) seconds: f64,
    pub(crate) core_seconds: f64,
    pub(crate) peak_rss: u64,
    pub(crate) bytes: u64,
    report: Report,
}

/// What `monai prove --json` says.
#[derive(Deserialize)]
struct Report {
    bytes: u64,
    seconds: f64,
    expected_memory: u64,
    stages: Vec<Stage>,
}

#[derive(Deserialize)]
struct Stage {
    stage: String,
    s: f64,
    core_s: f64,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    path: PathBuf,
}

#[derive(Deserialize)]
struct Committed {
    model_commitment: String,
}

impl Program {
    /// Imports the model and commits to it, where that has not been done in an earlier run.
    pub(crate) fn prepare(args: &crate::Args) -> Result<Self> {
        let home = args.cache.join("home");
        std::fs::create_dir_all(&home).with_context(|| format!("creating {}", home.display()))?;
        let monai = |arguments: &[&str]| -> Result<String> {
            Ok(child::run(Command::new(&args.monai).arg("--home").arg(&home).args(arguments))?.output)
        };
        let gguf = args.gguf.to_str().context("the model's path")?;
        let known = |list: String| -> Result<Option<Listed>> {
            let list: Vec<Listed> = serde_json::from_str(&list).context("monai model list")?;
            Ok(list.into_iter().find(|m| m.name == NAME))
        };
        let mut listed = known(monai(&["model", "list", "--json"])?)?;
        if listed.is_none() {
            monai(&["model", "import", gguf, "--name", NAME])?;
            listed = known(monai(&["model", "list", "--json"])?)?;
        }
        let listed = listed.context("the model was not imported")?;
        let committed: Committed = serde_json::from_str(&monai(&["model", "commit", NAME, "--json"])?)?;
        println!("model commitment {}", committed.model_commitment);
        let model = Arc::new(monai_model::file::load(&listed.path, None)?);
        let text = std::fs::read_to_string(&args.text).with_context(|| format!("{}", args.text.display()))?;
        let ids = TextCodec::of(&model)?.text_ids(&text)?;
        Ok(Self {
            monai: args.monai.clone(),
            verify: args.verify.clone(),
            home,
            commitment: committed.model_commitment,
            model,
            ids,
            engine: RefCell::new(None),
        })
    }

    /// An answer of `ids` ids, half of them prompt.
    pub(crate) fn answer(&self, ids: usize) -> Result<Answer> {
        let prompt = self.ids.get(..ids / 2).context("the text is too short")?;
        let mut kept = self.engine.borrow_mut();
        let engine = match kept.as_ref() {
            Some(engine) => engine.clone(),
            None => kept.insert(engine(&self.model)?).clone(),
        };
        Answer::new(&engine, &self.model, prompt, &self.home)
    }

    /// Proves an answer from its receipt's file to the proof's.
    pub(crate) fn prove(&self, answer: &Answer) -> Result<Proved> {
        let mut command = Command::new(&self.monai);
        command.arg("--home").arg(&self.home).arg("prove").arg(&answer.receipt);
        command.arg("--out").arg(&answer.proof).arg("--json");
        let ended = child::run(&mut command)?;
        let report: Report = serde_json::from_str(&ended.output).context("monai prove --json")?;
        ensure!(
            ended.peak_rss <= report.expected_memory,
            "the proof took {:.2} GiB of memory, said beforehand were {:.2}",
            crate::gib(ended.peak_rss),
            crate::gib(report.expected_memory)
        );
        let length = std::fs::metadata(&answer.proof)?.len();
        ensure!(length == report.bytes, "the proof's file has {length} bytes, said are {}", report.bytes);
        Ok(Proved {
            seconds: ended.seconds,
            core_seconds: ended.core_seconds,
            peak_rss: ended.peak_rss,
            bytes: report.bytes,
            report,
        })
    }

    /// Median milliseconds of fresh processes that verify an answer's proof.
    pub(crate) fn verify(&self, answer: &Answer, times: usize) -> Result<f64> {
        let all = (0..times)
            .map(|_| {
                let mut command = Command::new(&self.verify);
                command.arg(&answer.proof).arg("--model-commitment").arg(&self.commitment);
                Ok(fresh(&mut command)? * 1e3)
            })
            .collect::<Result<Vec<f64>>>()?;
        crate::median(all)
    }
}

/// Seconds of a short process, without looks at its memory in between.
fn fresh(command: &mut Command) -> Result<f64> {
    let start = std::time::Instant::now();
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let seconds = start.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    Ok(seconds)
}

impl Proved {
    /// What was said beforehand, in bytes.
    pub(crate) const fn expected_memory(&self) -> u64 {
        self.report.expected_memory
    }

    /// Prints where the time went.
    pub(crate) fn print(&self) {
        println!("{:<34} {:>9} {:>9}", "stage", "wall s", "core s");
        let known: f64 = self.report.seconds;
        println!("{:<34} {:>9.2}", "process, model and setup", self.seconds - known);
        let (mut wall, mut inside) = (0.0, false);
        for stage in &self.report.stages {
            println!(
                "{:<34} {:>9.2} {:>9.2}",
                format!("{}{}", if inside { "  " } else { "" }, stage.stage),
                stage.s,
                stage.core_s
            );
            // What follows "relations", up to "reduction", is part of it.
            if stage.stage == "reduction" {
                inside = false;
            }
            if !inside {
                wall += stage.s;
            }
            inside |= stage.stage == "relations";
        }
        println!("{:<34} {:>9.2}", "re-execution and encoding", known - wall);
        println!(
            "memory expected {:.2} GiB, measured {:.2} GiB",
            crate::gib(self.report.expected_memory),
            crate::gib(self.peak_rss)
        );
    }
}

/// Where a cached file of the bench is.
pub(crate) fn cached(args: &crate::Args, name: &str) -> PathBuf {
    Path::new(&args.cache).join(name)
}
