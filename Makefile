# `make demo` and `make test` need nothing but Python 3.11 or 3.12, git, make and root on Debian.
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check -q
DEMO := .cache/demo-reference
SHELL := /bin/bash
# Else each of the thousands of processes that the tests start compiles the product anew.
unexport PYTHONDONTWRITEBYTECODE
# More processes than two cores, for many tests wait; what belongs together (tests/support/tiers.py) stays in one of them,
# the dearest begun first.
PROCESSES := 3
PYTEST = $(VENV)/bin/pytest -p no:cacheprovider -n $(PROCESSES) --dist loadscope --no-loadscope-reorder --durations=20
LOCK = uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate $(UPGRADE)
AUDIT := .cache/audit
DOCS := .cache/docs
AUDITED := test.txt engine-f5.txt engine-cosyvoice2.txt engine-hibari.txt engine-chatterbox.txt engine-qwen3tts.txt

.PHONY: help setup setup-test demo test test-quick check bench bench-idle bench-listening bench-lines bench-gpu bench-gpu-job bare chaos \
	arm64 test-chain test-engines test-cosyvoice2 lock outdated docs clean

help: ## say what there is
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 17

setup: $(VENV)/.controller $(DEMO)/demo.rights.yml ## the venv, what the controller needs, the demo's synthetic reference

setup-test: setup $(VENV)/.test ## what the tests need besides
	tests/setup.sh

$(VENV)/.controller: requirements/controller.txt pyproject.toml
	tests/packages.sh python3-venv python3-apt python3-packaging flite ca-certificates
	test -x $(PY) || python3 -m venv $(VENV)
	$(PIP) install --require-hashes -r requirements/controller.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.test: requirements/test.txt $(VENV)/.controller
	$(PIP) install --require-hashes -r requirements/test.txt
	touch $@

$(DEMO)/demo.rights.yml: $(VENV)/.controller bench/inputs/demo_reference.py
	$(PY) -c "from pathlib import Path; from bench.inputs.demo_reference import make; make(Path('$(DEMO)'))"
	touch $@

demo: setup ## the whole job on this machine, with the default inventory
	$(VENV)/bin/ansible-playbook site.yml

check: $(VENV)/.test ## formatting, lint, types
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" ansible-lint --offline

test-quick: $(VENV)/.test $(DEMO)/demo.rights.yml ## the tests that need nothing more: no root, network, Docker or browser
	$(PYTEST) -m quick

test: PROCESSES := 4
test: setup-test check ## every test but those of `make test-chain` and `make test-engines`
	$(PYTEST) -m "not chain and not engines"

test-chain: setup-test ## the chain's ways that measure a tiny CosyVoice 2, and four candidates in one sitting: 25 minutes
	$(PYTEST) -m chain

bench: setup-test ## the figures of the measuring instrument, as one table and as JSON
	$(PY) -m benchmarks --json .cache/bench.json

bench-idle: setup ## what site.yml costs when nothing is to do, against an empty play
	$(PY) -m benchmarks.idle --json .cache/bench-idle.json -e runs_dir="$(CURDIR)/.cache/bench-idle"

bench-listening: setup-test ## 1,000 raters, 200 kills, and what cues are left: figures of the listening test
	$(PY) -m benchmarks.listening --json .cache/bench-listening.json

bench-lines: setup-test ## how long a rater waits at 0.4 and 1.6 Mbit/s, in Chromium held back
	$(PY) -m benchmarks.slow_lines --json .cache/bench-lines.json

bench-gpu: ## F5-TTS on this machine's GPU, full-size random weights (docs/RESEARCH-F5-TTS.md)
	python3 -m tests.gpu.bench_f5 --out .cache/bench-gpu

bench-gpu-job: ## the same model as a host's job measures it, by profile, alone and beside a busy GPU
	python3 -m tests.gpu.job_f5 --out .cache/bench-gpu-job

bare: setup-test ## `make demo`, twice, in a fresh clone inside a bare debootstrap container
	$(PY) -m tests.hosts.bare

arm64: setup-test ## the locks, each engine with a tiny model, the demo and the watcher on emulated aarch64: hours, 25 GB
	$(PY) -m tests.hosts.arm64 --out .cache/arm64 $(if $(MIRROR),--mirror $(MIRROR)) $(WHAT)

chaos: setup-test ## every fault of the neighbour suite
	$(PY) -m tests.chaos

test-engines: setup-test ## F5-TTS, CosyVoice 2, Chatterbox and Qwen3-TTS on upstream's packages, tiny weights: 30 minutes, 8 GB
	$(PYTEST) -m engines

test-cosyvoice2: setup-test ## CosyVoice 2's tests on the exact commits, from a folder MIRROR=... of repositories
	AUDITION_COSYVOICE_MIRROR="$(MIRROR)" $(PY) -m pytest tests/serving/test_cosyvoice2.py

lock: ## make the pins again (needs uv); UPGRADE=--upgrade takes the newest that fit
	$(LOCK) pyproject.toml -o requirements/host.txt
	$(LOCK) --extra whisper pyproject.toml -o requirements/host-whisper.txt
	$(LOCK) --extra controller pyproject.toml -o requirements/controller.txt
	$(LOCK) --extra controller --extra whisper --extra test pyproject.toml -o requirements/test.txt
	$(LOCK) requirements/engine-f5.in -o requirements/engine-f5.txt
	$(LOCK) requirements/engine-cosyvoice2.in -o requirements/engine-cosyvoice2.txt
	$(LOCK) requirements/engine-hibari.in -o requirements/engine-hibari.txt
	$(LOCK) requirements/engine-chatterbox.in --override requirements/engine-chatterbox.overrides \
	    --excludes requirements/engine-chatterbox.excludes -o requirements/engine-chatterbox.txt
	$(LOCK) requirements/engine-qwen3tts.in --excludes requirements/engine-qwen3tts.excludes -o requirements/engine-qwen3tts.txt
	$(LOCK) requirements/audit.in -o requirements/audit.txt
	$(LOCK) requirements/docs.in -o requirements/docs.txt

$(AUDIT)/.installed: requirements/audit.txt $(VENV)/.controller
	$(PY) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip --disable-pip-version-check -q install --require-hashes -r $<
	touch $@

# test.txt has all that host.txt and controller.txt have.
outdated: $(VENV)/.test $(AUDIT)/.installed ## newer releases of what is pinned, and known vulnerabilities (asks the index)
	$(PY) -m pip --disable-pip-version-check list --outdated
	ended=0; for lock in $(AUDITED); do \
	    $(AUDIT)/bin/pip-audit --strict --progress-spinner off --disable-pip --require-hashes -r requirements/$$lock \
	        || ended=1; \
	done; exit $$ended

docs: ## the guides and the reference as a site, in .cache/site (asks the index once)
	test -e $(DOCS)/.installed || { python3 -m venv $(DOCS) && \
	    $(DOCS)/bin/python -m pip --disable-pip-version-check -q install --require-hashes -r requirements/docs.txt && \
	    touch $(DOCS)/.installed; }
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict

clean: ## remove what make made, runs/ excepted
	rm -rf $(VENV) .cache dist build *.egg-info
