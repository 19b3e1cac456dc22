# make demo    a first sweep on this machine, from nothing
# make test    lint and every test
# make lint    style, types, arrows between the packages, deployment files
# make bench   the benchmarks (minutes)
# make coverage   every test, and which lines they run
# make docs    pages of docs/ and of all docstrings, in site/
# make test-arithmetic   the tests of numbers, repeated as other processors would round (hours)

PYTHON ?= python3
BIN := .venv/bin
PACKAGES := analysis search_spaces sweeps zoneout_core
SOURCES := $(PACKAGES) tests docker docs
DEMO_ARGS ?=
PYTEST_ARGS ?=

.PHONY: demo test test-arithmetic coverage docs lint format bench clean
.DEFAULT_GOAL := test

demo: .venv/installed
	$(BIN)/sweep run demo $(DEMO_ARGS)
	@echo "The command sweep is in .venv/bin. To have it at hand: source .venv/bin/activate"

# Two files at a time: much of their time they wait for a server, or for Ray.
test: lint
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile $(PYTEST_ARGS)

# What decides how torch's sums are rounded: instruction sets of its three libraries, the product, threads.
ARITHMETICS := ATEN_CPU_CAPABILITY=default ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=SSE4_2 \
	ONEDNN_MAX_CPU_ISA=SSE41 ZONEOUT_PRODUCT=mm ZONEOUT_PRODUCT=addmm ZONEOUT_PRODUCT=onednn ZONEOUT_TEST_THREADS=2
PERTURBATIONS := 1 2
NUMBERS := zoneout_core/conformance tests/zoneout_core tests/search_spaces tests/sweeps

test-arithmetic: .venv/installed-dev
	set -e; for how in $(ARITHMETICS); do echo "== $$how"; env $$how $(BIN)/python -m pytest $(NUMBERS) $(PYTEST_ARGS); done
	set -e; for seed in $(PERTURBATIONS); do \
		echo "== --perturb $$seed"; $(BIN)/python -m pytest --perturb $$seed $(NUMBERS) $(PYTEST_ARGS); done

# Apart, because counting lines makes the tests take twice as long.
coverage: .venv/installed-dev
	$(BIN)/python -m pytest $(addprefix --cov=,$(PACKAGES)) --cov-report=term $(PYTEST_ARGS)

docs: .venv/installed-dev
	$(BIN)/mkdocs build --quiet
	@echo "Open site/index.html"

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
	rm -rf .venv site *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage

# The stamps are older than these two files only when .venv is out of date.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[cluster,postgres,server,dashboard,gp,docs,dev]'
	touch $@
