# Everything that a person or CI runs. `make help` lists it. CI runs these targets only.

CARGO     ?= cargo
PREFIX    ?= /usr/local
LIBDIR    ?= $(PREFIX)/lib
DESTDIR   ?=
TARGET    := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
LIBRARIES := $(TARGET)/release/libgoroutine.so $(TARGET)/release/libgoroutine.a

.DEFAULT_GOAL := all
.PHONY: all demo test check header symbols bench bench-io deps-bench loom stress valgrind asan tsan user-sanitizers doc foreign foreign-soak gc hosts \
        adapters webserver bench-webserver deps-go deps-torch deps-python deps-sqlite deps-gc deps-hosts deps-adapters deps-webserver deps-trace \
        install uninstall clean help

all: ## build target/release/libgoroutine.so and .a
	$(CARGO) build --release --lib
	@ln -sfn libgoroutine.so $(TARGET)/release/libgoroutine.so.1 # the soname, for programs that run from here

demo: all ## build, then run the demonstration
	@if [ -e demo/run.sh ]; then bash demo/run.sh; else echo "demo/run.sh is missing" >&2; exit 1; fi

test: all ## Rust tests, C tests (.so and .a, C11 and C++17), the installed package
	$(CARGO) test --release
	tools/install_test.sh
	tools/examples.sh
	tools/gdb_test.sh
	tools/trace_test.sh
	tools/foreign.sh --quick
	tools/gc.sh --quick
	tools/cxx_links.sh
	tools/user_sanitizers.sh
	tools/c_tests.sh

check: ## formatting, lints, header, exported symbols, ELF properties
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --lib --no-default-features -- -D warnings
	tools/quiet.sh
	tools/header.sh --check
	$(CARGO) build --release --lib
	tools/symbols.sh
	tools/elf.sh

header: ## write include/goroutine.h and ultrascript_runtime.h anew
	tools/header.sh

symbols: all ## write include/*.symbols anew
	tools/symbols.sh --update

bench: all ## the table of benchmarks, with the peers that deps-bench built
	$(CARGO) bench --bench table

bench-io: all ## TCP and HTTP servers, with the peers that deps-bench built
	$(CARGO) bench --bench io

deps-bench: ## install and build the peers of the benchmarks
	tools/deps-bench.sh

foreign: all ## real foreign libraries behind goroutines, those that are installed
	tools/foreign.sh

foreign-soak: all ## the same for a minute, all at once: no crash, no growth
	tools/foreign.sh --seconds 60

gc: all ## a real collector on top: 10,000 collections of 1,000 goroutines' objects
	tools/gc.sh

hosts: all ## the proof matrix: a Go library inside Bun and Node.js (installs them, and Go)
	tools/deps.sh hosts go
	tools/hosts.sh

adapters: all ## libcurl, libpq and OpenSSL on goroutines, against nginx and PostgreSQL
	tools/adapters.sh

webserver: all ## the example of all of it: builds examples/webserver, and attacks it
	tools/webserver.sh

bench-webserver: all ## the latency of its /user, 10,000 at a time, without and with /predict
	tools/webserver.sh --hybrid

# What is not installed is reported by name as skipped.
deps-go: ## install the Go versions that foreign and hosts use
	tools/deps.sh go

deps-torch: ## install LibTorch
	tools/deps.sh torch

deps-python: ## install what embeds CPython
	tools/deps.sh python

deps-sqlite: ## install SQLite's header
	tools/deps.sh sqlite

deps-gc: ## install the Boehm GC
	tools/deps.sh gc

deps-hosts: ## install Bun, Node.js and koffi, under target/foreign
	tools/deps.sh hosts

deps-adapters: ## install libcurl, libpq, OpenSSL, PostgreSQL and nginx
	tools/deps.sh adapters

deps-webserver: ## install what the web server needs, but LibTorch: llhttp, wrk, ab, h2load ...
	tools/deps.sh webserver

deps-trace: ## install Perfetto's trace processor, under target/foreign
	tools/deps.sh trace

# A loom build replaces every atomic, so it has a target directory of its own.
LOOM = RUSTFLAGS="$(RUSTFLAGS) --cfg loom" CARGO_TARGET_DIR=$(TARGET)/loom $(CARGO) test --profile loom --lib loom
loom: ## model-check the protocols
	@$(LOOM) -- --list | grep -q ': test$$' || { echo "make loom: no models found" >&2; exit 1; }
	$(LOOM)

stress: all ## the long tests: those marked `#[ignore]`, c_tests/stress_*.c, and UltraScript's programs over and over
	$(CARGO) test --release -- --ignored --test-threads=1
	tools/c_tests.sh stress
	tools/stress_ultrascript.sh

valgrind: all ## the C tests under valgrind
	tools/sanitize.sh valgrind

asan: ## all tests under AddressSanitizer (needs a nightly Rust)
	tools/sanitize.sh address

tsan: ## the Rust tests under ThreadSanitizer (needs a nightly Rust with rust-src)
	tools/sanitize.sh thread

user-sanitizers: all ## programs with sanitizers and the library as it is; the C tests under the C compiler's ThreadSanitizer
	tools/user_sanitizers.sh suite

doc: ## the Rust documentation, warnings denied
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items

# Builds only what is missing, so that `sudo make install` needs no Rust in root's PATH.
install: | $(LIBRARIES) ## install under DESTDIR, PREFIX (/usr/local), LIBDIR (PREFIX/lib)
	tools/install.sh install "$(PREFIX)" "$(LIBDIR)" "$(DESTDIR)"

uninstall: ## remove what install wrote
	tools/install.sh uninstall "$(PREFIX)" "$(LIBDIR)" "$(DESTDIR)"

$(LIBRARIES):
	$(CARGO) build --release --lib

clean: ## remove what was built
	$(CARGO) clean

help: ## this list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/p' Makefile | expand -t 16
