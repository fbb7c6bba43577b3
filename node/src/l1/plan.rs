//! Transactions that belong together: tried without sending, shown, sent one after the other.

use super::amount::show;
use super::fault;
use super::place::{Account, Chain};
use crate::cli::ChainArgs;
use crate::error::{Error, Result};
use alloy_network::TransactionBuilder as _;
use alloy_primitives::{Address, B256, Bytes, U64, U256};
use alloy_provider::Provider as _;
use alloy_rpc_types_eth::{TransactionReceipt, TransactionRequest};
use alloy_sol_types::SolCall;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// For a transaction to be in a block.
const INCLUSION_PATIENCE: Duration = Duration::from_secs(180);
/// Between two looks for its receipt.
const INCLUSION_POLL: Duration = Duration::from_millis(200);
/// Gas limit over gas used in the trial, in percent: an epoch may turn in between, and refunds are not lent.
const GAS_MARGIN_PERCENT: u64 = 160;
/// Gas of a transaction that does nothing.
const BASE_GAS: u64 = 21_000;

/// One transaction.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// What it does, as a sentence without its end.
    pub(crate) says: String,
    to: Address,
    data: Bytes,
    /// Gas that must be left over while it runs, beyond what the trial used.
    spare: u64,
}

impl Step {
    /// A call of a contract.
    pub(crate) fn new(says: impl Into<String>, to: Address, call: &impl SolCall) -> Self {
        Self { says: says.into(), to, data: call.abi_encode().into(), spare: 0 }
    }
}

/// Transactions and what to know about them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    /// What will be so afterwards: name and value.
    pub(crate) notes: Vec<(&'static str, String)>,
    /// What the transactions made, read from their receipts: name and value.
    pub(crate) outcome: Option<Outcome>,
}

/// Reads what a plan made, such as the id of a session.
pub(crate) type Outcome = fn(&[TransactionReceipt]) -> Option<(&'static str, String)>;

impl Plan {
    /// Adds a transaction.
    pub(crate) fn step(&mut self, says: impl Into<String>, to: Address, call: &impl SolCall) {
        self.steps.push(Step::new(says, to, call));
    }

    /// The same for a contract that wants gas to be left over.
    pub(crate) fn step_sparing(
        &mut self,
        says: impl Into<String>,
        to: Address,
        call: &impl SolCall,
        spare: u64,
    ) {
        self.steps.push(Step { spare, ..Step::new(says, to, call) });
    }

    /// Adds something to know.
    pub(crate) fn note(&mut self, name: &'static str, value: impl Into<String>) {
        self.notes.push((name, value.into()));
    }
}

/// What a trial showed.
struct Trial {
    gas: Vec<u64>,
    gas_price: u128,
}

/// Tries a plan, and sends it unless the options say not to. Returns the receipts; none after a dry run.
///
/// # Errors
/// [`Error::Invalid`] with the contract's reason if it would fail; an endpoint that does not answer.
pub(crate) async fn carry_out(
    plan: &Plan,
    chain: &Chain,
    args: &ChainArgs,
    from: Address,
    account: impl FnOnce() -> Result<Account>,
) -> Result<Vec<TransactionReceipt>> {
    let trial = attempt(plan, chain, from).await?;
    if args.dry_run {
        print_dry(plan, &trial, args.json);
        return Ok(Vec::new());
    }
    let account = account()?;
    let mut receipts = Vec::new();
    for (step, gas) in plan.steps.iter().zip(&trial.gas) {
        let receipt = send(step, chain, &account, *gas).await?;
        if !args.json {
            println!("{}: done in block {}", step.says, receipt.block_number.unwrap_or_default());
        }
        receipts.push(receipt);
    }
    if args.json {
        println!("{}", sent_json(plan, &receipts));
    } else {
        for (name, value) in &plan.notes {
            println!("{name:<22} {value}");
        }
        if let Some((name, value)) = plan.outcome.and_then(|read| read(&receipts)) {
            println!("{name:<22} {value}");
        }
    }
    Ok(receipts)
}

/// One call of a trial.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Called {
    return_data: Bytes,
    gas_used: U64,
    status: U64,
}

/// What a view answers once a plan has been carried out, without carrying it out.
///
/// # Errors
/// Those of the plan's trial; an answer that is none.
pub(crate) async fn afterwards<C: SolCall>(
    plan: &Plan,
    chain: &Chain,
    from: Address,
    to: Address,
    view: &C,
) -> Result<C::Return> {
    let mut asking = plan.clone();
    asking.step("look at what follows", to, view);
    let called = try_all(&asking, chain, from).await?;
    let data = called.last().map(|c| c.return_data.clone()).unwrap_or_default();
    C::abi_decode_returns(&data).map_err(|e| chain.away(&e))
}

/// Runs all transactions on the newest state, in order, without sending them.
async fn attempt(plan: &Plan, chain: &Chain, from: Address) -> Result<Trial> {
    let calls = try_all(plan, chain, from).await?;
    let gas_price = chain.provider.get_gas_price().await.map_err(|e| chain.away(&e))?;
    Ok(Trial { gas: calls.iter().map(|c| c.gas_used.to::<u64>()).collect(), gas_price })
}

async fn try_all(plan: &Plan, chain: &Chain, from: Address) -> Result<Vec<Called>> {
    #[derive(Debug, Deserialize)]
    struct Block {
        calls: Vec<Called>,
    }
    let calls: Vec<Value> =
        plan.steps.iter().map(|s| json!({"from": from, "to": s.to, "input": s.data})).collect();
    let blocks: Vec<Block> = chain
        .provider
        .raw_request(
            "eth_simulateV1".into(),
            json!([{"blockStateCalls": [{"calls": calls}], "validation": false}, "latest"]),
        )
        .await
        .map_err(|e| chain.away(&e))?;
    let calls = blocks.into_iter().next().map(|b| b.calls).unwrap_or_default();
    if calls.len() != plan.steps.len() {
        return Err(chain.away(&"eth_simulateV1 left out calls"));
    }
    for (step, call) in plan.steps.iter().zip(&calls) {
        if call.status.is_zero() {
            return Err(Error::Invalid(format!("{}: {}", step.says, fault::explain(&call.return_data))));
        }
    }
    Ok(calls)
}

/// Signs and sends one transaction, and waits until it is in a block.
pub(crate) async fn send(
    step: &Step,
    chain: &Chain,
    account: &Account,
    gas: u64,
) -> Result<TransactionReceipt> {
    let limit = (gas.saturating_mul(GAS_MARGIN_PERCENT) / 100 + BASE_GAS).saturating_add(step.spare);
    let request = TransactionRequest::default()
        .with_from(account.address)
        .with_to(step.to)
        .with_input(step.data.clone())
        .with_gas_limit(limit);
    let pending = account
        .provider
        .send_transaction(request)
        .await
        .map_err(|e| Error::Invalid(format!("{}: the endpoint refuses it: {e}", step.says)))?;
    let receipt = included(chain, *pending.tx_hash()).await?;
    if !receipt.status() {
        return Err(Error::Invalid(format!(
            "{}: transaction {} failed in block {}, though its trial did not",
            step.says,
            receipt.transaction_hash,
            receipt.block_number.unwrap_or_default()
        )));
    }
    Ok(receipt)
}

pub(crate) async fn included(chain: &Chain, hash: B256) -> Result<TransactionReceipt> {
    let begin = Instant::now();
    loop {
        if let Some(receipt) =
            chain.provider.get_transaction_receipt(hash).await.map_err(|e| chain.away(&e))?
        {
            return Ok(receipt);
        }
        if begin.elapsed() > INCLUSION_PATIENCE {
            return Err(
                chain.away(&format!("transaction {hash} is in no block after {INCLUSION_PATIENCE:?}"))
            );
        }
        tokio::time::sleep(INCLUSION_POLL).await;
    }
}

/// Tries and sends a plan without a word: for set-ups.
pub(crate) async fn quietly(
    plan: &Plan,
    chain: &Chain,
    account: &Account,
) -> Result<Vec<TransactionReceipt>> {
    let trial = attempt(plan, chain, account.address).await?;
    let mut receipts = Vec::new();
    for (step, gas) in plan.steps.iter().zip(&trial.gas) {
        receipts.push(send(step, chain, account, *gas).await?);
    }
    Ok(receipts)
}

fn ether(wei: u128) -> String {
    show(U256::from(wei), 18)
}

fn print_dry(plan: &Plan, trial: &Trial, as_json: bool) {
    let total: u64 = trial.gas.iter().sum();
    let cost = u128::from(total).saturating_mul(trial.gas_price);
    if as_json {
        let steps: Vec<Value> = plan
            .steps
            .iter()
            .zip(&trial.gas)
            .map(|(s, gas)| json!({"does": s.says, "to": s.to, "data": s.data, "gas": gas}))
            .collect();
        let out = json!({
            "dry_run": true,
            "transactions": steps,
            "notes": notes(plan),
            "gas": total,
            "gas_price_wei": trial.gas_price.to_string(),
            "cost_eth": ether(cost),
        });
        println!("{out}");
        return;
    }
    println!("A dry run: nothing is sent.");
    for (i, (step, gas)) in plan.steps.iter().zip(&trial.gas).enumerate() {
        println!("{:>2}. {} ({gas} gas)", i + 1, step.says);
    }
    for (name, value) in &plan.notes {
        println!("{name:<22} {value}");
    }
    println!(
        "{:<22} {} ETH ({total} gas at {} gwei)",
        "cost",
        ether(cost),
        show(U256::from(trial.gas_price), 9)
    );
}

fn notes(plan: &Plan) -> Value {
    plan.notes.iter().map(|(name, value)| ((*name).to_owned(), Value::from(value.clone()))).collect()
}

fn sent_json(plan: &Plan, receipts: &[TransactionReceipt]) -> Value {
    let sent: Vec<Value> = plan
        .steps
        .iter()
        .zip(receipts)
        .map(|(s, r)| {
            json!({"does": s.says, "hash": r.transaction_hash, "block": r.block_number, "gas": r.gas_used})
        })
        .collect();
    let mut out = json!({"transactions": sent, "notes": notes(plan)});
    if let Some((name, value)) = plan.outcome.and_then(|read| read(receipts)) {
        out[name] = value.into();
    }
    out
}
