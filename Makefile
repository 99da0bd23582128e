# Everything here sets itself up: Python 3.11, make and git are all that must be there.

SHELL := /bin/sh
PYTHON ?= python3
export PYTHON

BIN := .venv/bin
READY := .venv/.complete
WORKERS ?= 2
# What to hand on: make up ARGS="--hosts 1", make test ARGS="-k payment"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup up test check lint quick fix bench docs

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-6s  %s\n' "$$name" "$$text"; done

setup: $(READY) ## Make .venv with everything that uv.lock names

$(READY): pyproject.toml uv.lock .ci/setup
	@.ci/setup

up: $(READY) ## Start everything here: NATS, PostgreSQL, Redis, plugins, gateway
	@exec $(BIN)/realserv up $(ARGS)

test: $(READY) ## Run every test against real servers of its own, with coverage
	@exec $(BIN)/pytest -n $(WORKERS) --dist loadfile --cov --cov-report= --cov-report=term:skip-covered $(ARGS)

check: lint quick ## Format, lint, types, arrows, unit and architecture tests; under a minute

lint: $(READY) ## Format, lint, types and the arrows between packages
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy --explicit-package-bases
	@$(BIN)/lint-imports

quick: $(READY) ## Unit and architecture tests alone
	@$(BIN)/pytest -q -n $(WORKERS) tests/unit tests/architecture $(ARGS)

fix: $(READY) ## Mend what ruff can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(READY) ## Measure, always beside a bare baseline of the same run
	@exec $(BIN)/python -m bench $(ARGS)

docs: $(READY) ## Write docs/reference anew from the declarations
	@$(BIN)/python -m docs.generate
