#!/usr/bin/env bash
# Proves the properties in test/halmos for all inputs within their stated bounds. A time-out, an
# unknown or a missing result counts as failure.
set -euo pipefail
halmos=$(realpath "$1")
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# halmos reads ASTs, so it gets a project of its own with just the properties and what they need.
mkdir -p "$work/src/libraries" "$work/test"
cp -r "$root"/{tools,foundry.toml,package.json} "$work"/
cp "$root/src/libraries/Shares.sol" "$work/src/libraries/"
cp -r "$root/test/halmos" "$work/test/"
ln -s "$root/node_modules" "$work/node_modules"
cd "$work"
export PATH="$root/node_modules/.bin:$PATH"
forge build --ast --force >/dev/null
"$halmos" --root "$work" --match-contract 'Proofs$' --loop 8 --solver-timeout-assertion 120000 | tee "$work/log"
if grep -qE '\[(FAIL|TIMEOUT|ERROR|UNKNOWN)\]' "$work/log"; then exit 1; fi
grep -q '\[PASS\]' "$work/log"
