# Sésame. `make help` lists the targets.
#
# Variables:  PYTHON=python3.13   the interpreter for the environment (3.11 or newer)
#             VENV=.venv          where the environment is
#             STUDENTS=500 KAFKA=1 PROCESSES=2 CAS=apereo JSON=FILE KEEP=1   for `make demo`
#             TIMETABLE=1 SCIM=1 PARTAGE=1 AD=1   for `make demo`: further targets
#             PEGASE=1   for `make demo`: fed by Pégase's APIs, not by a file
#             TWIN=FOLDER   for `make demo`: the students that `sesame rehearse FOLDER` wrote
#             CANARY=1   for `make demo`: a synthetic student on the way of the others
#             MUTANTS="consumers.registry.identity*" for `make mutation`
#             TESTS="tests/unit -k name" JOBS=4   for `make test`
#             SECONDS=600 SEED=0 JSON=FILE DOCS=1   for `make soak`; YEARS=10000: five years of so many students
#             KILLS=200 STUDENTS=2000 PROCESSES=1 SEED=1 JSON=FILE DOCS=1   for `make faults`
#             KEY=FILE   for `make release`: minisign's secret key
#             ONLY="engine-full" RUNS=3 JSON=FILE DOCS=1 BESIDE=COMMIT   for `make bench`

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

export PYTHON ?= python3
export VENV ?= .venv
# A thousand processes of the tests and the demo load the same modules: each is compiled once.
export PYTHONDONTWRITEBYTECODE :=
STUDENTS ?=
JSON ?=
TIMETABLE ?=
SCIM ?=
PARTAGE ?=
AD ?=
TWIN ?=
KEEP ?=
KAFKA ?=
CAS ?=
PROCESSES ?=
TESTS ?= tests
MUTANTS ?=
JOBS ?=
ONLY ?=
BESIDE ?=
RUNS ?= 3
DOCS ?=
SECONDS ?=
SEED ?=
KILLS ?= 200
KEY ?=

BIN := $(VENV)/bin

.PHONY: help setup python servers machine demo stop test collected bench soak faults check lint types layers schemas docs format pages pictures site wheels release lock mutation clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

setup: python machine ## Install all that the project needs: the locked environment and Debian packages

python: ## Install the locked Python environment only
	@scripts/setup-python

servers: # slapd and Dovecot, which demo and tests start for themselves
	@scripts/setup-debian servers

machine: python # all of the Debian packages that the tests use, and what Maven brings
	@scripts/setup-debian servers samba node postgres java browser prometheus systemd containers release
	@scripts/stage kafka "$(BIN)/python" -m sandbox.kafka
	@scripts/stage apereo "$(BIN)/python" -m sandbox.apereo

demo: python servers ## From a registrar's file to accounts that work, to look at on a terminal: STUDENTS=500 KAFKA=1 PROCESSES=2 CAS=apereo KEEP=1
	@$(if $(filter-out 0 no false,$(KAFKA) $(PROCESSES)),scripts/setup-debian java && "$(BIN)/python" -m sandbox.kafka,:)
	@$(if $(filter-out 0 no false,$(PROCESSES)),scripts/setup-debian postgres,:)
	@$(if $(filter-out 0 no false,$(AD)),scripts/setup-debian samba,:)
	@$(if $(filter apereo,$(CAS)),scripts/setup-debian java && "$(BIN)/python" -m sandbox.apereo,:)
	@# On a terminal it stays, to be looked at; with KEEP=0 it ends.
	@keep="$(if $(filter-out 0 no false,$(KEEP)),--keep)"; \
	if [ -t 1 ] && [ -z "$(KEEP)$(JSON)$${CI:-}" ]; then keep=--keep; fi; \
	"$(BIN)/python" -m sandbox.demo run --students "$(or $(STUDENTS),500)" \
	  $(if $(filter-out 0 no false,$(KAFKA)),--kafka) \
	  $(if $(filter-out 0 no false,$(PROCESSES)),--processes "$(PROCESSES)") \
	  $(if $(CAS),--cas "$(CAS)") \
	  $(if $(JSON),--json "$(JSON)") $(if $(filter-out 0 no false,$(TIMETABLE)),--timetable) \
	  $(if $(filter-out 0 no false,$(SCIM)),--scim) $(if $(filter-out 0 no false,$(PARTAGE)),--partage) \
	  $(if $(filter-out 0 no false,$(PEGASE)),--pegase) $(if $(filter-out 0 no false,$(CANARY)),--canary) $(if $(TWIN),--twin "$(TWIN)") $(if $(filter-out 0 no false,$(AD)),--ad) $$keep

stop: ## End what `make demo` left running
	@if [ -x "$(BIN)/python" ]; then "$(BIN)/python" -m sandbox.demo stop; fi

test: python ## Everything: set-up, checks, and every test against real servers (CI=true: none may be skipped)
	@$(MAKE) machine || { [ "$${CI:-}" != true ] && echo "Going on without: what needs them is skipped." >&2; }
	@$(MAKE) -j2 --output-sync check collected
	@# In the order of their names: the files of tests/acceptance, few tests and the longest, come first. Four
	@# workers keep two processors busy; eight took twice as long. Each needs a GB.
	@scripts/stage tests "$(BIN)/python" -m pytest -n "$(or $(JOBS),4)" --dist loadfile --no-loadscope-reorder $(TESTS)

collected: python # every test is found; its module is compiled once, not by each worker
	@scripts/stage collected "$(BIN)/python" -m pytest --collect-only -p no:terminal -o addopts=--import-mode=importlib $(TESTS) \
	  || "$(BIN)/python" -m pytest --collect-only -qq $(TESTS)

bench: python ## Measure: ONLY="engine-full import" RUNS=3 JSON=FILE DOCS=1 (writes docs/reference/evidence.md) BESIDE=COMMIT
	@scripts/setup-bench
	@"$(BIN)/python" -m bench $(ONLY) --runs "$(RUNS)" $(if $(JSON),--json "$(JSON)") \
	  $(if $(filter-out 0 no false,$(DOCS)),--docs) $(if $(BESIDE),--beside "$(BESIDE)")

soak: python ## Simulated histories until told to stop: SECONDS=600 SEED=0 JSON=FILE DOCS=1; a failing seed is shrunk
	@if [ -n "$(YEARS)" ]; then \
	  "$(BIN)/python" -m tests.simulation.years --seed "$(or $(SEED),1)" --students "$(YEARS)" \
	    $(if $(filter-out 0 no false,$(DOCS)),--docs); \
	else \
	  "$(BIN)/python" -m tests.simulation.soak --seed "$(or $(SEED),0)" $(if $(SECONDS),--seconds "$(SECONDS)") \
	    $(if $(JSON),--json "$(JSON)") $(if $(filter-out 0 no false,$(DOCS)),--docs); \
	fi

faults: machine ## Kill every process of a site, and count: KILLS=200 STUDENTS=2000 SEED=1 PROCESSES=1 JSON=FILE DOCS=1
	@scripts/stage scenarios "$(BIN)/python" -m pytest -q tests/campaign/cluster_loses_brokers.py
	@"$(BIN)/python" -m tests.campaign --kills "$(KILLS)" --students "$(or $(STUDENTS),2000)" \
	  $(if $(SEED),--seed "$(SEED)") $(if $(PROCESSES),--processes "$(PROCESSES)") $(if $(JSON),--json "$(JSON)") \
	  $(if $(filter-out 0 no false,$(DOCS)),--docs)

check: python lint types layers schemas docs ## Static checks: style, types, import rules, schemas, documentation

lint: python ## Style: ruff's rules and its formatter
	@scripts/stage lint "$(BIN)/ruff" check --quiet --output-format concise .
	@scripts/stage format "$(BIN)/ruff" format --quiet --check .

types: python ## Types: mypy, strict
	@scripts/stage types "$(BIN)/mypy"

layers: python ## Import rules: what may import what
	@scripts/stage layers "$(BIN)/lint-imports" --no-logo --cache-dir .cache/import-linter

schemas: python ## Event schemas: current, examples valid and invalid, AsyncAPI parsed
	@scripts/stage schemas "$(BIN)/python" -m schemas.generate --check
	@scripts/stage asyncapi scripts/check-asyncapi

docs: python ## Documentation: generated pages current, links resolve, nothing names a local path
	@scripts/stage pages "$(BIN)/python" -m sesame.pages --check
	@scripts/stage text "$(BIN)/python" scripts/check_text.py

format: python ## Rewrite the code as the formatter wants it
	@"$(BIN)/ruff" check --fix --quiet . || true
	@"$(BIN)/ruff" format .

pages: python ## Write the generated schemas and reference pages
	@"$(BIN)/python" -m schemas.generate
	@"$(BIN)/python" -m sesame.pages
	@"$(BIN)/python" -m scripts.path describe

pictures: python # take the documents' pictures, of an incident too, and the path of one student; needs Chromium
	@scripts/setup-debian browser
	@"$(BIN)/python" scripts/pictures.py
	@"$(BIN)/python" -m scripts.incident
	@"$(BIN)/python" -m scripts.path run

site: python ## Build the documentation's site of this version in build/site, beside the others; links are checked
	@scripts/stage site scripts/site

wheels: python ## Fill the folder wheels, from which a server installs Sésame without a clone
	@scripts/stage wheels scripts/wheels wheels

release: python ## Build HEAD's release in dist/VERSION, signed by minisign's KEY=FILE: docs/how-to/release.md
	@scripts/setup-debian release
	@scripts/release "$(KEY)"

lock: ## Resolve requirements.lock anew
	@scripts/lock

mutation: python # mutation run; MUTANTS=directory for one group, MUTANTS="PATTERN" for some mutants, JOBS=3 at once
	@"$(BIN)/python" -m scripts.mutation --jobs "$(or $(JOBS),3)" $(MUTANTS)

clean: stop ## Remove the environment, caches and the demo's leftovers
	@rm -rf "$(VENV)" .cache .demo wheels dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis node_modules *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
