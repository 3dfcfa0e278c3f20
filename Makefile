# A word for each chore. `make install` once, in a virtual environment.
.PHONY: install test lint types format check ci bench durability

install:    ## this checkout, editable, with what the other chores need
	pip install --editable '.[dev]'
test:       ## all tests
	pytest
lint:
	ruff check . && ruff format --check .
types:
	mypy
format:
	ruff format . && ruff check --fix .
check: lint types test
ci:         ## what CI does, in a fresh virtual environment
	bash .ci/run
bench:      ## tfloop beside its peers, on this machine
	python benchmarks/peers.py
durability: ## kills, damages and fills up, and says what held: about an hour
	python -m benchmarks.durability
