# make demo   set up, then write largen-report/report.html for the default data and network
# make test   set up, then everything: lint, docs, tests with their documentation examples   (TORCH=0: without PyTorch)
# make quick  set up, then the tests that take seconds
# make lint, make docs, make clean
# make claims NAME=eq-5-38   measure the claims of the pages again: those named, or all that went stale   (ARGS=--list: say what is stale)
# PYTHON=python3.12 picks the interpreter, VENV=folder another environment, WORKERS=1 the number of test processes.

SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: demo test quick lint docs tests claims clean

VENV ?= .venv
TORCH ?= 1
WORKERS ?= 2
ARGS ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt

# The first interpreter that is in range and runs (a launcher on the path may stand for nothing).
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1 && { echo $$p; break; }; done)

demo: $(VENV)/.runtime
	$(BIN)/largen report $(ARGS)

test: lint docs tests

tests: $(VENV)/.torch-$(TORCH)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --durations 10 $(ARGS)

quick: $(VENV)/.test
	$(BIN)/python -m pytest tests -n $(WORKERS) --dist loadfile -m "not slow" $(ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(VENV)/.test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

claims: $(VENV)/.test
	$(BIN)/python -m claims $(NAME) $(ARGS)

clean:
	rm -rf $(VENV) site largen-report .pytest_cache .ruff_cache .hypothesis

# Each stamp is one layer of the one environment; it is redone when what it installs from changes.
$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "largen needs Python 3.11, 3.12 or 3.13 with venv; none was found. Name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "PYTHON=$(PYTHON) does not run, or is not Python 3.11, 3.12 or 3.13." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e .
	@touch $@

$(VENV)/.test: $(VENV)/.runtime
	$(PIP) -e ".[test,docs]"
	@touch $@

$(VENV)/.torch-0: $(VENV)/.test
	@touch $@

$(VENV)/.torch-1: $(VENV)/.test
	$(PIP) torch==2.13.0
	@touch $@
