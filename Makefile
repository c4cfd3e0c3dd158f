# Two commands do all the set-up: `make repro` (the tables and figures) and `make test`.
PYTHON ?= python3
JOBS ?= 2
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: repro test lint profile clean-reports

# The environment, from pinned versions. The stamp makes an interrupted installation start again.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v in [(3, 11), (3, 12)] else f"Python 3.11 or 3.12 is needed, found {sys.version.split()[0]}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# PROFILE=name switches the one line of dvc.yaml that names the profile.
profile: .venv/installed
ifdef PROFILE
	@test -f profiles/$(PROFILE).yaml || { echo "error: there is no profiles/$(PROFILE).yaml; there are: $$(ls profiles)"; exit 1; }
	@sed -i.bak -E 's|^  - profiles/[a-z0-9_-]+\.yaml|  - profiles/$(PROFILE).yaml|' dvc.yaml && rm dvc.yaml.bak
endif

# The stages of the groups named that are not up to date, $(JOBS) at a time; a cell is evaluated once trained.
side_by_side = dvc status --json $$(dvc stage list --name-only | grep -E '^($(1))@') \
  | python -c 'import json, sys; print(*json.load(sys.stdin), sep="\n")' \
  | sed -E 's/^train@(.*)/& evaluate@\1/' \
  | xargs -P $(JOBS) -L 1 dvc --wait-for-lock repro --single-item

# What all cells share first, then the cells $(JOBS) at a time, then the rest. Plain `dvc repro` does the same
# with one cell at a time. A failed cell stops neither the others nor their tables; the last line reports it.
repro: profile
	@dvc repro configs
	@$(call side_by_side,render|init)
	@dvc stage list --name-only | grep -E '^(align|corrupt)@' | xargs dvc repro
	@$(call side_by_side,train) || true
	dvc repro --keep-going

test: .venv/installed
	python -m pytest --cov --cov-report=term

lint: .venv/installed
	ruff check .
	ruff format --check .
