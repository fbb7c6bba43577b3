# All that a newcomer types. `make help` lists the targets.
#
# CARGO_TARGET_DIR is honoured. There is one cargo profile (dev, with optimised dependencies): see Cargo.toml.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

ENV := source node/scripts/env.sh &&
TARGET = $${CARGO_TARGET_DIR:-target}/debug

.PHONY: help setup build devnet test test-rust test-contracts test-long scenario fmt lint bench-engine bench-proof

help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 18

setup: ## install what the build needs (apt as root, otherwise the command is named)
	@node/scripts/setup

build: setup ## build the `monai` program
	@$(ENV) cargo build --workspace --bins
	@echo "built $(TARGET)/monai"

devnet: build ## an L1, three nodes, a sequencer, a real model: an OpenAI endpoint on 127.0.0.1:8645
	@node/scripts/fetch-model
	@exec $(TARGET)/monai devnet

scenario: ## on a devnet that runs: delegate, pay, leave, propose and vote, by commands alone
	@node/scripts/l1-scenario $(TARGET)/monai

test: test-rust ## the tests that CI runs

test-rust: setup
	@$(ENV) if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run --workspace --no-fail-fast; \
	else \
		echo "cargo-nextest is not installed: using cargo test"; \
		cargo test --workspace --no-fail-fast --lib --bins --tests; \
	fi

test-contracts: ## tests and coverage of the contracts (needs Node and npm, which bring the toolchain; 4 minutes when new)
	@command -v npm >/dev/null || { echo "npm is missing: install Node (apt-get install nodejs npm)"; exit 1; }
	@$(MAKE) --no-print-directory -C contracts report

test-long: setup ## the real model, the official clients, a hundred crashes; not part of CI
	@node/scripts/fetch-model
	@$(ENV) cargo test --workspace --no-fail-fast --test smollm2 --test real_model --test long -- --ignored --test-threads 1 --nocapture

fmt: ## whether the code is formatted
	@cargo fmt --all --check

lint: setup fmt ## formatting and clippy, warnings are errors
	@$(ENV) cargo clippy --workspace --all-targets -- -D warnings

bench-engine: setup ## the engine beside llama.cpp on the same GGUF (builds the peer once: 9 minutes); ends in a line of JSON
	@benches/bench-engine

bench-proof: setup ## a proof of a whole answer, how its cost grows, and EZKL beside it (its keys are made once: 2 minutes); ends in a line of JSON
	@benches/bench-proof
