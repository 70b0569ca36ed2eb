# Every CI job is one of these targets, so CI can be run at home.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
OUT    := out
PLAYER := $(OUT)/rtplayer
FUZZ_SECONDS ?= 60
FUZZ_SEED ?= 0
FUZZ_TARGETS ?= reading systemview elf wire ram

.DEFAULT_GOAL := help
.PHONY: help setup rtplayer demo test fuzz lint format bench bench-start bench-read bench-symbols bench-detection bench-agent bench-exports bench-ram bench-wire test-rigs accept clean

help: ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | awk -F'\t' '{printf "  %-16s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml scripts/setup-venv.sh
	@sh scripts/setup-venv.sh "$(PYTHON)" $(VENV)
	@touch $@

setup: $(STAMP) ## make .venv with all that heaptrail and its tests need

rtplayer: ## build the example player (leaking and mended) into out/rtplayer
	@$(MAKE) -s -C examples/rtplayer OUT="$(CURDIR)/$(PLAYER)"

test-rigs: rtplayer ## the pytest plugin with the real labgrid and pytest-embedded, in a .venv-rigs of its own
	@sh scripts/setup-venv.sh "$(PYTHON)" .venv-rigs
	@.venv-rigs/bin/pip install --quiet --disable-pip-version-check -e '.[rigs]'
	@.venv-rigs/bin/pytest -q -p no:labgrid -p no:pytest_embedded tests/plugin/test_rig_packages.py

demo: $(STAMP) rtplayer ## build the leaking player, hunt its leak, write out/demo (MENDED=1: the mended twin's, out/demo-mended)
	@sh scripts/demo.sh $(BIN)/heaptrail $(if $(MENDED),mended,leaking)

test: $(STAMP) rtplayer ## run every test; what needs Chromium is skipped with a line that says how to get it
	@$(BIN)/pytest --cov --cov-report=term $(PYTEST_ARGS)

fuzz: $(STAMP) ## fuzz everything that reads foreign input, each target for FUZZ_SECONDS, from seeds of our own
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/pip install -q --disable-pip-version-check -e '.[fuzz]'
	@PYTHONPATH=tests $(BIN)/python tests/fuzz/seeds.py $(OUT)/fuzz
	@set -e; for target in $(FUZZ_TARGETS); do \
		echo "fuzzing $$target for $(FUZZ_SECONDS) s"; \
		PYTHONPATH=tests $(BIN)/python tests/fuzz/fuzz_$$target.py -max_total_time=$(FUZZ_SECONDS) -seed=$(FUZZ_SEED) -max_len=20000 \
			-rss_limit_mb=4096 -timeout=20 -verbosity=0 -artifact_prefix=$(OUT)/fuzz/$$target- $(OUT)/fuzz/$$target; \
	done

lint: $(STAMP) ## ruff, mypy and the import contracts
	@$(BIN)/ruff format --check -q . || { echo "not formatted: run make format"; exit 1; }
	@$(BIN)/ruff check -q .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-timeout 2>/dev/null || $(BIN)/lint-imports

format: $(STAMP) ## format the Python code
	@$(BIN)/ruff format -q .
	@$(BIN)/ruff check -q --fix .

accept: $(STAMP) ## rewrite the golden files from what the program prints now; read the diff before you commit
	@$(BIN)/pytest -q tests/golden tests/unit tests/integration/test_exports_rtplayer.py --accept

bench: bench-start bench-read bench-symbols bench-detection bench-agent bench-exports bench-ram bench-wire ## run all benches

bench-wire: $(STAMP) rtplayer ## the event stream: bytes an event, decoding speed
	@$(BIN)/python bench/wire.py

bench-exports: $(STAMP) ## a report of 100,000 sites in every format
	@$(BIN)/python bench/exports.py

bench-start: $(STAMP) rtplayer ## start-up: --help and read of the demo's capture
	@$(BIN)/python bench/start.py

bench-read: $(STAMP) ## reading speed against grep and a Python line loop
	@$(BIN)/python bench/read.py

bench-symbols: $(STAMP) ## symbolizing 16,000 frames against addr2line
	@$(BIN)/python bench/symbols.py

bench-detection: $(STAMP) ## error rates of the verdict against trend tests in use
	@$(BIN)/python bench/detection.py

bench-agent: $(STAMP) ## what the agent costs on RV64 and Cortex-M3, counted in QEMU
	@$(BIN)/python bench/agent.py

bench-ram: $(STAMP) ## a post-mortem from RAM images, in time and memory
	@$(BIN)/python bench/ram.py

clean: ## remove everything that make made
	@rm -rf $(OUT) $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage
