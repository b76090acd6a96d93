# Everything that people type. `make` alone lists it.

CARGO ?= cargo
REQUIREMENTS := tests/systems/student-management/monolith/requirements.txt
# What only tests need: published schemas to hold our files against (Python 3.11 or newer).
TEST_REQUIREMENTS := dashboards/grafana/requirements.txt deploy/kubernetes/requirements.txt docs/schema/requirements.txt tests/requirements.txt
MONOLITH := tests/systems/student-management/monolith

.DEFAULT_GOAL := help
# Prerequisites build on each other in their order (Python's packages on the machine's), also with `MAKEFLAGS=-j`; cargo uses all
# processors by itself.
.NOTPARALLEL:
.PHONY: help demo test check lint bench bench-gateway soak fuzz simulate mutations packages packages-test packages-bench python python-test release debug reference monolith-tests clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: packages python release ## Watch a capability of a real Django go to a Rust service and back (KEEP=1 leaves it running)
	@target/release/demo

test: packages-test python-test debug ## Everything that proves the promises (under 30 minutes after a build)
	$(CARGO) test --workspace --no-fail-fast
	$(MAKE) --no-print-directory monolith-tests

# What needs neither a server nor the example's Python.
FAST := --lib --bins --test rules --test gateway --test plugins --test hostile --test fleet --test way --test faults --test contract

check: packages ## The inner loop: format, lints as errors, docs, the tests that need no server
	@$(MAKE) --no-print-directory lint
	$(CARGO) test --workspace --exclude ficus-tests $(FAST) -- --skip postgres:: --skip mariadb:: --skip openfeature --skip in_redis

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" $(CARGO) doc --workspace --no-deps --quiet

bench: packages-bench python ## Measure; one JSON object a line; fails at the end if a bar is missed
	@$(CARGO) build --release --quiet --workspace --bins --examples
	@missed=0; for bench in examples/session_bench examples/gateway_bench examples/backfill_bench examples/postgres_bench examples/engines_bench bench; do \
		target/release/$$bench || missed=1; \
	done; exit $$missed

bench-gateway: packages ## What carrying a request costs, beside other proxies: nginx, haproxy … on PATH, or where FICUS_PEERS says
	@$(CARGO) build --release --quiet --workspace --bins --examples
	@target/release/examples/gateway_bench

soak: packages-test python-test debug ## The long runs: every crash point 20 times, every pair of engines with 20 seeds, 2,000 cases of every property, 100,000 seeds of the protocol (hours)
	$(MAKE) --no-print-directory simulate FICUS_SEEDS=100000
	PROPTEST_CASES=2000 FICUS_CRASH_TIMES=20 FICUS_PAIRS_TIMES=20 $(CARGO) test --workspace -- --include-ignored

fuzz: packages ## Anything at all into every parser of our own: FICUS_FUZZ_SECONDS=60 for each of some twenty (seed: FICUS_FUZZ_SEED)
	FICUS_FUZZ_SECONDS=$${FICUS_FUZZ_SECONDS:-60} PROPTEST_CASES=$${PROPTEST_CASES:-20000} $(CARGO) test --workspace --lib --test rules --test hostile -- --nocapture it_panic without_panic without_a_panic no_mutation_makes fuzz:: whatever_is_announced cookies_are_read_from a_token_is_genuine

simulate: packages ## The protocol of a switch against a world that misbehaves: FICUS_SEEDS=10000 seeds, or FICUS_SEED=17 alone
	FICUS_SEEDS=$${FICUS_SEEDS:-10000} $(CARGO) test --release --package ficus-rules --lib -- --nocapture simulation::whatever

mutations: packages-test ## Switch each guard of a switch off in a copy: the simulation must notice, some within 40,000 seeds, or a test of the shells (over an hour)
	$(CARGO) test --workspace --test mutations -- --include-ignored --nocapture --test-threads 1

reference: debug ## Write docs/schema and docs/reference.md anew, from the code
	for schema in rules flags ficus; do target/debug/ficus schema $$schema > docs/schema/$$schema.new && mv docs/schema/$$schema.new docs/schema/$$schema.schema.json || exit 1; done
	python3 docs/make.py

monolith-tests: python
	cd $(MONOLITH) && SCHOOL_DEBUG=1 $(CURDIR)/.venv/bin/python manage.py test --parallel 2

release:
	$(CARGO) build --release --workspace --bins

debug:
	$(CARGO) build --workspace --bins

packages: ## Install what the build needs and the machine lacks
	@.ci/packages cmake python

packages-test:
	@.ci/packages cmake python prometheus mariadb postgres rabbitmq redis sqlite systemd chromium etcd

packages-bench: packages-test
	-@.ci/packages pgloader

python: .venv/installed ## Install the example's Python environment

.venv/installed: $(REQUIREMENTS)
	python3 -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r $(REQUIREMENTS)
	@touch $@

python-test: .venv/installed-test

.venv/installed-test: $(TEST_REQUIREMENTS) .venv/installed
	.venv/bin/python -m pip install --quiet --disable-pip-version-check $(TEST_REQUIREMENTS:%=-r %)
	@touch $@

clean: ## Remove what was built and what the demo left
	rm -rf target .venv .demo
