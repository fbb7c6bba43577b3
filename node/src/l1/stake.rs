//! `monai stake`, `delegate`, `undelegate`, `redelegate`, `unbond`, `withdraw`, `claim`.

use super::amount::{TOKEN_DECIMALS, parse, show, tokens};
use super::desk::Desk;
use super::enrol::{Enrolment, registration};
use super::plan::{Plan, afterwards};
use super::rows::ProvedEpoch;
use crate::cli::{ClaimArgs, DelegateArgs, RedelegateArgs, StakeArgs, UnbondArgs, WithdrawArgs};
use crate::error::{Error, Result};
use crate::home::Home;
use crate::keys::{KeyFolder, PasswordSource, unlock};
use alloy_primitives::aliases::U48;
use alloy_primitives::{Address, B256, U256};
use monai_contracts::audits::Audits;
use monai_contracts::emissions::Emissions;
use monai_contracts::epochs::Epochs;
use monai_contracts::operators::Operators;
use monai_contracts::staking::Staking;
use monai_contracts::token::Token;

/// Most transactions about rows that one command sends; the next one goes on.
const MAX_ROWS: usize = 32;
/// Gas that `Emissions` wants to be left before it pays a fee.
const SPARE_PER_FEE: u64 = 600_000;
/// States of an epoch, by the contract's numbers.
const PROVED: u8 = 1;
const IDLE: u8 = 2;
/// The first stream that pays fees.
const FIRST_FEE_STREAM: u64 = 2;

/// `monai stake`.
pub(crate) async fn stake(args: StakeArgs, home: &Home) -> Result<()> {
    let desk = Desk::open(&args.chain, home).await?;
    let amount = parse(&args.amount, TOKEN_DECIMALS)?;
    let mut plan = Plan::default();
    let staking = desk.chain.addresses.staking;
    let epoch = desk.epoch().await?;
    desk.allow(&mut plan, desk.chain.addresses.token, "tokens", staking, amount).await?;
    if let (true, Some(hot)) = (args.register, &args.hot_key) {
        let path = KeyFolder::new(home.keys()).find(hot)?;
        let password = PasswordSource { file: args.chain.password_file.clone() };
        let hot = unlock(&path, &password.get(&path.display().to_string())?)?;
        let commission = percent(&args.commission)?;
        let models = args
            .model
            .iter()
            .map(|m| m.parse::<B256>().map_err(|_| Error::Usage(format!("{m:?} is no model id"))))
            .collect::<Result<Vec<_>>>()?;
        let wanted =
            Enrolment { operator: desk.from, bond: amount, commission, url: args.url.clone(), models };
        let call = registration(&desk.chain, &wanted, &hot).await?;
        let says = format!("register {} with a bond of {}", desk.from, tokens(amount));
        plan.step(says, desk.chain.addresses.operators, &call);
    } else {
        let says = format!("bond {} tokens to operator {}", tokens(amount), desk.from);
        plan.step(says, staking, &Staking::bondCall { amount });
    }
    plan.note("counts from", desk.when(epoch + 1).await?);
    desk.carry_out(&plan).await.map(drop)
}

/// `monai delegate`.
pub(crate) async fn delegate(args: DelegateArgs, home: &Home) -> Result<()> {
    let desk = Desk::open(&args.chain, home).await?;
    let amount = parse(&args.amount, TOKEN_DECIMALS)?;
    let operator = desk.operator(&args.operator).await?;
    let epoch = desk.epoch().await?;
    let mut plan = Plan::default();
    let staking = desk.chain.addresses.staking;
    desk.allow(&mut plan, desk.chain.addresses.token, "tokens", staking, amount).await?;
    plan.step(
        format!("delegate {} tokens to {operator}", tokens(amount)),
        staking,
        &Staking::delegateCall { operator, amount },
    );
    let now = desk
        .staking()
        .countedStake(operator, U48::from(epoch + 1))
        .call()
        .await
        .map_err(|e| desk.chain.call_failed(e))?;
    plan.note("operator's stake", format!("{} before this, as counted from the next epoch", tokens(now)));
    plan.note("counts from", desk.when(epoch + 1).await?);
    plan.note("unbonding takes", format!("{} epochs", desk.unbonding().await?));
    desk.carry_out(&plan).await.map(drop)
}

/// `monai undelegate`.
pub(crate) async fn undelegate(args: DelegateArgs, home: &Home) -> Result<()> {
    let desk = Desk::open(&args.chain, home).await?;
    let amount = parse(&args.amount, TOKEN_DECIMALS)?;
    let operator = desk.operator(&args.operator).await?;
    let mut plan = Plan::default();
    plan.step(
        format!("undelegate {} tokens from {operator}", tokens(amount)),
        desk.chain.addresses.staking,
        &Staking::undelegateCall { operator, amount },
    );
    desk.note_unbonding(&mut plan).await?;
    desk.carry_out(&plan).await.map(drop)
}

/// `monai redelegate`.
pub(crate) async fn redelegate(args: RedelegateArgs, home: &Home) -> Result<()> {
    let desk = Desk::open(&args.chain, home).await?;
    let amount = parse(&args.amount, TOKEN_DECIMALS)?;
    let (from, to) = (desk.operator(&args.from).await?, desk.operator(&args.to).await?);
    let epoch = desk.epoch().await?;
    let mut plan = Plan::default();
    plan.step(
        format!("move {} tokens from {from} to {to}", tokens(amount)),
        desk.chain.addresses.staking,
        &Staking::redelegateCall { from, to, amount },
    );
    plan.note("counts from", desk.when(epoch + 1).await?);
    let until = epoch + 1 + desk.unbonding().await?;
    plan.note("liable at both until", desk.when(until).await?);
    desk.carry_out(&plan).await.map(drop)
}

/// `monai unbond`.
pub(crate) async fn unbond(args: UnbondArgs, home: &Home) -> Result<()> {
    let desk = Desk::open(&args.chain, home).await?;
    let amount = parse(&args.amount, TOKEN_DECIMALS)?;
    let mut plan = Plan::default();
    plan.step(
        format!("unbond {} tokens of {}", tokens(amount), desk.from),
        desk.chain.addresses.staking,
        &Staking::unbondCall { amount },
    );
    desk.note_unbonding(&mut plan).await?;
    desk.carry_out(&plan).await.map(drop)
}

/// `monai withdraw`.
pub(crate) async fn withdraw(args: WithdrawArgs, home: &Home) -> Result<()> {
    let desk = Desk::open(&args.chain, home).await?;
    let operator = desk.operator(&args.operator).await?;
    let out =
        desk.staking().unbonding(operator, desk.from).call().await.map_err(|e| desk.chain.call_failed(e))?;
    let mut plan = Plan::default();
    plan.step(
        format!("withdraw what has waited long enough at {operator}"),
        desk.chain.addresses.staking,
        &Staking::withdrawCall { operator },
    );
    plan.note("due", format!("{} of {} tokens on their way out", tokens(out.due), tokens(out.total)));
    desk.carry_out(&plan).await.map(drop)
}

/// `monai claim`.
pub(crate) async fn claim(args: ClaimArgs, home: &Home) -> Result<()> {
    let desk = Desk::open(&args.chain, home).await?;
    let operator = desk.operator(&args.operator).await?;
    let assets = desk.payments().assetCount().call().await.map_err(|e| desk.chain.call_failed(e))?;
    let streams = match &args.stream {
        Some(name) => vec![stream(name)?],
        None => (0..FIRST_FEE_STREAM + assets.saturating_to::<u64>()).collect(),
    };
    let mut plan = vested_rows(&desk, operator).await?;
    // What the rows pay in is there before it is asked for.
    let rows = plan.clone();
    for number in streams {
        let id = U256::from(number);
        let view = Staking::claimableCall { operator, account: desk.from, stream: id };
        let due = afterwards(&rows, &desk.chain, desk.from, desk.chain.addresses.staking, &view).await?;
        if due.is_zero() && args.stream.is_none() {
            continue;
        }
        let asset = desk.staking().streamAsset(id).call().await.map_err(|e| desk.chain.call_failed(e))?;
        let token = Token::new(asset, desk.chain.provider.clone());
        let decimals = token.decimals().call().await.map_err(|e| desk.chain.call_failed(e))?;
        let symbol = token.symbol().call().await.map_err(|e| desk.chain.call_failed(e))?;
        plan.step(
            format!("claim {} {symbol} ({})", show(due, decimals), stream_name(number)),
            desk.chain.addresses.staking,
            &Staking::claimCall { operator, stream: id },
        );
    }
    if plan.steps.len() == rows.steps.len() {
        return Err(Error::Invalid("no stream has anything to pay to this account yet".into()));
    }
    desk.carry_out(&plan).await.map(drop)
}

/// What has to come first: the operator's rows of proved epochs whose windows are over. Anybody may hand them in.
async fn vested_rows(desk: &Desk<'_>, operator: Address) -> Result<Plan> {
    let a = &desk.chain.addresses;
    let failed = |e| desk.chain.call_failed(e);
    let emissions = Emissions::new(a.emissions, desk.chain.provider.clone());
    let epochs = Epochs::new(a.epochs, desk.chain.provider.clone());
    let operators = Operators::new(a.operators, desk.chain.provider.clone());
    let audits = Audits::new(a.audits, desk.chain.provider.clone());
    let slot = operators.slotOf(operator).call().await.map_err(failed)?;
    let held = audits.holdUntil(operator).call().await.map_err(failed)?;
    let open = audits.openCount(operator).call().await.map_err(failed)?;
    let now = U256::from(desk.now().await?);
    let mut plan = Plan::default();
    let mut epoch = emissions.nextClaim(operator).call().await.map_err(failed)?.to::<u64>();
    let mut idle = 0u64;
    while plan.steps.len() < MAX_ROWS && open.is_zero() {
        let e = U48::saturating_from(epoch);
        let record = epochs.record(e).call().await.map_err(failed)?;
        match record.status {
            IDLE => idle += 1,
            PROVED => {
                let vests = emissions.vestsAt(e).call().await.map_err(failed)?.max(held);
                let mine = operators.operatorAt(slot, e).call().await.map_err(failed)? == operator;
                let lists =
                    if mine && now > vests { ProvedEpoch::read(&desk.chain, epoch).await? } else { None };
                let Some(row) = lists.and_then(|l| l.row(slot)) else {
                    if mine && now <= vests {
                        let wait = (vests - now).saturating_to::<u64>() + 1;
                        plan.note("next row vests", format!("epoch {epoch}, in {wait} s"));
                    }
                    break;
                };
                skip_idle(&mut plan, a.emissions, operator, &mut idle);
                let spare = SPARE_PER_FEE.saturating_mul(row.fees.len() as u64 + 1);
                let call = Emissions::claimCall {
                    operator,
                    row: Emissions::Row { slot, cells: row.cells, fees: row.fees },
                    proof: row.proof,
                };
                plan.step_sparing(format!("pay out the row of epoch {epoch}"), a.emissions, &call, spare);
            }
            _ => break,
        }
        epoch += 1;
    }
    Ok(plan)
}

fn skip_idle(plan: &mut Plan, emissions: Address, operator: Address, idle: &mut u64) {
    if *idle > 0 {
        let call = Emissions::skipIdleCall { operator, most: U256::from(*idle) };
        plan.step(format!("pass over {idle} epochs without batches"), emissions, &call);
        *idle = 0;
    }
}

/// Percent as a share, 10^18 for all.
fn percent(text: &str) -> Result<U256> {
    if text == "0" { Ok(U256::ZERO) } else { Ok(parse(text, TOKEN_DECIMALS)? / U256::from(100)) }
}

fn stream(name: &str) -> Result<u64> {
    match name {
        "emissions" => Ok(0),
        "governance" => Ok(1),
        _ => name
            .strip_prefix("fees-")
            .and_then(|n| n.parse::<u64>().ok())
            .and_then(|n| n.checked_add(FIRST_FEE_STREAM))
            .ok_or_else(|| Error::Usage(format!("{name:?} is no stream: emissions, governance, fees-0, …"))),
    }
}

fn stream_name(number: u64) -> String {
    match number {
        0 => "emissions".into(),
        1 => "governance".into(),
        n => format!("fees-{}", n - FIRST_FEE_STREAM),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_have_names() {
        for n in [0, 1, 2, 7] {
            assert_eq!(stream(&stream_name(n)).unwrap(), n);
        }
        assert!(stream("fees-x").is_err() && stream(&format!("fees-{}", u64::MAX)).is_err());
    }
}
