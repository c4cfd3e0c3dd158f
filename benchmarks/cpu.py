"""All benchmarks on this machine's processor: `make bench`, or some: python benchmarks/cpu.py mining dvc."""

import argparse
import os

import torch
from alignment import alignment
from augmentation import augmentation
from bank import bank
from common import write
from memory import memory, streaming
from mining_speed import mining_speed
from pipeline import driven, overhead
from training import against_usual_way, half_precision, scaling, step_ceiling

CPU = torch.device("cpu")
CORES = os.cpu_count() or 1
# The demo's cells, and the paper's network; the latter with all cores, since nobody trains it on one.
SMALL = {"image_size": 48, "width": 16, "batch_size": 32, "precision": "fp32"}
PAPER = {"image_size": 224, "width": 64, "batch_size": 32, "precision": "fp32"}
# The cells of ferplus_finetune
FINETUNED = {"image_size": 80, "backbone": "dlib29", "width": 32, "batch_size": 128}


def step() -> None:
    torch.set_num_threads(1)
    write("cpu", "step_ceiling_48", CPU, **step_ceiling(CPU, count=1400, repeats=5, **SMALL))
    torch.set_num_threads(CORES)
    write("cpu", "step_ceiling_224", CPU, **step_ceiling(CPU, count=64, repeats=3, **PAPER))


def usual() -> None:
    torch.set_num_threads(CORES)
    write("cpu", "usual_way_224", CPU, **against_usual_way(CPU, count=64, repeats=3, **PAPER))
    torch.set_num_threads(1)
    write("cpu", "usual_way_48", CPU, **against_usual_way(CPU, count=1400, repeats=3, **SMALL))


def bf16() -> None:
    """Meant for processors with instructions for it (AMX)."""
    torch.set_num_threads(1)
    write("cpu", "bf16", CPU, **half_precision(CPU, count=512, repeats=5, **FINETUNED))
    torch.set_num_threads(CORES)
    options = {**PAPER, "precision": "bf16"}
    write("cpu", "usual_way_224_bf16", CPU, **against_usual_way(CPU, count=64, repeats=3, **options))


def mining() -> None:
    torch.set_num_threads(1)
    write("cpu", "mining", CPU, **mining_speed(CPU, [10_000, 100_000, 1_000_000]))


def augment() -> None:
    torch.set_num_threads(1)
    for size in (48, 224):
        write("cpu", f"augmentation_{size}", CPU, **augmentation(CPU, count=32, image_size=size, repeats=15))


def align() -> None:
    torch.set_num_threads(1)
    write("cpu", "alignment", CPU, **alignment(count=96, image_size=224, repeats=3))


def memories() -> None:
    torch.set_num_threads(1)
    options = {"image_size": 48, "width": 4, "batch_size": 32, "precision": "fp32"}
    write("cpu", "memory", CPU, **memory(CPU, counts=[4_000, 16_000, 64_000], **options))
    write("cpu", "streaming", CPU, **streaming(CPU, count=4_000, repeats=3, **SMALL))


def dvc() -> None:
    write("cpu", "dvc", CPU, by_cells=[overhead(cells) for cells in (25, 100, 300)])
    write("cpu", "driver", CPU, by_cells=[driven(cells) for cells in (25, 100, 300)])
    write("cpu", "scale", CPU, by_cells=[driven(384, workers=64, sleep=2.5)])


def work() -> None:
    torch.set_num_threads(1)
    counts, sizes = [1_000, 4_000, 16_000, 64_000], [48, 64, 96, 128, 192, 224]
    options = {key: SMALL[key] for key in ("width", "batch_size", "precision")}
    write("cpu", "scaling", CPU, **scaling(CPU, counts, 48, sizes, 512, **options))


def features() -> None:
    torch.set_num_threads(CORES)
    write("cpu", "bank", CPU, **bank(count=16 * 128, repeats=2))


BENCHMARKS = {
    "step": step,
    "usual": usual,
    "bf16": bf16,
    "mining": mining,
    "augmentation": augment,
    "alignment": align,
    "memory": memories,
    "dvc": dvc,
    "scaling": work,
    "features": features,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], help=f"of {', '.join(BENCHMARKS)}")
    torch.manual_seed(0)
    for name in parser.parse_args().names or BENCHMARKS:
        BENCHMARKS[name]()
