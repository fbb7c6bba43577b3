//! `monai gov`.

use super::amount::{TOKEN_DECIMALS, parse, tokens};
use super::desk::Desk;
use super::plan::Plan;
use super::rows::ProvedEpoch;
use super::{model, params};
use crate::cli::{Ballot, ChainArgs, GovCommand, ProposalText, ProposeCommand};
use crate::error::{Error, FileContext as _, Result};
use crate::home::Home;
use crate::models::ModelStore;
use alloy_primitives::aliases::U48;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_provider::Provider as _;
use alloy_rpc_types_eth::Filter;
use alloy_sol_types::{SolCall as _, SolEvent as _};
use monai_contracts::governor::MonaiGovernor;
use monai_contracts::models::ModelRegistry;
use monai_contracts::operators::Operators;
use monai_contracts::parameters::Parameters;
use serde::Deserialize;
use serde_json::{Value, json};

/// States of OpenZeppelin's governor, by number.
const STATES: [&str; 8] =
    ["pending", "active", "canceled", "defeated", "succeeded", "queued", "expired", "executed"];
/// Kinds of proposals, by number.
const KINDS: [&str; 4] = ["adopt-model", "hardware", "methodology", "report"];
/// An epoch that never comes: the largest that the contracts can name.
const NEVER: u64 = (1 << 48) - 1;
/// Position of `UptimeMinimum`.
const UPTIME_MINIMUM: u8 = 42;
/// Position of `ProposalBond` in the contract's parameters.
const PROPOSAL_BOND: u8 = 36;

/// What a proposal calls.
struct Calls {
    kind: u8,
    target: Address,
    data: Bytes,
    evidence: MonaiGovernor::Evidence,
}

/// `monai gov`.
pub(crate) async fn gov(command: GovCommand, home: &Home) -> Result<()> {
    match command {
        GovCommand::Propose(propose) => proposal(propose, home).await,
        GovCommand::Vote { proposal, vote, through, chain } => {
            cast(&Desk::open(&chain, home).await?, &proposal, vote, through).await
        }
        GovCommand::Queue(args) => {
            let desk = Desk::open(&args.chain, home).await?;
            let p = created(&desk, &args.proposal).await?;
            let mut plan = Plan::default();
            let call = MonaiGovernor::queueCall {
                targets: p.targets,
                values: p.values,
                calldatas: p.calldatas,
                descriptionHash: keccak256(p.description.as_bytes()),
            };
            plan.step(format!("queue {}", args.proposal), desk.chain.addresses.governor, &call);
            desk.carry_out(&plan).await.map(drop)
        }
        GovCommand::Execute(args) => {
            let desk = Desk::open(&args.chain, home).await?;
            let p = created(&desk, &args.proposal).await?;
            let mut plan = Plan::default();
            let call = MonaiGovernor::executeCall {
                targets: p.targets,
                values: p.values,
                calldatas: p.calldatas,
                descriptionHash: keccak256(p.description.as_bytes()),
            };
            plan.step(format!("execute {}", args.proposal), desk.chain.addresses.governor, &call);
            desk.carry_out(&plan).await.map(drop)
        }
        GovCommand::Settle(args) => {
            let desk = Desk::open(&args.chain, home).await?;
            let mut plan = Plan::default();
            let call = MonaiGovernor::settleCall { proposalId: number(&args.proposal)? };
            plan.step(format!("settle {}", args.proposal), desk.chain.addresses.governor, &call);
            desk.carry_out(&plan).await.map(drop)
        }
        GovCommand::List { chain } => list(&chain, home).await,
    }
}

fn number(text: &str) -> Result<U256> {
    text.parse().map_err(|_| Error::Usage(format!("{text:?} is no proposal")))
}

fn hash(text: &str) -> Result<B256> {
    if text == "0" {
        return Ok(B256::ZERO);
    }
    text.parse().map_err(|_| Error::Usage(format!("{text:?} is not 0x and 64 hexadecimal digits")))
}

async fn proposal(command: ProposeCommand, home: &Home) -> Result<()> {
    let text = match &command {
        ProposeCommand::AdoptModel { proposal, .. }
        | ProposeCommand::Hardware { proposal, .. }
        | ProposeCommand::Set { proposal, .. }
        | ProposeCommand::Report { proposal, .. } => proposal,
    };
    let desk = Desk::open(&text.chain, home).await?;
    let calls = calls(&desk, &command, home).await?;
    propose(&desk, calls, text).await
}

async fn calls(desk: &Desk<'_>, command: &ProposeCommand, home: &Home) -> Result<Calls> {
    let a = &desk.chain.addresses;
    let none = MonaiGovernor::Evidence::default();
    Ok(match command {
        ProposeCommand::AdoptModel {
            model: name,
            weight_commitment,
            from,
            until,
            deadline,
            deadline_per_position,
            ..
        } => {
            let d = model::describe(&ModelStore::new(home.models()).find(name)?)?;
            let call = ModelRegistry::registerCall {
                m: ModelRegistry::Model {
                    weightCommitment: hash(weight_commitment)?,
                    artefact: d.artefact,
                    tokenizer: d.tokenizer,
                    architecture: d.architecture,
                    kind: d.kind,
                    sMax: d.positions,
                    deadlineBase: *deadline,
                    deadlinePerPosition: *deadline_per_position,
                    verifierVersion: 1,
                    activation: U48::from(*from),
                    retirement: U48::from(until.unwrap_or(NEVER)),
                    name: name.clone(),
                },
            };
            Calls { kind: 0, target: a.models, data: call.abi_encode().into(), evidence: none }
        }
        ProposeCommand::Hardware { model, digest, uri, .. } => {
            let call =
                ModelRegistry::setHardwareCall { id: hash(model)?, digest: hash(digest)?, uri: uri.clone() };
            Calls { kind: 1, target: a.models, data: call.abi_encode().into(), evidence: none }
        }
        ProposeCommand::Set { change, .. } => {
            let changes = change.iter().map(|c| params::change(c)).collect::<Result<Vec<_>>>()?;
            let (params, values) = changes.into_iter().unzip();
            let call = Parameters::setCall { params, values };
            Calls { kind: 2, target: a.parameters, data: call.abi_encode().into(), evidence: none }
        }
        ProposeCommand::Report { operator, evidence, epoch, .. } => {
            let operator = desk.operator(operator).await?;
            let call = Operators::jailCall { operator };
            let evidence = match (evidence, epoch) {
                (Some(path), _) => read_evidence(path, operator)?,
                (None, Some(epoch)) => find_evidence(desk, operator, *epoch).await?,
                (None, None) => return Err(Error::Usage("give --epoch, or --evidence with a file".into())),
            };
            Calls { kind: 3, target: a.operators, data: call.abi_encode().into(), evidence }
        }
    })
}

fn read_evidence(path: &std::path::Path, operator: Address) -> Result<MonaiGovernor::Evidence> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Row {
        slot: u16,
        cells: Vec<U256>,
        fees: Vec<U256>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        epoch: u64,
        model: U256,
        row: Row,
        proof: Vec<B256>,
    }
    let text = std::fs::read(path).at(path)?;
    let file: File = serde_json::from_slice(&text)
        .map_err(|e| Error::Malformed { path: path.to_path_buf(), what: e.to_string() })?;
    Ok(MonaiGovernor::Evidence {
        operator,
        epoch: U48::from(file.epoch),
        model: file.model,
        row: MonaiGovernor::Row { slot: file.row.slot, cells: file.row.cells, fees: file.row.fees },
        proof: file.proof,
    })
}

/// The row of a proved epoch in which the operator's uptime for some model was below the minimum.
async fn find_evidence(desk: &Desk<'_>, operator: Address, epoch: u64) -> Result<MonaiGovernor::Evidence> {
    let failed = |e| desk.chain.call_failed(e);
    let e = U48::saturating_from(epoch);
    let parameters = Parameters::new(desk.chain.addresses.parameters, desk.chain.provider.clone());
    let operators = Operators::new(desk.chain.addresses.operators, desk.chain.provider.clone());
    let least = parameters.valueAt(UPTIME_MINIMUM, e).call().await.map_err(failed)?;
    let slot = operators.slotOf(operator).call().await.map_err(failed)?;
    let served = operators.servedAt(operator, e).call().await.map_err(failed)?;
    let lists = ProvedEpoch::read(&desk.chain, epoch).await?;
    let row = lists
        .and_then(|l| l.row(slot))
        .ok_or_else(|| Error::Invalid(format!("epoch {epoch} is not proved, or had no slot {slot}")))?;
    let low = |m: &usize| served.bit(*m) && row.uptime(*m).is_some_and(|u| U256::from(u) < least);
    let model = (0..row.cells.len()).find(low).ok_or_else(|| {
        Error::Invalid(format!("epoch {epoch} shows no uptime of {operator} below {}", tokens(least)))
    })?;
    Ok(MonaiGovernor::Evidence {
        operator,
        epoch: e,
        model: U256::from(model),
        row: MonaiGovernor::Row { slot, cells: row.cells, fees: row.fees },
        proof: row.proof,
    })
}

async fn propose(desk: &Desk<'_>, calls: Calls, text: &ProposalText) -> Result<()> {
    let governor = desk.chain.addresses.governor;
    let failed = |e| desk.chain.call_failed(e);
    let contract = Parameters::new(desk.chain.addresses.parameters, desk.chain.provider.clone());
    let bond = contract.get(PROPOSAL_BOND).call().await.map_err(failed)?;
    let reward = if text.reward == "0" { U256::ZERO } else { parse(&text.reward, TOKEN_DECIMALS)? };
    let mut plan = Plan::default();
    desk.allow(&mut plan, desk.chain.addresses.token, "the bond", governor, bond).await?;
    let call = MonaiGovernor::proposeAsCall {
        kind: calls.kind,
        targets: vec![calls.target],
        values: vec![U256::ZERO],
        calldatas: vec![calls.data],
        description: text.text.clone(),
        reward,
        evidence: calls.evidence,
    };
    let kind = KINDS.get(usize::from(calls.kind)).copied().unwrap_or("?");
    plan.step(format!("propose ({kind}): {}", text.text), governor, &call);
    plan.note("bond", format!("{} tokens, back unless it is voted wasteful", tokens(bond)));
    plan.note("reward if executed", format!("{} tokens", tokens(reward)));
    let epoch = desk.epoch().await?;
    let delay = desk.governor().votingDelay().call().await.map_err(failed)?.saturating_to::<u64>();
    let period = desk.governor().votingPeriod().call().await.map_err(failed)?.saturating_to::<u64>();
    plan.note("votes count stake of", desk.when(epoch.saturating_add(delay)).await?);
    plan.note("voting ends after", desk.when(epoch.saturating_add(delay).saturating_add(period)).await?);
    plan.outcome = Some(|receipts| {
        let proposed = receipts
            .iter()
            .flat_map(|r| r.logs())
            .find_map(|log| log.log_decode::<MonaiGovernor::Proposed>().ok())?;
        Some(("proposal", proposed.inner.data.proposalId.to_string()))
    });
    desk.carry_out(&plan).await.map(drop)
}

async fn cast(desk: &Desk<'_>, text: &str, vote: Ballot, through: Option<String>) -> Result<()> {
    let id = number(text)?;
    let mut plan = Plan::default();
    let governor = desk.chain.addresses.governor;
    let support = vote.code();
    match through {
        Some(operator) => {
            let operator = desk.operator(&operator).await?;
            let call = MonaiGovernor::castOverrideCall { proposalId: id, operator, support };
            let says = format!("vote {vote:?} with the stake delegated to {operator}");
            plan.step(says.to_lowercase(), governor, &call);
        }
        None => {
            let call = MonaiGovernor::castVoteCall { proposalId: id, support };
            plan.step(format!("vote {vote:?}").to_lowercase(), governor, &call);
        }
    }
    desk.carry_out(&plan).await.map(drop)
}

async fn all(desk: &Desk<'_>) -> Result<Vec<MonaiGovernor::ProposalCreated>> {
    let filter = Filter::new()
        .address(desk.chain.addresses.governor)
        .event_signature(MonaiGovernor::ProposalCreated::SIGNATURE_HASH)
        .from_block(desk.chain.addresses.block);
    let logs = desk.chain.provider.get_logs(&filter).await.map_err(|e| desk.chain.away(&e))?;
    Ok(logs
        .iter()
        .filter_map(|log| log.log_decode::<MonaiGovernor::ProposalCreated>().ok())
        .map(|log| log.inner.data)
        .collect())
}

async fn created(desk: &Desk<'_>, text: &str) -> Result<MonaiGovernor::ProposalCreated> {
    let id = number(text)?;
    all(desk)
        .await?
        .into_iter()
        .find(|p| p.proposalId == id)
        .ok_or_else(|| Error::Invalid(format!("there is no proposal {id}")))
}

async fn list(args: &ChainArgs, home: &Home) -> Result<()> {
    let desk = Desk::reading(args, home).await?;
    let governor = desk.governor();
    let failed = |e| desk.chain.call_failed(e);
    let mut rows = Vec::new();
    for p in all(&desk).await? {
        let state = governor.state(p.proposalId).call().await.map_err(failed)?;
        let terms = governor.terms(p.proposalId).call().await.map_err(failed)?;
        let [against, yes, abstain, wasteful] =
            governor.tally(p.proposalId).call().await.map_err(failed)?.map(tokens);
        rows.push(json!({
            "proposal": p.proposalId.to_string(),
            "text": p.description,
            "kind": KINDS.get(usize::from(terms.kind)),
            "state": STATES.get(usize::from(state)),
            "settled": terms.settled,
            "operator": terms.operator,
            "epoch": terms.epoch.to::<u64>(),
            "bond": tokens(terms.bond),
            "reward": tokens(terms.reward),
            "votes": {"for": yes, "against": against, "abstain": abstain, "wasteful": wasteful},
        }));
    }
    if args.json {
        println!("{}", Value::from(rows));
        return Ok(());
    }
    if rows.is_empty() {
        println!("no proposals");
    }
    for r in rows {
        println!(
            "{} {:<11} {:<9} {}\n  for {} against {} abstain {} wasteful {}",
            r["proposal"].as_str().unwrap_or_default(),
            r["kind"].as_str().unwrap_or("?"),
            r["state"].as_str().unwrap_or("?"),
            r["text"].as_str().unwrap_or_default(),
            r["votes"]["for"].as_str().unwrap_or_default(),
            r["votes"]["against"].as_str().unwrap_or_default(),
            r["votes"]["abstain"].as_str().unwrap_or_default(),
            r["votes"]["wasteful"].as_str().unwrap_or_default(),
        );
    }
    Ok(())
}
