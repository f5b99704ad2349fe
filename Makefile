.DEFAULT_GOAL := help
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# Here and not in pyproject.toml, so that `pytest --pdb` works.
SIDE_BY_SIDE := -n 2 --dist worksteal
# Python keeps what it compiled, tests as pytest rewrote them too: they start in half the time.
unexport PYTHONDONTWRITEBYTECODE
RUN := runs/demo-$(shell date +%Y%m%d-%H%M%S)

.PHONY: help demo test long contracts quick lint format types check schedule benchmark clean

help:  ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F '\t' '{printf "  make %-10s %s\n", $$1, $$2}'

$(BIN)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(BIN)/.installed  ## Train a DQN for two minutes and compare it with the baselines: table, CSV, pictures
	$(BIN)/exec-env train dqn --run $(RUN)/dqn
	$(BIN)/exec-env evaluate twap pov almgren-chriss adaptive $(RUN)/dqn --episodes 20000 --out $(RUN)/evaluation

test: $(BIN)/.installed  ## Run the tests of this project, but for the long ones
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m 'not long and not contract and not installed'

long: $(BIN)/.installed  ## Run the tests that take minutes: whole trainings, Ray, statistics with many paths
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m long

contracts: $(BIN)/.installed  ## Run the contracts with other libraries, and those of an installed wheel
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m 'contract or installed'

quick: $(BIN)/.installed  ## Run the tests that take half a second at most
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m 'not slow and not long and not contract and not installed'

.PHONY: coverage
coverage: $(BIN)/.installed  ## Run all tests and show which lines none of them runs
	$(BIN)/python -m pytest --cov=exec_env --cov=agents --cov=baselines --cov=scripts --cov-report=term-missing:skip-covered

lint: $(BIN)/.installed  ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(BIN)/.installed  ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(BIN)/.installed  ## Check types
	$(BIN)/mypy

check: lint types test long contracts  ## Everything that CI checks

schedule: $(BIN)/.installed  ## Print and plot the Almgren-Chriss schedule and the efficient frontier
	$(BIN)/exec-env schedule almgren-chriss

benchmark: $(BIN)/.installed  ## Speed of the environments, beside Gymnasium's CartPole
	$(BIN)/exec-env benchmark

clean:  ## Remove the virtual environment and caches; runs stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
