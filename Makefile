# make demo                    watch a simulated line, from camera to alert (Ctrl-C stops it)
# make demo -- --minutes 2     the words after -- go to `sightline demo`; `make demo -- --help` lists them
# make test                    all tests (make test -- -k broker: words for pytest)
# make long                    tests that take a minute or more each
# make e2e                     the product as a user runs it, for some ten minutes
# make hostile                 10,000 hostile frames through the scoring worker, each with the fate that it must have
# make chaos                   breaks a running line in every way that is known, and counts what became of every frame
# make fuzz                    headers and pictures made up by a fuzzer that follows the code, ten minutes; Linux
# make fuzz-api                every endpoint of the API under made-up requests, for some minutes
# make pages                   the console in a real browser, every flow; needs Chromium
# make secure                  the whole line on a secured broker, every part as its own user
# make audit                   bill of materials, licences, a scanner, known vulnerabilities (leaves with 3: not asked)
# make check                   formatting, lint, types
# make bench                   three minutes of the demo, then what it took
# make setup                   only what the others do first by themselves
# make lock                    pin the requirements anew, after a change in pyproject.toml
# make clean                   delete the environment and caches; run/ with its history stays
#
# Words with spaces need the other form: make demo ARGS='--images "my parts"'

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
DONE := $(VENV)/done
UV := $(shell uv --version >/dev/null 2>&1 && echo uv)
INPUTS := Makefile pyproject.toml infra/ivy.xml requirements/dev.txt
LOCKED := producers streaming models console

# make takes words after `--` for goals, and --key=value for a variable: here they become arguments of the first goal
GOAL := $(filter demo test bench,$(firstword $(MAKECMDGOALS)))
ifneq (,$(GOAL))
WORDS := $(wordlist 2,$(words $(MAKECMDGOALS)),$(MAKECMDGOALS)) $(filter --%,$(MAKEOVERRIDES))
endif
arguments = $(foreach word,$(WORDS),'$(word)') $(ARGS)

run_demo = $(BIN)/sightline demo $(arguments)
# two at a time, a file with all its tests to one: each has its own broker and its own Spark
run_test = $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=15 $(arguments)
run_bench = $(BIN)/sightline demo --minutes 3 $(arguments) && \
    $(BIN)/python -m json.tool "$${SIGHTLINE_RUN:-run}/demo.json"

# --- set-up: each step once, and again when what it is made from changes ---

$(DONE)/venv:
	@set -e; for python in $(PYTHON) $(BIN)/python python3.11 python3.12 python3.13 python3 python; do \
	    if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	    echo "error: no Python 3.11 or later on the PATH (python3 is $$(python3 --version 2>&1 || true)); install one" \
	         "(Debian: apt-get install python3 python3-venv; macOS: brew install python@3.12; uv: uv python install 3.12)" \
	         "or name one: make setup PYTHON=/path/to/python" >&2; exit 1; \
	fi; \
	"$$found" -m infra.java; \
	if [ "$$found" != $(BIN)/python ]; then \
	    echo "== a virtual environment in $(VENV) with $$("$$found" --version)"; \
	    if [ -n "$(UV)" ]; then uv venv --quiet --clear --python "$$found" $(VENV); \
	    else "$$found" -m venv --clear $(VENV); fi; \
	fi
	@mkdir -p $(DONE) && touch $@

$(DONE)/requirements: requirements/dev.txt $(DONE)/venv
	@echo "== Python packages, pinned in $<: about 6 GB on disk on Linux, most of it PyTorch;" \
	      "a minute with uv, ten with pip, or as long as the network takes"
	@if [ -n "$(UV)" ]; then uv pip install --python $(BIN)/python --require-hashes -r $<; \
	 else $(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r $<; fi
	@touch $@

$(DONE)/project: pyproject.toml $(DONE)/requirements
	@echo "== Sightline itself, from this folder"
	@if [ -n "$(UV)" ]; then uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .; \
	 else $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .; fi
	@touch $@

$(DONE)/jars: infra/ivy.xml $(DONE)/project
	@echo "== jars of Kafka, Delta and Spark's connectors"
	@$(BIN)/sightline jars
	@touch $@

# --- goals; a word that was given to one is no goal, even where it is called like one or like a file ---

.PHONY: force setup
force: ;
setup: $(DONE)/jars
$(INPUTS): ;

ifneq (,$(strip $(WORDS)))

.PHONY: $(GOAL)
$(GOAL): setup
	@$(run_$@)

%: force
	@:

else

.PHONY: help demo test bench long e2e hostile chaos fuzz fuzz-api pages secure audit check lock clean

help:
	@sed -n 's/^# \{0,1\}//p; /^$$/q' Makefile

demo test bench: setup
	@$(run_$@)

long: setup
	@$(BIN)/python -m pytest -m long

e2e: setup
	@$(BIN)/python -m pytest tests/e2e

hostile: setup
	@$(BIN)/python -m streaming.hostile_run $(ARGS)

chaos: setup
	@$(BIN)/python -m benchmarks.chaos $(ARGS)

# the fuzzer is a part of nothing else
$(DONE)/fuzz: requirements/fuzz.txt $(DONE)/venv
	@if [ -n "$(UV)" ]; then uv pip install --quiet --python $(BIN)/python --target $(VENV)/fuzz --require-hashes -r $<; \
	 else $(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --target $(VENV)/fuzz \
	    --require-hashes -r $<; fi
	@touch $@

fuzz: setup $(DONE)/fuzz
	@mkdir -p "$${SIGHTLINE_RUN:-run}/fuzz"
	@PYTHONPATH=$(VENV)/fuzz $(BIN)/python -m benchmarks.fuzz_frames "$${SIGHTLINE_RUN:-run}/fuzz" \
	    tests/unit/streaming/hostile_corpus -artifact_prefix="$${SIGHTLINE_RUN:-run}/fuzz-" \
	    $(or $(ARGS),-max_total_time=600)

fuzz-api: setup
	@SIGHTLINE_TEST_FUZZ_EXAMPLES=$${SIGHTLINE_TEST_FUZZ_EXAMPLES:-100} $(BIN)/python -m pytest --timeout 3600 \
	    tests/unit/console/api/test_fuzz.py

pages: setup
	@SIGHTLINE_TEST_PAGES=1 $(BIN)/python -m pytest tests/unit/console/web $(ARGS)

secure: setup
	@$(BIN)/python -m pytest tests/secure

# tools that look at the environment must not be a part of it
$(DONE)/audit: requirements/audit.txt $(DONE)/venv
	@if [ -n "$(UV)" ]; then uv venv --quiet --clear --python $(BIN)/python $(VENV)/audit && \
	    uv pip install --quiet --python $(VENV)/audit/bin/python --require-hashes -r $<; \
	 else $(BIN)/python -m venv --clear $(VENV)/audit && \
	    $(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<; fi
	@touch $@

audit: setup $(DONE)/audit
	@$(BIN)/python -m infra.audit

check: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

# `dev` has everything; the images' sets are parts of it, in the same versions
lock:
	@set -e; compile() { uv pip compile --quiet pyproject.toml --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" "$$@"; }; \
	extras() { case $$1 in models) echo train;; console) echo api notify;; *) echo $$1;; esac; }; \
	compile --extra dev --output-file requirements/dev.txt; \
	compile --extra audit --output-file requirements/audit.txt; \
	for part in $(LOCKED); do \
	    grep -v -e '--hash' requirements/dev.txt | sed 's/ *\\$$//' > requirements/.versions; \
	    compile --constraint requirements/.versions $$(printf -- '--extra %s ' $$(extras $$part)) \
	        --output-file "requirements/$$part.txt"; \
	done; \
	for group in build fuzz; do \
	    uv pip compile --quiet --group $$group --universal --python-version 3.11 --generate-hashes \
	        --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" \
	        --constraint requirements/.versions --output-file requirements/$$group.txt; \
	done; \
	rm requirements/.versions

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
	@[ ! -d run ] || echo "run/ is left, with the history in it: rm -r run deletes that too"

endif
