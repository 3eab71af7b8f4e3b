# Everything runs in .venv, made here on first use: by uv where it is installed, else by Python's own venv and pip.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
EXTRAS := test,demo-model

.PHONY: demo app test check crash fuzz bench demo-model clean

demo: $(STAMP)          ## trace 24 prompts, load them into Neo4j, find Dallas -> Texas -> Austin
	$(BIN)/throughline demo

app: $(STAMP)           ## the dashboard
	$(BIN)/throughline app

test: $(STAMP)          ## the whole gate
	$(BIN)/python -m tests.gate

check: $(STAMP)         ## the fast part of the gate: lint, types, import rules
	$(BIN)/python -m tests.gate --fast

crash: $(STAMP)         ## client and server are killed a hundred times at random moments of writing
	THROUGHLINE_KILLS=100 $(BIN)/python -m pytest -q tests/ingest/test_crash.py tests/ingest/test_bulk.py

fuzz: $(STAMP)          ## a million damaged graph files, each read or refused; FUZZ="1000 7" for 1,000 of seed 7
	$(BIN)/python -m tests.ingest.mutations $(or $(FUZZ),1000000)

bench: $(STAMP)         ## the numbers in the README
	$(BIN)/python -m bench

demo-model: $(STAMP)    ## train the shipped model and its dictionaries anew
	$(BIN)/python -m tracer.demo
	$(BIN)/python -m bench.demo_model

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Throughline needs Python 3.11 or later, this is " + sys.version.split()[0] + "; name one that fits: make demo PYTHON=python3.12")'
	@echo "Installing into .venv (torch is large: this takes minutes the first time)"
	@if command -v uv >/dev/null 2>&1; then \
	  { [ -d .venv ] || uv venv -q --python $(PYTHON) .venv; } && uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[$(EXTRAS)]'; \
	else \
	  { [ -x $(BIN)/pip ] || $(PYTHON) -m venv .venv; } && $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'; \
	fi
	@touch $(STAMP)

clean:
	rm -rf .venv build *.egg-info
