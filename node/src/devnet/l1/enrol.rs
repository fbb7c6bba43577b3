//! Accounts with something in them, and operators with something at stake.

use crate::devnet::setup::{Keys, STAKES};
use crate::error::{Error, Result};
use crate::l1::enrol::{Enrolment, registration};
use crate::l1::place::Chain;
use crate::l1::plan::{Plan, quietly};
use alloy_primitives::utils::Unit;
use alloy_primitives::{Address, U256};
use alloy_provider::Provider as _;
use alloy_sol_types::SolCall;
use monai_contracts::insecure_stablecoin::InsecureStablecoin;
use monai_contracts::rollup::Rollup;
use monai_contracts::token::Token;
use serde_json::{Value, json};

/// Tokens of each account that stakes or votes.
const TOKENS: u64 = 100_000;
/// The sequencer's bond, in tokens.
const SEQUENCER_BOND: u64 = 20_000;
/// The user's stablecoin, in millionths.
const USER_COINS: u64 = 1_000_000_000;
/// Share of delegators' rewards that the operators keep, in percent.
const COMMISSION_PERCENT: u64 = 10;

fn tokens(n: u64) -> U256 {
    U256::from(n) * Unit::ETHER.wei()
}

/// Funds accounts, bonds the sequencer, registers and stakes the nodes.
pub(super) async fn enrol(chain: &Chain, deployer: Address, keys: &Keys) -> Result<()> {
    let treasury = Deployer { chain, address: deployer };
    let token = chain.addresses.token;
    for key in keys.actors() {
        let to = Address::from(key.address);
        let _: Value = chain
            .provider
            .raw_request("anvil_setBalance".into(), json!([to, tokens(1_000)]))
            .await
            .map_err(|e| chain.away(&e))?;
    }
    for key in keys.owners.iter().chain([&keys.sequencer, &keys.holder]) {
        let call = Token::transferCall { to: key.address.into(), value: tokens(TOKENS) };
        treasury.send(token, &call).await?;
    }
    let mint = InsecureStablecoin::mintCall { to: keys.user.address.into(), amount: U256::from(USER_COINS) };
    treasury.send(chain.addresses.insecure_stablecoin, &mint).await?;
    bond_sequencer(chain, keys).await?;
    for ((owner, node), stake) in keys.owners.iter().zip(&keys.nodes).zip(STAKES.iter().cycle()) {
        let account = chain.account(keys.unlock(owner)?)?;
        let bond = tokens(*stake);
        let wanted = Enrolment {
            operator: account.address,
            bond,
            commission: Unit::ETHER.wei() * U256::from(COMMISSION_PERCENT) / U256::from(100),
            url: String::new(),
            models: Vec::new(),
        };
        let call = registration(chain, &wanted, &keys.unlock(node)?).await?;
        let mut plan = Plan::default();
        let spender = chain.addresses.staking;
        plan.step("allow the bond", token, &Token::approveCall { spender, value: bond });
        plan.step(format!("register {}", node.name), chain.addresses.operators, &call);
        quietly(&plan, chain, &account).await?;
    }
    Ok(())
}

async fn bond_sequencer(chain: &Chain, keys: &Keys) -> Result<()> {
    let account = chain.account(keys.unlock(&keys.sequencer)?)?;
    let bond = tokens(SEQUENCER_BOND);
    let mut plan = Plan::default();
    let rollup = chain.addresses.rollup;
    plan.step("allow the bond", chain.addresses.token, &Token::approveCall { spender: rollup, value: bond });
    plan.step("bond the sequencer", rollup, &Rollup::bondSequencerCall { amount: bond });
    quietly(&plan, chain, &account).await.map(drop)
}

/// The account that holds the first tokens. The chain itself has its key.
struct Deployer<'a> {
    chain: &'a Chain,
    address: Address,
}

impl Deployer<'_> {
    async fn send(&self, to: Address, call: &impl SolCall) -> Result<()> {
        let data = alloy_primitives::Bytes::from(call.abi_encode());
        let hash: alloy_primitives::B256 = self
            .chain
            .provider
            .raw_request(
                "eth_sendTransaction".into(),
                json!([{"from": self.address, "to": to, "data": data}]),
            )
            .await
            .map_err(|e| self.chain.away(&e))?;
        let receipt = crate::l1::plan::included(self.chain, hash).await?;
        if receipt.status() { Ok(()) } else { Err(Error::Local(format!("transaction {hash} failed"))) }
    }
}
