# Two commands do everything: `make demo` and `make test`. Both make .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The development constraint: torch 2.13.0's exact pin gives its CPU build.
TORCH := torch==2.13.0
export PYTHONSAFEPATH := 1

.PHONY: demo test test-all parity lint types wheel bundled versions coverage fuzz clean

demo: $(VENV)/.runtime
	$(BIN)/edge-effnet predict examples/photos/chelsea.jpg

test: $(VENV)/.all
	$(BIN)/pytest -n auto

# The whole parity sets: every full-size Keras file, other implementations' network and float head. CI runs them, too.
parity: $(VENV)/.all
	$(BIN)/pytest -n auto -m "slow and not long"

# Everything, also int8 of every head and along every road.
test-all: $(VENV)/.all
	$(BIN)/pytest -n auto -m "slow or not slow"

# The gates of .ci/run: 95 % of the runtime, 90 % of everything, branches counted.
coverage:
	PYTEST_ADDOPTS="--cov --cov-report=" $(MAKE) test
	$(BIN)/coverage report --skip-covered --include='edge_effnet/*' --fail-under=95
	$(BIN)/coverage report --skip-covered --fail-under=90

# Lowest and newest packages, tflite-runtime, and every Python there is; needs no .venv.
versions:
	scripts/test_versions.sh

# Both take an hour; their results are committed.
fuzz: $(VENV)/.all
	$(BIN)/python -m edge_effnet.benchmarks.fuzz --results benchmarks/results/fuzz.json
	$(BIN)/python -m edge_effnet.benchmarks.fuzz.kills --results benchmarks/results/kills.json

lint: $(VENV)/.all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Types are checked on an installed copy: the editable hook hides the mapped packages from the checker. Three times, since
# the checker sees one system's branches at a time; what another system's early returns leave unreachable is no mistake.
types: $(VENV)/.all
	rm -rf $(VENV)/types build
	$(BIN)/python -m pip install --quiet --no-deps --target $(VENV)/types .
	cd $(VENV) && for system in 'linux' 'darwin --no-warn-unreachable' 'win32 --no-warn-unreachable'; do \
		MYPYPATH=types bin/mypy --config-file ../pyproject.toml --cache-dir types-$${system%% *} --platform $$system -p edge_effnet || exit 1; \
	done
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
