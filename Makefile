# make up      set up and run everything here: `zmesh dev`, with options in ARGS
# make test    every check and test
# make attack  the attacks on the sandbox's limits: long, and they load the machine
# make fuzz-orders  orders to the C code under sanitizers, for FUZZ_SECONDS (600)
# make chaos   the test that kills everything at random, for CHAOS_SECONDS (300)
# make fuzz-api  requests made of the OpenAPI document, for FUZZ_SECONDS (600)
# make bench   a no-op over HTTP beside the bare round trip to PostgreSQL
# make bench-queue  our queue and those of others, side by side
# make lock    resolve the Python dependencies anew
# make docs    build the documentation as a site, build/docs/
# make wheel   build dist/*.whl
# make clean   remove what the commands above made, data of `zmesh dev` excepted

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := up
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
ifdef UV
INSTALL := $(UV) pip install --quiet --python $(BIN)/python
else
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
endif

PROJECT := pyproject.toml hatch_build.py sdk/javascript/package-lock.json api/pages/package-lock.json
CONSOLE := $(patsubst %/package.json,%/dist/index.html,$(wildcard console/package.json))
CONSOLE_SOURCES := $(if $(CONSOLE),$(shell find console -name node_modules -prune -o -name dist -prune -o -type f -print))
LOCKED := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-header --no-annotate --upgrade

export PYTHONDONTWRITEBYTECODE :=  # processes start several hundred times here: each would compile our code anew

.PHONY: up test examples attack fuzz-api fuzz-orders chaos lint bench bench-queue docs lock wheel clean dev system-packages

up: $(VENV)/.runtime $(CONSOLE)
	@exec $(BIN)/zmesh dev $(ARGS)

# The lint runs while the tests' engine is prepared, which mostly waits. So do many tests: a worker more than on two cores.
test: dev system-packages
	@$(BIN)/python -m compileall -q sdk/python  # the processes that import it cannot write there
	@$(MAKE) lint & lint=$$!; status=0; \
	tests/deploy/engine/run_with.sh $(BIN)/python -m tests.run --numprocesses 3 --dist loadfile --no-loadscope-reorder --ignore=tests/sandbox/test_attacks.py --ignore=tests/attacks/test_heavy.py --ignore=tests/attacks/test_loops.py --ignore=tests/examples/test_sales_report.py $(ARGS) || status=$$?; \
	wait $$lint || status=1; exit $$status

examples: dev
	@$(BIN)/pytest tests/examples $(ARGS)

attack: dev
	@$(BIN)/pytest tests/sandbox/test_attacks.py tests/attacks $(ARGS)

fuzz-api: dev
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-600} $(BIN)/pytest -s --timeout 0 tests/api/test_fuzz.py $(ARGS)

fuzz-orders: dev system-packages
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-600} $(BIN)/pytest tests/sandbox/test_native_code.py -k malformed $(ARGS)

lint: dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m tests.dead_code
	@$(BIN)/python -m tests.console.types

chaos: dev
	@CHAOS_SECONDS=$${CHAOS_SECONDS:-300} $(BIN)/pytest tests/chaos -rP $(ARGS)

bench: dev
	@$(BIN)/python -m bench $(ARGS)

bench-queue: dev
	@$(BIN)/python -m bench.queue_side_by_side $(ARGS)

docs: dev
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet && echo "build/docs/index.html"

wheel: dev
	@$(BIN)/python -m build --wheel --no-isolation

lock:
	@test -n "$(UV)" || { echo "make lock needs uv, a Python package manager: pip install uv" >&2; exit 1; }
	@$(LOCKED) pyproject.toml --output-file requirements/runtime.txt
	@$(LOCKED) requirements/build.in --constraint requirements/runtime.txt --output-file requirements/build.txt
	@$(LOCKED) pyproject.toml --group dev --constraint requirements/runtime.txt --constraint requirements/build.txt \
		--output-file requirements/dev.txt

clean:
	rm -rf $(VENV) build dist sdk/javascript/node_modules api/pages/node_modules console/node_modules console/dist .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache

dev: $(VENV)/.dev $(CONSOLE)

system-packages:
	@requirements/system.sh

$(VENV)/.runtime: $(PROJECT) requirements/build.txt requirements/runtime.txt
	@requirements/venv.sh $(VENV)
	@echo "Installing Python packages and Node.js, once ..." >&2
	@$(INSTALL) --require-hashes -r requirements/build.txt -r requirements/runtime.txt
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

console/dist/index.html: $(CONSOLE_SOURCES) | $(VENV)/.runtime
	@$(BIN)/python -c "from pathlib import Path; import hatch_build; hatch_build.build_console(Path('console'))"

$(VENV)/.dev: $(VENV)/.runtime requirements/dev.txt
	@echo "Installing what the tests need, once ..." >&2
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@
