# Everything is installed into ./.venv, once; a second call installs nothing.
PYTHON ?= python3
RUN := .venv/bin/python

.PHONY: demo test core checks
.NOTPARALLEL:

demo: core
	$(RUN) -m pairjepa demo

test: checks
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(RUN) -m pytest -q -n 2

core checks: # what the demo needs, and what the tests need beside it
	@PYTHON='$(PYTHON)' sh .ci/install $@
