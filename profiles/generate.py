"""Write the profiles other than demo and smoke: every cell, from the axes of the tables.

Run `make profiles` after a change here or of the root's dvc.yaml; a test keeps them in step.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "driver"))

from project import project  # noqa: E402

PAPER_HEAD = """\
# Every cell of the paper's Tables 1-3 and of its supplement's Table 1 and Fig. 1, at its size, three seeds;
# each peer in its own paper's schedule (params.yaml, `published`; `schedule: fair` gives all of them ASM's).
# Written by profiles/generate.py: change that. A GPU is needed, and the data and weights named here (README).
schedule: published
training:
  {input: aligned, image_size: 224, width: 64, epochs: 100, warmup_epochs: 10, batch_size: 128,
   precision: bf16}
render: {} # nothing to draw: the images are real
frozen: {} # no frozen backbone: all layers are trained
datasets:
  rafdb: {source: rafdb, root: ../../data/raw/rafdb, options: {images: aligned}, align: {detect: false}}
  ferplus:
    source: ferplus
    root: ../../data/raw/ferplus
    align: {pad: 0.25, upscale: 2.0}
    set: {ran: {margin: 0.1}}
  # its classes differ in size by a factor of 36: the peers draw them evenly
  affectnet8:
    source: affectnet
    root: ../../data/raw/affectnet
    options: {num_classes: 8}
    set: {sampling: {balanced: true}, ran: {regions: 7}}
  affectnet7:
    source: affectnet
    root: ../../data/raw/affectnet
    options: {num_classes: 7}
    set: {sampling: {balanced: true}, ran: {regions: 7}}
"""
SYNTHETIC_HEAD = """\
# Tables 1 and 3 with all methods on the demo's rendered faces, two seeds, 12 epochs instead of its 10.
# Written by profiles/generate.py: change that.
training: {input: aligned, image_size: 48, width: 16, epochs: 12, warmup_epochs: 3, batch_size: 32}
render:
  synthetic: {train: 1400, valid: 350, test: 700}
frozen: {} # no frozen backbone: all layers are trained
datasets:
  synthetic: {source: synthetic, root: data/rendered/synthetic}
"""
FROZEN_SIZE = """\
training:
  {input: features, image_size: 112, backbone: dlib29, width: 32, hidden: 1024, epochs: 16, warmup_epochs: 3,
   batch_size: 256}
render: {} # nothing to draw: the images are real
frozen: {ferplus: dlib, ferplus7: dlib}
"""
FERPLUS_HEAD = """\
# FER+, real faces with ten votes each, in half a minute a cell on one CPU core: heads on features of dlib's
# frozen face-recognition network. Eight classes with symmetric noise; and seven with *real* noise: FER2013's
# own labels in training, the votes' majority at test. The heads are large enough to memorise wrong labels;
# their size, rate, epochs and warm-up were chosen on held-out training images (docs/choices.md).
# Written by profiles/generate.py: change that. Put the data under data/raw/ferplus (README).
"""
REGIMES_HEAD = """\
# When does ASM help? FER+ as in the profile ferplus, with heads from too small to memorise a wrong label to
# large enough for most of them, and with a longer warm-up; beside ASM as in the paper, rules that change one
# or two of its keys (params.yaml, "no part of the paper"). FER2013's validation images are not trained on
# here: they choose among the rules.
# Written by profiles/generate.py: change that. Put the data under data/raw/ferplus (README).
"""
FINETUNE_HEAD = """\
# Fine-tuning, as the paper does it: all layers of dlib's face-recognition network on FER+, on CPU cores with
# patience. §4.2's rate, decay, batch size and warm-up; the first 30 of its 100 epochs: the rate has fallen to
# 5 % of its start by then. bf16: 1.7 times as fast with AMX or AVX512-BF16; without: `precision: fp32`.
# Written by profiles/generate.py: change that. Put the data under data/raw/ferplus (README).
training:
  {input: aligned, image_size: 80, backbone: dlib29, width: 32, epochs: 30, warmup_epochs: 10,
   batch_size: 128, precision: bf16}
render: {} # nothing to draw: the images are real
frozen: {} # no frozen backbone: all layers are trained
"""
FERPLUS_GPU_HEAD = """\
# The whole grid of the profile ferplus with all layers trained, on one GPU. If you have MS-Celeb-1M weights:
# backbone resnet18, width 64, image_size 224, and {weights: msceleb, path: resnet18_msceleb.pth} in `inits`.
# §4.2's schedule, the first 30 of its 100 epochs: the rate has fallen to 5 % of its start by then.
# Written by profiles/generate.py: change that. Put the data under data/raw/ferplus (README).
training:
  {input: aligned, image_size: 112, backbone: dlib29, width: 32, epochs: 30, warmup_epochs: 10,
   batch_size: 128, precision: bf16}
render: {} # nothing to draw: the images are real
frozen: {} # no frozen backbone: all layers are trained
"""
NOISES = """\
noises:
  n00: {kind: symmetric, rate: 0.0}
  n10: {kind: symmetric, rate: 0.1}
  n20: {kind: symmetric, rate: 0.2}
  n30: {kind: symmetric, rate: 0.3}
"""
TABLE_1 = ("baseline", "scn", "rul", "eac", "asm")
TABLE_3 = ("ran", "dacl", "ipa2lt")  # beside those of Table 1
RELATED = ("dmue", "man", "coteaching", "decoupling", "jocor", "dividemix", "nct")
CURVES = {  # supplement Fig. 1, without each curve's best point, which is the default
    "beta": (0, 0.2, 0.8, 1, 2, 5),
    "omega": (0.2, 0.4, 0.8, 1, 2, 5),
    "gamma": (0.2, 0.4, 0.6, 0.8, 2, 5),
}
# the control "two_networks" tells what two networks gain from what ASM gains
ON_FEATURES = (
    "baseline",
    "asm",
    "two_networks",
    "scn",
    "rul",
    "eac",
    "man",
    "coteaching",
    "dividemix",
    "nct",
)
OTHERS_ON_FEATURES = ("jocor", "decoupling", "ipa2lt", "dacl", "dmue")  # RAN crops images
HEADS = "set: {optimizer: {lr: 0.002, lr_decay: 0.86, weight_decay: 0.0}}"
REGIMES = {  # from the weakest heads to the strongest
    "weak": "training: {hidden: 64, dropout: 0.5}, optimizer: {weight_decay: 0.001}",
    "small": "training: {hidden: 128}, optimizer: {weight_decay: 0.0005}",
    "middle": "training: {hidden: 256}",
    "large": "",
    "long": "training: {epochs: 32, warmup_epochs: 6}, optimizer: {lr_decay: 0.93}",
}
LATE = {
    "small_late": "training: {hidden: 128, warmup_epochs: 8}, optimizer: {weight_decay: 0.0005}",
    "large_late": "training: {warmup_epochs: 8}",
}
RULES = {
    "": "",
    "_perclass": "thresholds: {noisy: per_class}",
    "_noagree": "losses: {lambda_max: 0.0}",
    "_perclass_noagree": "thresholds: {noisy: per_class}, losses: {lambda_max: 0.0}",
    "_lateagree": "losses: {ramp_from: mining, beta: 5.0}",
    "_cap": "thresholds: {max_noisy: 0.3}",
    "_hold": "thresholds: {mine_above: 0.8}",
    "_gap": "thresholds: {held_out: 0.05, mine_from_gap: 0.1}",
    "_switch": "thresholds: {held_out: 0.05, complement_from_gap: 0.06}, losses: {lambda_max: 0.0}",
    "_calibrated": "thresholds: {held_out: 0.05, calibrated: true}",
}
RULES_IN = {  # where ASM's rules are tried, beside ASM as in the paper
    "n30": ("weak", "middle", "large", "long"),
    "real": ("weak", "middle", "large", "long"),
    "n00": ("weak", "large"),
}
SCREENED_OUT = ("_cap", "_calibrated")  # below λ_max 0 on validation at 30 % noise, in the first three
MAX_CONFIDENCE = "thresholds: {confidence: max}"  # Eq. 3 as printed
TABLE_2 = (("at", "mutual, consistency"), ("at_mut", "consistency"), ("at_usc", "mutual"))


class Cells:
    """Cell rows by name, in one table."""

    def __init__(self, init: str) -> None:
        self.init = init
        self.rows: dict[str, str] = {}

    def starting_from(self, init: str) -> "Cells":
        """Rows that go to the same table, with other initial weights."""
        other = Cells(init)
        other.rows = self.rows
        return other

    def add(
        self, dataset: str, noise: str, method: str, seeds: Iterable[int], tag: str = "", change: str = ""
    ) -> None:
        for seed in seeds:
            name = f"{dataset}_{noise}_{method}{tag}_s{seed}"
            row = f"dataset: {dataset}, noise: {noise}, method: {method}, init: {self.init}, seed: {seed}"
            self.rows[name] = f"{{{row}{', set: {' + change + '}' if change else ''}}}"

    def curves(self, dataset: str, noise: str, seeds: Iterable[int]) -> None:
        for key, values in CURVES.items():
            for value in values:
                tag = f"_{key}{value}".replace(".", "")
                self.add(dataset, noise, "asm", seeds, tag, f"losses: {{{key}: {float(value)}}}")

    def thresholds(self, dataset: str, noise: str, seeds: Iterable[int]) -> None:
        """Supplement Table 1: thresholds fixed and adaptive, from several initial values."""
        for clean in (0.7, 0.8, 0.9, 0.95):
            initial = f"init_clean: {clean}, init_noisy: {1 - clean:.2g}"
            tag = f"{round(clean * 100)}"
            fixed = f"thresholds: {{adaptive: false, {initial}}}"
            self.add(dataset, noise, "asm", seeds, f"_fixed{tag}", fixed)
            if clean != 0.8:  # the default
                self.add(dataset, noise, "asm", seeds, f"_init{tag}", f"thresholds: {{{initial}}}")

    def table_2(self, dataset: str, noise: str, seeds: Iterable[int]) -> None:
        for tag, replaced in TABLE_2:
            self.add(dataset, noise, "asm", seeds, f"_{tag}", f"losses: {{replace_with_ce: [{replaced}]}}")

    def __str__(self) -> str:
        return "cells:\n" + "".join(f"  {name}: {row}\n" for name, row in self.rows.items())


def paper() -> str:
    """The profile paper."""
    cells, seeds = Cells("msceleb"), (0, 1, 2)
    for dataset in ("rafdb", "ferplus", "affectnet8"):
        for noise in ("n10", "n20", "n30"):
            for method in TABLE_1:
                cells.add(dataset, noise, method, seeds)
    for dataset in ("rafdb", "ferplus", "affectnet8", "affectnet7"):
        for method in (*TABLE_1, *TABLE_3):
            if method != "ipa2lt":
                cells.add(dataset, "n00", method, seeds)
    for dataset in ("affectnet7_rafdb", "rafdb_affectnet7"):  # trained on both, tested on the first
        cells.add(dataset, "n00", "ipa2lt", seeds)
    for noise in ("n00", "n30"):
        for method in RELATED:
            cells.add("rafdb", noise, method, seeds)
    cells.table_2("rafdb", "n00", seeds)
    for noise in ("n00", "n30"):  # our own rows: Eq. 3 as printed, noisy samples left out
        cells.add("rafdb", noise, "asm", seeds, "_max", MAX_CONFIDENCE)
        cells.add("rafdb", noise, "asm", seeds, "_drop", "losses: {drop_noisy: true}")
    for dataset in ("rafdb", "ferplus"):
        cells.thresholds(dataset, "n00", seeds)
    cells.curves("rafdb", "n00", seeds)
    return f"""\
{PAPER_HEAD}{_both("affectnet7", "rafdb")}{_both("rafdb", "affectnet7")}{NOISES}\
inits:
  msceleb: {{weights: msceleb, path: resnet18_msceleb.pth}}
{cells}\
out_of_sample: {{}}
tsne: [rafdb_n00_baseline_s0, rafdb_n00_asm_s0]
headline: {{title: "RAF-DB, 30 % symmetric noise", baseline: rafdb_n30_baseline_s0, asm: rafdb_n30_asm_s0}}
"""


def _both(first: str, second: str) -> str:
    parts = {
        "rafdb": "{source: rafdb, root: ../../data/raw/rafdb, options: {images: original}}",
        "affectnet7": "{source: affectnet, root: ../../data/raw/affectnet, options: {num_classes: 7}}",
    }
    return (
        f"  {first}_{second}:\n    source: union\n    root: ../../data/raw\n"
        f"    options:\n      test: [{first}]\n"
        f"      parts:\n        {first}: {parts[first]}\n        {second}: {parts[second]}\n"
    )


def synthetic() -> str:
    """The profile synthetic."""
    cells, seeds = Cells("au"), (0, 1)
    for noise in ("n00", "n10", "n20", "n30"):
        for method in TABLE_1:
            cells.add("synthetic", noise, method, seeds)
    for method in TABLE_3:
        cells.add("synthetic", "n00", method, seeds)
    for noise in ("n00", "n30"):
        for method in RELATED:
            cells.add("synthetic", noise, method, seeds)
    return f"""\
{SYNTHETIC_HEAD}{NOISES}\
inits:
  au: {{weights: synthetic, faces: 3000, epochs: 8}}
{cells}\
out_of_sample: {{}}
tsne: [synthetic_n30_baseline_s0, synthetic_n30_asm_s0]
headline:
  title: synthetic faces, 30 % symmetric noise
  baseline: synthetic_n30_baseline_s0
  asm: synthetic_n30_asm_s0
"""


def ferplus() -> str:
    """The profile ferplus."""
    return FERPLUS_HEAD + FROZEN_SIZE + _ferplus(_whole_ferplus(OTHERS_ON_FEATURES), HEADS, by_folds=True)


def ferplus_gpu() -> str:
    """The profile ferplus_gpu."""
    return FERPLUS_GPU_HEAD + _ferplus(_whole_ferplus(("ran", *OTHERS_ON_FEATURES)))


def ferplus_finetune() -> str:
    """The profile ferplus_finetune."""
    cells = Cells("dlib")
    for dataset, noise in (("ferplus", "n30"), ("ferplus7", "real"), ("ferplus", "n00")):
        for method in ("asm", "baseline", "two_networks"):
            cells.add(dataset, noise, method, (0,))
    return FINETUNE_HEAD + _ferplus(cells)


def _whole_ferplus(others: Iterable[str]) -> Cells:
    """Table 1, real noise and ASM's ablations; `others` at 30 % and real noise only."""
    cells, three, five = Cells("dlib"), (0, 1, 2), (0, 1, 2, 3, 4)
    places = (*(("ferplus", n) for n in ("n30", "n00")), ("ferplus7", "real"))
    for dataset, noise in (*places, ("ferplus", "n10"), ("ferplus", "n20")):
        for method in ON_FEATURES:
            cells.add(dataset, noise, method, five if method in ("baseline", "asm") else three)
    for dataset, noise in places:
        cells.add(dataset, noise, "asm", three, "_max", MAX_CONFIDENCE)
        if noise != "n00":
            cells.table_2(dataset, noise, three)
    for method in ("baseline", "two_networks", "asm"):  # what the real noise costs
        cells.add("ferplus7", "n00", method, three)
    for dataset, noise in places:
        for method in ("scn", "rul"):  # what their relabelling does, alone
            cells.add(dataset, noise, method, three, "_norelabel", f"{method}: {{relabel: false}}")
        if noise != "n00":
            for method in others:
                cells.add(dataset, noise, method, three)
    cells.thresholds("ferplus", "n30", three)
    cells.curves("ferplus", "n30", three)
    return cells


def regimes() -> str:
    """The profile regimes."""
    cells, seeds = Cells("dlib"), (0, 1, 2)
    for dataset, noise in (("ferplus", "n30"), ("ferplus7", "real"), ("ferplus", "n00")):
        for regime, changes in REGIMES.items():
            for method in ("baseline", "two_networks"):
                cells.add(dataset, noise, method, seeds, f"_{regime}", changes)
            for rule, rule_changes in RULES.items():
                tried = rule not in SCREENED_OUT or (noise == "n30" and regime != "long")
                if rule == "" or (regime in RULES_IN[noise] and tried):
                    change = ", ".join(part for part in (changes, rule_changes) if part)
                    cells.add(dataset, noise, "asm", seeds, f"{rule}_{regime}", change)
        for regime, changes in LATE.items() if noise == "n30" else ():  # the warm-up is nothing to the others
            cells.add(dataset, noise, "asm", seeds, f"_{regime}", changes)
    return REGIMES_HEAD + FROZEN_SIZE + _ferplus(cells, HEADS, "large", ", merge_valid: false", by_folds=True)


def _ferplus(cells: Cells, more: str = "", tag: str = "", options: str = "", by_folds: bool = False) -> str:
    """From `datasets` on. `more`, `options`: further keys and options of both data sets; `tag`: of the
    cells that are drawn, or trained once more by folds; `by_folds`: whether there are such."""
    datasets = ""
    for key, classes in (("ferplus", 8), ("ferplus7", 7)):
        datasets += f"  {key}:\n    source: ferplus\n    root: ../../data/raw/ferplus\n"
        datasets += f"    options: {{num_classes: {classes}, rule: majority{options}}}\n"
        datasets += (
            "    align: {pad: 0.25, upscale: 2.0} # MTCNN finds more faces in tight crops with a border\n"
        )
        datasets += f"    {more}\n" if more else ""
    inits = {
        "dlib": "{weights: dlib} # of the package face-recognition-models",
        "au": "{weights: synthetic, faces: 3000, epochs: 8}",
        "scratch": "{weights: none}",
    }
    used = "".join(f"  {name}: {init}\n" for name, init in inits.items() if f"init: {name}," in str(cells))
    drawn = [f"ferplus_n30_{method}{tag and '_'}{tag}_s0" for method in ("baseline", "asm")]
    again = "".join(
        f"\n  {dataset}_{noise}_{method}{tag and '_'}{tag}_s0: "
        f"{{dataset: {dataset}, noise: {noise}, init: dlib}}"
        for dataset, noise in (("ferplus", "n30"), ("ferplus7", "real"))
        for method in ("baseline", "asm")
        if by_folds
    )
    again = again or " {}"
    return f"""\
datasets:
{datasets}{NOISES}\
  real: {{kind: original, rate: 0.32}} # FER2013's own labels; the rate: for methods that are told it
inits:
{used}{cells}\
out_of_sample:{again}
tsne: [{drawn[0]}, {drawn[1]}]
headline: {{title: "FER+, 30 % symmetric noise", baseline: {drawn[0]}, asm: {drawn[1]}}}
"""


PROFILES = {
    "paper": paper,
    "synthetic": synthetic,
    "ferplus": ferplus,
    "regimes": regimes,
    "ferplus_finetune": ferplus_finetune,
    "ferplus_gpu": ferplus_gpu,
}

if __name__ == "__main__":
    for name, text in PROFILES.items():
        (FOLDER / name / "profile.yaml").write_text(text(), encoding="utf-8")
    for path in FOLDER.glob("*/profile.yaml"):
        (path.parent / "dvc.yaml").unlink(missing_ok=True)
        project(path.parent.name, FOLDER.parent)  # its dvc.yaml, from the root's
