# `make` explains the targets. The binary is $(EVA); CARGO_TARGET_DIR moves it.

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
EVA := $(TARGET_DIR)/release/eva
CARGO := cargo
WEB_TOOLS := tests/browser/node_modules/.bin
# Tools that scripts/setup.sh put there where the machine has none of its own.
export PATH := $(PATH):$(CURDIR)/.venv/tools

.DEFAULT_GOAL := help
.PHONY: help setup build cuda models run test test-setup test-models test-rust test-browser fuzz-api fuzz lint bench bench-conversation bench-tts clean

help:
	@echo 'make run      install what is missing, build, fetch the models, start the gateway'
	@echo '              (options for it: make run ARGS="--listen 0.0.0.0:8484 --api-key KEY")'
	@echo 'make setup    install what building needs and this machine lacks'
	@echo 'make build    build the program: $(EVA)'
	@echo 'make cuda     build it for NVIDIA GPUs, with or without one here: $(TARGET_DIR)/cuda/release/eva'
	@echo 'make models   fetch and verify the models (about 650 MB, once)'
	@echo 'make test     everything: lint, all tests with real models, the page in a browser'
	@echo 'make fuzz-api hold the gateway against web/openapi.json with 5,000 requests; some minutes'
	@echo 'make lint     formatting, clippy, licences; the rules and types of the page scripts'
	@echo 'make fuzz     what strangers send, through fuzzers: 5 minutes each (MINUTES=5 TARGETS="sdp rtp")'
	@echo 'make bench    voice-to-voice time of a call, as a table'
	@echo '              make bench-conversation: turns, pauses, interruptions, noises, echo; 20 minutes'
	@echo '              make bench-tts: the voice beside Piper, sentence by sentence'
	@echo 'make clean    remove what was built; the models stay'

setup:
	@scripts/setup.sh build

build: setup
	$(CARGO) build --release --locked

cuda: setup
	scripts/cuda.sh --locked

models: build
	$(EVA) models pull

run: models
	exec $(EVA) serve $(ARGS)

bench: models
	$(EVA) bench call --turns 12 --llm mock $(ARGS)

bench-conversation: models
	$(EVA) bench conversation $(ARGS)

# The peer is installed into .venv, for this target only.
bench-tts: models
	@scripts/setup.sh peer
	$(EVA) bench tts --peer .venv/bin/python3 --transcribe 150 $(ARGS)

test-setup:
	@scripts/setup.sh test

lint: test-setup
	$(WEB_TOOLS)/tsc -p tests/browser
	$(WEB_TOOLS)/eslint --config tests/browser/eslint.config.mjs web tests/browser
	$(CARGO) fmt --check
	$(CARGO) clippy --release --locked --all-targets -- -D warnings
	$(CARGO) deny --locked check bans licenses sources

test-models: build
	$(EVA) models pull --all

test-rust: test-setup test-models
	$(CARGO) test --release --locked

test-browser: test-setup test-models
	@if [ -x tests/browser/run.sh ]; then EVA_BIN='$(abspath $(EVA))' tests/browser/run.sh; fi

fuzz-api: test-setup test-models
	EVA_API_EXAMPLES=60 $(CARGO) test --release --locked --test talk the_gateway_keeps_to_its_document -- --nocapture

# One after the other: they share the cores, and the tests keep time.
test:
	$(MAKE) lint
	$(MAKE) test-rust
	$(MAKE) test-browser

MINUTES := 5
TARGETS := sdp rtp realtime whip_fragment upload stun

fuzz: setup
	@command -v cargo-fuzz >/dev/null || $(CARGO) install cargo-fuzz --locked
	@rustup toolchain list | grep -q nightly || rustup toolchain install nightly --profile minimal
	@for target in $(TARGETS); do \
		mkdir -p "fuzz/corpus/$$target"; \
		$(CARGO) +nightly fuzz run "$$target" "fuzz/corpus/$$target" "fuzz/seeds/$$target" -- \
			-max_total_time=$$(($(MINUTES) * 60)) -max_len=16384 -timeout=20 -rss_limit_mb=2048 || exit 1; \
	done

clean:
	$(CARGO) clean
	rm -rf .venv tests/browser/node_modules
