# make search: a first search, its tables, plots and report. make test: all checks.
# Both need only Python 3.11 or newer and make; everything else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --constraint constraints.txt --editable

.PHONY: search test test-slow clean

search: .venv/search
	$(BIN)/scaling-search search experiment=default
	$(BIN)/scaling-search report out=runs/default

test: .venv/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n auto --dist loadfile $(COVERAGE)

test-slow: .venv/test
	$(BIN)/pytest -n auto --dist loadfile -m "slow and not gpu and not alone" --durations=10
	$(BIN)/pytest -m "slow and not gpu and alone" --durations=10

# A search needs neither Ray nor ONNX nor the checks' own tools.
.venv/search: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, got " + sys.version.split()[0] + "; name one by make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(INSTALL) .
	touch $@

.venv/test: .venv/search
	$(INSTALL) '.[test]'
	touch $@

clean:
	rm -rf .venv
