# Every command of the project. `make help` prints them from the comments behind the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Ports are shifted by OFFSET, so that a second mesh can run beside the first: make run OFFSET=10000
OFFSET ?= 0
PYTHON := .venv/bin/python
MESH = $(PYTHON) -m crewmesh_tools.mesh
PLACE = --port-offset $(OFFSET)

.PHONY: help setup run compose stop status logs check test bench gen observe demo images backup restore sbom audit licences installed

help: ## Print this list.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install everything the other commands need; quick when nothing has changed.
	@python3 tools/setup.py

run: setup ## Start the whole mesh on this machine and say where it is.
	@$(MESH) up $(PLACE)

compose: setup ## Start the mesh on one Docker host instead, with Kong; .env.example says what can be added.
	@$(PYTHON) -m crewmesh_tools.compose

stop: installed ## Stop the mesh; its data stays.
	@$(MESH) stop $(PLACE)

status: installed ## Show every process of the mesh and what it uses.
	@$(MESH) status $(PLACE)

logs: installed ## Show and follow the logs of all processes together.
	@$(MESH) logs $(PLACE)

demo: installed ## Show the main job: an event becomes a durable run whose answer arrives at a webhook.
	@$(PYTHON) -m crewmesh_tools.demo

check: setup ## Check formatting, lint, types, import borders and that generated files are up to date.
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/basedpyright
	@.venv/bin/lint-imports
	@$(PYTHON) -m crewmesh_tools.reference --check

test: check ## Check everything, then run every test, with real processes.
	@.venv/bin/pytest -n 2 --no-loadscope-reorder

bench: setup ## Measure the mesh, each figure beside a baseline of the same run.
	@$(PYTHON) -m tests.load

gen: setup ## Write the generated files anew: schemas, API document, reference pages.
	@$(PYTHON) -m crewmesh_tools.reference
	@$(PYTHON) -m crewmesh_tools.dashboards

observe: ## Watch the mesh of make run with the Prometheus that is installed here.
	@command -v prometheus >/dev/null || { echo "There is no prometheus in PATH. Get it from https://prometheus.io/download, or use the profile observability of make compose." >&2; exit 1; }
	@mkdir -p .crewmesh/prometheus
	@prometheus --config.file=observability/prometheus/local.yml --storage.tsdb.path=.crewmesh/prometheus --web.listen-address=127.0.0.1:9090

images: installed ## Build every image with Docker or Podman: make images ARGS="--prefix registry.example/crewmesh --push"
	@$(PYTHON) -m crewmesh_tools.images $(ARGS)

backup: installed ## Back up the mesh that runs, into backups or TO=folder; asks for a passphrase.
	@$(PYTHON) -m crewmesh_tools.backup create $(PLACE) $(if $(TO),--to "$(TO)")

restore: installed ## Put a backup back: make restore FROM=backups/….tar, and REPLACE=yes where there is data.
	@$(PYTHON) -m crewmesh_tools.backup restore $(PLACE) "$(FROM)" $(if $(filter yes,$(REPLACE)),--replace)

sbom: installed ## Write what Crewmesh is made of, as CycloneDX, into dist/sbom.
	@$(PYTHON) -m crewmesh_tools.supply_chain sbom

audit: installed ## Ask for known weaknesses of what the lock files name; needs the network.
	@$(PYTHON) -m crewmesh_tools.supply_chain audit

licences: installed ## Show the licences of what we use, and fail for one that is not allowed.
	@$(PYTHON) -m crewmesh_tools.supply_chain licences

installed:
	@test -x $(PYTHON) || { echo "Nothing is set up yet. Do it first: make setup" >&2; exit 1; }
