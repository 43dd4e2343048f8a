# `make` alone prints this help.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# Modules are compiled once: an operator that compiles them at each start, as tests start it hundreds of times, takes twice as long.
unexport PYTHONDONTWRITEBYTECODE
PYTEST := $(PY) -m pytest
GENERATED := crds charts operator/dedicated/api/schema_hash.py docs tests/golden hack/schemas

.PHONY: help
help: ## Print this help.
	@awk 'BEGIN {FS = ":.*## "} /^## / {printf "\n%s\n", substr($$0, 4)} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

## For a first look

.PHONY: demo
demo: install ## Start a cluster, serve a real model, ask it; then show endpoints that fail and why.
	@$(PY) -m hack.demo

.PHONY: clean-demo
clean-demo: install ## Remove what the demo made; the cluster stays.
	@$(PY) -m hack.demo --clean

.PHONY: test
test: unit test-gateway test-store test-apiserver test-cluster ## Run all tests.

## The inner loop

.PHONY: install
install: $(STAMP) ## Make .venv with dedicated and everything to develop it.

$(STAMP): requirements-dev.lock pyproject.toml hack/bootstrap
	@PYTHON=$(PYTHON) hack/bootstrap $(VENV)
	@touch $@

.PHONY: unit
unit: install ## Unit tests: no cluster, under a minute.
	@$(PY) -m hack.cluster tool helm > /dev/null
	$(PYTEST) tests/unit -q -n auto --dist worksteal

.PHONY: lint
lint: install ## Everything that only reads: format, types, layers, shell, charts.
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy hack tests/support
	$(VENV)/bin/lint-imports
	$(VENV)/bin/shellcheck .ci/run hack/bootstrap
	@test ! -e operator/__init__.py || { echo "operator/__init__.py shadows the standard library: remove it"; exit 1; }
	@$(PY) -m hack.lint_charts

.PHONY: format
format: install ## Format the code.
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

.PHONY: generate
generate: install ## Write what is generated: CRDs, golden manifests, reference pages.
	@$(PY) -m hack.gen_crds
	@$(PY) -m hack.gen_schemas
	@$(PY) -m hack.gen_golden
	@$(PY) -m hack.gen_docs

.PHONY: verify
verify: generate lint unit ## Everything that needs no cluster; ends with a clean tree.
	@git diff --exit-code -- $(GENERATED) || { echo "generated files changed: commit them"; exit 1; }
	@test -z "$$(git status --porcelain -- $(GENERATED))" || { git status --short -- $(GENERATED); echo "generated files are not committed"; exit 1; }

.PHONY: engine-flags
engine-flags: install ## Read the engines' flags out of their published packages (375 MB), after a new version in hack/tools.env.
	@$(PY) -m hack.gen_engine_flags
	@$(VENV)/bin/ruff format -q operator/dedicated/render/engine_flags.py

.PHONY: lock
lock: install ## Resolve the dependencies anew into the lock files.
	$(VENV)/bin/pip-compile -q --generate-hashes --no-emit-index-url --no-emit-find-links --strip-extras -o requirements.lock pyproject.toml
	$(VENV)/bin/pip-compile -q --generate-hashes --no-emit-index-url --no-emit-find-links --allow-unsafe --strip-extras --extra dev -c requirements.lock -o requirements-dev.lock pyproject.toml

## With a real API server or a real cluster

.PHONY: test-gateway
test-gateway: install ## Tests over the real Envoy and the real decision service, on loopback.
	$(PYTEST) tests/gateway -q

.PHONY: test-store
test-store: install ## Tests of the weights' cache on real S3 servers, on loopback.
	$(PYTEST) tests/s3 -q -n 2 --dist loadfile

.PHONY: test-apiserver
test-apiserver: install ## Tests on a real API server and etcd, without a kubelet.
	@$(PY) -m hack.cluster tool etcd kube-apiserver kube-controller-manager kubectl > /dev/null
	$(PYTEST) tests/apiserver -q -n 2 --dist loadfile

.PHONY: test-cluster
test-cluster: install ## Tests on a real cluster, started when none runs; ended at the end.
	@$(PY) -m hack.cluster up
	@$(PY) -m hack.images build > /dev/null
	$(PYTEST) tests/cluster -q

.PHONY: race
race: install ## Ten minutes of calls at random moments around the decision to sleep, on the cluster.
	@$(PY) -m hack.cluster up
	DEDICATED_RACE_SECONDS=600 $(PYTEST) tests/cluster/test_sleep_races.py -q -s

.PHONY: cluster
cluster: install ## Start a cluster on this machine, or reuse it (KUBE_CONTEXT and IMAGE_REPOSITORY: use yours).
	@$(PY) -m hack.cluster up

.PHONY: down
down: install ## End the cluster and leave nothing of it.
	@$(PY) -m hack.cluster down

.PHONY: kubeconfig
kubeconfig: install ## Print the path of the cluster's kubeconfig.
	@$(PY) -m hack.cluster kubeconfig

.PHONY: gateway-url
gateway-url: install ## Print the gateway's address as this machine reaches it.
	@$(PY) -m hack.gateway_url

.PHONY: image
image: install ## Build the images.
	@$(PY) -m hack.images build
