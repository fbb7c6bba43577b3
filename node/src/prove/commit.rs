//! `monai model commit`: the commitment under which a model is registered.

use super::kit::Kit;
use crate::cli::SetupArgs;
use crate::error::Result;
use crate::home::{Home, write_atomic};
use crate::models::StoredModel;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Makes, keeps and prints the commitment of a model.
///
/// # Errors
/// What keeps it from being made; the order to stop, after which a later call continues.
pub(crate) async fn run(
    stored: StoredModel,
    out: Option<PathBuf>,
    setup: SetupArgs,
    home: Home,
    as_json: bool,
) -> Result<()> {
    let stop = super::stopping();
    let work = move || make(&stored, out.as_deref(), &setup, &home, &stop, as_json);
    tokio::task::spawn_blocking(work).await.map_err(|e| crate::error::Error::Local(e.to_string()))?
}

/// Makes and keeps the commitment of a model under the default setup.
///
/// # Errors
/// As [`run`].
pub(crate) fn keep(stored: &StoredModel, home: &Home) -> Result<()> {
    Kit::load(stored, &SetupArgs::default(), home, &AtomicBool::new(false)).map(|_| ())
}

fn make(
    stored: &StoredModel,
    out: Option<&Path>,
    setup: &SetupArgs,
    home: &Home,
    stop: &Arc<AtomicBool>,
    as_json: bool,
) -> Result<()> {
    let kit = Kit::load(stored, setup, home, stop)?;
    let registered = kit.registered();
    let path =
        out.map_or_else(|| home.commitments().join(format!("{}.commitment", stored.name)), Path::to_path_buf);
    write_atomic(&path, &registered.commitment().to_bytes(), false)?;
    let (digest, setup) = (registered.digest(), kit.srs.kind().to_string());
    let chunks = registered.chunks().len();
    if as_json {
        let path = path.display().to_string();
        println!(
            "{}",
            json!({"model": stored.id, "model_commitment": digest, "chunks": chunks, "setup": setup, "path": path})
        );
    } else {
        println!("{}  {digest}", stored.name);
        println!("  {:<18} {}", "file", path.display());
        println!("  {:<18} {chunks}", "chunks");
        println!("  {:<18} {setup}", "setup");
    }
    Ok(())
}
