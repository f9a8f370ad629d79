# `make run` tries it, `make test` tests it, `make check` is exactly what CI does. Needs git, a C compiler and Rust; the rest is installed.

CARGO_FLAGS := --locked
# Arguments for the tests: make test ARGS="--test storage"
ARGS :=
# Which tests of real clients: make test-clients CLIENTS="sdk browser"
CLIENTS :=
# Which fuzz targets, and how long each: make fuzz TARGETS="cbor origin" SECONDS=600
TARGETS :=
SECONDS := 20

.DEFAULT_GOAL := help
# One cargo at a time, in the order written: they share target/.
.NOTPARALLEL:
.PHONY: help run test test-clients check fmt clippy doc queries deny fuzz prepare bench clean rust packages client-packages

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

# A debug build: without link-time optimisation, its dependencies optimised enough to be quick. `cargo build --release` is for real use.
# `test` compiles some dependencies once more, with the features that only tests need.
run: rust ## make a throw-away token in var/, build, start with a demo tenant on http://localhost:8000
	./softhsm-setup.sh
	PASSKEY_HSM_CONFIG=var/passkey-hsm.toml cargo run $(CARGO_FLAGS) -- dev

# cargo's own runner, not nextest: tests of one binary share a PostgreSQL server and a browser, which a process for each test would start anew.
test: rust packages ## install what the tests need and run them all: SQLite, PostgreSQL, SoftHSM2, Chromium
	cargo test $(CARGO_FLAGS) --features failpoints $(ARGS)
	./scripts/test-setup.sh

# Apart from `test`, which needs no Node: see tests/clients/.
test-clients: rust client-packages ## the real clients from npm, the applications in examples/, schemathesis: against a real server
	./tests/clients/run.sh $(CLIENTS)

# Long enough to run every corpus and every regression, and a few hundred thousand inputs more.
check: SECONDS := 5
check: export FUZZ_SEED = 1
check: rust packages fmt deny clippy doc queries test test-clients fuzz ## what CI does: format, dependencies, lints, docs, query cache, tests, clients, fuzzing
	@echo "make check: all passed"

fmt:
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	@if command -v shellcheck >/dev/null; then shellcheck softhsm-setup.sh scripts/*.sh tests/clients/run.sh .ci/run; else echo "*** SKIPPED: shellcheck is not installed ***"; fi

clippy:
	cargo clippy $(CARGO_FLAGS) --all-targets --features failpoints -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc $(CARGO_FLAGS) --no-deps

queries:
	./scripts/prepare-queries.sh --check

deny:
	./scripts/deny.sh

fuzz: rust packages ## run every fuzz target for SECONDS=20 each
	FUZZ_SECONDS=$(SECONDS) ./scripts/fuzz.sh $(TARGETS)

prepare: rust ## describe the SQL statements anew, after one was changed
	./scripts/prepare-queries.sh

bench: rust ## run the benchmarks in benches/
	cargo bench $(CARGO_FLAGS) --bench '*' $(ARGS)

clean: ## remove what was built; var/ stays (./softhsm-setup.sh --reset empties it)
	cargo clean

rust:
	@./scripts/check-rust.sh

packages:
	@./softhsm-setup.sh --packages --with-tests

client-packages:
	@./softhsm-setup.sh --packages --with-clients
