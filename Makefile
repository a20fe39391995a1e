# Verbs for people and for CI. Everything is installed into .venv; nothing outside it is touched.
#   make demo    install, then answer a question about a sample picture with the embedded model
#   make test    run the tests (TESTS=tests/unit: some of them)        make check   format, lint, types
#   make gui     install, then open the window
#   make oracle  also install torch and transformers, for training and the live comparison
#   make format  apply the formatter            make clean   remove .venv and caches
#   make translations  texts of the window into the catalogues, and compile them
#   make screenshots   every state of the window into docs/images

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SAMPLES := llavao1_edge/demo/samples
TESTS ?=

.PHONY: demo gui test check format oracle translations screenshots clean help

help:
	@sed -n '2,8s/^# *//p' Makefile

# What is missing is said before anything is compiled. System packages: llavao1_edge/system.py.
NEEDS = $(PYTHON) -I llavao1_edge/system.py

$(VENV)/installed: pyproject.toml
	@$(NEEDS) ask
	$(PYTHON) -m venv $(VENV)
	@echo "Installing. llama-cpp-python is compiled once, which takes about five minutes."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[gui]'
	@touch $@

$(VENV)/testing: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

$(VENV)/oracle: $(VENV)/testing
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[train]'
	@touch $@

demo: $(VENV)/installed
	@echo "Picture:  $(SAMPLES)/1-count.png"
	@echo "Question: How many small circles do you see?"
	@$(BIN)/llavao1-edge ask $(SAMPLES)/1-count.png "How many small circles do you see?" --show-stages --temperature 0

needs-window:
	@$(NEEDS) ask window

gui: needs-window $(VENV)/installed
	@$(BIN)/llavao1-edge gui

test: $(VENV)/testing
	$(BIN)/python -m pytest $(TESTS)

check: $(VENV)/testing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/testing
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

translations: $(VENV)/testing
	$(BIN)/python -m llavao1_gui.translate.catalogues

screenshots: $(VENV)/testing
	$(BIN)/python -m tests.gui.screenshots docs/images

oracle: $(VENV)/oracle

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
