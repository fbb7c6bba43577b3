//! The devnet's own L1: an anvil with MonAI's contracts, whose state outlives restarts.
//!
//! A new chain is founded once: contracts deployed, accounts funded, nodes registered and staked, by a chain that
//! started some epochs in the past, so that everything counts by the time it is put on the clock. Then the state is on
//! disk, and each start of the devnet goes on from it.

mod anvil;
mod enrol;
mod found;
mod tools;

pub(super) use found::Wanted;
pub(super) use tools::Tools;

use super::child::Running;
use super::layout::Layout;
use crate::error::{Error, Result};
use crate::home::{private_dir, write_atomic};
use crate::l1::place::Chain;
use monai_contracts::Addresses;
use std::net::{Ipv4Addr, SocketAddr};

/// Port of the chain's endpoint where nothing else is said.
pub(super) const DEFAULT_PORT: u16 = 8545;

/// A chain that runs.
#[derive(Debug)]
pub(super) struct L1 {
    pub(super) child: Running,
    pub(super) rpc: String,
    pub(super) addresses: Addresses,
}

/// Starts the chain, founding it first if there is none.
///
/// # Errors
/// Tools that are missing, a port that is taken, a deployment that fails.
pub(super) async fn start(layout: &Layout, tools: &Tools, port: u16, wanted: Wanted<'_>) -> Result<L1> {
    private_dir(&layout.l1())?;
    let listen = crate::sequencer::free(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    let rpc = format!("http://{listen}");
    if !layout.addresses().is_file() {
        found::found(layout, tools, listen, &wanted).await?;
    }
    let addresses = Addresses::load(layout.addresses()).map_err(|e| Error::Local(e.to_string()))?;
    let child = Running::start(anvil::plan(layout, tools, listen, None))?;
    anvil::wait(&rpc).await?;
    let chain = Chain::open(&rpc, addresses.clone()).await?;
    anvil::check(&chain, layout).await?;
    anvil::age(&chain).await?;
    write_atomic(&layout.rpc(), rpc.as_bytes(), false)?;
    Ok(L1 { child, rpc, addresses })
}
