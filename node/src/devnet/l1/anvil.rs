//! Running anvil as a child.

use super::tools::Tools;
use crate::devnet::child::Plan;
use crate::devnet::layout::Layout;
use crate::error::{Error, Result};
use crate::l1::place::Chain;
use alloy_provider::Provider as _;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;

/// Seconds between blocks without transactions. Transactions are mined at once.
const BLOCK_SECONDS: u64 = 2;
/// Seconds between copies of the state on disk; the last one is written at the end.
const STATE_SECONDS: u64 = 20;
/// Blocks whose state can be asked for.
const HISTORY: u64 = 256;
/// Blocks whose hash the opcode gives.
const OPCODE_WINDOW: u64 = 256;
/// For the chain to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends anvil when standard input ends, so that it can't outlive the devnet, and lets it write its state then. If it is
/// killed, so is this shell, which tells a crash from an error.
///
/// The first argument is the chain's state. Time goes on from its last block: it stands still while the chain does not run,
/// so no epoch passes without a sequencer, whose batches could never be committed afterwards.
const KEEPER: &str = r#"exec 3<&0
last=$(head -c 4096 "$1" 2>/dev/null | sed -n 's/.*"timestamp":"\(0x[0-9a-f]*\)".*/\1/p')
shift
"$@" ${last:+--timestamp $((last + 1))} </dev/null >&2 3<&- &
anvil=$!
(cat <&3 >/dev/null; kill -TERM $anvil 2>/dev/null) &
keeper=$!
exec 3<&-
trap '' INT TERM
while :; do
  wait $anvil; status=$?
  kill -0 $anvil 2>/dev/null || break
done
kill $keeper 2>/dev/null
[ $status -gt 128 ] && kill -KILL $$
exit $status"#;

/// What to run. With `founding`, a new chain whose first block has this time.
pub(super) fn plan(layout: &Layout, tools: &Tools, listen: SocketAddr, founding: Option<u64>) -> Plan {
    let mut arguments: Vec<String> = ["-c", KEEPER, "l1"].map(Into::into).to_vec();
    arguments.push(layout.chain_state().display().to_string());
    let mut anvil = vec![
        tools.anvil.display().to_string(),
        "--host".into(),
        listen.ip().to_string(),
        "--port".into(),
        listen.port().to_string(),
        "--chain-id".into(),
        crate::devnet::setup::CHAIN_ID.0.to_string(),
        "--state".into(),
        layout.chain_state().display().to_string(),
        "--block-time".into(),
        BLOCK_SECONDS.to_string(),
        "--mixed-mining".into(),
        "--prune-history".into(),
        HISTORY.to_string(),
        "--silent".into(),
    ];
    match founding {
        Some(timestamp) => anvil.extend(["--timestamp".into(), timestamp.to_string()]),
        None => anvil.extend(["--state-interval".into(), STATE_SECONDS.to_string()]),
    }
    arguments.extend(anvil);
    Plan { name: "l1".into(), program: Some("sh".into()), arguments, log: layout.log("l1") }
}

/// Waits until the endpoint answers.
pub(super) async fn wait(rpc: &str) -> Result<()> {
    let provider =
        monai_contracts::connect(rpc, Duration::from_secs(5)).map_err(|e| Error::Local(e.to_string()))?;
    let begin = Instant::now();
    loop {
        match provider.get_block_number().await {
            Ok(_) => return Ok(()),
            Err(error) if begin.elapsed() > PATIENCE => {
                return Err(Error::Local(format!("anvil does not answer at {rpc}: {error}; see l1.log")));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Makes the blocks of earlier runs old. A restarted anvil knows the hashes of the last 256 blocks only of those that it has
/// mined itself, but all older ones through the history contract (EIP-2935), and beacons are shown by block hashes.
pub(super) async fn age(chain: &Chain) -> Result<()> {
    let blocks = format!("0x{:x}", OPCODE_WINDOW + 1);
    let _: serde_json::Value = chain
        .provider
        .raw_request("anvil_mine".into(), serde_json::json!([blocks]))
        .await
        .map_err(|e| chain.away(&e))?;
    Ok(())
}

/// Fails if the chain's state is not that of the addresses.
pub(super) async fn check(chain: &Chain, layout: &Layout) -> Result<()> {
    let code = chain.provider.get_code_at(chain.addresses.rollup).await.map_err(|e| chain.away(&e))?;
    if code.is_empty() {
        return Err(Error::Local(format!(
            "the chain in {} has lost the contracts; delete that folder to found a new one",
            layout.l1().display()
        )));
    }
    Ok(())
}
