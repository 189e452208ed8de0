# Two commands set everything up: `make serve` and `make test`. `make help` lists the rest.
.DEFAULT_GOAL := help
.SUFFIXES:
.PHONY: help screenshot serve demo test chromium wheel check audit sbom coverage quality durability diffusion ray fuzz bench gallery golden docs lock clean

PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv
# Trust what the system trusts: a company's own authority too, where its proxy looks into https.
export UV_SYSTEM_CERTS := 1
# What `make test` runs, in as many processes as there are cores: a file's tests stay together.
ALL := not quality and not durability and not diffusion and not ray
PARALLEL ?= -n auto --dist loadfile
CLIENTS := $(patsubst requirements/clients/%.txt,%,$(wildcard requirements/clients/*.txt))
PEERS := $(patsubst requirements/peers/%.txt,%,$(wildcard requirements/peers/*.txt))
NODE_CLIENTS := $(patsubst requirements/clients/%/package.json,%,$(wildcard requirements/clients/npm/*/package.json))

help: ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

serve: .venv/runtime ## the server with its studio on http://127.0.0.1:8000
	$(BIN)/mattebox models pull auto
	$(BIN)/mattebox scenes pull
	$(BIN)/mattebox studio pull
	$(BIN)/mattebox serve

demo: .venv/runtime ## cut the sample photo out and say where the result is
	$(BIN)/mattebox models pull auto
	$(BIN)/python -m mattebox.samples demo
	$(BIN)/mattebox remove demo/photo.jpg -o demo/cutout.png --overwrite
	@echo "photo:  $(CURDIR)/demo/photo.jpg"
	@echo "cutout: $(CURDIR)/demo/cutout.png"

test: check .core/.done $(addprefix .clients/,$(addsuffix /.done,$(CLIENTS) $(NODE_CLIENTS))) chromium .debian/nginx .debian/prometheus ## everything: lint, types, architecture, tests
	$(BIN)/mattebox models pull auto u2net u2netp modnet-photographic clicks
	$(BIN)/mattebox scenes pull
	$(BIN)/mattebox studio pull
	$(BIN)/pytest -m "$(ALL)" $(PARALLEL)

# The browser of the studio's tests and the font of its golden pictures: the system's own, installed where possible.
chromium:
	@{ command -v chromium chromium-browser google-chrome && test -f $(DEJAVU); } >/dev/null \
	  || { command -v apt-get >/dev/null && $(AS_ROOT) sh -c 'apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core'; } \
	  || echo "Chromium or the font DejaVu Sans is missing and could not be installed: the tests of the studio will fail."
# Debian's programs for tests, unpacked and not installed, because an installation would start them as services.
.debian/%:
	@{ mkdir -p $@.new && cd $@.new \
	  && { apt-get download -qq $* 2>/dev/null || { $(AS_ROOT) apt-get update -qq && apt-get download -qq $*; }; } \
	  && dpkg-deb -x $*_*.deb . && rm $*_*.deb && mv "$$PWD" ../$*; } \
	  || echo "$* is missing and could not be fetched: its tests will fail."
DEJAVU := /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo -n)

wheel: .venv/dev ## the package as one file in dist, with the studio's libraries in it
	$(BIN)/mattebox studio pull --into src/mattebox/studio/vendor
	$(UV) build --quiet --wheel --no-build-isolation --python $(BIN)/python --out-dir dist

coverage: .venv/dev ## the fast tests again, and how many of the branches in src they reach
	COVERAGE_CORE=ctrace $(BIN)/coverage run -m pytest -q -p no:cacheprovider
	$(BIN)/coverage report --sort=cover --skip-covered

check: .venv/dev ## lint, types, architecture
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

audit: .audit/.done ## known vulnerabilities of the packages that an installation brings; needs PyPI's own address
	for list in runtime bulk cuda tools; do .audit/bin/pip-audit --strict --disable-pip --require-hashes -r requirements/$$list.txt || exit 1; done

sbom: .audit/.done .venv/runtime ## a bill of materials (CycloneDX) of what `make serve` and the container image install: build/sbom.json
	$(UV) venv --quiet --clear build/sbom
	$(UV) pip install --quiet --python build/sbom/bin/python --require-hashes -r requirements/runtime.txt
	version=$$($(BIN)/python -c 'import mattebox; print(mattebox.__version__)'); \
	  sed "s/^dynamic = .*/version = \"$$version\"/" pyproject.toml > build/sbom/pyproject.toml
	.audit/bin/cyclonedx-py environment build/sbom/bin/python --pyproject build/sbom/pyproject.toml \
	  --output-reproducible -o build/sbom.json

quality: .venv/dev ## the quality table; MATTEBOX_EVAL names the folder of pictures with true mattes
	$(BIN)/mattebox models pull auto
	$(BIN)/pytest tests/quality -m quality -s

durability: .venv/dev ## servers killed in the middle of two hundred tasks, full disks, stores that are away; takes half an hour
	$(BIN)/mattebox models pull u2netp
	$(BIN)/pytest tests/durability -m durability -s

diffusion: .diffusion/.done ## the diffusion generator on tiny random pipelines; installs torch (gigabytes)
	HF_HUB_OFFLINE=1 .diffusion/bin/pytest tests/backdrops/generators/test_diffusion.py -m diffusion

ray: .ray/.done ## bulk on a Ray cluster and the server on Ray Serve, a node and a replica killed; installs ray
	.ray/bin/mattebox models pull u2netp
	.ray/bin/pytest tests/bulk/test_ray.py tests/server/test_ray_serve.py -m ray -s

SECONDS ?= 60
FUZZED := decoder native native-replace novita poof removebg clipdrop photoroom withoutbg withoutbg-files withoutbg-text \
  imgprocessing imgprocessing-links
fuzz: .fuzz/.done ## coverage-guided fuzzing of the decoder and of each dialect's reader, SECONDS=60 each
	mkdir -p build/fuzz
	for target in $(FUZZED); do \
	  PYTHONPATH=. .fuzz/bin/python -m tests.fuzz.fuzz $$target build/fuzz/$$target -max_total_time=$(SECONDS) \
	    -max_len=65536 -rss_limit_mb=2500 -timeout=20 -artifact_prefix=build/fuzz/$$target- || exit 1; \
	done

gallery: .venv/dev ## twelve subjects before twelve backdrops, to be looked at: build/gallery
	$(BIN)/mattebox models pull auto
	$(BIN)/mattebox scenes pull
	$(BIN)/python docs/images/gallery.py

screenshot: .venv/dev chromium ## the README's picture of the studio; every screen with `docs/images/studio.py --all FOLDER`
	$(BIN)/mattebox models pull auto
	$(BIN)/mattebox scenes pull
	$(BIN)/mattebox studio pull
	$(BIN)/python docs/images/studio.py

# ROWS="warm cold" measures these only; SIZES, ROUNDS and CONTESTANTS narrow it further.
bench: .venv/dev .core/.done $(addprefix .bench/,$(addsuffix /.done,$(PEERS))) ## what it costs beside others, 25 minutes, see bench/README.md
	$(BIN)/mattebox models pull auto u2net
	$(BIN)/python bench/run.py $(if $(ROWS),--rows $(ROWS)) $(if $(SIZES),--sizes $(SIZES)) \
	  $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(CONTESTANTS),--contestants $(CONTESTANTS))

golden: .venv/dev chromium ## draw the golden pictures anew, to be looked at before they are committed
	$(BIN)/mattebox models pull auto u2netp
	$(BIN)/mattebox scenes pull
	$(BIN)/mattebox studio pull
	$(BIN)/pytest tests/golden tests/browser/test_looks.py -m "$(ALL)" --regenerate

docs: .venv/dev ## the generated pages
	$(BIN)/python -m mattebox.server.settings > docs/settings.md
	$(BIN)/python docs/images/make.py
	$(BIN)/python docs/options.py
	$(BIN)/python docs/metrics.py
	$(BIN)/python tools/grafana_dashboard.py
	$(BIN)/python docs/places.py
	$(BIN)/python docs/images/gallery.py --sheet

lock: $(UV) ## resolve the requirements anew
	$(UV) pip compile $(LOCK) --upgrade pyproject.toml --extra all --extra bulk --group dev -o requirements/dev.txt
	$(UV) pip compile $(LOCK) pyproject.toml --extra all -c requirements/dev.txt -o requirements/runtime.txt
	$(UV) pip compile $(LOCK) pyproject.toml --extra bulk -c requirements/dev.txt -o requirements/bulk.txt
	$(UV) pip compile $(LOCK) pyproject.toml -c requirements/dev.txt -o requirements/core.txt
	printf '%s\n' 'onnxruntime-gpu[cuda,cudnn]' onnx | $(UV) pip compile $(LOCK) - -c requirements/dev.txt -o requirements/cuda.txt
	echo "pip-audit cyclonedx-bom" | tr " " "\n" | $(UV) pip compile $(LOCK) --upgrade - -o requirements/audit.txt
	echo "uv hatchling editables" | tr " " "\n" | $(UV) pip compile $(LOCK) --upgrade - -o requirements/tools.txt
	for client in $(CLIENTS); do \
	  { echo $$client | sed 's/-\([0-9.]*\)$$/==\1/'; cat requirements/clients/$$client.in 2>/dev/null; } | \
	    $(UV) pip compile $(LOCK) - -o requirements/clients/$$client.txt || exit 1; \
	done
	for client in $(NODE_CLIENTS); do npm install $(NPM) --package-lock-only --prefix requirements/clients/$$client || exit 1; done
	echo atheris | $(UV) pip compile $(LOCK) - -o requirements/fuzz.txt
	for peer in 'rembg[cpu,cli]==2.0.86' 'batchroom==0.1.0' 'snipbg[api]==2.0.0'; do \
	  echo "$$peer" | $(UV) pip compile $(LOCK) - -o requirements/peers/$${peer%%[[=]*}.txt || exit 1; \
	done
LOCK := --quiet --generate-hashes --universal --python-version 3.11 --no-annotate --custom-compile-command "make lock"

clean: ## remove what make made here; the downloaded models stay
	rm -rf .venv .core .clients .debian .audit .bench .diffusion .ray .fuzz build demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

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

# The library and the command line as a wheel brings them, without any extra, for the tests that need it so.
.core/.done: requirements/core.txt pyproject.toml $(UV) $(shell find src -type f -not -name '*.pyc')
	$(UV) venv --quiet --clear .core
	$(UV) pip install --quiet --python .core/bin/python --require-hashes -r requirements/core.txt
	$(UV) build --quiet --wheel --no-build-isolation --python $(BIN)/python --out-dir .core/wheel
	$(UV) pip install --quiet --python .core/bin/python --no-deps .core/wheel/*.whl
	@touch $@

# What the gpu extra brings is heavy, so it has an environment of its own.
.diffusion/.done: requirements/dev.txt pyproject.toml $(UV)
	$(UV) venv --quiet --clear .diffusion
	$(UV) pip install --quiet --python .diffusion/bin/python --require-hashes -r requirements/dev.txt
	$(UV) pip install --quiet --python .diffusion/bin/python --editable '.[gpu]'
	@touch $@

# The fuzzer has wheels for few versions of Python.
.fuzz/.done: requirements/dev.txt requirements/fuzz.txt pyproject.toml $(UV)
	$(UV) venv --quiet --clear --python $(BIN)/python .fuzz
	$(UV) pip install --quiet --python .fuzz/bin/python --require-hashes -r requirements/dev.txt -r requirements/fuzz.txt
	$(UV) pip install --quiet --python .fuzz/bin/python --no-deps --editable .
	@touch $@

# And so has the ray extra.
.ray/.done: requirements/dev.txt pyproject.toml $(UV)
	$(UV) venv --quiet --clear .ray
	$(UV) pip install --quiet --python .ray/bin/python --require-hashes -r requirements/dev.txt
	$(UV) pip install --quiet --python .ray/bin/python --editable '.[ray]'
	@touch $@

# What looks the packages over, and is none of them.
.audit/.done: requirements/audit.txt $(UV)
	$(UV) venv --quiet --clear .audit
	$(UV) pip install --quiet --python .audit/bin/python --require-hashes -r requirements/audit.txt
	@touch $@

# The peers that mattebox is measured against, each in an environment of its own.
.bench/%/.done: requirements/peers/%.txt $(UV)
	$(UV) venv --quiet --clear .bench/$*
	$(UV) pip install --quiet --python .bench/$*/bin/python --require-hashes -r $<
	@touch $@

# Vendors' own clients, each alone in a folder: they could not live together in one environment. What a client imports
# and does not declare is in requirements/clients/NAME-VERSION.in.
.clients/%/.done: requirements/clients/%.txt $(UV)
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes --target .clients/$* -r $<
	@touch $@

NPM := --ignore-scripts --no-audit --no-fund --omit-lockfile-registry-resolved --loglevel=error
.clients/npm/%/.done: requirements/clients/npm/%/package-lock.json
	mkdir -p .clients/npm/$*
	cp requirements/clients/npm/$*/package.json $< .clients/npm/$*/
	npm ci $(NPM) --prefix .clients/npm/$*
	@touch $@
