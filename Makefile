# Everything starts here: 'make' shows what there is. Works with the make of macOS (3.81) as well.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
# The packages and throng's command, which is all that style and types need; and with the hot loops compiled.
PACKAGES := $(VENV)/.packages
INSTALLED := $(VENV)/.installed
# ARGS goes on to the command behind a target: make test ARGS="-k chain -x".
ARGS :=
# Test files at a time, each with a Kafka and a Redis of its own, many of which are waited for: three keep two cores busy.
# JOBS=0 runs all in one process.
JOBS := 3

# A folder that was moved or copied is set up anew: throng's own command and what it imports are named by their whole path.
ifneq "$(shell cat $(PACKAGES) 2>/dev/null)" "$(CURDIR)"
.PHONY: $(PACKAGES)
endif

.DEFAULT_GOAL := help
.PHONY: help setup demo test chaos schedules attack validate lint format types bench bench-quick bench-stages lock clean

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

setup: $(INSTALLED) ## Make .venv with the throng command, from requirements.lock
	@echo "throng is installed: $(BIN)/throng --help"

demo: $(INSTALLED) ## Run the whole of it on a simulated town (DEMO_FOR=90 ends it 90 s after the town has begun to play)
	@$(if $(DEMO_FOR),DEMO_FOR='$(DEMO_FOR)') $(BIN)/throng demo $(ARGS)

test: $(INSTALLED) ## Run all tests, on a Kafka and a Redis that they start
	@$(PY) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

chaos: $(INSTALLED) ## Draw faults against a whole deployment (CHAOS_SEED, CHAOS_MINUTES, CHAOS_FAULTS)
	@$(PY) -m tests.chaos

schedules: $(INSTALLED) ## Drive the workers' shell through simulated schedules of faults (SCHEDULES=10000)
	@$(PY) -m tests.simulation

attack: $(INSTALLED) ## Attack what is released of a simulated town (ATTACK=quick: a minute of it)
	@$(PY) -m attacks $(ARGS)

validate: $(INSTALLED) ## Hold every measure against what truly happened in simulated towns (VALIDATE=quick: a village)
	@$(PY) -m validation $(ARGS)

lint: $(PACKAGES) ## Check style, formatting and import rules
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(PY) $(BIN)/lint-imports

format: $(PACKAGES) ## Format the code and mend what can be mended
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

types: $(PACKAGES) ## Check types, strictly
	@$(PY) -m mypy

bench: $(INSTALLED) ## Run throng and its peers on the same job, and measure latency (ARGS="--rounds 3 --peers throng,flink")
	@$(PY) -m benchmarks.bench $(ARGS)

bench-quick: $(INSTALLED) ## Guard throng's core by a loose ratio to a loop by hand (a minute)
	@$(PY) -m benchmarks.bench_quick $(ARGS)

bench-stages: $(INSTALLED) ## Run the other benchmarks: stages, functions, scaling, rebalances, soak, cost by size
	@set -e; for file in benchmarks/bench_*.py; do \
	    case $$file in */bench_quick.py|*/bench_latency.py) continue;; esac; \
	    echo "== $$file"; name=`basename $$file .py`; $(PY) -m benchmarks.$$name; \
	done

lock: $(PACKAGES) ## Choose the newest allowed packages anew (requirements.lock, and of them deploy/requirements.lock)
	@$(PY) -m pip install --quiet uv
	@$(PY) -m uv pip compile --upgrade --universal --generate-hashes --extra local --extra record --extra places --extra dev pyproject.toml -o requirements.lock
	@$(PY) -m uv pip compile --universal --generate-hashes --extra record --extra places --extra image -c requirements.lock pyproject.toml -o deploy/requirements.lock

clean: ## Remove caches and build leftovers (.venv and downloads stay)
	@rm -rf build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(INSTALLED): $(PACKAGES)
	@$(PY) -m streams.warm
	@touch $@

$(PACKAGES): requirements.lock pyproject.toml scripts/find-python
	@if ! $(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    python=`sh scripts/find-python '$(PYTHON)'` || exit 1; \
	    echo "making $(VENV) with $$python"; \
	    rm -rf $(VENV); "$$python" -m venv $(VENV) || exit 1; \
	fi
	@echo "installing the packages of requirements.lock (the first time takes some minutes)"
	@$(PY) -m pip install --disable-pip-version-check --no-compile --require-hashes -r requirements.lock
	@$(PY) -m pip install --disable-pip-version-check --no-index --no-deps --no-build-isolation --editable .
	@$(PY) -m compileall -q schemas streams
	@echo '$(CURDIR)' >$@
