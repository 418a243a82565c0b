# Pelagia. `make help` lists what there is; `make demo` runs all of it once.
# Variables are given on the command line:  make train CONFIG=configs/training/baseline.yaml DATASET=datasets/crops

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format docs studio studio-stop doctor push pull train retrain sweep slurm evaluate export classify clean

PYTHON  ?= python3
VENV    := .venv
STUDIO  := .venv-studio
BIN     := $(VENV)/bin
PELAGIA := $(BIN)/pelagia
UV      := $(shell command -v uv || echo .tools/bin/uv)

empty :=
space := $(empty) $(empty)

CONFIG   ?= configs/training/baseline.yaml
TAXONOMY ?= configs/taxonomy/sample.yaml
DATASET  ?= datasets/$(subst $(space),_,$(PROJECT))
PROJECT  ?= pelagia
RUN      ?= runs/$(basename $(notdir $(CONFIG)))
MODEL    ?= $(RUN).onnx
SWEEP    ?= $(RUN)-sweep
RETRAINED ?= $(basename $(CHAMPION))-retrained
TRIALS   ?= 20
SPLIT    ?= test
SET      ?=
DEVICES  ?=
NODES    ?= 1

##@ Start here
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup ## The whole loop on a small synthetic survey: label, train, export, classify (about 6 minutes)
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash scripts/demo.sh

test: setup $(VENV)/.browser ## Run every test, with a real Label Studio and a real browser
	@$(BIN)/python -m pytest --numprocesses 2 $(ARGS)

setup: $(VENV)/.ready $(STUDIO)/.ready ## Make .venv and .venv-studio (the other commands do it by themselves)
	@if [ "$(MAKECMDGOALS)" = setup ]; then echo "ready; now: source $(BIN)/activate, then pelagia --help"; fi

##@ Biologists
studio: setup ## Start Label Studio in the background
	@$(PELAGIA) studio start

studio-stop: setup ## Stop it; the labels stay
	@$(PELAGIA) studio stop

doctor: setup ## Find what is wrong with it
	@$(PELAGIA) studio doctor

push: setup ## Bring images in: SRC=folder PROJECT=name TAXONOMY=file [PREDICTIONS=survey]
	@$(PELAGIA) label push "$(call need,SRC)" --project "$(PROJECT)" --taxonomy "$(TAXONOMY)" $(if $(PREDICTIONS),--predictions "$(PREDICTIONS)")

pull: setup ## Make a dataset of the labels: PROJECT=name DATASET=folder
	@$(PELAGIA) label pull --project "$(PROJECT)" --out "$(DATASET)"

##@ ML engineers
train: setup ## Train, or resume a run: DATASET=folder CONFIG=file SET="train.epochs=5 train.lr=3e-4" RUN=folder DEVICES=number
	@$(call pairs,set,SET); $(PELAGIA) train "$(CONFIG)" --set "dataset=$(DATASET)" "$${set[@]}" $(if $(DEVICES),--set devices=$(DEVICES)) --out "$(RUN)"

retrain: setup ## Train on a new version of a dataset, keep the model only if it is better, or resume: CHAMPION=file DATASET=folder RETRAINED=folder [CONFIG=file] [SET=...]
	@$(call pairs,set,SET); $(PELAGIA) retrain --champion "$(call need,CHAMPION)" --dataset "$(DATASET)" "$${set[@]}" $(if $(filter command% environment%,$(origin CONFIG)),--config "$(CONFIG)") --out "$(RETRAINED)"

sweep: setup ## Search keys, or resume a sweep: SEARCH="train.lr=log:1e-4..3e-3 augment.strength=0..2" TRIALS=20 DATASET=folder CONFIG=file SET=... SWEEP=folder
	@$(call pairs,set,SET); $(if $(call need,SEARCH),$(call pairs,search,SEARCH)); $(PELAGIA) sweep "$(CONFIG)" --set "dataset=$(DATASET)" "$${set[@]}" "$${search[@]}" --trials $(TRIALS) --out "$(SWEEP)"

slurm: setup ## The same as a job of a Slurm cluster, DEVICES GPUs on each of NODES machines
	@$(call pairs,set,SET); sbatch --nodes=$(NODES) --ntasks-per-node=$(or $(DEVICES),1) --gpus-per-node=$(or $(DEVICES),1) configs/slurm/$(if $(filter 1,$(NODES)),one_node,several_nodes).sh \
		"$(CONFIG)" --set "dataset=$(DATASET)" "$${set[@]}" --out "$(RUN)"

export: setup ## One .onnx file of a run, through the parity gate: RUN=folder MODEL=file
	@$(PELAGIA) export "$(RUN)" --out "$(MODEL)"

evaluate: setup ## Metrics on a split, and a report: MODEL=file DATASET=folder SPLIT=test
	@$(PELAGIA) evaluate "$(MODEL)" "$(DATASET)" --split $(SPLIT) $(if $(wildcard $(RUN)/metrics.csv),--run "$(RUN)") --out "$(RUN)-$(SPLIT)"

##@ Field teams
classify: setup ## Classify images: MODEL=file INPUT="folder ..." SURVEY=folder
	@$(PELAGIA) classify "$(MODEL)" $(call need,INPUT) --out "$(call need,SURVEY)"

##@ Developers
lint: setup ## ruff, mypy --strict, import-linter, and the checks of .github and CITATION.cff
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports
	@$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	@$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	@$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	@$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml
	@$(BIN)/zizmor --offline --quiet .github .pre-commit-config.yaml

format: setup ## Let ruff format and fix what it can
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

docs: setup ## Build the documentation site in site/, and refuse broken links
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict && echo "open site/index.html"

clean: ## Remove environments and caches; data, runs and labels stay
	rm -rf $(VENV) $(STUDIO) .tools .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# Makes the bash array $(1) of --$(1)=KEY=VALUE from the variable $(2). A word without KEY= belongs to the value before it, so
# values may hold spaces: SET="model.mean=[0.5, 0.5, 0.5] seed=1".
export SET SEARCH
pairs = set -f; $(1)=(); for word in $$$(2); do if [[ $$word =~ ^[A-Za-z_][A-Za-z0-9_.]*= ]]; then $(1)+=("--$(1)=$$word"); else $(1)[$${\#$(1)[@]}-1]+=" $$word"; fi; done; set +f

need = $(if $($(1)),$($(1)),$(error say which: make $@ $(1)=...))

.PHONY: python
python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "error: Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }

.tools/bin/uv: | python
	@$(PYTHON) -m venv .tools || { echo "error: Python has no venv module: install it (Debian: apt install python3-venv)"; exit 1; }
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check uv

# The recipe writes .ready last, so an interrupted setup is done again.
$(VENV)/.ready: pyproject.toml constraints.txt | python $(UV)
	@echo "making $(VENV) (5 GB with torch; half a minute on a fast line)"
	@$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	@$(UV) pip install --quiet --python $(VENV) --constraint constraints.txt --group dev --group docs --editable '.[inference,training,labeling,parquet,excel,hdf5,report,sweep,mlflow,wandb]'
	@touch $@

$(STUDIO)/.ready: constraints-studio.txt | python $(UV)
	@echo "making $(STUDIO) (Label Studio, 0.8 GB)"
	@$(UV) venv --quiet --allow-existing --python $(PYTHON) $(STUDIO)
	@$(UV) pip install --quiet --python $(STUDIO) --constraint constraints-studio.txt label-studio
	@touch $@

# One test needs Chromium. Where none is installed, Playwright fetches its own; without it that test says so and is skipped.
$(VENV)/.browser: | $(VENV)/.ready
	@command -v chromium chromium-browser google-chrome >/dev/null || $(BIN)/python -m playwright install chromium || true
	@touch $@
