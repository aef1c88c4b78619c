# Two commands matter: `make demo` shows the product, `make test` proves it. Both set up first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: setup demo test quick lint type bench docs clean
.DEFAULT_GOAL := demo

setup: $(STAMP)

$(STAMP): pyproject.toml constraints/cpu.txt scripts/setup.py
	@$(PYTHON) scripts/setup.py $(VENV)
	@touch $(STAMP)

demo: setup
	@$(BIN)/smallworks demo

# One process a core, at most four; a file stays in one process, because its models are made once. The order
# is that of tests/conftest.py: the longest files first.
test: setup
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

quick: setup
	@$(BIN)/python -m pytest -m "not slow"

lint: setup
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

type: setup
	@$(BIN)/mypy

bench: setup
	@$(BIN)/python -m benchmarks $(or $(NAME),list)

docs: setup
	@$(BIN)/python scripts/map.py

clean:
	rm -rf smallworks-demo .pytest_cache .mypy_cache .ruff_cache
