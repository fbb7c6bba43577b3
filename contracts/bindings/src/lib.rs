//! Bindings to the MonAI contracts, generated at compile time from the ABI files in `abi/`, and the
//! address file that a deployment writes.
//!
//! Each contract is a module of its own, because structs that several contracts share would
//! otherwise be defined twice. The ABI files are written by `make -C contracts abi`, after every
//! change of an interface; `make -C contracts check` fails if they are stale.
//!
//! Deliberately absent: signing and key handling. [`connect`] only reads; who sends brings a signer.

mod addresses;
mod http;

pub use addresses::{Addresses, AddressesError};
pub use http::{ConnectError, connect};

/// Expands to one module for each contract.
macro_rules! contract {
    ($module:ident, $name:ident, $path:literal, $doc:literal) => {
        #[doc = $doc]
        #[allow(missing_docs, clippy::all, clippy::pedantic, clippy::unwrap_used)]
        pub mod $module {
            alloy_sol_types::sol!(
                #[sol(rpc, all_derives)]
                $name,
                $path
            );
        }
    };
}

contract!(token, Token, "abi/Token.json", "ERC-20 token.");
contract!(parameters, Parameters, "abi/Parameters.json", "Bounded, governed parameters with history.");
contract!(verifiers, VerifierRegistry, "abi/VerifierRegistry.json", "Verifiers by circuit and version.");
contract!(poseidon, Poseidon, "abi/Poseidon.json", "Poseidon over BN254, width 3.");
contract!(operators, Operators, "abi/Operators.json", "Operators, their keys, commission and table slots.");
contract!(staking, Staking, "abi/Staking.json", "Bonds, delegations, slashes, rewards.");
contract!(epochs, Epochs, "abi/Epochs.json", "Node tables, epoch beacons and epoch proofs.");
contract!(models, ModelRegistry, "abi/ModelRegistry.json", "Registered models.");
contract!(rollup, Rollup, "abi/Rollup.json", "The chain of batches.");
contract!(disputes, Disputes, "abi/Disputes.json", "Blob faults and contradicting signatures.");
contract!(inbox, Inbox, "abi/Inbox.json", "Forced inclusion.");
contract!(audits, Audits, "abi/Audits.json", "Selected and demanded proofs, liveness challenges.");
contract!(emissions, Emissions, "abi/Emissions.json", "Pots, shares and claims.");
contract!(treasury, Treasury, "abi/Treasury.json", "The treasury.");
contract!(payments, Payments, "abi/Payments.json", "Sessions, subscriptions and fee pools.");
contract!(timelock, MonaiTimelock, "abi/MonaiTimelock.json", "The timelock.");
contract!(governor, MonaiGovernor, "abi/MonaiGovernor.json", "The governor.");
contract!(halo2_adapter, Halo2Adapter, "abi/Halo2Adapter.json", "Adapter for generated verifiers.");
contract!(
    insecure_verifier,
    InsecureVerifier,
    "abi/InsecureVerifier.json",
    "Development stand-in for all verifiers."
);
contract!(
    insecure_stablecoin,
    InsecureStablecoin,
    "abi/InsecureStablecoin.json",
    "Development stand-in for a stablecoin."
);
