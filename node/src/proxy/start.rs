//! From options to a proxy that listens.

use super::catalogue::Catalogue;
use super::nonce::Nonces;
use super::router;
use super::state::Proxy;
use crate::anchors::Anchors;
use crate::audit::Auditor;
use crate::cli::{ProxyOptions, Reexecute};
use crate::clock::unix_ms;
use crate::error::{Error, Result};
use crate::home::Home;
use crate::keys::{KeyFolder, PasswordSource, unlock};
use crate::models::ModelStore;
use crate::openai::Endpoint;
use crate::stop::{StopSources, stop_signal};
use monai_protocol::SecretKey;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Address where nothing else is said: loopback, because whoever reaches it signs with the user's key.
const DEFAULT_LISTEN: &str = "127.0.0.1:8646";
/// Share of answers that are re-executed with `--reexecute sample`.
const DEFAULT_SAMPLE_RATE: f64 = 0.05;

/// A proxy that serves. Dropping it stops it.
#[derive(Debug)]
pub struct RunningProxy {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

impl RunningProxy {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets running answers end, then stops.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        let _ = (&mut self.task).await;
    }
}

impl Drop for RunningProxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Runs the proxy until it is told to stop.
///
/// # Errors
/// A key, anchors file or address that is missing or wrong.
pub async fn run(options: ProxyOptions, home: &Home) -> Result<()> {
    let name = options.key.clone().unwrap_or_else(|| "user".into());
    let path = KeyFolder::new(home.keys()).find(&name)?;
    let password = PasswordSource { file: options.password_file.clone() }.get(&path.display().to_string())?;
    let key = unlock(&path, &password)?;
    let user = key.address();
    let proxy = start(options, home, key).await?;
    eprintln!("verifying for {user}: point your client at http://{}/v1", proxy.address());
    let mut stop = stop_signal(StopSources::default());
    let _ = stop.wait_for(|s| *s).await;
    proxy.shutdown().await;
    Ok(())
}

/// Starts a proxy that signs with `key`.
///
/// # Errors
/// As [`run`].
pub async fn start(options: ProxyOptions, home: &Home, key: SecretKey) -> Result<RunningProxy> {
    let rate = options.sample_rate.unwrap_or(DEFAULT_SAMPLE_RATE);
    if !(0.0..=1.0).contains(&rate) {
        return Err(Error::Usage(format!("--sample-rate {rate}: must be 0 to 1")));
    }
    // What is missing is said now and not with the first answer.
    Anchors::load(options.anchors.as_deref(), home)?;
    let url = options.url.unwrap_or_else(|| crate::chat::DEFAULT_URL.into());
    let store = ModelStore::new(home.models());
    let proxy = Proxy {
        home: home.clone(),
        anchors: options.anchors,
        upstream: Endpoint::new(
            &url,
            Some(options.api_key.unwrap_or_else(|| crate::chat::DEFAULT_API_KEY.into())),
        )?,
        nonces: Nonces::open(&home.nonces(), &key.address(), unix_ms())?,
        key,
        catalogue: Catalogue::new(store.clone()),
        reexecute: options.reexecute.unwrap_or(Reexecute::Never),
        sample_rate: rate,
        max_token_price: options.max_token_price.map(u128::from),
        auditor: Arc::new(Auditor::new(store, options.threads)),
        receipts: options.receipts,
    };
    let listen = options.listen.unwrap_or_else(|| DEFAULT_LISTEN.into());
    let failed = |source| Error::Listen { address: listen.clone(), source };
    let listener = TcpListener::bind(&listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    let app = router(Arc::new(proxy));
    let task = tokio::spawn(async move { axum::serve(listener, app).with_graceful_shutdown(stopped).await });
    Ok(RunningProxy { address, stop, task })
}
