# make search: a first search, its tables, plots and report. make test: all checks.
# Both need only Python 3.11 or newer and make; everything else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --constraint constraints.txt
INSTALL := $(PIP) --editable

.PHONY: search test test-slow clean

search: .venv/search
	$(BIN)/scaling-search run experiment=default

test: .venv/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n auto --dist loadfile $(COVERAGE)

test-slow: .venv/test
	$(BIN)/pytest -n auto --dist loadfile -m "slow and not gpu and not alone" --durations=10
	$(BIN)/pytest -m "slow and not gpu and alone" --durations=10

# A search needs neither Ray nor ONNX nor the checks' own tools. From 25.1 on pip shows a bar on a
# terminal while it unpacks too, which takes longer than the download.
.venv/search: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, got " + sys.version.split()[0] + "; name one by make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --upgrade 'pip>=25.1'
	@echo 'Installing PyTorch and what else a search needs into .venv: minutes on the first run.'
	$(INSTALL) .
	touch $@

# timm wants torchvision, whose build for this torch may not be there; its networks do not use it.
.venv/test: .venv/search
	$(INSTALL) '.[test]'
	$(PIP) --no-deps timm
	touch $@

clean:
	rm -rf .venv
