# Every command creates the environment it needs: Python 3.11 or newer, git and make are enough.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# One environment in two steps, so that nothing is installed twice: the demo needs the first step alone.
PLAIN := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
PYTEST := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest -n 2 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test slow check bench
.NOTPARALLEL: # both steps write into the same folder

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(PLAIN) ## compare five methods on movie-review sentences: a table, then the path of the report
	@$(BIN)/encoderlab demo

test: $(DEV) ## the default tests: no GPU, no long runs
	@$(PYTEST) --durations 10

slow: $(DEV) ## the tests that the default suite leaves out: whole matrices, many kills, many damaged files
	@$(PYTEST) -m 'slow and not gpu' --durations 10 $(FLAGS)

check: $(DEV) ## formatting, lint and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(DEV) ## against PEFT and Trainer: the tables of docs/performance.md, in an hour or two
	@$(BIN)/python benchmarks/lib/all.py

# $(call install,REQUIREMENT): into the environment, which is created where there is none.
define install
	@echo "Installing $(1) into $(VENV): once, a few minutes" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '$(1)'
endef

$(PLAIN): pyproject.toml constraints.txt
	$(call install,.)
	@touch $@

$(DEV): pyproject.toml constraints.txt
	$(call install,.[dev])
	@touch $(PLAIN) $@
