#!/usr/bin/env node
// Lives through a devnet: starts anvil, deploys, and then does what users, holders and operators do.
// Everything goes through transactions of real accounts; time is moved by the chain's own methods.
//   node script/scenario.mjs
import { execFileSync, spawn } from "node:child_process";
import { readFileSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, dirname } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
process.chdir(root);
const PORT = process.env.PORT ?? "8577";
const RPC = `http://127.0.0.1:${PORT}`;
const bin = (name) => join(root, "node_modules", ".bin", name);
const dir = mkdtempSync(join(tmpdir(), "monai-scenario-"));

const cast = (...args) => execFileSync(bin("cast"), args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
async function rpc(method, ...params) {
  const response = await fetch(RPC, {
    method: "POST", headers: { "content-type": "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
  });
  const { result, error } = await response.json();
  if (error) throw new Error(`${method}: ${error.message} ${error.data ?? ""}`);
  return result;
}
const call = (to, signature, ...args) => cast("call", to, signature, ...args.map(String), "--rpc-url", RPC).split(" ")[0];
const number = (...args) => BigInt(call(...args));
async function raw(from, to, data, expectFailure = false) {
  const hash = await rpc("eth_sendTransaction", { from, to, data, gas: "0x1c9c380" });
  let receipt = null;
  for (let i = 0; i < 200 && receipt === null; i++) {
    receipt = await rpc("eth_getTransactionReceipt", hash);
    if (receipt === null) await new Promise((r) => setTimeout(r, 25));
  }
  const ok = receipt.status === "0x1";
  if (ok === expectFailure) throw new Error(`transaction to ${to} ${ok ? "succeeded" : "failed"}: ${data.slice(0, 10)}`);
  return receipt;
}
const send = (from, to, signature, ...args) => raw(from, to, cast("calldata", signature, ...args.map(String)));
const refused = (from, to, signature, ...args) => raw(from, to, cast("calldata", signature, ...args.map(String)), true);
let steps = 0;
const ok = (condition, sentence) => {
  if (!condition) throw new Error(`not true: ${sentence}`);
  console.log(`${String(++steps).padStart(3)}  ${sentence}`);
};
const WAD = 10n ** 18n;

const anvil = spawn(bin("anvil"), ["--port", PORT, "--silent", "--accounts", "10"], { stdio: "ignore" });
try {
  for (let i = 0; i < 100; i++) {
    try { await rpc("eth_chainId"); break; } catch { await new Promise((r) => setTimeout(r, 100)); }
  }
  const [deployer, sequencer, nodeA, nodeB, holder, user, watcher, hotA, hotB] = await rpc("eth_accounts");
  const file = join(dir, "addresses.json");
  execFileSync("make", ["deploy", `RPC=${RPC}`, `OUT=${file}`], { stdio: "ignore", env: { ...process.env, SEQUENCER: sequencer } });
  const a = JSON.parse(readFileSync(file, "utf8"));
  ok(true, "one command deployed, wired and verified the system");

  const EPOCH = BigInt(a.epochSeconds);
  const current = () => number(a.staking, "currentEpoch()(uint48)");
  const mine = (n = 1) => rpc("anvil_mine", "0x" + n.toString(16), "0x1");
  async function toEpoch(e) {
    const t = BigInt(a.genesis) + BigInt(e) * EPOCH;
    await rpc("evm_setNextBlockTimestamp", Number(t) + 1);
    await mine();
  }
  const later = async (seconds) => { await rpc("evm_increaseTime", Number(seconds)); await mine(); };
  const fund = async (to, amount) => {
    const before = number(a.token, "balanceOf(address)(uint256)", to);
    await send(deployer, a.token, "transfer(address,uint256)", to, amount);
    return before;
  };
  async function signed(from, primaryType, fields, message) {
    const data = {
      types: {
        EIP712Domain: [
          { name: "name", type: "string" }, { name: "version", type: "string" },
          { name: "chainId", type: "uint256" }, { name: "verifyingContract", type: "address" },
        ],
        [primaryType]: fields,
      },
      primaryType,
      domain: { name: "MonAI", version: "1", chainId: a.chainId, verifyingContract: a.rollup },
      message,
    };
    return rpc("eth_signTypedData_v4", from, data);
  }
  const stamp = (inputs) => {
    const version = 1;
    return cast("keccak", cast("abi-encode", "f(string,uint32,uint256[])", "insecure", version, `[${inputs.join(",")}]`));
  };

  // Actors get tokens; the user gets a stablecoin only.
  for (const who of [sequencer, nodeA, nodeB, holder, watcher]) await fund(who, 100_000n * WAD);
  await send(user, a.insecureStablecoin, "mint(address,uint256)", user, 50_000_000);
  const MAX = (1n << 256n) - 1n;
  for (const [who, to] of [[sequencer, a.rollup], [nodeA, a.staking], [nodeB, a.staking], [holder, a.staking],
    [nodeA, a.governor], [nodeB, a.governor], [watcher, a.audits]]) await send(who, a.token, "approve(address,uint256)", to, MAX);
  await send(sequencer, a.rollup, "bondSequencer(uint256)", 20_000n * WAD);
  ok(call(a.rollup, "caretaking()(bool)") === "false", "the sequencer is bonded and may commit");

  const model = call(a.models, "idAt(uint256)(bytes32)", 0);
  async function register(owner, hot, x) {
    const fields = [{ name: "operator", type: "address" }, { name: "hotKey", type: "address" }, { name: "nonce", type: "uint256" }];
    const signature = await signed(hot, "HotKey", fields, { operator: owner, hotKey: hot, nonce: 0 });
    const proof = stamp([x, x + 1, BigInt(owner), 0]);
    await send(owner, a.operators,
      "register((address,bytes,uint256,uint256,uint32,bytes,uint256,bytes32[],uint256),string)",
      `(${hot},${signature},${x},${x + 1},1,${proof},${WAD / 10n},[${model}],${2_000n * WAD})`, "http://node.example");
  }
  await register(nodeA, hotA, 11);
  await register(nodeB, hotB, 21);
  await toEpoch((await current()) + 1n);
  const counted = (op, e) => number(a.staking, "countedStake(address,uint48)(uint256)", op, e);
  let e = current();
  ok(counted(nodeA, e) === 2_000n * WAD, "two nodes are in the routing table with their bonds");

  await send(holder, a.staking, "delegate(address,uint256)", nodeA, 6_000n * WAD);
  ok(counted(nodeA, e) === 2_000n * WAD && counted(nodeA, e + 1n) === 8_000n * WAD,
    "a holder delegates, and the routing table moves at the next epoch");
  await toEpoch(e + 1n);

  // A batch of one leaf, with a real blob transaction if cast can make one.
  const header = (parent, epoch, root, state, data) =>
    `(${parent},${model},${epoch},1,1,${root},${state},0,0,${data})`;
  const H = "(bytes32,bytes32,uint48,uint32,uint32,uint256,uint256,uint256,uint256,bytes32)";
  e = current();
  const meta = 5n | (1n << 64n) | (0n << 96n) | (10n << 112n) | (20n << 132n) | (1n << 152n) | (1n << 164n);
  const leaf = [111n, 222n, meta];
  const root0 = number(a.poseidon, "leaf(uint256,uint256,uint256)(uint256)", ...leaf);
  const word = (x) => BigInt(x).toString(16).padStart(64, "0");
  const leafData = "0x" + leaf.map(word).join("");
  const ZERO = "0x" + "0".repeat(64);
  const h0 = header(ZERO, e, root0, 1001, cast("keccak", leafData));
  const commit = await send(sequencer, a.rollup, `commitBatchCalldata(${H},bytes,bytes)`, h0, leafData, "0x");
  ok(true, `a batch is committed from calldata (gas ${Number(commit.gasUsed)})`);
  const inputs = (n, epoch, root, before, after) =>
    [n, epoch, BigInt(model) >> 128n, BigInt(model) & ((1n << 128n) - 1n), 1, root, before, after, 0, 0, a.chainId, BigInt(a.rollup)];
  await send(watcher, a.rollup, `proveBatch(uint64,${H},uint64,${H},bytes)`, 0, h0, 0, h0, stamp(inputs(0, e, root0, 0, 1001)));
  const head = call(a.rollup, "headHash()(bytes32)");

  // Beacons: header proofs of real blocks against the history contract.
  const rlp = (x) => cast("to-rlp", JSON.stringify(x));
  const hex = (x) => (x === undefined || BigInt(x) === 0n ? "0x" : "0x" + (BigInt(x).toString(16).length % 2 ? "0" : "") + BigInt(x).toString(16));
  async function headerRlp(n) {
    const b = await rpc("eth_getBlockByNumber", "0x" + n.toString(16), false);
    const fields = [b.parentHash, b.sha3Uncles, b.miner, b.stateRoot, b.transactionsRoot, b.receiptsRoot, b.logsBloom,
      hex(b.difficulty), hex(b.number), hex(b.gasLimit), hex(b.gasUsed), hex(b.timestamp), b.extraData, b.mixHash, b.nonce];
    if (b.baseFeePerGas !== undefined) fields.push(hex(b.baseFeePerGas));
    if (b.withdrawalsRoot !== undefined) fields.push(b.withdrawalsRoot);
    if (b.blobGasUsed !== undefined) fields.push(hex(b.blobGasUsed), hex(b.excessBlobGas));
    if (b.parentBeaconBlockRoot !== undefined) fields.push(b.parentBeaconBlockRoot);
    if (b.requestsHash !== undefined && b.requestsHash !== null) fields.push(b.requestsHash);
    const encoded = rlp(fields);
    if (cast("keccak", encoded) !== b.hash) throw new Error(`header of block ${n} does not hash to its hash`);
    return { encoded, timestamp: BigInt(b.timestamp) };
  }
  const B = "(uint40,uint40,uint40,uint48,uint24,uint16,uint16,uint8,bool,bool)";
  async function captureBatch(n) {
    const target = BigInt(cast("call", a.rollup, `batch(uint64)(${B})`, String(n), "--rpc-url", RPC).replace(/\[[^\]]*\]/g, "").slice(1).split(",")[2].trim());
    await mine(8);
    await send(watcher, a.rollup, "captureBeacon(bytes)", (await headerRlp(Number(target))).encoded);
  }
  await captureBatch(0);
  await later(25);
  await send(watcher, a.rollup, `finaliseBatch(uint64,${H})`, 0, h0);
  ok(call(a.rollup, "finalisedHash()(bytes32)") === head, "it is proven, its beacon captured by header proof, and final");

  // Selected or demanded: the node proves, and earns the fee.
  const opening = `(${leaf[0]},${leaf[1]},${leaf[2]},0,[])`;
  await send(watcher, a.audits, `demand(uint64,${H},(uint256,uint256,uint256,uint32,uint256[]))`, 0, h0, opening);
  const record = cast("call", a.models, "model(bytes32)((bytes32,bytes32,bytes32,bytes32,uint8,uint32,uint32,uint32,uint32,uint48,uint48,string))", model, "--rpc-url", RPC);
  const M = BigInt(record.slice(1).split(",")[0].trim());
  const id = call(a.audits, "auditId(uint64,uint32)(bytes32)", 0, 0);
  await send(nodeA, a.audits, "prove(bytes32,bytes32,uint256,uint256,uint256,bytes)", id, model, ...leaf,
    stamp([M >> 128n, M & ((1n << 128n) - 1n), leaf[0], leaf[1], 10, 20, 1]));
  ok(true, "a demanded answer is proved");

  // The user: a session in a stablecoin, never the token.
  const batchEpoch = e;
  await send(user, a.insecureStablecoin, "approve(address,uint256)", a.payments, MAX);
  const opened = await send(user, a.payments, "openSession(address,uint16,uint256)", user, 1, 10_000_000);
  const session = opened.logs.find((l) => l.address.toLowerCase() === a.payments.toLowerCase()).topics[1];
  const voucher = await signed(user, "Voucher", [{ name: "session", type: "bytes32" }, { name: "cumulative", type: "uint256" }],
    { session, cumulative: 4_000_000 });
  await send(sequencer, a.payments, "redeem(bytes32,uint256,uint48,bytes)", session, 4_000_000, batchEpoch, voucher);
  ok(number(a.payments, "poolOf(uint48,uint256)(uint256)", batchEpoch, 1) === 4_000_000n, "a voucher is redeemed into the epoch's pool");

  // Epochs before the batch were idle; the batch's epoch is proved.
  const NOH = `(${ZERO},${ZERO},0,0,0,0,0,0,0,${ZERO})`;
  while (number(a.epochs, "nextEpoch()(uint48)") < batchEpoch) {
    const n = number(a.epochs, "nextEpoch()(uint48)");
    if (current() < n + 2n) await toEpoch(n + 2n);
    await send(watcher, a.epochs, `skip(uint64,${H})`, 0, NOH);
  }
  if (current() < batchEpoch + 2n) await toEpoch(batchEpoch + 2n);
  const start = BigInt(a.genesis) + batchEpoch * EPOCH;
  for (let n = Number(BigInt(await rpc("eth_blockNumber"))); n > 0; n--) {
    const h = await headerRlp(n);
    if (h.timestamp >= start) continue;
    await send(watcher, a.epochs, "captureBeacon(uint48,bytes,bytes)", batchEpoch, (await headerRlp(n + 1)).encoded, h.encoded);
    break;
  }
  const share = WAD / 2n;
  const cells = [share | (WAD << 64n) | (5_000_000_000n << 128n), share / 2n | ((WAD * 3n) / 10n << 64n) | (5_000_000_000n << 128n)];
  const fees = [0n, 4_000_000n, 0n, 0n];
  const lines = (text) => text.split("\n").map((l) => l.split(" ")[0]);
  const [size, , tz, tv] = lines(cast("call", a.epochs, "bindTable(uint48,uint256)(uint256,bytes32,uint256,uint256)", String(batchEpoch), "11", "--rpc-url", RPC));
  const [lz, lv] = lines(cast("call", a.epochs, "bindLists(uint48,uint256[],uint256[],uint256)(uint256,uint256)", String(batchEpoch), `[${cells}]`, `[${fees}]`, "12", "--rpc-url", RPC));
  const beacon = BigInt(call(a.epochs, "beaconOf(uint48)(bytes32)", batchEpoch));
  const at = (p) => number(a.parameters, "valueAt(uint8,uint48)(uint256)", p, batchEpoch);
  const LOW = (1n << 128n) - 1n;
  const epochInputs = [batchEpoch, 0, 1001, beacon >> 128n, beacon & LOW, 0, 0, size, 1, 2, 11, tz, tv, 12, lz, lv,
    at(0), at(1), at(45), at(46), at(47), at(48), at(49), at(42)];
  await send(watcher, a.epochs, `prove((uint48,uint32,uint256,uint256),uint256[],uint256[],uint64,${H},bytes)`,
    `(${batchEpoch},1,11,12)`, `[${cells}]`, `[${fees}]`, 0, NOH, stamp(epochInputs));
  ok(true, "the epoch is proved: shares, metrics and fees are on chain");
  const vests = number(a.emissions, "vestsAt(uint48)(uint256)", batchEpoch);
  const queue = number(a.audits, "holdUntil(address)(uint256)", nodeA);
  await later((vests > queue ? vests : queue) - BigInt((await rpc("eth_getBlockByNumber", "latest", false)).timestamp) + 2n);
  while (number(a.emissions, "nextClaim(address)(uint48)", nodeA) < batchEpoch) {
    await send(watcher, a.emissions, "skipIdle(address,uint256)", nodeA, 10);
  }
  const row = (slot) => `(${slot},[${cells[slot]}],[${fees.slice(2 * slot, 2 * slot + 2)}])`;
  const rowHash = (slot) => cast("keccak", cast("keccak", cast("abi-encode", "f(uint16,uint256[],uint256[])", String(slot), `[${cells[slot]}]`, `[${fees.slice(2 * slot, 2 * slot + 2)}]`)));
  await send(watcher, a.emissions, "claim(address,(uint16,uint256[],uint256[]),bytes32[])", nodeA, row(0), `[${rowHash(1)}]`);
  const before = number(a.token, "balanceOf(address)(uint256)", holder);
  await send(holder, a.staking, "claim(address,uint256)", nodeA, 0);
  ok(number(a.token, "balanceOf(address)(uint256)", holder) > before, "the holder claims its part of the emissions");
  await send(holder, a.staking, "claim(address,uint256)", nodeA, 3);
  ok(number(a.insecureStablecoin, "balanceOf(address)(uint256)", holder) > 0n, "and its part of the fees, in the stablecoin");

  // Proposals of each kind. Node A has most votes.
  const EVIDENCE = "(address,uint48,uint256,(uint16,uint256[],uint256[]),bytes32[])";
  const P = `proposeAs(uint8,address[],uint256[],bytes[],string,uint256,${EVIDENCE})`;
  const noEvidence = `(${"0x" + "0".repeat(40)},0,0,(0,[],[]),[])`;
  async function propose(kind, target, data, text, reward, evidence = noEvidence) {
    const receipt = await send(nodeA, a.governor, P, kind, `[${target}]`, "[0]", `[${data}]`, text, reward, evidence);
    const topic = cast("keccak", "Proposed(uint256,uint8,address,uint256)");
    return BigInt(receipt.logs.find((l) => l.topics[0] === topic).topics[1]).toString();
  }
  const vote = (who, p, support) => send(who, a.governor, "castVote(uint256,uint8)", p, support);
  const run = async (what, target, data, text) =>
    send(watcher, a.governor, `${what}(address[],uint256[],bytes[],bytes32)`, `[${target}]`, "[0]", `[${data}]`, cast("keccak", text));
  const modelData = cast("calldata",
    "register((bytes32,bytes32,bytes32,bytes32,uint8,uint32,uint32,uint32,uint32,uint48,uint48,string))",
    `(0x${"11".repeat(32)},0x${"22".repeat(32)},0x${"33".repeat(32)},0x${"44".repeat(32)},1,4096,60,5,1,100000,200000,adopted)`);
  const hardwareData = cast("calldata", "setHardware(bytes32,bytes32,string)", model, "0x" + "55".repeat(32), "https://hardware.example");
  const methodData = cast("calldata", "set(uint8[],uint256[])", "[7]", `[${150n * WAD}]`);
  const jailData = cast("calldata", "jail(address)", nodeB);
  const adopt = await propose(0, a.models, modelData, "adopt a model", 50n * WAD);
  const hardware = await propose(1, a.models, hardwareData, "hardware", 25n * WAD);
  const method = await propose(2, a.parameters, methodData, "methodology", 50n * WAD);
  const report = await propose(3, a.operators, jailData, "report", 10n * WAD,
    `(${nodeB},${batchEpoch},0,${row(1)},[${rowHash(0)}])`);
  const waste = await propose(2, a.parameters, cast("calldata", "set(uint8[],uint256[])", "[7]", `[${151n * WAD}]`), "waste", 0);
  e = current();
  await toEpoch(e + 2n);
  for (const p of [adopt, method, report]) await vote(nodeA, p, 1);
  await vote(nodeA, hardware, 0);
  await vote(nodeA, waste, 1);
  await vote(nodeB, waste, 3);
  await send(holder, a.governor, "castOverride(uint256,address,uint8)", waste, nodeA, 3);
  ok(true, "a delegator overrides its operator's vote");
  await toEpoch(e + 5n);
  const calls = [[a.models, modelData, "adopt a model"], [a.parameters, methodData, "methodology"], [a.operators, jailData, "report"]];
  for (const c of calls) await run("queue", ...c);
  await later(421);
  for (const c of calls) await run("execute", ...c);
  for (const p of [adopt, hardware, method, report, waste]) await send(watcher, a.governor, "settle(uint256)", p);
  e = current();
  ok(number(a.models, "count()(uint256)") === 2n, "a model is adopted; its proposer is rewarded from the treasury");
  ok(number(a.parameters, "valueAt(uint8,uint48)(uint256)", 7, e + 1n) === 150n * WAD, "a methodology changes a parameter from the next epoch");
  ok(call(a.operators, "isJailed(address,uint48)(bool)", nodeB, e + 1n) === "true", "a reported operator is jailed on proved metrics");
  ok(number(a.staking, "slashCount(address)(uint256)", nodeA) === 1n, "the hardware proposal fails without cost, the wasteful one slashes its proposer's node");
  await toEpoch(e + 1n);
  const governance = number(a.token, "balanceOf(address)(uint256)", holder);
  await send(holder, a.staking, "claim(address,uint256)", nodeA, 1);
  ok(number(a.token, "balanceOf(address)(uint256)", holder) > governance, "delegators share the governance rewards");

  // A batch in a real blob. A first transaction only tells the blob's versioned hash. The key is the
  // second of the development mnemonic that anvil prints when it starts.
  const key = cast("wallet", "private-key", "test test test test test test test test test test test junk", "1");
  const blobFile = join(dir, "blob");
  writeFileSync(blobFile, Buffer.from(leafData.slice(2), "hex"));
  const blobSend = (...args) => JSON.parse(cast("send", "--private-key", key, "--blob", "--path", blobFile, "--json", "--rpc-url", RPC, ...args));
  const probe = blobSend("0x0000000000000000000000000000000000000001");
  const [versioned] = (await rpc("eth_getTransactionByHash", probe.transactionHash)).blobVersionedHashes;
  e = current();
  for (const n of [1, 2]) {
    const h = header(call(a.rollup, "headHash()(bytes32)"), e, root0, 1001 + n, versioned);
    const receipt = blobSend(a.rollup, `commitBatch(${H},bytes)`, h, "0x");
    const gas = BigInt(receipt.gasUsed);
    if (n === 2) ok(receipt.status === "0x1" && gas <= 120_000n, `batches are committed with a blob (gas ${gas}, at most 120000)`);
  }

  // The sequencer is gone.
  if (call(a.rollup, "caretaking()(bool)") === "false") {
    await later(number(a.parameters, "get(uint8)(uint256)", 26) + 1n);
    await send(watcher, a.rollup, "startCaretaker()");
  }
  ok(call(a.rollup, "caretaking()(bool)") === "true", "the sequencer falls silent, and anyone starts caretaker mode");
  await refused(sequencer, a.rollup, "heartbeat()");
  await send(user, a.payments, "startExit(bytes32)", session);
  await later(61);
  await send(user, a.payments, "finishExit(bytes32)", session);
  ok(number(a.insecureStablecoin, "balanceOf(address)(uint256)", user) === 46_000_000n, "the user leaves with the remainder");
  ok(number(a.token, "balanceOf(address)(uint256)", user) === 0n, "and never held the token");

  // The holder leaves, too.
  e = current();
  await send(holder, a.staking, "undelegate(address,uint256)", nodeA, number(a.staking, "delegationAt(address,address,uint48)(uint256)", nodeA, holder, e + 1n));
  await toEpoch(e + 7n);
  await refused(holder, a.staking, "withdraw(address)", nodeA);
  await captureBatch(1);
  await captureBatch(2);
  ok(true, "beacons not yet captured hold exits, and anyone captures them");
  await send(holder, a.staking, "withdraw(address)", nodeA);
  ok(number(a.token, "balanceOf(address)(uint256)", holder) > 100_000n * WAD, "the holder leaves with stake and rewards");
  console.log("scenario passed");
} finally {
  anvil.kill();
}
