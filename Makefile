# Every command creates the environment it needs: Python 3.11 or newer, git and make are enough.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test check bench

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## compare five methods on movie-review sentences: a table, then the path of the report
	@$(BIN)/encoderlab demo

test: $(INSTALLED) ## the default tests: no GPU, no long runs
	@OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest -n 2 --dist worksteal

check: $(INSTALLED) ## formatting, lint and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(INSTALLED) ## against PEFT and Trainer: the tables of docs/performance.md, in an hour or two
	@$(BIN)/python benchmarks/lib/all.py

$(INSTALLED): pyproject.toml constraints.txt
	@echo "Installing into $(VENV): once, a few minutes" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
