# Headrace's commands: `make` lists them. They need Python 3.11+, git, make and a package index; no root.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run test test-fast test-long exact crash faults upgrades homes soak soak-rest structure check lint format \
	hooks docs build bench bench-control bench-engine screenshots lock clean

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DOCS_INSTALLED := $(VENV)/.installed-docs
# Names, versions and hashes only: where packages come from is each machine's own matter.
LOCK := uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate

# What `make test` runs: K chooses by name, as pytest -k does. Few tests are quicker without further processes.
PYTEST := $(BIN)/pytest $(if $(K),-k '$(K)',--numprocesses=auto)
# uv does not read pip's configuration: an index that is set there is handed on.
WITH_INDEX := index="$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$$($(BIN)/pip config get global.index-url 2>/dev/null)}}"; \
	if [ -n "$$index" ]; then export UV_DEFAULT_INDEX="$$index"; fi;
UV_INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python
FIND_PYTHON := for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && echo "$$python" && exit; \
	done; echo "Headrace needs Python 3.11, 3.12, 3.13 or 3.14, and none is on the PATH." >&2; exit 1

# Dagster takes 2.8 s instead of 1.1 s to import without byte-code caches, which some shells turn off.
unexport PYTHONDONTWRITEBYTECODE
# What another Python left in the shell must not reach this one.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## Install everything into .venv; does nothing when nothing has changed

run: $(INSTALLED) ## Start the platform, run the sample pipeline and stay up; Ctrl-C stops it
	@$(BIN)/headrace up --sample

test: $(INSTALLED) ## Run the tests that each change must pass, the slow ones too; K=words only those whose names match
	$(PYTEST) --durations=15

test-long: $(INSTALLED) ## Run every test for longer, on each database, with new random examples: an hour; takes K, too
	HEADRACE_TEST_LONG=1 $(PYTEST) --durations=30

exact: $(INSTALLED) ## Play 10,000 random histories through every pair of source and destination; options in EXACT
	$(BIN)/python tests/exact/run.py $(EXACT)

upgrades: $(INSTALLED) ## Migrate the homes of all earlier versions, killed at every statement, and start on each
	HEADRACE_TEST_LONG=1 $(BIN)/pytest tests/upgrades

homes: $(INSTALLED) ## Make the homes of earlier versions anew, by their own code; HOMES=0004 only that one
	$(BIN)/python tests/upgrades/make_homes.py $(HOMES)

soak: $(INSTALLED) ## Run for two hours with 1 % faults and see what grows; options in SOAK, such as "--minutes 10"
	$(BIN)/python tests/soak/soak.py $(SOAK)

soak-rest: $(INSTALLED) ## Drive 1,500 quick runs at one REST service and print its memory; options in SOAK, too
	$(BIN)/python tests/soak/rest_memory.py $(SOAK)

crash: $(INSTALLED) ## Play 2,000 random histories of faults on real platforms; options in CRASH
	$(BIN)/python tests/crash/crash.py $(CRASH)

faults: $(INSTALLED) ## Play every fault at every failpoint on both databases; options in FAULTS, such as FAULTS=--help
	$(BIN)/python tests/faults/fault_matrix.py $(FAULTS)

test-fast: $(INSTALLED) ## Run the tests that start no servers; takes K, too
	$(PYTEST) -m "not slow" --durations=5

check: lint test-fast ## Lint, and run the fast tests: before every commit

lint: $(INSTALLED) ## Check format, style, types and import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

format: $(INSTALLED) ## Format the code and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

hooks: $(INSTALLED) ## Have git check each commit: format, style, types and import layers
	$(BIN)/pre-commit install

docs: $(DOCS_INSTALLED) ## Build the documentation as a site, in build/docs; fails on a broken link
	@rm -rf build/docs-source && mkdir -p build/docs-source
	@cp -R README.md ARCHITECTURE.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE docs examples build/docs-source
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

build: $(INSTALLED) ## Build the wheel, in dist/
	@$(BIN)/uv build --quiet --wheel --no-build-isolation --python $(BIN)/python --out-dir dist && ls dist/*.whl

bench: $(INSTALLED) ## Run the short benchmarks: start, memory, transforms
	@for benchmark in benchmarks/*.py; do echo "== $$benchmark"; $(BIN)/python $$benchmark || exit 1; done

bench-control: $(INSTALLED) ## Measure the control plane, beside others; options in BENCH, such as BENCH=--help
	$(BIN)/python -m benchmarks.control_plane $(BENCH)

bench-engine: $(INSTALLED) ## Time the engine beside dlt, sling, bizon and the limit; options in BENCH, too
	$(BIN)/python -m benchmarks.engine $(BENCH)

screenshots: $(INSTALLED) ## Take the pictures of docs/images anew; needs a Chromium
	$(BIN)/python tests/support/screenshots.py

structure: $(INSTALLED) ## Print modules, circles, imports between connectors and lengths of functions
	@$(BIN)/python tests/support/structure.py

lock: $(INSTALLED) ## Resolve the dependencies anew
	@$(WITH_INDEX) set -x; \
	$(BIN)/$(LOCK) --all-extras --group dev --output-file requirements.lock pyproject.toml && \
	$(BIN)/$(LOCK) --group docs --constraint requirements.lock --output-file requirements-docs.lock && \
	echo uv | $(BIN)/$(LOCK) --output-file requirements-uv.lock -

clean: ## Remove .venv, build/, dist/ and every cache; your pipelines in .headrace stay
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# uv installs the lock in seconds, pip in minutes.
$(INSTALLED): pyproject.toml requirements.lock requirements-uv.lock
	@[ -x $(BIN)/python ] || { python=$$($(FIND_PYTHON)) && echo "Making $(VENV) with $$python" && "$$python" -m venv $(VENV); }
	@echo "Installing into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@$(WITH_INDEX) \
	$(UV_INSTALL) --require-hashes --compile-bytecode -r requirements.lock && \
	$(UV_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(DOCS_INSTALLED): $(INSTALLED) requirements-docs.lock
	@$(WITH_INDEX) $(UV_INSTALL) --require-hashes -r requirements-docs.lock
	@touch $@
