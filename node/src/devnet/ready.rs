//! Ready means that a real answer has come back, not that a port is open.

use super::layout::Layout;
use super::setup::Place;
use crate::error::{Error, Result};
use crate::openai::Endpoint;
use serde_json::json;
use std::io::Write as _;
use std::time::Duration;
use tokio::time::Instant;

/// For the children to load the model, find each other and answer.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two attempts.
const INTERVAL: Duration = Duration::from_millis(200);

/// Waits for the first answer: one token from a drawn node, with its receipt.
pub(super) async fn wait(endpoint: &Endpoint, model: &str) -> Result<()> {
    let body = json!({
        "model": model,
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 1,
        "temperature": 0,
    });
    let start = Instant::now();
    loop {
        match endpoint.post_json("/chat/completions", &body).await {
            Ok(_) => return Ok(()),
            Err(error) if start.elapsed() > PATIENCE => {
                return Err(Error::Local(format!("no answer after {PATIENCE:?}: {error}; the logs say why")));
            }
            Err(error) => tracing::debug!(%error, "not ready"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Says so, in a line that scripts can wait for.
pub(super) fn announce(endpoint: &Endpoint, model: &str, layout: &Layout, l1: Option<&Place>) {
    let url = endpoint.url("");
    let mut out = std::io::stdout().lock();
    // Who started this may have closed its end; the network runs on.
    let _ = write!(
        out,
        "ready {url}\n\
         \n\
         The API key is devnet. Try:\n\
         \n  curl -N {url}/chat/completions -H 'Authorization: Bearer devnet' \\\n    \
         -H 'Content-Type: application/json' \\\n    \
         -d '{{\"model\":\"{model}\",\"stream\":true,\"temperature\":0,\
         \"messages\":[{{\"role\":\"user\",\"content\":\"Name the capital of France.\"}}]}}'\n\
         \nor `monai chat`. Everything is kept in {}. Ctrl-C stops.\n",
        layout.root().display()
    );
    if let Some(l1) = l1 {
        let _ = write!(
            out,
            "L1 is at {}, its contracts in {}. Keys: owner-1…, holder, user. Try:\n\
             \n  monai delegate NODE 500 --key holder --dry-run     (NODE: an address of `monai network`)\n",
            l1.rpc,
            layout.addresses().display()
        );
    }
    let _ = out.flush();
}
