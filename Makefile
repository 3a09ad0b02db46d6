# Two commands do everything: `make demo` and `make test`. Each makes .venv first (the demo installs only what it needs,
# the tests add the rest), and both are quick when nothing changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := pyproject.toml constraints.txt tools/set_up.py
# One for each core; processes that tests start are forked from one that has imported everything
WORKERS := $(shell getconf _NPROCESSORS_ONLN 2> /dev/null || echo 1)

.PHONY: setup demo test lint types docs cell clean browser

# Everything: extras, test tools, pose models
setup: $(VENV)/.everything

$(VENV)/.demo: $(PACKAGES)
	@command -v $(PYTHON) > /dev/null || { echo "set-up: there is no $(PYTHON): make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "set-up: posegen needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@$(PYTHON) tools/set_up.py demo
	@touch $@

$(VENV)/.everything: $(VENV)/.demo src/posegen/conditions/estimators/task_files.py
	@$(PYTHON) tools/set_up.py all
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/posegen demo --output outputs/demo.mp4

test: $(VENV)/.everything
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

lint: $(VENV)/.everything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.everything
	$(BIN)/mypy

# The API reference, from docstrings; warnings are errors
docs: $(VENV)/.everything
	$(BIN)/mkdocs build --strict

# One cell of the matrix of versions: make cell PYTHON=python3.12 VERSIONS=lowest (or newest, pinned)
VERSIONS ?= pinned
cell:
	$(PYTHON) tools/run_cell.py $(VERSIONS)

# Chromium, in which the tests look at pages; it is no Python package, so it comes from the system's
browser:
	@command -v chromium || command -v chromium-browser || command -v google-chrome || \
		{ apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium; }

clean:
	rm -rf $(VENV) .cells outputs build .pytest_cache .mypy_cache .ruff_cache
