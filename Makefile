# make demo    a first sweep on this machine, from nothing
# make test    lint and every test
# make lint    style, types, arrows between the packages, deployment files
# make bench   the benchmarks (minutes)

PYTHON ?= python3
BIN := .venv/bin
PACKAGES := analysis search_spaces sweeps zoneout_core
SOURCES := $(PACKAGES) tests docker
DEMO_ARGS ?=
PYTEST_ARGS ?=

.PHONY: demo test lint format bench clean
.DEFAULT_GOAL := test

demo: .venv/installed
	$(BIN)/sweep run demo $(DEMO_ARGS)
	@echo "The command sweep is in .venv/bin. To have it at hand: source .venv/bin/activate"

test: lint
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: .venv/installed-dev
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint docker/Dockerfile
	$(BIN)/yamllint --strict -c docker/.yamllint docker
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml

format: .venv/installed-dev
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

bench: .venv/installed
	set -e; for benchmark in tests/benchmarks/*.py; do echo "== $$benchmark"; $(BIN)/python $$benchmark; done

clean:
	rm -rf .venv *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage

# The stamps are older than these two files only when .venv is out of date.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[cluster,postgres,server,dashboard,gp,dev]'
	touch $@
