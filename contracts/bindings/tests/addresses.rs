//! The address file that the deploy script writes is the one that the crate reads.

use alloy_primitives::address;
use alloy_sol_types::SolCall as _;
use monai_contracts::{Addresses, staking};

#[test]
fn reads_what_the_deploy_script_writes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/addresses.json");
    let addresses = Addresses::load(path).expect("address file");
    assert_eq!(addresses.token, address!("9fE46736679d2D9a65F0992F2272dE9f3c7fa6e0"));
    assert_eq!(addresses.epoch_at(addresses.epoch_start(3)), 3);
    assert_eq!(addresses.epoch_at(addresses.epoch_start(3) - 1), 2);
}

#[test]
fn names_and_selectors_come_from_the_abi() {
    assert_eq!(staking::Staking::delegateCall::SIGNATURE, "delegate(address,uint256)");
}
