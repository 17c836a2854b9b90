# Everything is installed into ./.venv, once; a second call installs nothing.
PYTHON ?= python3
RUN := .venv/bin/python

.PHONY: demo test docs core checks
.NOTPARALLEL:

demo: core
	$(RUN) -m pairjepa demo

test: checks
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/cog --check -I docs docs/commands.md docs/objectives.md
	.venv/bin/sphinx-build -q -W docs docs/_build
	$(RUN) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

docs: checks
	.venv/bin/cog -r -I docs docs/commands.md docs/objectives.md
	.venv/bin/sphinx-build -q -W docs docs/_build
	@echo "wrote docs/_build/index.html"

core checks: # what the demo needs, and what the tests need beside it
	@PYTHON='$(PYTHON)' sh .ci/install $@
