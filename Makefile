# Two commands do everything on a fresh machine: `make demo` and `make test`. `make help` lists the rest.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
HOME_DIR := $(or $(BERT_FOUNDRY_HOME),.foundry)
DAY    ?= 1
SITE_PORT ?= 8400
ARGS   ?=
# Most of the default tests wait for servers or have one thread: 15 to 18 min on two cores.
IN_PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help install data corpora bench-env demo day2 ablate up status down test test-slow test-gpu lint format bench bench-corpus bench-core lock clean

help:  ## show this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | column -t -s '|'

install: $(READY)  ## create the environment with every dependency pinned

# Old pips build source packages (seqeval) the old way, which fetches what it needs to build past pip: --use-pep517.
$(READY): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 -c constraints.txt -e '.[test]'
	@touch $@

data: $(READY)  ## fetch the pinned data, checked by hash (some 500 MB, of which 200 MB stay)
	$(BIN)/python -m infra.data
	$(BIN)/python -m infra.labelled_data --all

corpora: $(READY)  ## fetch four real sites out of Debian packages, to crawl (infra/corpora.py serves them)
	$(BIN)/python -m infra.corpora

bench-env: $(READY)  ## install the peers that benchmarks compare with
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 -c constraints.txt -e '.[test,bench]'
	$(PYTHON) -m venv $(HOME_DIR)/bench-env
	$(HOME_DIR)/bench-env/bin/python -m pip install --quiet --disable-pip-version-check --use-pep517 --no-deps -r benchmarks/requirements.txt

demo: data  ## the main job: crawl, train, evaluate, gate, promote (DAY=2 for the next night, ABLATE=1 for ablations)
	$(BIN)/python -m flows.demo --day $(DAY) --port $(SITE_PORT) $(if $(filter 1,$(ABLATE)),--ablate) $(ARGS)

day2:  ## the next night of the demonstration
	@$(MAKE) demo DAY=2

up: $(READY)  ## start Prefect, MLflow and Ray on loopback
	$(BIN)/bert-foundry up

status: $(READY)  ## how they are
	$(BIN)/bert-foundry status

down: $(READY)  ## stop them
	$(BIN)/bert-foundry down

test: data lint  ## lint, type-check and run the default tests (minutes)
	$(BIN)/python -m pytest -m "not slow and not chaos and not gpu" $(IN_PARALLEL) $(ARGS)

test-slow: data  ## the tests marked slow and chaos (tens of minutes)
	$(BIN)/python -m pytest -m "slow or chaos" $(ARGS)

test-gpu: data  ## the tests that need an accelerator
	$(BIN)/python -m pytest -m gpu $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: data bench-env  ## every measured claim about fine-tuning (some ten hours: run it on a quiet machine)
	$(BIN)/python benchmarks/finetuning/run.py
	$(BIN)/python benchmarks/finetuning/methods.py
	$(BIN)/python benchmarks/finetuning/search.py

bench-corpus: bench-env corpora  ## every measured claim about corpora (an hour)
	$(BIN)/python benchmarks/extraction.py
	$(BIN)/python benchmarks/near_duplicates.py
	$(BIN)/python benchmarks/encoding.py
	$(BIN)/python benchmarks/corpus_memory.py
	$(BIN)/python benchmarks/split_memory.py
	$(BIN)/python benchmarks/corpus_datatrove.py

bench-core: data bench-env  ## every measured claim about pretraining (some eight hours: run it on a quiet machine)
	$(BIN)/python benchmarks/throughput.py --grouped
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/loader.py --index-tokens 1000000000
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/ray_overhead.py
	$(BIN)/python benchmarks/speedrun/run.py chinese
	$(BIN)/python benchmarks/speedrun/run.py prose
	$(BIN)/python benchmarks/gpu.py $(if $(shell command -v nvidia-smi),,--tiny)

lock:  ## resolve the dependencies anew and write constraints.txt
	rm -rf .lock-venv && $(PYTHON) -m venv .lock-venv
	.lock-venv/bin/python -m pip install --quiet --disable-pip-version-check --use-pep517 -e '.[test,bench]'
	{ echo "# Every dependency, pinned. Written by \`make lock\`; do not edit."; \
	  .lock-venv/bin/python -m pip freeze --exclude-editable | sed -E 's/\+cpu$$//'; } > constraints.txt
	rm -rf .lock-venv

clean: down  ## stop the stack, then remove state and environment
	rm -rf $(HOME_DIR) $(VENV)
