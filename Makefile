# make run     serve examples/quickstart.hcl on port 8080; the first time, install into .venv
# make test    run the tests            make check   lint, types, architecture
# make bench   compare with nginx, HAProxy and Caddy (Linux; needs them and wrk installed)
# make format  format and sort what `make check` would complain about
#
# PYTHON chooses the interpreter of a new virtual environment, VENV its folder.

PYTHON ?= python3
VENV ?= .venv
CONFIG ?= examples/quickstart.hcl
PYTEST_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# In compat mode the checkout itself is on the path, and so twistd finds the plugin in it.
EDITABLE := --quiet --config-settings editable_mode=compat --editable

.PHONY: run test check bench format
.DELETE_ON_ERROR:

run: $(VENV)/.installed
	exec $(BIN)/a3s-gateway --config $(CONFIG)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto --dist loadgroup $(PYTEST_ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/run.py --write

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: setup.cfg pyproject.toml | $(BIN)/python
	$(PIP) install $(EDITABLE) .
	@# A second's work that the first start would do otherwise.
	$(BIN)/python -m a3s_gateway.hcl.grammar
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install $(EDITABLE) '.[dev]'
	touch $@
