//! `monai session` and `monai subscribe`.

use super::amount::{parse, show};
use super::desk::Desk;
use super::plan::Plan;
use super::typed::{Voucher, sign};
use crate::cli::{SessionCommand, SubscribeArgs};
use crate::error::{Error, Result};
use crate::home::Home;
use alloy_primitives::aliases::U48;
use alloy_primitives::{Address, B256, Bytes, U256};
use monai_contracts::payments::Payments;
use monai_contracts::token::Token;
use serde_json::json;

/// An asset that is paid in.
struct Asset {
    address: Address,
    symbol: String,
    decimals: u8,
}

impl Asset {
    fn show(&self, amount: U256) -> String {
        format!("{} {}", show(amount, self.decimals), self.symbol)
    }
}

async fn asset(desk: &Desk<'_>, index: u16) -> Result<Asset> {
    let failed = |e| desk.chain.call_failed(e);
    let address = desk.payments().assetAt(U256::from(index)).call().await.map_err(failed)?;
    let token = Token::new(address, desk.chain.provider.clone());
    let symbol = token.symbol().call().await.map_err(failed)?;
    let decimals = token.decimals().call().await.map_err(failed)?;
    Ok(Asset { address, symbol, decimals })
}

async fn existing(desk: &Desk<'_>, text: &str) -> Result<(B256, Payments::Session, Asset)> {
    let id: B256 = text.parse().map_err(|_| Error::Usage(format!("{text:?} is no session")))?;
    let session = desk.payments().session(id).call().await.map_err(|e| desk.chain.call_failed(e))?;
    if session.user.is_zero() {
        return Err(Error::Invalid(format!("there is no session {id}")));
    }
    let asset = asset(desk, session.asset).await?;
    Ok((id, session, asset))
}

fn signature(text: &str) -> Result<Bytes> {
    text.parse().map_err(|_| Error::Usage("a signature is 0x and 130 hexadecimal digits".into()))
}

/// `monai session`.
pub(crate) async fn session(command: SessionCommand, home: &Home) -> Result<()> {
    match command {
        SessionCommand::Open { amount, asset, chain } => {
            open(&Desk::open(&chain, home).await?, &amount, asset).await
        }
        SessionCommand::Fund { session, amount, chain } => {
            let desk = Desk::open(&chain, home).await?;
            let (id, _, asset) = existing(&desk, &session).await?;
            let amount = parse(&amount, asset.decimals)?;
            let mut plan = Plan::default();
            let to = desk.chain.addresses.payments;
            desk.allow(&mut plan, asset.address, &asset.symbol, to, amount).await?;
            let says = format!("add {} to session {id}", asset.show(amount));
            plan.step(says, to, &Payments::fundCall { id, amount });
            desk.carry_out(&plan).await.map(drop)
        }
        SessionCommand::Voucher { session, cumulative, chain } => {
            voucher(&Desk::open(&chain, home).await?, &session, &cumulative).await
        }
        SessionCommand::Redeem { session, cumulative, signature: text, chain } => {
            let desk = Desk::open(&chain, home).await?;
            let (id, state, asset) = existing(&desk, &session).await?;
            let cumulative = parse(&cumulative, asset.decimals)?;
            let epoch = desk.epoch().await?;
            let signature = signature(&text)?;
            let more = cumulative.saturating_sub(U256::from(state.spent));
            let mut plan = Plan::default();
            let call = Payments::redeemCall { id, cumulative, epoch: U48::from(epoch), signature };
            let says = format!("redeem {} of session {id} into the pool of epoch {epoch}", asset.show(more));
            plan.step(says, desk.chain.addresses.payments, &call);
            desk.carry_out(&plan).await.map(drop)
        }
        SessionCommand::Close { session, signature: text, chain } => {
            let desk = Desk::open(&chain, home).await?;
            let (id, state, asset) = existing(&desk, &session).await?;
            let mut plan = Plan::default();
            let call = Payments::closeNowCall { id, signature: signature(&text)? };
            plan.step(format!("close session {id}"), desk.chain.addresses.payments, &call);
            plan.note("comes back", asset.show(rest(&state)));
            desk.carry_out(&plan).await.map(drop)
        }
        SessionCommand::Exit { session, chain } => exit(&Desk::open(&chain, home).await?, &session).await,
        SessionCommand::Show { session, chain } => {
            let desk = Desk::reading(&chain, home).await?;
            let (id, state, asset) = existing(&desk, &session).await?;
            println!(
                "{}",
                json!({
                    "session": id,
                    "user": state.user,
                    "asset": asset.symbol,
                    "deposit": show(U256::from(state.balance), asset.decimals),
                    "spent": show(U256::from(state.spent), asset.decimals),
                    "remainder": show(rest(&state), asset.decimals),
                    "exit_at": state.exitAt.to::<u64>(),
                })
            );
            Ok(())
        }
    }
}

fn rest(state: &Payments::Session) -> U256 {
    U256::from(state.balance.saturating_sub(state.spent))
}

async fn open(desk: &Desk<'_>, amount: &str, index: u16) -> Result<()> {
    let asset = asset(desk, index).await?;
    let amount = parse(amount, asset.decimals)?;
    let payments = desk.chain.addresses.payments;
    let mut plan = Plan::default();
    desk.allow(&mut plan, asset.address, &asset.symbol, payments, amount).await?;
    plan.step(
        format!("open a session with {}", asset.show(amount)),
        payments,
        &Payments::openSessionCall { user: desk.from, asset: index, amount },
    );
    plan.note("who may sign vouchers", desk.from.to_string());
    plan.outcome = Some(|receipts| {
        let opened = receipts
            .iter()
            .flat_map(|r| r.logs())
            .find_map(|log| log.log_decode::<Payments::SessionOpened>().ok())?;
        Some(("session", opened.inner.data.session.to_string()))
    });
    desk.carry_out(&plan).await.map(drop)
}

async fn voucher(desk: &Desk<'_>, session: &str, cumulative: &str) -> Result<()> {
    let (id, state, asset) = existing(desk, session).await?;
    let cumulative = parse(cumulative, asset.decimals)?;
    if state.user != desk.from {
        return Err(Error::Invalid(format!("the session belongs to {}", state.user)));
    }
    if cumulative > U256::from(state.balance) {
        return Err(Error::Invalid(format!(
            "the deposit is {}, less than that",
            asset.show(U256::from(state.balance))
        )));
    }
    let account = desk.account()?;
    let signature = sign(&Voucher { session: id, cumulative }, &desk.chain.addresses, &account.key)?;
    println!("{}", json!({"session": id, "cumulative": cumulative.to_string(), "signature": signature}));
    Ok(())
}

async fn exit(desk: &Desk<'_>, session: &str) -> Result<()> {
    let (id, state, asset) = existing(desk, session).await?;
    let payments = desk.chain.addresses.payments;
    let mut plan = Plan::default();
    if state.exitAt.is_zero() {
        plan.step(format!("start leaving session {id}"), payments, &Payments::startExitCall { id });
        plan.note("afterwards", "vouchers can be redeemed until the timeout; then run this again");
    } else {
        let says = format!("take the remainder of session {id}");
        plan.step(says, payments, &Payments::finishExitCall { id });
    }
    plan.note("remainder", asset.show(rest(&state)));
    desk.carry_out(&plan).await.map(drop)
}

/// `monai subscribe`.
pub(crate) async fn subscribe(args: SubscribeArgs, home: &Home) -> Result<()> {
    let desk = Desk::open(&args.chain, home).await?;
    let payments = desk.chain.addresses.payments;
    let mut plan = Plan::default();
    if let Some(id) = args.end {
        let call = Payments::unsubscribeCall { id: U256::from(id) };
        plan.step(format!("end subscription {id}"), payments, &call);
        return desk.carry_out(&plan).await.map(drop);
    }
    let number = args.plan.ok_or_else(|| Error::Usage("which plan?".into()))?;
    let (id, periods) = (U256::from(number), U256::from(args.periods));
    let terms = desk.payments().plan(id).call().await.map_err(|e| desk.chain.call_failed(e))?;
    if !terms.active {
        return Err(Error::Invalid(format!("there is no plan {number} now")));
    }
    let asset = asset(&desk, terms.asset).await?;
    let price = U256::from(terms.price).saturating_mul(periods);
    desk.allow(&mut plan, asset.address, &asset.symbol, payments, price).await?;
    plan.step(
        format!("subscribe to plan {number} for {} periods, {}", args.periods, asset.show(price)),
        payments,
        &Payments::subscribeCall { user: desk.from, planId: id, periods },
    );
    let epoch = desk.epoch().await?;
    let length = terms.epochs.to::<u64>().saturating_mul(args.periods);
    plan.note("begins", desk.when(epoch + 1).await?);
    plan.note("ends", desk.when((epoch + 1).saturating_add(length)).await?);
    desk.carry_out(&plan).await.map(drop)
}
