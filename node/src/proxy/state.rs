//! What all requests of a proxy share, and the check that ends each of them.

use super::catalogue::{Catalogue, Known};
use super::fault::Fault;
use super::fields::Ask;
use super::nonce::Nonces;
use super::signed::{Prices, SignedRequest, sign};
use super::spoken::Counts;
use super::verify::{Told, verify};
use crate::anchors::Anchors;
use crate::audit::Auditor;
use crate::cli::Reexecute;
use crate::home::{Home, write_atomic};
use crate::openai::Endpoint;
use monai_protocol::receipt::Receipt;
use monai_protocol::{Address, SecretKey};
use rand::Rng as _;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A proxy.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) home: Home,
    /// The anchors file; read again for each answer, because a devnet keeps adding to it.
    pub(super) anchors: Option<PathBuf>,
    pub(super) upstream: Endpoint,
    pub(super) key: SecretKey,
    pub(super) nonces: Nonces,
    pub(super) catalogue: Catalogue,
    pub(super) reexecute: Reexecute,
    pub(super) sample_rate: f64,
    /// Most that is signed for a token, in the smallest unit; `None` takes what is listed.
    pub(super) max_token_price: Option<u128>,
    pub(super) auditor: Arc<Auditor>,
    pub(super) receipts: Option<PathBuf>,
}

/// What a verified receipt says about an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Confirmed {
    pub(super) node: Address,
    pub(super) counts: Counts,
}

/// A request that is ready to go to the sequencer.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) signed: SignedRequest,
    pub(super) known: Arc<Known>,
    pub(super) upstream: Endpoint,
}

impl Proxy {
    /// Anchors as they are now.
    pub(super) fn anchors(&self) -> Result<Anchors, Fault> {
        Ok(Anchors::load(self.anchors.as_deref(), &self.home)?)
    }

    /// Signs what a client asks.
    pub(super) async fn prepare(&self, ask: &Ask, client_key: Option<String>) -> Result<Prepared, Fault> {
        let upstream = match client_key {
            Some(key) => self.upstream.with_key(Some(key)),
            None => self.upstream.clone(),
        };
        let anchors = self.anchors()?;
        let Some(name) = ask.text("model")? else {
            let message = "Missing required parameter: 'model'.";
            return Err(Fault::request("model", "missing_required_parameter", message));
        };
        let known = self.catalogue.find(name, &anchors, &upstream).await?;
        let prices = prices(&upstream.get("/models").await?, &known.model.id.to_string());
        prices.within(self.max_token_price)?;
        let signed = sign(ask, &known, anchors.domain(), &self.key, self.nonces.take()?, prices)?;
        Ok(Prepared { signed, known, upstream })
    }

    /// Fetches the receipt of an answer and checks it and what the client is told.
    pub(super) async fn confirm(
        &self,
        prepared: &Prepared,
        id: &str,
        told: Told,
    ) -> Result<Confirmed, Fault> {
        // Ids go into a path and a file name, and come from the other side.
        if id.is_empty()
            || id.len() > 200
            || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        {
            return Err(Fault::unverified("the completion id is malformed"));
        }
        let bytes = prepared
            .upstream
            .get_bytes(&format!("/receipts/{id}"))
            .await
            .map_err(|e| Fault::unverified(format!("there is no receipt: {e}")))?;
        let receipt = Receipt::from_json(&bytes).map_err(|e| Fault::unverified(format!("receipt: {e}")))?;
        let anchors = self.anchors()?;
        let report = verify(&receipt, &prepared.signed, &told, &prepared.known, &anchors)?;
        if self.draws_reexecution() {
            let (auditor, receipt) = (self.auditor.clone(), receipt.clone());
            tokio::task::spawn_blocking(move || auditor.confirm(&receipt))
                .await
                .map_err(|e| Fault::own(e.to_string()))??;
        }
        if let Some(dir) = &self.receipts {
            crate::home::private_dir(dir)?;
            // Named by R, which the sequencer can't choose, and never replaced: two receipts of one request are evidence.
            keep(dir, &receipt.request.commitment().to_string(), &bytes)?;
        }
        tracing::info!(id, node = %report.node, slot = %receipt.intake.message.slot, "verified");
        let counts = Counts { input: receipt.request.prompt.len(), output: receipt.output.len() };
        Ok(Confirmed { node: report.node, counts })
    }

    fn draws_reexecution(&self) -> bool {
        match self.reexecute {
            Reexecute::Always => true,
            Reexecute::Never => false,
            // Drawn here and after the answer is fixed, so that nobody can know which will be checked.
            Reexecute::Sample => rand::rng().random_bool(self.sample_rate),
        }
    }
}

/// The listed prices of a model; the most that will be signed for. Zero where none are listed.
fn prices(models: &Value, id: &str) -> Prices {
    let mut entries = models["data"].as_array().into_iter().flatten();
    let entry = entries.find(|m| m["model_id"] == id);
    let price = |name: &str| entry.and_then(|e| e["price"][name].as_str()?.parse().ok()).unwrap_or(0);
    Prices { input: price("input"), output: price("output") }
}

/// Keeps a receipt under `name`, or under `name-2`, `name-3` and so on beside others of the same name.
fn keep(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), Fault> {
    for n in 1u32.. {
        let path = dir.join(if n == 1 { format!("{name}.json") } else { format!("{name}-{n}.json") });
        match std::fs::read(&path) {
            Ok(kept) if kept == bytes => return Ok(()),
            Ok(_) => {}
            Err(_) => return Ok(write_atomic(&path, bytes, true)?),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_receipts_are_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        for bytes in [b"a", b"b", b"a"] {
            keep(dir.path(), "0x12", bytes).unwrap();
        }
        let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
        assert_eq!((read("0x12.json"), read("0x12-2.json")), (b"a".to_vec(), b"b".to_vec()));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
