# make setup    prepare everything (.venv from the lock)
# make serve    set up and run the server; Ctrl-C stops it
# make test     set up, check the style, run every test
# make check    formatting, lint, types, import contracts
# make bench    the benchmarks of benchmarks/README.md

.DEFAULT_GOAL := setup
.PHONY: setup serve test check bench lock clean

setup:
	@scripts/setup

serve: setup
	@HOLDFAST_LOG_FORMAT=$${HOLDFAST_LOG_FORMAT:-text} exec .venv/bin/holdfast serve

check: setup
	@scripts/check

# Two processes share the tests; each has a server of its own for those that share one.
test: setup
	@scripts/test-packages
	@scripts/check
	@.venv/bin/pytest -q -n 2 --dist worksteal

bench: setup
	@.venv/bin/python -m benchmarks

lock:
	@scripts/lock

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .hypothesis
