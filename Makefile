# Two commands do everything: `make demo` and `make test`. Both make .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The development constraint: torch 2.13.0's exact pin gives its CPU build.
TORCH := torch==2.13.0
export PYTHONSAFEPATH := 1

.PHONY: demo test lint types wheel bundled clean

demo: $(VENV)/.runtime
	$(BIN)/edge-effnet predict examples/photos/chelsea.jpg

test: $(VENV)/.all
	$(BIN)/pytest

lint: $(VENV)/.all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Types are checked on an installed copy: the editable hook hides the mapped packages from the checker.
types: $(VENV)/.all
	rm -rf $(VENV)/types build
	$(BIN)/python -m pip install --quiet --no-deps --target $(VENV)/types .
	cd $(VENV) && MYPYPATH=types bin/mypy --config-file ../pyproject.toml -p edge_effnet
	rm -rf build

wheel: $(VENV)/.all
	rm -rf build dist
	$(BIN)/python -m build --wheel --outdir dist .

# Makes edge_effnet/models/lite0-int8.tflite anew, with the same bytes each time.
bundled: $(VENV)/.all
	$(BIN)/python scripts/make_bundled_model.py

clean:
	rm -rf $(VENV) build dist *.egg-info

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.runtime: $(BIN)/python pyproject.toml
	[ -e $(VENV)/.all ] || $(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.all: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet '$(TORCH)'
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
