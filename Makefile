# Every target sets itself up: a .venv with the package and all its extras, nothing global.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CANDIDATES := python3.13 python3.12 python3.11 python3

.PHONY: help demo test test-all test-lowest rules soak bench check format setup clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile

demo: setup ## Run real apps against a local service, one to sign in to with a browser; ONCE=1 ends after the table
	@$(BIN)/python examples/demo.py $(if $(ONCE),--once)

test: setup ## Run the tests
	@unset PYTHONDONTWRITEBYTECODE; $(BIN)/pytest -n 2 --dist loadfile -m 'not long'

test-all: test ## Run the tests, the long ones too
	@$(BIN)/pytest -m long

test-lowest: setup ## Run core and frameworks on the oldest releases that pyproject.toml allows
	@$(BIN)/python tests/lowest.py .venv-lowest
	@unset PYTHONDONTWRITEBYTECODE; .venv-lowest/bin/pytest -n 2 --dist loadfile -m 'not long' \
	  -W default::DeprecationWarning tests/core tests/contract tests/integrations

rules: setup ## List the rules of SECURITY.md, each with the tests that are marked with it
	@cd tests && ../$(BIN)/python -m support.rules

soak: setup ## Hammer a fleet for a minute, with everything around it failing at random
	@$(BIN)/python tests/fleet/soak.py

bench: ## Measure side by side with other libraries; ONLY=local,web for some, QUICK=1 for a look
	@python3 benchmarks/environment.py
	@.venv-bench/bin/python benchmarks/run.py $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick)

check: setup ## Lint, type-check, and check what may import what
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/basedpyright
	@$(BIN)/lint-imports

format: setup ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## Remove everything that was set up
	rm -rf $(VENV) .venv-bench .venv-lowest build dist .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# Nothing to do where the environment works and is newer than what it was made from.
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
