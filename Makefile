# make test | check | slow | fuzz | demo | clean

PYTHON ?= python3
BIN := .venv/bin
SECONDS ?= 60

.PHONY: test check slow fuzz demo clean

test: .venv/ready
	OMP_WAIT_POLICY=passive $(BIN)/pytest -n 2 --dist worksteal

slow: .venv/ready
	OMP_WAIT_POLICY=passive $(BIN)/pytest -m slow -n 2 --dist worksteal

check: .venv/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict polarchive
	$(BIN)/pytest -q tests/test_floors.py

fuzz: .venv/ready
	$(BIN)/python -c 'import atheris' 2> /dev/null || $(BIN)/pip install --quiet -e '.[fuzz]'
	$(BIN)/python tools/fuzz.py --seconds $(SECONDS)

demo: .venv/ready
	$(BIN)/python tools/cifar10.py
	PATH="$(CURDIR)/$(BIN):$$PATH" bash tools/demo.sh

clean:
	rm -rf .venv build demo *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find polarchive tests tools examples -name __pycache__ -prune -exec rm -rf {} +

.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "polarchive needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -e '.[dev]'
	@touch $@
