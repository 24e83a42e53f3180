# Words that every contributor and CI use. Needs Python 3.11+ and make only.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LAKE ?= out/anybooks/lake
INSTALLED := $(VENV)/.installed

.PHONY: help install lint test integration soak bench demo dashboard clean
.DEFAULT_GOAL := help

help: ## Show these words
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

install: $(INSTALLED) ## Make .venv with everything the other words need

$(INSTALLED): setup.py
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, this is %s; name one: make PYTHON=python3.11 ..." % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[test,examples,benchmarks,lake,dashboard]'
	touch $@

lint: install ## Formatting, lint rules, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: install ## Tests that need Python only (minutes)
	$(BIN)/python -m pytest -m 'not integration and not soak'
	@echo 'Left out: integration (make integration: a fresh venv, worker processes), soak (make soak: long runs).'

integration: install ## Tests that need more: worker processes, a fresh venv, the demo
	$(BIN)/python -m pytest -m integration

soak: install ## Long runs
	$(BIN)/python -m pytest -m soak

bench: install ## Throughput of the bounded job beside Beam's own anomaly detection
	$(BIN)/python -m benchmarks.pipeline

demo: install ## AnyBooks from sales to a report (minutes; out/anybooks/report.html)
	$(BIN)/python -m examples.anybooks.demo

dashboard: install ## A web page over a lake (LAKE=out/anybooks/lake)
	$(BIN)/python -m dashboard --lake $(LAKE)

clean: ## Remove what the other words made and compiled, but not .venv
	rm -rf out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find $(wildcard detectors transforms tests) -name '*.nb[ic]' -delete
