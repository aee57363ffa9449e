# The commands of the course. `make` alone lists them.
SHELL := /bin/bash
PYTHON ?= python3
PY := .venv/bin/python
UV = $(or $(shell command -v uv),.venv/bin/uv)
PORT ?=
ARGS ?=
JOBS ?= 2
APT := chromium fonts-dejavu-core bubblewrap
# Packages lying elsewhere on this machine must not leak into the course's own environment.
unexport PYTHONPATH PYTHONHOME
# Prints how long a stage took: `time` obeys TIMEFORMAT.
STAGE = echo "== $@"; TIMEFORMAT="== $@: %0lR"; time

.PHONY: help setup lab exercises language teach test setup-test lint unit lessons generated browser notebooks lock clean
.NOTPARALLEL:

help: ## List the commands
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

## ---- for learners

setup: ## Make or repair the environment .venv (make lab does it by itself)
	@$(PYTHON) .ci/setup.py lab

lab: setup ## Open JupyterLab on the first page (PORT=9000, ARGS=--no-browser)
	-@$(PY) -m course_lib.grading.handouts
	@$(PY) .ci/lab.py "$(PORT)" $(ARGS)

exercises: setup ## Make your own copies in my_exercises/, say what an update brings (ARGS=--update: take it in)
	@$(PY) -m course_lib.grading.handouts $(ARGS)

language: ## Fetch the weights that read free instructions (83 MB), if set-up could not
	@$(PYTHON) .ci/setup.py language

clean: ## Delete .venv; the next command makes a new one
	rm -rf .venv

## ---- for instructors and makers

teach: setup-test ## Like lab, with nbgrader's panels
	@JUPYTER_CONFIG_PATH=$(CURDIR)/.venv/etc/instructor $(PY) .ci/lab.py "$(PORT)" $(ARGS)

test: lint unit lessons generated browser ## Everything that CI runs (make -k test goes on after a failure)
	@echo "== all passed"

setup-test:
	@$(PYTHON) .ci/setup.py test
	@if ! { command -v chromium && command -v bwrap; } >/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then echo "set-up: apt-get install $(APT)"; \
	    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(APT); } >/dev/null \
	      || echo "set-up: apt-get failed, so the tests that need Chromium or bubblewrap are skipped"; \
	  else echo "set-up: the tests that need Chromium or bubblewrap are skipped. To run them: sudo apt-get install $(APT)"; fi; fi

# One torch thread per worker: two workers with two threads each only get in each other's way.
lint unit lessons generated browser: export OMP_NUM_THREADS := 1

lint: setup-test ## Style and format
	@$(STAGE) { $(PY) -m ruff check . && $(PY) -m ruff format --check .; }

unit: setup-test ## Unit tests
	@$(STAGE) $(PY) -m pytest -q -rs -n $(JOBS) -m "not browser" tests

# --nbval-lax compares the cells tagged nbval-check-output and runs all others; a dead kernel is noticed only by the time limit.
lessons: setup-test ## Run every notebook from top to bottom
	@$(STAGE) $(PY) -m pytest -q -n $(JOBS) --dist loadfile --nbval-lax --nbval-current-env --nbval-cell-timeout=180 notebooks

generated: setup-test ## Compare the generated notebooks with their sources
	@$(STAGE) $(PY) -m course_lib.grading.notebooks --check

browser: setup-test ## Drive the notebooks in a real browser
	@$(STAGE) $(PY) -m pytest -q -rs -m browser tests/browser

notebooks: setup-test ## Build the notebooks and exercises whose sources changed
	@$(PY) -m course_lib.grading.notebooks

LOCK = $(UV) pip compile -q pyproject.toml --universal --python-version 3.11 --no-emit-index-url --no-emit-find-links \
	--no-header --no-annotate
lock: ## Compile requirements*.txt from pyproject.toml (ARGS=--upgrade for newer versions)
	$(LOCK) $(ARGS) -o requirements.txt
	$(LOCK) $(ARGS) --extra test --extra grading -c requirements.txt -o requirements-test.txt
