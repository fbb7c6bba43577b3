//! Starting and stopping.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use monai_protocol::SecretKey;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::accept;
use crate::api::auth::ApiKeys;
use crate::api::limits::Limiter;
use crate::api::published::{MAX_AGE, Published};
use crate::api::{Api, routes};
use crate::catalogue::Catalogue;
use crate::clock::now_secs;
use crate::config::{SequencerConfig, ms};
use crate::hub::Hub;
use crate::l1::{L1, Poster};
use crate::ledger::open::LedgerSetup;
use crate::ledger::registry::Registry;
use crate::ledger::{Ledger, LedgerError};
use crate::metrics::Metrics;
use crate::router::slots::Slots;
use crate::router::{Router, RouterSetup};
use crate::store::{Marks, Store, StoreError};
use crate::{canary, retention};

/// For the last batch to be posted at the end.
const LAST_POST: std::time::Duration = std::time::Duration::from_secs(10);
/// Most leaves that `intervals.batch_leaves` may say where batches go to L1: one blob holds 1365, and a slot's attempts
/// stay together.
const MAX_L1_LEAVES: usize = monai_protocol::blob::LEAVES_PER_BLOB - 255;

/// Why a sequencer does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A field of the configuration is out of range or contradicts another.
    #[error("configuration: {0}")]
    Config(String),
    /// The address can't be listened on.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The store can't be opened.
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// A model can't be loaded.
    #[error("model: {0}")]
    Model(#[from] monai_model::ModelError),
    /// State, stakes or chains are not as they must be.
    #[error("ledger: {0}")]
    Ledger(#[from] LedgerError),
    /// Metrics can't be registered.
    #[error("metrics: {0}")]
    Metrics(String),
    /// The runtime is going down.
    #[error("the runtime is shutting down")]
    Runtime,
}

/// The sequencer.
#[derive(Debug)]
pub struct Sequencer;

/// A sequencer that serves. Dropping it stops it without waiting for streams; what was acknowledged is on disk
/// either way. [`RunningSequencer::shutdown`] is the polite way.
pub struct RunningSequencer {
    addr: SocketAddr,
    api: Arc<Api>,
    /// Ends background tasks and the accept loop, also when this is dropped.
    stop: DropGuard,
    /// Ends node sessions.
    hub_closing: CancellationToken,
    server: JoinHandle<()>,
    background: TaskTracker,
    poster: Option<Arc<Poster>>,
}

impl std::fmt::Debug for RunningSequencer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RunningSequencer({})", self.addr)
    }
}

/// What blocking threads open.
struct Opened {
    store: Arc<Store>,
    catalogue: Arc<Catalogue>,
    ledger: Arc<Ledger>,
    slots: Slots,
    l1: Option<Arc<L1>>,
}

impl Sequencer {
    /// Opens the store, recovers what a crash left, loads the models and serves.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: SequencerConfig) -> Result<RunningSequencer, StartError> {
        check(&config)?;
        let key = SecretKey::from_bytes(config.signing_key.expose())
            .ok_or_else(|| StartError::Config("signing_key is not a valid secp256k1 key".into()))?;
        let key = Arc::new(key);
        let metrics = Arc::new(Metrics::new().map_err(|e| StartError::Metrics(e.to_string()))?);
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(|source| StartError::Listen { address: config.listen, source })?;
        let addr =
            listener.local_addr().map_err(|source| StartError::Listen { address: config.listen, source })?;
        let opened = {
            let (config, key, metrics) = (config.clone(), key.clone(), metrics.clone());
            tokio::task::spawn_blocking(move || open(&config, key, metrics))
                .await
                .map_err(|_| StartError::Runtime)??
        };
        let poster = poster(&config, &key, &opened.store)?;
        let hub_closing = CancellationToken::new();
        let hub = Arc::new(Hub::new(
            config.domain(),
            key.address(),
            &config.limits,
            config.timeouts,
            metrics.clone(),
            hub_closing.clone(),
        ));
        hub.set_registered(registered(&opened.ledger)?);
        let router = Arc::new(Router::new(RouterSetup {
            store: opened.store.clone(),
            key,
            domain: config.domain(),
            hub: hub.clone(),
            ledger: opened.ledger.clone(),
            slots: opened.slots,
            metrics: metrics.clone(),
            timeouts: config.timeouts,
            retention_secs: config.retention.plaintext_secs,
        }));
        let keys = Arc::new(ApiKeys::new(config.api_keys.clone(), &config.limits));
        let api = Arc::new(Api {
            catalogue: opened.catalogue.clone(),
            limiter: Limiter::new(&keys, &config.limits),
            keys,
            router: router.clone(),
            poster: poster.clone(),
            metrics: metrics.clone(),
            limits: config.limits,
            timeouts: config.timeouts,
            started_s: now_secs(),
            network: Published::new(MAX_AGE),
            anchors: Published::new(MAX_AGE),
            tokenising: Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from))),
        });
        let recovered = router.recover(&opened.catalogue)?;
        if recovered > 0 {
            tracing::warn!(slots = recovered, "closing slots that the last run left open");
        }
        let stop = CancellationToken::new();
        let background = background(&config, &api, opened.l1, poster.clone(), &stop)?;
        let server = tokio::spawn(accept::serve(
            listener,
            routes(api.clone()),
            config.limits,
            config.timeouts,
            stop.clone(),
            ms(config.timeouts.shutdown_ms),
        ));
        tracing::info!(%addr, sequencer = %router.key.address(), "listening");
        Ok(RunningSequencer { addr, api, stop: stop.drop_guard(), hub_closing, server, background, poster })
    }
}

impl RunningSequencer {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Writes a consistent copy of the store to the new folder `target` while serving.
    ///
    /// # Errors
    /// [`StoreError::TargetExists`], or what RocksDB reports.
    pub fn backup(&self, target: &Path) -> Result<(), StoreError> {
        self.api.router.store.checkpoint(target)
    }

    /// Resolves once the store has failed to write, for instance on a full disk. Nothing is acknowledged from then on, so
    /// the process should end and be started again, which reads back what was acknowledged.
    pub async fn failed(&self) {
        self.api.router.store.broken().await;
    }

    /// Stops accepting, lets streams end until the deadline, cancels the rest, batches what is closed, and
    /// writes all down.
    pub async fn shutdown(self) {
        let Self { api, stop, hub_closing, server, background, poster, .. } = self;
        // No new connection and no new request; answers go on.
        drop(stop);
        api.router.shutdown().await;
        hub_closing.cancel();
        drop(server.await);
        background.close();
        background.wait().await;
        let last = tokio::task::spawn_blocking(move || {
            if let Err(error) = api.router.ledger.step(&api.router.slots) {
                tracing::error!(%error, "the last batch failed; the next start makes it");
            }
        });
        drop(last.await);
        // The last batch should be on L1 while its epoch lasts, and who knows when the next start is.
        if let Some(poster) = poster
            && tokio::time::timeout(LAST_POST, poster.look()).await.is_err()
        {
            tracing::warn!("L1 did not take the last batches; the next start posts them");
        }
    }
}

fn poster(
    config: &SequencerConfig,
    key: &Arc<SecretKey>,
    store: &Arc<Store>,
) -> Result<Option<Arc<Poster>>, StartError> {
    let Some((l1, post)) = config.l1.as_ref().and_then(|l1| Some((l1, l1.post?))) else { return Ok(None) };
    if config.intervals.batch_leaves > MAX_L1_LEAVES {
        return Err(StartError::Config(format!("L1 takes at most {MAX_L1_LEAVES} leaves a batch")));
    }
    let prices = config.models.iter().map(|m| (m.id, (m.price_input, m.price_output))).collect();
    let poster = Poster::new(l1, post, key.clone(), store.clone(), prices).map_err(LedgerError::from)?;
    Ok(Some(Arc::new(poster)))
}

fn check(config: &SequencerConfig) -> Result<(), StartError> {
    let wrong = |what: &str| Err(StartError::Config(what.into()));
    if config.models.is_empty() {
        return wrong("models is empty");
    }
    let names: BTreeSet<_> = config.models.iter().map(|m| &m.name).collect();
    let ids: BTreeSet<_> = config.models.iter().map(|m| m.id).collect();
    if names.len() != config.models.len() || ids.len() != config.models.len() {
        return wrong("models has a name or id twice");
    }
    let hashes: BTreeSet<_> = config.api_keys.iter().map(|k| k.hash).collect();
    if hashes.len() != config.api_keys.len() {
        return wrong("api_keys has a key twice");
    }
    if config.api_keys.iter().any(|k| {
        k.name.is_empty() || !k.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    }) {
        return wrong("api_keys.name must be letters, digits, '-' and '_'");
    }
    if config.canary.interval_ms > 0 && !config.api_keys.iter().any(|k| k.canary) {
        return wrong("canary.interval_ms needs an API key with canary = true");
    }
    let l = &config.limits;
    if l.body_bytes == 0
        || l.connections == 0
        || l.connections_per_ip == 0
        || l.concurrent == 0
        || l.choices == 0
        || l.default_max_tokens == 0
    {
        return wrong("limits must be positive");
    }
    if config.l1.is_none() && config.stakes_file.as_os_str().is_empty() {
        return wrong("neither l1 nor stakes_file says where stakes come from");
    }
    let i = &config.intervals;
    if i.batch_ms == 0 || i.batch_leaves == 0 || i.batch_leaves > monai_protocol::blob::MAX_BATCH_LEAVES {
        return wrong("intervals.batch_ms and batch_leaves must be positive, and leaves fit a batch");
    }
    Ok(())
}

/// Everything that blocks: files are read and checked, chains derived.
fn open(config: &SequencerConfig, key: Arc<SecretKey>, metrics: Arc<Metrics>) -> Result<Opened, StartError> {
    let marks = config.marks_dir.as_ref().map(|dir| Marks::path(dir, &key.address(), &config.domain()));
    let store = Store::open(&config.data_dir, &config.domain(), marks.as_deref(), metrics.clone())?;
    let store = Arc::new(store);
    let catalogue = Arc::new(Catalogue::load(&config.model_dir, &config.models)?);
    let l1 = l1(config, &metrics)?;
    let ledger = Arc::new(Ledger::open(LedgerSetup {
        store: store.clone(),
        key,
        metrics,
        intervals: config.intervals,
        registry: Registry::new(config.stakes_file.clone(), l1.clone()),
        models: config.models.iter().map(|m| m.id).collect(),
        domain: config.domain(),
        parameters: config.parameters.clone(),
    })?);
    let view = Arc::new(ledger.view(ledger.clock().epoch)?);
    let slots = Slots::open(store.clone(), view)?;
    Ok(Opened { store, catalogue, ledger, slots, l1 })
}

fn l1(config: &SequencerConfig, metrics: &Arc<Metrics>) -> Result<Option<Arc<L1>>, StartError> {
    let Some(given) = &config.l1 else { return Ok(None) };
    let served = config.models.iter().map(|m| m.id).collect();
    let runtime = tokio::runtime::Handle::current();
    let l1 = L1::new(given, config.parameters.clone(), served, metrics.clone(), runtime)
        .map_err(LedgerError::from)?;
    if !l1.serves(&config.domain()) {
        return Err(StartError::Config("chain_id and rollup are not those of l1.addresses".into()));
    }
    Ok(Some(Arc::new(l1)))
}

/// Who may connect: everybody who is registered, and whoever a table that is in use or fixed still names.
fn registered(ledger: &Ledger) -> Result<BTreeSet<monai_protocol::Address>, LedgerError> {
    let mut nodes: BTreeSet<_> = ledger.stakes()?.operators.iter().map(|o| o.operator).collect();
    let state = ledger.state();
    let tables = state.epoch.models.values().flat_map(|m| [&m.current, &m.next]).flatten();
    nodes.extend(tables.flat_map(|t| t.entries.iter().map(|e| e.node)));
    Ok(nodes)
}

fn background(
    config: &SequencerConfig,
    api: &Arc<Api>,
    l1: Option<Arc<L1>>,
    poster: Option<Arc<Poster>>,
    stop: &CancellationToken,
) -> Result<TaskTracker, StartError> {
    let tasks = TaskTracker::new();
    let until_stop = |work: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        let stop = stop.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = work => {}
                () = stop.cancelled() => {}
            }
        });
    };
    until_stop(Box::pin(keep_ledger(api.clone(), ms(config.intervals.batch_ms))));
    if let Some(l1) = l1 {
        until_stop(Box::pin(l1.follow()));
    }
    if let Some(poster) = poster {
        until_stop(Box::pin(poster.run()));
    }
    let router = api.router.clone();
    until_stop(Box::pin(async move {
        loop {
            router.hub.changed().await;
            router.room_changed();
        }
    }));
    let sweep = std::time::Duration::from_secs(config.retention.sweep_secs.max(1));
    let (store, metrics) = (api.router.store.clone(), api.metrics.clone());
    tasks.spawn(retention::run(store, metrics, sweep, stop.clone()));
    if config.canary.interval_ms > 0 {
        let key = api.keys.canary().ok_or_else(|| StartError::Config("no canary key".into()))?;
        for served in api.catalogue.all() {
            until_stop(Box::pin(canary::run(api.clone(), key, served.clone(), config.canary.clone())));
        }
    }
    Ok(tasks)
}

/// Batches and epochs, forever.
async fn keep_ledger(api: Arc<Api>, every: std::time::Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Tables change when the router's epoch begins, the registered operators when the state's does.
    let epochs = || (api.router.ledger.clock().epoch, api.router.ledger.state().epoch.epoch);
    let mut epoch = epochs();
    loop {
        ticks.tick().await;
        let router = api.router.clone();
        let step = tokio::task::spawn_blocking(move || router.ledger.step(&router.slots));
        match step.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "batches or epochs can't go on"),
            Err(error) => tracing::error!(%error, "the ledger's thread failed"),
        }
        let now = epochs();
        if now != epoch {
            epoch = now;
            match registered(&api.router.ledger) {
                Ok(operators) => api.router.hub.set_registered(operators),
                Err(error) => tracing::error!(%error, "the stakes could not be read again"),
            }
            api.router.room_changed();
        }
    }
}
