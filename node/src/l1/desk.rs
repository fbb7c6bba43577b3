//! What every command has at hand: the chain, the account that acts, and the calendar.

use super::place::{Account, Chain, acting, acting_address};
use super::plan::{Plan, carry_out};
use crate::cli::ChainArgs;
use crate::error::{Error, Result};
use crate::home::Home;
use alloy_primitives::{Address, U256};
use alloy_provider::RootProvider;
use alloy_rpc_types_eth::TransactionReceipt;
use monai_contracts::governor::MonaiGovernor;
use monai_contracts::operators::Operators;
use monai_contracts::parameters::Parameters;
use monai_contracts::payments::Payments;
use monai_contracts::staking::Staking;
use monai_contracts::token::Token;

/// Position of `UnbondingEpochs` in the contract's parameters.
const UNBONDING_EPOCHS: u8 = 5;

/// What a command needs at hand.
pub(super) struct Desk<'a> {
    pub(super) chain: Chain,
    pub(super) from: Address,
    args: &'a ChainArgs,
    home: &'a Home,
}

impl<'a> Desk<'a> {
    pub(super) async fn open(args: &'a ChainArgs, home: &'a Home) -> Result<Self> {
        let chain = Chain::of(args, home).await?;
        Ok(Self { chain, from: acting_address(args, home)?, args, home })
    }

    /// For commands that only read: no account acts.
    pub(super) async fn reading(args: &'a ChainArgs, home: &'a Home) -> Result<Self> {
        Ok(Self { chain: Chain::of(args, home).await?, from: Address::ZERO, args, home })
    }

    pub(super) fn account(&self) -> Result<Account> {
        acting(self.args, self.home, &self.chain)
    }

    pub(super) async fn carry_out(&self, plan: &Plan) -> Result<Vec<TransactionReceipt>> {
        carry_out(plan, &self.chain, self.args, self.from, || self.account()).await
    }

    pub(super) fn staking(&self) -> Staking::StakingInstance<RootProvider> {
        Staking::new(self.chain.addresses.staking, self.chain.provider.clone())
    }

    pub(super) fn payments(&self) -> Payments::PaymentsInstance<RootProvider> {
        Payments::new(self.chain.addresses.payments, self.chain.provider.clone())
    }

    pub(super) fn governor(&self) -> MonaiGovernor::MonaiGovernorInstance<RootProvider> {
        MonaiGovernor::new(self.chain.addresses.governor, self.chain.provider.clone())
    }

    fn operators(&self) -> Operators::OperatorsInstance<RootProvider> {
        Operators::new(self.chain.addresses.operators, self.chain.provider.clone())
    }

    /// The time of the newest block, Unix seconds.
    pub(super) async fn now(&self) -> Result<u64> {
        self.chain.now().await
    }

    /// The epoch of the newest block.
    pub(super) async fn epoch(&self) -> Result<u64> {
        Ok(self.chain.addresses.epoch_at(self.now().await?))
    }

    /// When an epoch begins, as text.
    pub(super) async fn when(&self, epoch: u64) -> Result<String> {
        let now = self.now().await?;
        let wait = self.chain.addresses.epoch_start(epoch).saturating_sub(now);
        Ok(format!("epoch {epoch} (in {wait} s)"))
    }

    pub(super) async fn unbonding(&self) -> Result<u64> {
        let contract = Parameters::new(self.chain.addresses.parameters, self.chain.provider.clone());
        let epochs = contract.get(UNBONDING_EPOCHS).call().await.map_err(|e| self.chain.call_failed(e))?;
        Ok(epochs.saturating_to())
    }

    /// An operator by its own address or its node's hot key.
    pub(super) async fn operator(&self, text: &str) -> Result<Address> {
        let given: Address = text.parse().map_err(|_| Error::Usage(format!("{text:?} is no address")))?;
        let operators = self.operators();
        if operators.isKnown(given).call().await.map_err(|e| self.chain.call_failed(e))? {
            return Ok(given);
        }
        let owner = operators.operatorOfHotKey(given).call().await.map_err(|e| self.chain.call_failed(e))?;
        if owner.is_zero() {
            return Err(Error::Usage(format!("{given} is neither an operator nor a node's hot key")));
        }
        Ok(owner)
    }

    /// Adds the permission to take `amount`, where there is too little.
    pub(super) async fn allow(
        &self,
        plan: &mut Plan,
        asset: Address,
        name: &str,
        to: Address,
        amount: U256,
    ) -> Result<()> {
        let token = Token::new(asset, self.chain.provider.clone());
        let allowed = token.allowance(self.from, to).call().await.map_err(|e| self.chain.call_failed(e))?;
        if allowed < amount {
            plan.step(
                format!("allow the contract to take {name}"),
                asset,
                &Token::approveCall { spender: to, value: amount },
            );
        }
        Ok(())
    }

    pub(super) async fn note_unbonding(&self, plan: &mut Plan) -> Result<()> {
        let (epoch, wait) = (self.epoch().await?, self.unbonding().await?);
        plan.note("stops counting", self.when(epoch + 1).await?);
        plan.note("can be withdrawn", self.when(epoch + 1 + wait).await?);
        plan.note("liable until then", "yes, for offences up to the present epoch");
        Ok(())
    }
}
