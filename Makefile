# Needs Python 3.11 to 3.13 (with venv and pip), git and make; everything else is installed into .venv.
PYTHON ?= python3
VENV ?= .venv
SEEDS ?= 0
DEMO ?= runs/demo

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PAIR := synthetic_faces/studio synthetic_faces/wild

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test lint format clean distclean

help:  ## list the targets (this text)
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'Variables: PYTHON=python3.12 picks the interpreter of a new $(VENV), SEEDS=0,1,2 the demo runs.'

install: $(VENV)/.installed-test  ## make .venv and install the package with its test tools

demo: $(VENV)/.installed  ## draw synthetic faces, train without and with adaptation, compare
	@for corpus in $(PAIR); do $(BIN)/python experiments/prepare.py --corpus $$corpus || exit; done
	@$(BIN)/python experiments/tables.py --config experiments/configs/demo.py \
		--workdir $(DEMO) --seeds $(SEEDS)
	@echo 'next: $(BIN)/python experiments/evaluate.py --workdir $(DEMO)/dmsrl/seed0'
	@echo '      $(BIN)/python experiments/predict.py --workdir $(DEMO)/dmsrl/seed0 IMAGE...'

test: $(VENV)/.installed-test  ## run all tests, a process per core (at most four)
	@$(BIN)/python -m pytest tests --numprocesses logical --maxprocesses 4 --dist loadfile

lint: $(VENV)/.installed-test  ## ruff (rules and format) and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/.installed-test  ## let ruff mend what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:  ## remove caches of the tools and build leftovers
	@rm -rf .pytest_cache .mypy_cache .ruff_cache build dist
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean  ## remove .venv and the demo runs, too
	@rm -rf $(VENV) $(DEMO) *.egg-info

# Versions and dependencies stand in setup.cfg: a change there installs again.
$(VENV)/.installed: setup.cfg pyproject.toml | $(BIN)/activate
	$(PIP) install --quiet --editable .
	@touch $@

$(VENV)/.installed-test: setup.cfg pyproject.toml | $(BIN)/activate
	$(PIP) install --quiet --editable '.[test]'
	@touch $(VENV)/.installed $@

$(BIN)/activate:
	@command -v $(PYTHON) >/dev/null || { echo \
		'error: no $(PYTHON) here; install Python 3.11, 3.12 or 3.13, or say which: make PYTHON=/path/to/python3.12' >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo \
		"error: $$($(PYTHON) --version 2>&1) does not fit; dmsrl_jax needs Python 3.11, 3.12 or 3.13: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo \
		'error: $(PYTHON) has no venv or ensurepip (on Debian and Ubuntu: apt install python3-venv), or pick another: make PYTHON=python3.12' >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
