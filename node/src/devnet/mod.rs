//! `monai devnet`: a whole network of child processes on this machine.
//!
//! The parent starts the sequencer and the nodes as children of this same program, restarts those
//! that die, and keeps the anchors file up to date. Unless told otherwise it also runs an L1, see `l1`. Children end when their standard input ends, so
//! they can't outlive the parent, however it dies.

mod child;
mod l1;
mod layout;
mod model;
mod ready;
mod refresh;
mod setup;
mod speeds;

pub use layout::Layout;
pub(crate) use model::sha256;

use crate::cli::DevnetOptions;
use crate::error::{Error, FileContext as _, Result};
use crate::home::{Home, private_dir};
use crate::models::ModelStore;
use crate::openai::Endpoint;
use crate::stop::{StopSources, stop_signal};
use child::{Plan, Running};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use setup::{Keys, Place, Wiring};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::sync::watch;

/// Port where nothing else is said.
const DEFAULT_PORT: u16 = 8645;
/// Nodes where nothing else is said.
const DEFAULT_NODES: u16 = 3;
/// Most nodes of one machine.
const MAX_NODES: u16 = 16;
/// For a child to end by itself when told to stop. Nodes drain for at most 30 s by default.
const STOP_PATIENCE: Duration = Duration::from_secs(40);
/// Between two looks at what the network has published, for the anchors file.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5);

/// Runs the devnet until it is told to stop.
///
/// # Errors
/// A model that is not there, a port that is taken, a folder in use, a child that does not get going.
pub async fn run(options: DevnetOptions, home: &Home) -> Result<()> {
    let nodes = options.nodes.unwrap_or(DEFAULT_NODES);
    if nodes == 0 || nodes > MAX_NODES {
        return Err(Error::Usage(format!("{nodes} nodes, must be 1 to {MAX_NODES}")));
    }
    let stop = stop_signal(StopSources::default());
    let layout = Layout::new(options.dir.clone().unwrap_or_else(|| home.devnet()));
    private_dir(layout.root())?;
    let _lock = lock(&layout)?;
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port.unwrap_or(DEFAULT_PORT)));
    let listen = crate::sequencer::free(listen).await?;
    let store = ModelStore::new(home.models());
    let models = model::models(&options, &store)?;
    let keys = Keys::prepare(&layout, nodes, !options.no_l1)?;
    let l1 = if options.no_l1 {
        None
    } else {
        let tools = l1::Tools::find(options.contracts.as_deref()).await?;
        let port = options.l1_port.unwrap_or(l1::DEFAULT_PORT);
        let commitments = home.commitments();
        let wanted = l1::Wanted { keys: &keys, models: &models, commitments: &commitments };
        Some(l1::start(&layout, &tools, port, wanted).await?)
    };
    let place = l1.as_ref().map(|l1| Place { rpc: l1.rpc.clone(), rollup: l1.addresses.rollup.into() });
    let engine = options.engine.unwrap_or_default();
    setup::prepare(
        &layout,
        &keys,
        &Wiring { store: &store, models: &models, listen, engine, l1: place.clone() },
    )?;
    let mut children = start(&layout, home, &keys, place.is_some())?;
    let chain = l1.map(|l1| l1.child);
    let with_chain = chain.is_some();
    children.extend(chain);
    let url = format!("http://{listen}/v1");
    let endpoint = Endpoint::new(&url, Some(crate::chat::DEFAULT_API_KEY.into()))?;
    let outcome = supervise(&layout, &mut children, &endpoint, &models[0].name, place.as_ref(), stop).await;
    eprintln!("stopping");
    let chain = if with_chain { children.pop() } else { None };
    stop_all(children, chain).await;
    outcome
}

/// Stops the sequencer, the nodes, then the chain. The sequencer lets streams end and has those cancelled that don't:
/// nodes that were gone before could not sign that, and the slots would stay open.
async fn stop_all(children: Vec<Running>, chain: Option<Running>) {
    let mut children = children.into_iter();
    if let Some(sequencer) = children.next() {
        sequencer.stop(STOP_PATIENCE).await;
    }
    futures_util::future::join_all(children.map(|c| c.stop(STOP_PATIENCE))).await;
    // Last, so that nobody saw it go away. It writes its state now.
    if let Some(chain) = chain {
        chain.stop(STOP_PATIENCE).await;
    }
}

/// Keeps two devnets out of one folder.
fn lock(layout: &Layout) -> Result<File> {
    let path = layout.lock();
    let file = File::options().create(true).truncate(false).write(true).open(&path).at(&path)?;
    file.try_lock().map_err(|_| {
        Error::Local(format!(
            "another devnet runs in {}; stop it or choose another --dir",
            layout.root().display()
        ))
    })?;
    Ok(file)
}

/// Starts the sequencer first, then the nodes, which dial until it answers.
fn start(layout: &Layout, home: &Home, keys: &Keys, with_l1: bool) -> Result<Vec<Running>> {
    let text = |p: &std::path::Path| p.display().to_string();
    let home = vec!["--home".to_owned(), text(home.root())];
    let mut sequencer = home.clone();
    // An own settings file, if only an empty one, keeps the user's monai.toml out.
    let empty = layout.settings("sequencer");
    crate::home::write_atomic(
        &empty,
        b"# Written by `monai devnet` at each start; changes are lost.\n",
        false,
    )?;
    sequencer.extend(["--config".into(), text(&empty), "sequencer".into()]);
    sequencer.extend([
        "--dir".into(),
        text(&if with_l1 { layout.l1_sequencer() } else { layout.sequencer() }),
        "--network".into(),
        text(&layout.network()),
    ]);
    sequencer.extend(["--key".into(), text(&keys.sequencer.path)]);
    sequencer.extend(["--password-file".into(), text(&layout.password()), "--stop-with-stdin".into()]);
    let mut plans = vec![Plan {
        name: "sequencer".into(),
        program: None,
        arguments: sequencer,
        log: layout.log("sequencer"),
    }];
    for key in &keys.nodes {
        let mut node = home.clone();
        node.extend([
            "--config".into(),
            text(&layout.settings(&key.name)),
            "node".into(),
            "--stop-with-stdin".into(),
        ]);
        plans.push(Plan {
            name: key.name.clone(),
            program: None,
            arguments: node,
            log: layout.log(&key.name),
        });
    }
    plans.into_iter().map(Running::start).collect()
}

/// Announces the network once it answers, then keeps it running until told to stop.
async fn supervise(
    layout: &Layout,
    children: &mut [Running],
    endpoint: &Endpoint,
    model: &str,
    l1: Option<&Place>,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    let keep = async {
        // Each child is kept for ever; the first one that can't be ends the devnet.
        let mut kept: FuturesUnordered<_> = children
            .iter_mut()
            .map(|c| async move {
                loop {
                    if let Err(error) = c.keep().await {
                        return error;
                    }
                }
            })
            .collect();
        kept.next().await.unwrap_or_else(|| Error::Local("no child runs".into()))
    };
    let serve = async {
        ready::wait(endpoint, model).await?;
        refresh::once(endpoint, layout).await;
        ready::announce(endpoint, model, layout, l1);
        loop {
            tokio::time::sleep(REFRESH_INTERVAL).await;
            refresh::once(endpoint, layout).await;
        }
    };
    tokio::select! {
        error = keep => Err(error),
        ended = serve => ended,
        // The sender lives in a task of this runtime, so this is the order to stop.
        _ = stop.wait_for(|s| *s) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_sequencer_ends_before_the_nodes_and_they_before_the_chain() {
        let dir = tempfile::tempdir().unwrap();
        let ends = dir.path().join("ends");
        // Each ends when its input does, and says so; without an order, the sequencer would be the last to say it.
        let child = |name: &str, wait: &str| {
            let script = format!("cat >/dev/null; sleep {wait}; echo {name} >> {}", ends.display());
            Running::start(Plan {
                name: name.into(),
                program: Some("/bin/sh".into()),
                arguments: vec!["-c".into(), script],
                log: dir.path().join(format!("{name}.log")),
            })
            .unwrap()
        };
        let children = vec![child("sequencer", "0.3"), child("node", "0.1"), child("node", "0.1")];
        stop_all(children, Some(child("chain", "0"))).await;
        assert_eq!(std::fs::read_to_string(&ends).unwrap(), "sequencer\nnode\nnode\nchain\n");
    }
}
