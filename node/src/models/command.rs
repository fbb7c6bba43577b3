//! `monai model`.

use super::{ImportBar, ModelStore, eval, import};
use crate::cli::ModelCommand;
use crate::error::Result;
use crate::home::Home;
use monai_model::artefact::Model;
use serde_json::json;

/// Runs the command.
///
/// # Errors
/// What the store, a source or the engine says.
pub fn run(command: ModelCommand, home: &Home) -> Result<()> {
    let store = ModelStore::new(home.models());
    match command {
        ModelCommand::Import { source, name, max_positions, commit, json: as_json } => {
            let imported = import(&store, &source, name, max_positions, &ImportBar::default())?;
            let stored = imported.stored;
            if commit {
                crate::prove::commit::keep(&stored, home)?;
            }
            if as_json {
                let path = stored.path.display().to_string();
                println!("{}", json!({"name": stored.name, "digest": stored.id, "path": path}));
            } else {
                println!("{}  {}", stored.name, stored.id);
            }
        }
        ModelCommand::Info { model, json: as_json } => info(&store.load(&model)?, as_json),
        ModelCommand::Eval { model, ids, json: as_json, threads } => {
            let ids = eval::read_ids(&ids)?;
            let threads = threads.unwrap_or_else(crate::engine::default_threads);
            let found = eval::nll(store.load(&model)?, &ids, threads)?;
            if as_json {
                println!("{}", json!({"nll": found.nll, "tokens": found.tokens}));
            } else {
                println!("{:.6} nats a token, mean over {} predicted tokens", found.nll, found.tokens);
            }
        }
        // Needs a runtime, for the order to stop: `crate::run` has it.
        ModelCommand::Commit { .. } => {}
        ModelCommand::List { json: as_json } => {
            let models = store.list()?;
            if as_json {
                let list: Vec<_> = models
                    .iter()
                    .map(|m| json!({"name": m.name, "digest": m.id, "path": m.path.display().to_string()}))
                    .collect();
                println!("{}", serde_json::Value::from(list));
            } else {
                for model in models {
                    println!("{:<32} {}", model.name, model.id);
                }
            }
        }
    }
    Ok(())
}

fn info(model: &Model, as_json: bool) {
    let text = &model.text;
    let facts = json!({
        "name": model.name,
        "digest": model.id,
        "architecture": model.arch,
        "chat_template": text.chat_template.is_some(),
        "eos_ids": text.eos_ids,
        "bos_id": text.bos_id,
    });
    if as_json {
        println!("{facts}");
        return;
    }
    println!("{:<18} {}", "name", model.name);
    println!("{:<18} {}", "digest", model.id);
    let (Some(arch), Some(facts)) = (facts["architecture"].as_object(), facts.as_object()) else { return };
    for (name, value) in arch {
        println!("{name:<18} {}", value.to_string().trim_matches('"'));
    }
    for name in ["chat_template", "eos_ids", "bos_id"] {
        println!("{name:<18} {}", facts.get(name).unwrap_or(&serde_json::Value::Null));
    }
}
