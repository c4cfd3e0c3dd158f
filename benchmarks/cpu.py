"""All benchmarks on a processor: `make bench`; some: python benchmarks/cpu.py mining driver."""

import argparse
import os

import torch
from common import write
from faces import alignment, bank
from memory import memory, streaming
from pipeline import driven
from step import finetuning
from training import against_usual_way, half_precision, mining_speed, scaling

CPU = torch.device("cpu")
CORES = os.cpu_count() or 1
# The demo's cells, and the paper's network; the latter with all cores, since nobody trains it on one.
SMALL = {"image_size": 48, "width": 16, "batch_size": 32, "precision": "fp32"}
PAPER = {"image_size": 224, "width": 64, "batch_size": 32, "precision": "fp32"}
BF16 = {**PAPER, "precision": "bf16"}  # for processors with instructions for it (AMX)
TINY = {**SMALL, "width": 4}
FINETUNED = {"image_size": 80, "backbone": "dlib29", "width": 32, "batch_size": 128}  # ferplus_finetune
COUNTS, SIZES = [1_000, 4_000, 16_000, 64_000], [48, 64, 96, 128, 192, 224]
SHAPE = {key: SMALL[key] for key in ("width", "batch_size", "precision")}

# name -> result -> threads, and what makes it
BENCHMARKS = {
    "usual": {
        "usual_way_48": (1, lambda: against_usual_way(CPU, count=1400, repeats=3, **SMALL)),
        "usual_way_224": (CORES, lambda: against_usual_way(CPU, count=64, repeats=3, **PAPER)),
        "usual_way_224_bf16": (CORES, lambda: against_usual_way(CPU, count=64, repeats=3, **BF16)),
    },
    "bf16": {"bf16": (1, lambda: half_precision(CPU, count=512, repeats=5, **FINETUNED))},
    "finetuning": {"finetuning": (1, lambda: finetuning(repeats=5, small=64, **FINETUNED))},
    "mining": {"mining": (1, lambda: mining_speed(CPU, [10_000, 100_000, 1_000_000]))},
    "alignment": {"alignment": (1, lambda: alignment(count=96, image_size=224, repeats=3))},
    "bank": {"bank": (CORES, lambda: bank(count=16 * 128, repeats=2))},
    "memory": {
        "memory": (1, lambda: memory(CPU, counts=[4_000, 16_000, 64_000], **TINY)),
        "streaming": (1, lambda: streaming(CPU, count=4_000, repeats=3, **SMALL)),
    },
    "driver": {
        "driver": (CORES, lambda: {"by_cells": [driven(cells) for cells in (25, 100, 300)]}),
        "scale": (CORES, lambda: {"by_cells": [driven(384, workers=64, sleep=60)]}),
    },
    "scaling": {"scaling": (1, lambda: scaling(CPU, COUNTS, 48, SIZES, 512, **SHAPE))},
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], help=f"of {', '.join(BENCHMARKS)}")
    torch.manual_seed(0)
    for name in parser.parse_args().names or BENCHMARKS:
        for result, (threads, measure) in BENCHMARKS[name].items():
            torch.set_num_threads(threads)
            write("cpu", result, CPU, **measure())
