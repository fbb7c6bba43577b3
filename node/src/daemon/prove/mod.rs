//! Proofs on demand: a queue on disk, one worker, and a listener on loopback.
//!
//! | file | what |
//! |---|---|
//! | `store.rs` | jobs as files; what was accepted is on disk |
//! | `worker.rs` | proves one job after the other |
//! | `http.rs` | `POST /prove`, status, proof, cancel |
//!
//! Jobs come over a listener of the node's own, not through a sequencer: a receipt holds a prompt and its answer in clear,
//! and who is asked to prove is the node that answered or a machine of the same operator. It listens on loopback only, and
//! every request carries a token of a file that only the operator can read. Absent: a queue across machines.

mod http;
mod store;
mod worker;

use crate::cli::SetupArgs;
use crate::error::{Error, Result};
use crate::home::{Home, private_dir, write_atomic};
use rand::Rng as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use store::Store;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::Worker;

/// How the queue is run.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeskOptions {
    /// Address to listen at; loopback.
    pub(crate) listen: String,
    /// The setup that proofs are made with.
    pub(crate) setup: SetupArgs,
    /// Threads of the prover.
    pub(crate) threads: Option<usize>,
}

/// The running queue. Dropping it stops it; the job in hand begins anew with the next start.
#[derive(Debug)]
pub(crate) struct Desk {
    address: SocketAddr,
    stop: CancellationToken,
    worker: Worker,
    task: JoinHandle<std::io::Result<()>>,
}

impl Desk {
    /// Opens the queue, takes up what is unfinished, and listens.
    ///
    /// # Errors
    /// An address that is taken or not loopback, a folder that another process uses or that can't be read.
    pub(crate) async fn start(options: DeskOptions, home: &Home) -> Result<Self> {
        let failed = |source| Error::Listen { address: options.listen.clone(), source };
        let listener = TcpListener::bind(&options.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        if !address.ip().is_loopback() {
            return Err(Error::Usage(format!(
                "{address} is not on loopback; put a tunnel in front of the queue of proofs, receipts hold plain text"
            )));
        }
        private_dir(&home.prove())?;
        let token = token(&home.prove().join("token"))?;
        let store = Arc::new(Store::open(&home.prove().join("jobs"))?);
        let worker = Worker::start(store.clone(), home, &options.setup, options.threads)?;
        let app = http::router(store, worker.watch(), token, home);
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let task =
            tokio::spawn(async move { axum::serve(listener, app).with_graceful_shutdown(stopped).await });
        Ok(Self { address, stop, worker, task })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests and stops the job in hand, which stays queued.
    pub(crate) async fn shutdown(mut self) {
        self.stop.cancel();
        self.worker.stop();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.stop.cancel();
        self.worker.stop();
    }
}

/// The token of this home, made once.
fn token(path: &Path) -> Result<String> {
    if let Ok(text) = std::fs::read_to_string(path)
        && text.trim().len() >= 32
    {
        return Ok(text.trim().to_owned());
    }
    let random: [u8; 24] = rand::rng().random();
    let token = hex::encode(random);
    write_atomic(path, token.as_bytes(), true)?;
    Ok(token)
}
