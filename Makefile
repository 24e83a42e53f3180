# Words that every contributor and CI use. Needs Python 3.11+ and make only.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LAKE ?= out/anybooks/lake
CLUSTER ?=
INSTALLED := $(VENV)/.installed

.PHONY: help install lint test integration drills soak bench demo anybooks spike anybooks-stop cluster \
	cluster-stop dashboard clean
.DEFAULT_GOAL := help

help: ## Show these words
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

install: $(INSTALLED) ## Make .venv with everything the other words need

$(INSTALLED): setup.py
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, this is %s; name one: make PYTHON=python3.11 ..." % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[test,examples,benchmarks,cluster,lake,dashboard,ingest]'
	touch $@

lint: install ## Formatting, lint rules, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: install ## Tests that need Python only (minutes)
	$(BIN)/python -m pytest -m 'not integration and not drills and not soak'
	@echo 'Left out: integration (make integration: a fresh venv, worker processes), drills (make drills: failures of a live job), soak (make soak: long runs).'

integration: install ## Tests that need more: worker processes, a fresh venv, the demo
	$(BIN)/python -m pytest -m integration

drills: install ## Failures of a live job on a real cluster (half an hour)
	$(BIN)/python -m pytest -m drills

soak: install ## Long runs
	$(BIN)/python -m pytest -m soak

bench: install ## Throughput of the bounded job beside Beam's own anomaly detection
	$(BIN)/python -m benchmarks.pipeline

demo: install ## AnyBooks from sales to a report (minutes; out/anybooks/report.html)
	$(BIN)/python -m examples.anybooks.demo

anybooks: install ## AnyBooks live, from its database to a page and mails (as cluster, and PostgreSQL)
	$(BIN)/python -m examples.anybooks.live start

spike: install ## A spike in the sales of AnyBooks live, and the mail that comes of it (minutes)
	$(BIN)/python -m examples.anybooks.live spike

anybooks-stop: install ## Stop exactly these
	$(BIN)/python -m examples.anybooks.live stop

cluster: install ## Start Kafka, an AWS stand-in and Flink on loopback (Java 17, Maven)
	$(BIN)/python -m runners.cluster start $(CLUSTER)

cluster-stop: install ## Stop exactly these
	$(BIN)/python -m runners.cluster stop

dashboard: install ## A web page over a lake (LAKE=out/anybooks/lake)
	$(BIN)/python -m dashboard --lake $(LAKE)

clean: ## Remove what the other words made and compiled, but not .venv
	rm -rf out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find $(wildcard detectors transforms tests) -name '*.nb[ic]' -delete
