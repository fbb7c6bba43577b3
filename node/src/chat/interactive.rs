//! The conversation: a line editor, streamed answers, and a few commands.

use super::{Conversation, answer};
use crate::error::{Error, Result};
use crate::home::{Home, private_dir, write_atomic};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use std::io::Write as _;
use std::path::Path;

const HELP: &str = "\
/help              this list
/new               forget the conversation
/system TEXT       set the system message and start again
/model [NAME]      show or choose the model
/temperature [T]   show or set the temperature
/seed [N]          show or set the seed
/max [N]           show or set the longest answer, in tokens
/retry             ask the last question again
/receipt FILE      save the receipt of the last answer
/quit              leave (also Ctrl-D); Ctrl-C stops an answer";

/// Holds the conversation until it is left.
///
/// # Errors
/// A terminal that can't be read; what the endpoint says is printed and the conversation goes on.
pub(super) async fn run(mut conversation: Conversation, home: &Home) -> Result<()> {
    let mut editor = DefaultEditor::new().map_err(|e| Error::Local(format!("terminal: {e}")))?;
    // The history holds prompts, so it lives in the private home folder and nowhere else.
    private_dir(home.root())?;
    let history = home.chat_history();
    let mut lines = History::read(&history);
    for line in &lines.0 {
        let _ = editor.add_history_entry(line);
    }
    println!("{} · /help lists the commands", conversation.model);
    let mut last_id = None;
    loop {
        // The editor blocks, so it runs where blocking is allowed and comes back with its line.
        let (line, returned) = tokio::task::spawn_blocking(move || (editor.readline("> "), editor))
            .await
            .map_err(|e| Error::Local(format!("terminal: {e}")))?;
        editor = returned;
        let line = match line {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(e) => return Err(Error::Local(format!("terminal: {e}"))),
        };
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let _ = editor.add_history_entry(line);
        lines.0.push(line.to_owned());
        let question = match line.strip_prefix('/') {
            None => Some(line.to_owned()),
            Some(command) => match obey(command, &mut conversation, last_id.as_deref()).await {
                Ok(Next::Ask(question)) => Some(question),
                Ok(Next::Continue) => None,
                Ok(Next::Leave) => break,
                Err(e) => {
                    eprintln!("{e}");
                    None
                }
            },
        };
        if let Some(question) = question {
            ask(&mut conversation, &question, &mut last_id).await;
        }
    }
    lines.save(&history)
}

/// Lines typed before.
struct History(Vec<String>);

impl History {
    /// Lines that are kept.
    const LINES: usize = 1_000;

    /// The lines of earlier conversations; none where they can't be read.
    fn read(path: &Path) -> Self {
        Self(std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect())
    }

    /// Keeps the last lines, readable by their owner only.
    fn save(&self, path: &Path) -> Result<()> {
        let kept = &self.0[self.0.len().saturating_sub(Self::LINES)..];
        let text: String = kept.iter().map(|l| format!("{l}\n")).collect();
        write_atomic(path, text.as_bytes(), true)
    }
}

async fn ask(conversation: &mut Conversation, question: &str, last_id: &mut Option<String>) {
    conversation.push("user", question);
    let mut said = String::new();
    let outcome = {
        let print = |piece: &str| {
            said.push_str(piece);
            let mut out = std::io::stdout();
            let _ = out.write_all(piece.as_bytes()).and_then(|()| out.flush());
        };
        tokio::select! {
            outcome = answer::stream(conversation, print) => Some(outcome),
            // Dropping the request closes the connection, which cancels the answer.
            _ = tokio::signal::ctrl_c() => None,
        }
    };
    println!();
    match outcome {
        Some(Ok(answer)) => {
            if answer.finish == "length" {
                eprintln!("(cut off at the token limit; /max raises it)");
            }
            conversation.push("assistant", &answer.text);
            *last_id = Some(answer.id);
        }
        Some(Err(e)) => {
            eprintln!("{e}");
            conversation.messages.pop();
        }
        None => {
            eprintln!("(stopped)");
            conversation.push("assistant", &said);
        }
    }
}

enum Next {
    Ask(String),
    Continue,
    Leave,
}

async fn obey(command: &str, conversation: &mut Conversation, last_id: Option<&str>) -> Result<Next> {
    let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
    let rest = rest.trim();
    match name {
        "help" | "?" => println!("{HELP}"),
        "quit" | "exit" | "q" => return Ok(Next::Leave),
        "new" => conversation.start_again(),
        "system" => {
            conversation.options.system = (!rest.is_empty()).then(|| rest.to_owned());
            conversation.start_again();
        }
        "model" if rest.is_empty() => println!("{}", conversation.model),
        "model" => rest.clone_into(&mut conversation.model),
        "temperature" => setting(rest, "temperature", &mut conversation.options.temperature)?,
        "seed" => setting(rest, "seed", &mut conversation.options.seed)?,
        "max" => setting(rest, "longest answer", &mut conversation.options.max_tokens)?,
        "retry" => return Ok(retry(conversation)),
        "receipt" => {
            let id = last_id.ok_or_else(|| Error::Usage("there is no answer yet".into()))?;
            if rest.is_empty() {
                return Err(Error::Usage("/receipt FILE".into()));
            }
            let receipt = conversation.endpoint.get(&format!("/receipts/{id}")).await?;
            write_atomic(Path::new(rest), receipt.to_string().as_bytes(), false)?;
            println!("saved; check it with: monai audit {rest} --reexecute");
        }
        _ => return Err(Error::Usage(format!("/{name} is unknown; /help lists the commands"))),
    }
    Ok(Next::Continue)
}

/// Takes the last exchange back and returns its question.
fn retry(conversation: &mut Conversation) -> Next {
    while let Some(message) = conversation.messages.pop() {
        if message["role"] == "user" {
            return Next::Ask(message["content"].as_str().unwrap_or_default().to_owned());
        }
    }
    conversation.start_again();
    println!("nothing was asked yet");
    Next::Continue
}

fn setting<T: std::str::FromStr + std::fmt::Display>(
    text: &str,
    what: &str,
    value: &mut Option<T>,
) -> Result<()> {
    if !text.is_empty() {
        *value = Some(text.parse().map_err(|_| Error::Usage(format!("{text:?} is no {what}")))?);
    }
    match value {
        Some(value) => println!("{what}: {value}"),
        None => println!("{what}: the endpoint's default"),
    }
    Ok(())
}
