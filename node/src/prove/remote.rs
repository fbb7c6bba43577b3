//! `monai prove --node`: the job is made elsewhere, this side waits.

use crate::error::{Error, FileContext as _, Result};
use crate::home::Home;
use crate::openai::Endpoint;
use indicatif::{ProgressBar, ProgressStyle};
use monai_inference::proof_file::MAX_PROOF_FILE_BYTES;
use reqwest::Method;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Between two questions how far the job is.
const POLL: Duration = Duration::from_millis(300);

/// Has a receipt proved by a node and returns the proof file, unverified: whoever relies on it verifies it.
///
/// # Errors
/// [`Error::Refused`] by the node, [`Error::Invalid`] where it can't prove the answer, the order to stop.
pub(super) async fn prove(
    node: &str,
    token_file: Option<&Path>,
    receipt: &[u8],
    home: &Home,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<u8>> {
    let path = token_file.map_or_else(|| home.prove().join("token"), Path::to_path_buf);
    let token = std::fs::read_to_string(&path).at(&path)?.trim().to_owned();
    let node = Endpoint::new(node, Some(token))?;
    let job = node.post_bytes("/prove", receipt.to_vec()).await?;
    let id = job["id"].as_str().ok_or_else(|| strange(&node))?.to_owned();
    let at = format!("/prove/{id}");
    let bar = ProgressBar::new(100);
    if let Ok(style) = ProgressStyle::with_template("proving {bar:30} {pos:>3}% {msg} ({elapsed})") {
        bar.set_style(style);
    }
    loop {
        let job = node.get(&at).await?;
        match job["state"].as_str() {
            Some("done") => break,
            Some("failed") => {
                return Err(Error::Invalid(
                    job["error"].as_str().unwrap_or("the node gives no reason").to_owned(),
                ));
            }
            Some("cancelled") => return Err(Error::Local("cancelled".into())),
            Some("queued") => bar.set_message("queued"),
            Some("running") => {
                bar.set_position(job["percent"].as_u64().unwrap_or(0));
                bar.set_message(job["stage"].as_str().unwrap_or_default().to_owned());
            }
            _ => return Err(strange(&node)),
        }
        if stop.load(Ordering::Relaxed) {
            let response = node.send(node.request(Method::DELETE, &at), &at).await;
            return Err(response.err().unwrap_or_else(|| Error::Local("cancelled".into())));
        }
        tokio::time::sleep(POLL).await;
    }
    bar.finish_and_clear();
    let bytes = node.get_bytes(&format!("{at}/proof")).await?;
    if bytes.len() > MAX_PROOF_FILE_BYTES {
        return Err(strange(&node));
    }
    Ok(bytes)
}

fn strange(node: &Endpoint) -> Error {
    Error::Unreachable { url: node.url(""), what: "it does not answer as a queue of proofs".into() }
}
