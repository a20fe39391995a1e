# Verbs for people and for CI. Everything is installed into .venv; nothing outside it is touched.
#   make demo    install, then answer a question about a sample picture with the embedded model
#   make test    run the tests (TESTS=tests/unit: some of them)        make check   format, lint, types
#   make gui     install, then open the window
#   make oracle  also install torch and transformers, for training and the live comparison
#   make format  apply the formatter            make clean   remove .venv and caches
#   make translations  texts of the window into the catalogues, and compile them
#   make screenshots   every state of the window into docs/images
#   make cluster    test a data set on a Ray cluster of two nodes, one of which is lost
#   make servers    build llama.cpp's server and test searches through it
#   make plugin-rpc    build llama.cpp's RPC backend as a plug-in and add it (seconds)
#   make plugin-vulkan build the Vulkan backend as a plug-in and add it (five minutes)
#   make bundle        the app without Python and compiler: a .deb and a .tar.xz in dist/
#   make bare          the README on a bare Debian 12 and 13, and the bundle on a bare Debian 12 (root)
#   make test-vulkan   the device tests on Vulkan without a GPU, in a Debian 13 root (root)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SAMPLE := $(PYTHON) packaging/sample.py
TESTS ?=

.PHONY: demo gui test check format oracle translations screenshots clean help
.PHONY: needs-window cluster servers plugin-rpc plugin-vulkan bundle bare test-vulkan

help:
	@sed -n '2,13s/^# *//p' Makefile

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
	@echo "Picture:  $$($(SAMPLE) picture)"
	@echo "Question: $$($(SAMPLE) question)"
	@$(BIN)/llavao1-edge ask "$$($(SAMPLE) picture)" "$$($(SAMPLE) question)" --show-stages --temperature 0

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

plugin-rpc plugin-vulkan: plugin-%: $(VENV)/plugins
	$(BIN)/python packaging/plugins/build.py $* --wheel dist
	$(BIN)/llavao1-edge devices add $*

$(VENV)/plugins: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[plugins]'
	@touch $@

# A data set on a Ray cluster of two nodes, one of which is lost (640 MB are fetched).
cluster: $(VENV)/testing
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[ray]'
	$(BIN)/python -m pytest -q tests/remote/test_cluster.py

# Searches through a real llama.cpp server: it is built first (some ten minutes, once).
servers: $(VENV)/testing $(VENV)/plugins
	LLAMA_SERVER=$$(PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python packaging/servers/llama_server.py) \
		$(BIN)/python -m pytest -q tests/remote/test_real_servers.py

bundle: $(VENV)/plugins
	$(BIN)/python packaging/plugins/build.py rpc
	$(BIN)/python packaging/plugins/build.py vulkan || echo "the bundle will have no Vulkan plug-in"
	packaging/bundle/build.sh

# llama-cpp-python is not compiled again in the roots: its wheel comes from pip's cache.
build/wheels: $(VENV)/installed
	$(BIN)/python -m pip wheel -q --no-deps -w $@ \
		"llama-cpp-python==$$($(BIN)/python -c 'from importlib.metadata import version as v; print(v("llama-cpp-python"))')"

bare: build/wheels bundle
	packaging/bare_root.sh bookworm --wheels build/wheels
	packaging/bare_root.sh trixie --wheels build/wheels
	packaging/bundle/smoke.sh

test-vulkan: build/wheels $(VENV)/plugins
	packaging/test_vulkan.sh

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
