#!/usr/bin/env node
// Every function that changes state, inherited ones included, must be called by a test: who may not call
// it, or that anyone may. Tests call from an address that has no role, so leaving one out is what this
// finds. Reads the ABI files, so `make abi` comes first. Exits with 1 if a function is missing.
import { readFileSync, readdirSync } from "node:fs";

const instances = {
  Token: "token", Parameters: "parameters", VerifierRegistry: "verifiers", Operators: "operators",
  Staking: "staking", Epochs: "epochs", ModelRegistry: "models", Rollup: "rollup", Disputes: "disputes",
  Inbox: "inbox", Audits: "audits", Emissions: "emissions", Treasury: "treasury", Payments: "payments",
  MonaiTimelock: "timelock", MonaiGovernor: "governor",
};
// OpenZeppelin's receivers of other tokens answer with a constant.
const receivers = /^on(ERC721|ERC1155|ERC1155Batch)Received$/;
const tests = readdirSync("test/unit").map((f) => readFileSync(`test/unit/${f}`, "utf8")).join("\n")
  .replace(/\/\/.*$/gm, "");
let count = 0;
const missing = [];
for (const [contract, instance] of Object.entries(instances)) {
  const abi = JSON.parse(readFileSync(`bindings/abi/${contract}.json`, "utf8"));
  for (const f of abi) {
    if (f.type !== "function" || ["view", "pure"].includes(f.stateMutability) || receivers.test(f.name)) continue;
    count += 1;
    if (!new RegExp(`\\b${instance}\\.${f.name}\\b`).test(tests)) missing.push(`${contract}.${f.name}`);
  }
}
if (count === 0) throw new Error("no function found: the script looks in the wrong place");
for (const name of missing) console.error(`no test calls ${name}`);
console.log(`${count} functions that change state, ${count - missing.length} called by tests`);
process.exit(missing.length === 0 ? 0 : 1);
