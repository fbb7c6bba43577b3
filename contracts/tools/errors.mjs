#!/usr/bin/env node
// Every custom error of src must be raised there, and a fuzzed test must expect it by its full name
// (`IStaking.Zero.selector`, or `Zero.selector` for errors of a file). An expected revert that does not
// happen fails its test, so what is left to check is that none is forgotten. Exits with 1 if one is.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

const files = (dir) => readdirSync(dir, { withFileTypes: true, recursive: true })
  .filter((e) => e.isFile() && e.name.endsWith(".sol"))
  .map((e) => join(e.parentPath ?? e.path, e.name));
const bare = (text) => text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/\/\/.*$/gm, "");

const sources = files("src").map((path) => [path, bare(readFileSync(path, "utf8"))]);
const errors = [];
for (const [path, text] of sources) {
  let owner = "";
  for (const line of text.split("\n")) {
    const opened = line.match(/^(?:abstract )?(?:contract|interface|library) (\w+)/);
    if (opened) owner = opened[1];
    if (line === "}") owner = "";
    const error = line.match(/^\s*error (\w+)\(/);
    if (error) errors.push({ path, owner, name: error[1] });
  }
}
if (errors.length === 0) throw new Error("no error found: the script looks in the wrong place");

// The bodies of fuzzed tests, and of the private helpers that they share.
const bodies = files("test/unit").map((path) => bare(readFileSync(path, "utf8")))
  .flatMap((text) => text.split(/\n    function /).slice(1))
  .filter((body) => body.startsWith("testFuzz_") || body.startsWith("_"));

const source = sources.map(([, text]) => text).join("\n");
const faults = [];
for (const { path, owner, name } of errors) {
  const full = owner === "" ? name : `${owner}.${name}`;
  // Raised where it is declared or, for interfaces and libraries, by whoever takes it from there.
  const raised = new RegExp(`revert (\\w+\\.)?${name}\\(`).test(source);
  const expected = new RegExp(`(^|[^.\\w])${full.replace(".", "\\.")}\\.selector`);
  if (!raised) faults.push(`${path}: ${full} is never raised`);
  else if (!bodies.some((body) => expected.test(body))) faults.push(`${path}: no fuzzed test expects ${full}`);
}
for (const fault of faults) console.error(fault);
console.log(`${errors.length} errors, ${errors.length - faults.length} raised and expected by a fuzzed test`);
process.exit(faults.length === 0 ? 0 : 1);
