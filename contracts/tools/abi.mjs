#!/usr/bin/env node
// Copies the ABI of every deployable contract from the build output into bindings/abi, where the
// Rust crate compiles them in. Sorted and indented, so that a change of an interface is a readable diff.
import { readFileSync, writeFileSync, mkdirSync } from "node:fs";

const contracts = [
  "Token", "Parameters", "VerifierRegistry", "Poseidon", "Operators", "Staking", "Epochs", "ModelRegistry",
  "Rollup", "Disputes", "Inbox", "Audits", "Emissions", "Treasury", "Payments", "MonaiTimelock", "MonaiGovernor",
  "Halo2Adapter", "InsecureVerifier", "InsecureStablecoin",
];
mkdirSync("bindings/abi", { recursive: true });
for (const name of contracts) {
  const { abi } = JSON.parse(readFileSync(`out/${name}.sol/${name}.json`, "utf8"));
  writeFileSync(`bindings/abi/${name}.json`, JSON.stringify(abi, null, 1) + "\n");
}
