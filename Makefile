# Two commands do all on a fresh machine: `make quickstart` and `make test`.
# TORCH=... chooses the torch requirement when none is installed (default: a CPU build);
# PYTHON=... the interpreter the environment is made from; VENV=... where it lies.
PYTHON ?= python3
VENV   ?= .venv
TORCH  ?= torch==2.13.0
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.densecl-installed

.PHONY: quickstart test test-slow check format install bench clean

quickstart: install
	$(BIN)/python tools/quickstart.py

test: install
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: install
	$(BIN)/python -m pytest -m slow

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(STAMP)

$(STAMP): pyproject.toml tools/setup_env.py
	$(PYTHON) tools/setup_env.py --venv '$(VENV)' --torch '$(TORCH)'
	touch $(STAMP)

bench: install
	for script in tools/benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
