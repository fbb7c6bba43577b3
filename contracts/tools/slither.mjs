#!/usr/bin/env node
// Turns Slither's report into a sorted list of what it found where, without lines and hashes, so that a
// new finding is a diff:  slither.mjs out/slither.json snapshots/slither.txt
// Every detector in the list must have its answer in SLITHER.md.
import { readFileSync, writeFileSync } from "node:fs";

const [, , report, list] = process.argv;
const { success, error, results } = JSON.parse(readFileSync(report, "utf8"));
if (!success) throw new Error(`slither failed: ${error}`);
const found = results.detectors ?? [];
if (found.length === 0) throw new Error("no finding at all: the report is of something else");
const where = ({ name, type, type_specific_fields: t }) =>
  t?.parent?.type === "contract" ? `${t.parent.name}.${name}` : t?.parent?.name ? `${where(t.parent)}.${name}` : `${name} (${type})`;
const lines = [...new Set(found.map((f) => `${f.check}: ${where(f.elements[0])}`))].sort();
writeFileSync(list, lines.join("\n") + "\n");
const answers = readFileSync("SLITHER.md", "utf8");
const open = [...new Set(found.map((f) => f.check))].filter((check) => !answers.includes(`| ${check} |`));
for (const check of open) console.error(`${check} has no answer in SLITHER.md`);
console.log(`${found.length} findings of ${new Set(found.map((f) => f.check)).size} detectors, in ${list}`);
process.exit(open.length === 0 ? 0 : 1);
