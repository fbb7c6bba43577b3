//! `monai node`: from options to a running daemon.

use super::prove::{Desk, DeskOptions};
use super::{DaemonError, ServedModel, Service, Target, serve};
use crate::anchors::Anchors;
use crate::cli::{NodeOptions, SetupArgs};
use crate::engine::{AnyEngine, EngineOptions};
use crate::error::{Error, Result};
use crate::home::Home;
use crate::keys::{KeyFolder, PasswordSource, unlock};
use crate::l1::watch::{Place, keep_watch};
use crate::models::ModelStore;
use crate::stop::{StopSources, stop_signal};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Streams of each model where nothing else is said.
const DEFAULT_MAX_STREAMS: u16 = 8;
/// Key/value memory where nothing else is said, MiB.
const DEFAULT_KV_MIB: usize = 512;
/// Seconds for running answers to end where nothing else is said.
const DEFAULT_DRAIN_SECONDS: u64 = 30;

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// What is missing or wrong before it serves; [`Error::Local`] if it ended by itself or answers were
/// dropped at the end.
pub async fn run(options: NodeOptions, home: &Home) -> Result<()> {
    if options.sequencer.is_empty() {
        return Err(Error::Usage("no sequencer to serve; give --sequencer ws://HOST:PORT".into()));
    }
    let anchors = Anchors::load(options.anchors.as_deref(), home)?;
    let sequencer = Some(anchors.sequencer());
    let targets: Vec<Target> =
        options.sequencer.iter().map(|u| Target::parse(u, sequencer)).collect::<Result<_>>()?;
    let name = options.key.clone().unwrap_or_else(|| "node".into());
    let path = KeyFolder::new(home.keys()).find(&name)?;
    let password = PasswordSource { file: options.password_file.clone() }.get(&path.display().to_string())?;
    let key = unlock(&path, &password)?;
    let models = load(&options, home)?;
    let served = models.keys().copied().collect();
    let credits = u32::from(options.max_streams.unwrap_or(DEFAULT_MAX_STREAMS));
    let service =
        Service::new(key, anchors.domain(), models, credits, options.max_tokens_per_second, &home.slots())?;
    tracing::info!(node = %service.address(), "ready to dial");
    // Ends with this function: it only reads and tells.
    let _watch = watch(&options, service.address().into(), served);
    let desk = prove_desk(&options, home).await?;
    let drain = stop_signal(StopSources { stdin: options.stop_with_stdin });
    let deadline = Duration::from_secs(options.drain_seconds.unwrap_or(DEFAULT_DRAIN_SECONDS));
    let ended = serve(Arc::new(service), targets, drain, deadline).await;
    if let Some(desk) = desk {
        desk.shutdown().await;
    }
    match ended {
        Ok(()) => Ok(()),
        Err(error @ (DaemonError::Replaced { .. } | DaemonError::NotDrained(_))) => {
            Err(Error::Local(error.to_string()))
        }
    }
}

/// Tells how the node stands on L1, where that is known.
fn watch(
    options: &NodeOptions,
    hot: alloy_primitives::Address,
    served: BTreeSet<monai_protocol::ModelId>,
) -> Option<JoinSet<()>> {
    let place = Place { rpc: options.l1_rpc.clone()?, addresses: options.l1_addresses.clone()? };
    let mut task = JoinSet::new();
    task.spawn(keep_watch(place, hot, served));
    Some(task)
}

/// The queue of proofs, where one is asked for.
async fn prove_desk(options: &NodeOptions, home: &Home) -> Result<Option<Desk>> {
    let Some(listen) = options.prove_listen.clone() else { return Ok(None) };
    let setup =
        SetupArgs { setup: options.prove_setup.clone(), setup_digest: options.prove_setup_digest.clone() };
    let desk = Desk::start(DeskOptions { listen, setup, threads: options.prove_threads }, home).await?;
    println!("proving http://{}", desk.address());
    Ok(Some(desk))
}

fn load(options: &NodeOptions, home: &Home) -> Result<BTreeMap<monai_protocol::ModelId, ServedModel>> {
    let store = ModelStore::new(home.models());
    let stored = match options.model.as_slice() {
        [] => store.list()?,
        names => names.iter().map(|n| store.find(n)).collect::<Result<_>>()?,
    };
    let kv_mib = options.kv_mib.unwrap_or(DEFAULT_KV_MIB) / stored.len().max(1);
    let mut models = BTreeMap::new();
    for stored in stored {
        let model = Arc::new(stored.load()?);
        let max_positions = u32::try_from(model.arch.max_positions).unwrap_or(u32::MAX);
        let engine = AnyEngine::start(
            model.clone(),
            &EngineOptions {
                kind: options.engine.unwrap_or_default(),
                threads: options.threads,
                kv_mib,
                streams: usize::from(options.max_streams.unwrap_or(DEFAULT_MAX_STREAMS)),
            },
        )?;
        tracing::info!(model = %model.id, name = model.name, max_positions, "loaded");
        models.insert(model.id, ServedModel { engine, max_positions });
    }
    Ok(models)
}
