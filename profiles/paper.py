"""Write paper.yaml: every cell of the paper's Tables 1-3 and of its supplement, from their axes.

Run `python profiles/paper.py` after a change here; a test keeps the two in step.
"""

from pathlib import Path

HEAD = """\
# Every cell of the paper's Tables 1-3 and of its supplement's Table 1 and Fig. 1, at its size, three seeds.
# Written by profiles/paper.py: change that. A GPU is needed, and the data and weights named here (README).
profile: paper
training: {image_size: 224, width: 64, epochs: 100, warmup_epochs: 10, batch_size: 128, precision: bf16}
render: {} # nothing to draw: the images are real
datasets:
  rafdb: {source: rafdb, root: data/raw/rafdb, options: {images: aligned}, align: {detect: false}}
  ferplus: {source: ferplus, root: data/raw/ferplus, align: {pad: 0.25, upscale: 2.0}}
  affectnet8: {source: affectnet, root: data/raw/affectnet, options: {num_classes: 8}}
  affectnet7: {source: affectnet, root: data/raw/affectnet, options: {num_classes: 7}}
noises:
  n00: {kind: symmetric, rate: 0.0}
  n10: {kind: symmetric, rate: 0.1}
  n20: {kind: symmetric, rate: 0.2}
  n30: {kind: symmetric, rate: 0.3}
inits:
  msceleb: {weights: msceleb, path: data/raw/weights/resnet18_msceleb.pth}
"""
TAIL = """\
tsne: [rafdb_n00_baseline_s0, rafdb_n00_asm_s0]
headline: {title: "RAF-DB, 30 % symmetric noise", baseline: rafdb_n30_baseline_s0, asm: rafdb_n30_asm_s0}
"""
SEEDS = (0, 1, 2)
METHODS = ("baseline", "asm")
CURVES = {  # supplement Fig. 1, without each curve's best point, which is the default
    "beta": (0, 0.2, 0.8, 1, 2, 5),
    "omega": (0.2, 0.4, 0.8, 1, 2, 5),
    "gamma": (0.2, 0.4, 0.6, 0.8, 2, 5),
}


def rows() -> dict[str, str]:
    """Each cell's name and its row, as flow-style yaml."""
    cells: dict[str, str] = {}

    def add(dataset: str, noise: str, method: str, tag: str = "", change: str = "") -> None:
        for seed in SEEDS:
            name = f"{dataset}_{noise}_{method}{tag}_s{seed}"
            row = f"dataset: {dataset}, noise: {noise}, method: {method}, init: msceleb, seed: {seed}"
            cells[name] = f"{{{row}{', set: ' + change if change else ''}}}"

    for dataset in ("rafdb", "ferplus", "affectnet8"):  # Table 1
        for noise in ("n10", "n20", "n30"):
            for method in METHODS:
                add(dataset, noise, method)
    for dataset in ("rafdb", "ferplus", "affectnet8", "affectnet7"):  # Table 3
        for method in METHODS:
            add(dataset, "n00", method)
    for tag, replaced in (("at", "mutual, consistency"), ("at_mut", "consistency"), ("at_usc", "mutual")):
        add("rafdb", "n00", "asm", f"_{tag}", f"{{losses: {{replace_with_ce: [{replaced}]}}}}")  # Table 2
    for noise in ("n00", "n30"):  # our own rows: Eq. 3 as printed, noisy samples left out
        add("rafdb", noise, "asm", "_max", "{thresholds: {confidence: max}}")
        add("rafdb", noise, "asm", "_drop", "{losses: {drop_noisy: true}}")
    for dataset in ("rafdb", "ferplus"):  # supplement Table 1
        for clean in (0.7, 0.8, 0.9, 0.95):
            initial = f"init_clean: {clean}, init_noisy: {1 - clean:.2g}"
            tag = f"{round(clean * 100)}"
            add(dataset, "n00", "asm", f"_fixed{tag}", f"{{thresholds: {{adaptive: false, {initial}}}}}")
            if clean != 0.8:  # the default
                add(dataset, "n00", "asm", f"_init{tag}", f"{{thresholds: {{{initial}}}}}")
    for key, values in CURVES.items():
        for value in values:
            tag = f"_{key}{value}".replace(".", "")
            add("rafdb", "n00", "asm", tag, f"{{losses: {{{key}: {float(value)}}}}}")
    return cells


def text() -> str:
    """The whole of paper.yaml."""
    lines = "".join(f"  {name}: {row}\n" for name, row in rows().items())
    return f"{HEAD}cells:\n{lines}{TAIL}"


if __name__ == "__main__":
    Path(__file__).with_suffix(".yaml").write_text(text(), encoding="utf-8")
