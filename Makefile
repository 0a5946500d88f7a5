# Two commands do everything: `make demo` (set-up, server, a real client job, a picture) and `make test`.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo test lint bench bench-quick conformance clients faults distributed docs system clean

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing Tuile and its test tools into .venv (a few minutes the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=24"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test,docs]"
	@touch $(STAMP)

system:          # Debian packages the tests use: redis-server, postgresql
	@.ci/system-packages

demo: $(STAMP)   # SERVE=1 keeps the server up afterwards
	@$(BIN)/tuile demo --dir demo $(if $(SERVE),--serve)

test: $(STAMP) system
	TUILE_TEST_REDIS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term:skip-covered $(PYTEST_ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python -m tests.bench

bench-quick: $(STAMP)
	$(BIN)/python -m tests.bench --quick

conformance: $(STAMP)
	$(BIN)/python -m tests.conformance

clients: $(STAMP) system
	$(BIN)/python -m pytest tests/clients

faults: $(STAMP) system
	$(BIN)/python -m pytest tests/faults

distributed: $(STAMP)
	$(BIN)/python -m pytest tests/unit/backend/graph/test_cluster.py

docs: $(STAMP)
	$(BIN)/mkdocs build --strict

clean:
	rm -rf .venv demo site build *.egg-info
