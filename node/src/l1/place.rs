//! Which chain, which contracts, which key.

use crate::cli::ChainArgs;
use crate::devnet::Layout;
use crate::error::{Error, Result};
use crate::home::Home;
use crate::keys::{KeyFolder, PasswordSource, describe, unlock};
use alloy_network::EthereumWallet;
use alloy_primitives::Address;
use alloy_provider::{DynProvider, Provider as _, ProviderBuilder, RootProvider};
use alloy_rpc_types_eth::BlockId;
use alloy_signer_local::PrivateKeySigner;
use monai_contracts::{Addresses, AddressesError};
use monai_protocol::SecretKey;
use std::path::PathBuf;
use std::time::Duration;

/// What one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A deployment, read through one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) provider: RootProvider,
    pub(crate) addresses: Addresses,
    pub(crate) url: String,
}

impl Chain {
    /// Connects, and checks that the endpoint serves the chain of the addresses.
    pub(crate) async fn open(url: &str, addresses: Addresses) -> Result<Self> {
        let provider =
            monai_contracts::connect(url, REQUEST_TIMEOUT).map_err(|e| Error::Usage(e.to_string()))?;
        let chain = Self { provider, addresses, url: url.to_owned() };
        let id = chain.provider.get_chain_id().await.map_err(|e| chain.away(&e))?;
        if id != chain.addresses.chain_id {
            return Err(Error::Usage(format!(
                "{url} serves chain {id}, the addresses are of chain {}",
                chain.addresses.chain_id
            )));
        }
        Ok(chain)
    }

    /// The time of the newest block, Unix seconds.
    pub(crate) async fn now(&self) -> Result<u64> {
        let block = self.provider.get_block(BlockId::latest()).await.map_err(|e| self.away(&e))?;
        block.map(|b| b.header.timestamp).ok_or_else(|| self.away(&"no block"))
    }

    /// The chain that a command names: by its options, else the devnet's.
    pub(crate) async fn of(args: &ChainArgs, home: &Home) -> Result<Self> {
        let devnet = devnet(args, home);
        let path = args.addresses.clone().unwrap_or_else(|| devnet.addresses());
        let addresses = Addresses::load(&path).map_err(|e| match e {
            AddressesError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Error::Missing(format!(
                    "{}: no address file; `make devnet` writes one, or give --addresses FILE",
                    path.display()
                ))
            }
            other => Error::Usage(other.to_string()),
        })?;
        let url = match &args.rpc {
            Some(url) => url.clone(),
            None => std::fs::read_to_string(devnet.rpc())
                .map(|text| text.trim().to_owned())
                .map_err(|_| Error::Usage("no devnet with an L1 is here; give --rpc URL".into()))?,
        };
        Self::open(&url, addresses).await
    }

    /// The endpoint's failure as an error of this program.
    pub(crate) fn away(&self, error: &dyn std::fmt::Display) -> Error {
        Error::Unreachable { url: self.url.clone(), what: error.to_string() }
    }

    /// The same for a call of a contract, whose refusal is explained.
    pub(crate) fn call_failed(&self, error: alloy_contract::Error) -> Error {
        match error.as_revert_data() {
            Some(data) => super::fault::refused(&data),
            None => self.away(&error),
        }
    }

    /// An account that can send.
    pub(crate) fn account(&self, key: SecretKey) -> Result<Account> {
        let signer = PrivateKeySigner::from_slice(&*key.to_bytes())
            .map_err(|e| Error::Local(format!("the key: {e}")))?;
        let address = signer.address();
        let provider = ProviderBuilder::new()
            .wallet(EthereumWallet::from(signer))
            .connect_provider(self.provider.clone())
            .erased();
        Ok(Account { provider, address, key })
    }
}

/// An account with its key.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) provider: DynProvider,
    pub(crate) address: Address,
    pub(crate) key: SecretKey,
}

/// The account that acts: `--key`, looked for among the user's keys and then among the devnet's, whose password is
/// in its folder.
pub(crate) fn acting(args: &ChainArgs, home: &Home, chain: &Chain) -> Result<Account> {
    let (path, password) = keystore(args, home)?;
    let password = PasswordSource { file: password }.get(&path.display().to_string())?;
    chain.account(unlock(&path, &password)?)
}

/// The address that would act, which needs no password.
pub(crate) fn acting_address(args: &ChainArgs, home: &Home) -> Result<Address> {
    let (path, _) = keystore(args, home)?;
    Ok(describe(&path)?.address.into())
}

fn keystore(args: &ChainArgs, home: &Home) -> Result<(PathBuf, Option<PathBuf>)> {
    let name = args
        .key
        .as_deref()
        .ok_or_else(|| Error::Usage("which account acts? give --key NAME (`monai keys list`)".into()))?;
    match KeyFolder::new(home.keys()).find(name) {
        Ok(path) => Ok((path, args.password_file.clone())),
        Err(error @ Error::Missing(_)) => {
            let devnet = devnet(args, home);
            let Ok(path) = KeyFolder::new(devnet.keys()).find(name) else { return Err(error) };
            Ok((path, args.password_file.clone().or_else(|| Some(devnet.password()))))
        }
        Err(error) => Err(error),
    }
}

fn devnet(args: &ChainArgs, home: &Home) -> Layout {
    Layout::new(args.devnet.clone().unwrap_or_else(|| home.devnet()))
}
