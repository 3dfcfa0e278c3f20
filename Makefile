# `make install` once, in a virtual environment; then the other targets.
.PHONY: install test lint types format docs check ci site bench durability

install:    ## the checkout, editable, with the tools of all targets but `site`
	pip install --editable '.[dev]'
test:       ## all tests
	pytest
lint:
	ruff check . && ruff format --check .
types:
	mypy
format:
	ruff format . && ruff check --fix .
docs:       ## writes docs/config.md and docs/commands.md from the code
	python docs/generate.py
check: lint types test
	python docs/generate.py --check
ci:         ## what CI runs, in a fresh virtual environment
	bash .ci/run
site:       ## builds the documentation site; needs `pip install '.[docs]'`
	zensical build -f docs/zensical.toml
bench:      ## compares tfloop with other frameworks on this machine
	python benchmarks/compare_frameworks.py
durability: ## kills runs, damages files and fills disks, and checks the results: about an hour
	python -m benchmarks.durability
