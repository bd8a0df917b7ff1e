# The front door. CMake and Ninja do the work below build/; `make help` lists what there is.
.DEFAULT_GOAL := release
.PHONY: release setup chat test test-long debug tsan fuzz lint format bench callgrind portability install clean help

PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
BIN := build/release/hearth
# How many steps run at once; the arguments that CMake gets besides.
JOBS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
CMAKE_ARGS ?=

# configure(FOLDER, ARGUMENTS): once; later CMake itself sees what changed.
configure = @test -f $(1)/build.ninja || cmake -S . -B $(1) -G Ninja $(2) $(CMAKE_ARGS)
# Anew: what the tests need may have been installed since.
configure-again = @cmake -S . -B $(1) -G Ninja $(2) $(CMAKE_ARGS) >/dev/null
build = @cmake --build $(1) -j $(JOBS)

help: ## This list
	@echo "Hearth: make TARGET"
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 15

release: setup ## Build build/release/hearth (the default)
	$(call configure,build/release,-DCMAKE_BUILD_TYPE=Release)
	$(call build,build/release) --target hearth

setup: ## Install what the build needs and this machine lacks
	@tools/setup.sh build

# The prompt goes through the environment as it is: no shell and no make reads it.
HEARTH_PROMPT := $(value PROMPT)
HEARTH_MODEL := $(value MODEL)
export HEARTH_PROMPT HEARTH_MODEL
# The default model: what its authors recommend for a conversation, and its likeliest answer for scripts. Its file says
# neither. Other models answer by what their own files say.
SMOLLM2_TALK = --temp 0.2 --top-p 0.9
SMOLLM2_ANSWER = --temp 0

chat: ## Talk to a model: MODEL=file or folder, PROMPT="..." for one answer on standard output
	@$(MAKE) --no-print-directory release </dev/null >&2
	@test -n "$$HEARTH_MODEL" || python3 tools/fetch_models.py default </dev/null >&2
	@if [ -n "$$HEARTH_MODEL" ]; then set -- "$$HEARTH_MODEL"; \
	else set -- "$$(python3 tools/fetch_models.py --path default)" \
	    $$([ -n "$$HEARTH_PROMPT" ] && echo "$(SMOLLM2_ANSWER)" || echo "$(SMOLLM2_TALK)"); fi; \
	if [ -n "$$HEARTH_PROMPT" ]; then exec $(BIN) run "$$@" "$$HEARTH_PROMPT" </dev/null; \
	else exec $(BIN) run "$$@"; fi

test: ## All tests but the long ones; ends with `N passed, M failed`
	@tools/setup.sh build test
	$(call configure-again,build/release,-DCMAKE_BUILD_TYPE=Release)
	@tools/setup.sh --venv venv
	@python3 tools/fetch_models.py
	@python3 tools/run_tests.py build/release --build $(JOBS) --python

test-long: ## The long tests (llama.cpp side by side, whole corpora, other programs' clients), then the fuzzers
	@tools/setup.sh build test fuzz clients
	$(call configure-again,build/release,-DCMAKE_BUILD_TYPE=Release)
	@tools/setup.sh --venv venv-long
	@python3 tools/fetch_models.py --all
	@$(MAKE) --no-print-directory fuzz
	@python3 tools/run_tests.py build/release --build $(JOBS) --python=long

debug: ## Build with address and undefined-behaviour sanitizers and run the unit tests
	@tools/setup.sh build test
	$(call configure-again,build/debug,-DCMAKE_BUILD_TYPE=Debug -DHEARTH_SANITIZE=address)
	@python3 tools/run_tests.py build/debug --build $(JOBS)

tsan: ## Build with the thread sanitizer and run the tests that use threads
	@tools/setup.sh build test
	$(call configure-again,build/tsan,-DCMAKE_BUILD_TYPE=Debug -DHEARTH_SANITIZE=thread)
	@python3 tools/run_tests.py build/tsan --build $(JOBS) --only 'team|thread|executor|session|engine|deal|fork|stream|tier'

fuzz: ## Run each fuzz target for FUZZ_SECONDS (60)
	@tools/setup.sh build fuzz
	$(call configure,build/fuzz,-DCMAKE_BUILD_TYPE=Debug -DHEARTH_FUZZ=ON -DHEARTH_TESTS=OFF \
	  -DHEARTH_CLI=OFF -DCMAKE_C_COMPILER=clang)
	$(call build,build/fuzz)
	@tools/fuzz.sh build/fuzz $(FUZZ_SECONDS)

lint: ## Check layers, forbidden calls, headers alone, warnings of gcc and clang
	@tools/setup.sh build test lint
	@python3 tools/lint.py

format: ## Reformat the sources that clang-format would change
	@git ls-files '*.c' '*.h' | xargs clang-format -i

bench: setup ## Build and run the benchmarks in bench/
	$(call configure,build/release,-DCMAKE_BUILD_TYPE=Release)
	$(call build,build/release)
	@for b in build/release/bench_*; do test -x "$$b" || continue; echo "== $$(basename $$b)"; $$b; done

callgrind: release ## Count instructions and compare them with bench/instructions.json (ARGS=--update: write it)
	@tools/setup.sh build test callgrind
	@tools/setup.sh --venv venv
	@build/venv/bin/python bench/instructions.py --hearth $(BIN) $(ARGS)

portability: ## Cross-compile: arm64 Linux (tests run in qemu), arm64 and x86-64 macOS (compile only)
	@tools/setup.sh build portability
	@tools/portability.sh

install: release ## Copy hearth, its library and headers to $(DESTDIR)$(PREFIX)
	@DESTDIR="$(DESTDIR)" cmake --install build/release --prefix "$(PREFIX)"

clean: ## Remove what was built; models and Python environments stay
	@rm -rf build/release build/debug build/tsan build/fuzz build/lint build/portability
