#!/usr/bin/env node
// Sums up an lcov file and fails below a bound:  coverage.mjs out/lcov.info 95
import { readFileSync } from "node:fs";

const [, , path, bound] = process.argv;
const sum = { LF: 0, LH: 0, BRF: 0, BRH: 0 };
for (const line of readFileSync(path, "utf8").split("\n")) {
  const found = line.match(/^(LF|LH|BRF|BRH):(\d+)$/);
  if (found) sum[found[1]] += Number(found[2]);
}
// A missing measurement is an error, never a zero.
if (sum.LF === 0 || sum.BRF === 0) throw new Error(`${path} holds no coverage`);
const part = (hit, all) => (100 * hit) / all;
const lines = part(sum.LH, sum.LF);
const branches = part(sum.BRH, sum.BRF);
console.log(`lines ${lines.toFixed(2)}% (${sum.LH}/${sum.LF}), branches ${branches.toFixed(2)}% (${sum.BRH}/${sum.BRF}), bound ${bound}%`);
process.exit(lines >= Number(bound) && branches >= Number(bound) ? 0 : 1);
