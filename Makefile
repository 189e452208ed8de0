# Two commands set everything up: `make serve` and `make test`. `make help` lists the rest.
.DEFAULT_GOAL := help
.SUFFIXES:
.PHONY: help serve demo test check quality durability bench golden docs lock clean

PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv
CLIENTS := $(patsubst requirements/clients/%.txt,%,$(wildcard requirements/clients/*.txt))

help: ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

serve: .venv/runtime ## the server with its page of API docs on http://127.0.0.1:8000
	$(BIN)/mattebox models pull auto
	$(BIN)/mattebox serve

demo: .venv/runtime ## cut the sample photo out and say where the result is
	$(BIN)/mattebox models pull auto
	$(BIN)/python -m mattebox.samples demo
	$(BIN)/mattebox remove demo/photo.png -o demo/cutout.png --overwrite
	@echo "photo:  $(CURDIR)/demo/photo.png"
	@echo "cutout: $(CURDIR)/demo/cutout.png"

test: check $(addprefix .clients/,$(addsuffix /.done,$(CLIENTS))) ## everything: lint, types, architecture, tests
	$(BIN)/mattebox models pull auto modnet-photographic
	$(BIN)/pytest

check: .venv/dev ## lint, types, architecture
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

quality: .venv/dev ## the quality table; MATTEBOX_EVAL names the folder of pictures with true mattes
	$(BIN)/mattebox models pull auto
	$(BIN)/pytest tests/quality -m quality -s

durability: .venv/dev ## servers killed in the middle of two hundred tasks, on SQLite and on PostgreSQL with S3
	$(BIN)/mattebox models pull u2netp
	$(BIN)/pytest tests/durability -m durability -s

bench: .venv/dev .bench/rembg/.done ## what it costs, see bench/README.md
	$(BIN)/mattebox models pull auto
	$(BIN)/python bench/run.py

golden: .venv/dev ## draw the golden pictures anew, to be looked at before they are committed
	$(BIN)/pytest tests/golden --regenerate

docs: .venv/dev ## the generated pages
	$(BIN)/python -m mattebox.settings > docs/settings.md
	$(BIN)/python docs/images/make.py

lock: $(UV) ## resolve the requirements anew
	$(UV) pip compile $(LOCK) --upgrade pyproject.toml --group dev -o requirements/dev.txt
	$(UV) pip compile $(LOCK) pyproject.toml -c requirements/dev.txt -o requirements/runtime.txt
	echo "uv hatchling editables" | tr " " "\n" | $(UV) pip compile $(LOCK) --upgrade - -o requirements/tools.txt
	for client in $(CLIENTS); do \
	  echo $$client | sed 's/-\([0-9.]*\)$$/==\1/' | $(UV) pip compile $(LOCK) - -o requirements/clients/$$client.txt || exit 1; \
	done
	echo 'rembg[cpu]==2.0.86' | $(UV) pip compile $(LOCK) - -o requirements/peers/rembg.txt
LOCK := --quiet --generate-hashes --universal --python-version 3.11 --no-annotate --custom-compile-command "make lock"

clean: ## remove what make made here; the downloaded models stay
	rm -rf .venv .clients .bench demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The environment. Every package comes with a checksum from requirements/.
$(UV): requirements/tools.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements/tools.txt
	@touch $@

.venv/runtime: $(UV) requirements/runtime.txt pyproject.toml
	test -e .venv/dev || $(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/runtime.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev: $(UV) requirements/dev.txt pyproject.toml
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@ .venv/runtime

# The peer that mattebox is measured against.
.bench/rembg/.done: requirements/peers/rembg.txt $(UV)
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes --target .bench/rembg -r $<
	@touch $@

# Vendors' own clients, each alone in a folder: they could not live together in one environment.
.clients/%/.done: requirements/clients/%.txt $(UV)
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes --target .clients/$* -r $<
	@touch $@
