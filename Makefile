# Two commands do everything: `make demo` and `make test`. Both make .venv first, and are quick when nothing changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# One more than there are cores: while a test waits for its processes to start, another one computes
WORKERS := $(shell $(PYTHON) -c 'import os; print(min(8, (os.cpu_count() or 1) + 1))')
# pip would compile on one core, and the packages' own tests, too
PIP := --quiet --disable-pip-version-check --no-compile -c constraints.txt

.PHONY: setup demo test lint types ci clean browser

setup: $(READY)

$(READY): pyproject.toml constraints.txt src/posegen/conditions/estimators/task_files.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "posegen needs Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(PIP) torch
	$(BIN)/python -m pip install $(PIP) -e '.[dev,synthetic,evaluate,prepare]'
	$(BIN)/python -m compileall -q -j 0 -x '/tests/' $(VENV)/lib > /dev/null 2>&1 || true
	$(BIN)/python -m posegen.conditions.estimators.task_files
	touch $@

demo: $(READY)
	$(BIN)/posegen demo --output outputs/demo.mp4

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

# Chromium, in which the tests look at pages; it is no Python package, so it comes from the system's
browser:
	@command -v chromium || command -v chromium-browser || command -v google-chrome || \
		{ apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium; }

# The browser comes while packages are installed; types are checked, on one core, beside the tests
ci:
	$(MAKE) -j2 browser lint
	$(MAKE) -j2 types test

clean:
	rm -rf $(VENV) outputs build .pytest_cache .mypy_cache .ruff_cache
