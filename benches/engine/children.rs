//! What the children read, and how the bench talks to them: one line in, one line of JSON out.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use monai_model::file;
use monai_model::gguf::GgufModel;
use monai_model::quantise::{ImportOptions, import};
use monai_model::text::TextCodec;
use serde::de::DeserializeOwned;

/// A folder for the artefact and the ids, removed at the end where the bench has made it.
pub(crate) struct Scratch {
    dir: PathBuf,
    ours: bool,
}

impl Scratch {
    pub(crate) fn new(given: Option<&Path>) -> Result<Self> {
        let ours = given.is_none();
        let dir = given.map_or_else(
            || std::env::temp_dir().join(format!("monai-bench-{}", std::process::id())),
            Path::to_path_buf,
        );
        std::fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        Ok(Self { dir, ours })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.ours {
            // A folder that is left behind in the temporary directory harms nobody.
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// The artefact and the ids of the text, as files.
pub(crate) struct Input {
    pub(crate) artefact: PathBuf,
    /// A JSON array of all ids of the text.
    pub(crate) ids: PathBuf,
    pub(crate) count: usize,
}

impl Input {
    /// Imports the model and tokenises the text.
    pub(crate) fn prepare(gguf: &Path, text: &Path, scratch: &Scratch) -> Result<Self> {
        let artefact = scratch.dir.join("model.monai");
        let start = std::time::Instant::now();
        let source = GgufModel::open(gguf).with_context(|| format!("opening {}", gguf.display()))?;
        let mut model = import(&source, &ImportOptions::default(), &())?;
        file::identify(&mut model)?;
        if !artefact.exists() {
            file::write(&model, &artefact)?;
        }
        println!("imported {} in {:.1} s", gguf.display(), start.elapsed().as_secs_f64());
        let codec = TextCodec::of(&model)?;
        let text = std::fs::read_to_string(text).with_context(|| format!("reading {}", text.display()))?;
        let ids = codec.text_ids(&text)?;
        let path = scratch.dir.join("ids.json");
        std::fs::write(&path, serde_json::to_vec(&ids)?)?;
        Ok(Self { artefact, ids: path, count: ids.len() })
    }
}

/// A child that answers each line with one line of JSON.
pub(crate) struct Answering {
    name: String,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Answering {
    pub(crate) fn start(name: &str, command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {name}: {command:?}"))?;
        let input = child.stdin.take().context("a child without standard input")?;
        let output = BufReader::new(child.stdout.take().context("a child without standard output")?);
        Ok(Self { name: name.to_owned(), child, input, output })
    }

    /// Sends a line and waits for the answer.
    pub(crate) fn ask<T: DeserializeOwned>(&mut self, line: &str) -> Result<T> {
        writeln!(self.input, "{line}").with_context(|| format!("{} has gone", self.name))?;
        self.input.flush()?;
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        serde_json::from_str(&answer).with_context(|| format!("{} answered {answer:?}", self.name))
    }

    /// Lets the child end and checks that it ended well.
    pub(crate) fn end(mut self) -> Result<()> {
        drop(self.input);
        let status = self.child.wait()?;
        ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(())
    }
}
