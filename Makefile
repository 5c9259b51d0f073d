# Every target sets up what it needs: a .venv with the package and all its extras; nothing is installed globally.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
VENDORS := $(VENV)/.vendors
CANDIDATES := python3.13 python3.12 python3.11 python3

.PHONY: help demo test test-all test-lowest rules chaos bench check format setup vendors clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile

demo: setup ## Run real apps against a local emulator, one to sign in to with a browser; ONCE=1 ends after the table, PROVIDER=oidc, stytch or cdp has another service
	@$(BIN)/python examples/demo.py $(if $(ONCE),--once) $(if $(PROVIDER),--provider $(PROVIDER))

test: setup ## Run the tests
	@unset PYTHONDONTWRITEBYTECODE; $(BIN)/pytest -n 4 --dist loadfile -m 'not long'

test-all: test vendors ## Run all tests, the long ones too
	@$(BIN)/pytest -n 2 --dist loadfile -m long --ignore=tests/fleet --ignore=tests/chaos --ignore=tests/browser
	@$(BIN)/pytest -m long tests/fleet tests/chaos tests/browser

test-lowest: setup ## Run the tests with the oldest releases that pyproject.toml allows
	@$(BIN)/python tests/lowest.py .venv-lowest
	@unset PYTHONDONTWRITEBYTECODE; TESTS_WHOLE_PRODUCTS=1 .venv-lowest/bin/pytest -n 2 --dist loadfile -m 'not long' \
	  -W default::DeprecationWarning tests/core tests/contract tests/integrations

rules: setup ## List the rules of SECURITY.md, each with its tests
	@cd tests && ../$(BIN)/python -m support.rules

chaos: setup ## Break everything around a fleet, and judge each answer; SEED=7, MINUTES=10, ONLY=links,redis, LIST=1
	@$(BIN)/python tests/chaos/run.py $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) \
	  $(if $(ONLY),--only $(ONLY)) $(if $(LIST),--list)

bench: ## Compare the speed with other libraries; ONLY=local,web for some sections, QUICK=1 for a quick check, RUNS=3 for medians
	@python3 benchmarks/environment.py
	@.venv-bench/bin/python benchmarks/run.py $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick) \
	  $(if $(RUNS),--runs $(RUNS))

check: setup ## Lint, check types, and check the import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/basedpyright
	@$(BIN)/lint-imports

format: setup ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## Remove everything that was set up
	rm -rf $(VENV) .venv-bench .venv-bench-other .venv-lowest build dist .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# Packages of vendors that only long tests use. Does nothing if they are newer than pyproject.toml.
vendors: setup
	@if ! [ $(VENDORS) -nt pyproject.toml ]; then \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[vendors]' && touch $(VENDORS); \
	fi

# Does nothing if the environment works and is newer than pyproject.toml.
setup:
	@set -e; \
	if [ $(READY) -nt pyproject.toml ] && $(BIN)/python -c '' 2>/dev/null; then exit 0; fi; \
	python=; \
	for one in $(CANDIDATES); do \
	  if "$$one" -c '' 2>/dev/null; then python=$$one; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "No Python was found: install Python 3.11 or newer, then run make again." >&2; exit 1; \
	fi; \
	if ! "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
	  echo "$$("$$python" --version) is too old: install Python 3.11 or newer, then run make again." >&2; exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "$$("$$python" --version) lacks the venv module: install it (on Debian: apt-get install python3-venv), then run make again." >&2; exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$("$$python" --version); this takes a minute, once."; \
	"$$python" -m venv --clear $(VENV); \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'; \
	touch $(READY)
