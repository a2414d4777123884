# The commands of the README. Everything else is cargo and `cargo xtask`.
.PHONY: demo demo-clean test test-windows check-macos soak assault bench check packages test-packages

demo: packages          ## one command from a fresh Debian to a running VM
	@scripts/demo

demo-clean:             ## ends what `make demo` left running and removes it; the guest image stays
	@scripts/demo --clean

test: test-packages     ## the whole suite, real VM boots included
	@scripts/test

test-windows: test-packages ## the Windows half, under Wine; needs root
	@scripts/test-windows

check-macos:            ## all of it compiled and linted for a Mac, nothing run
	@scripts/check-macos

MINUTES ?= 10
VMS ?= 10
soak: test-packages     ## random faults at VMS stub guests for MINUTES; SEED=N repeats the faults of another run
	cargo xtask soak --minutes $(MINUTES) --vms $(VMS) $(if $(SEED),--seed $(SEED))

CONNECTIONS ?= 2000
assault:                ## hostile requests, connections and files against the daemon; the fuzzer runs for MINUTES
	cargo xtask assault --minutes $(MINUTES) --connections $(CONNECTIONS) $(if $(SEED),--seed $(SEED))

bench:                  ## measures every promise of PROMISES.md
	cargo xtask bench

check:                  ## what CI checks beside the tests
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo xtask check

packages:
	@scripts/install-packages

test-packages:
	@scripts/install-packages --tests
