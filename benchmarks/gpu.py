"""Benchmarks 1, 2, 4, 6 and 8 on a GPU at the paper's size; needs torch, torchvision, numpy, pandas, Pillow,
pydantic and PyYAML only.

python benchmarks/gpu.py                 # about 20 minutes; results/<name of the GPU>/*.json
python benchmarks/report.py              # then here: benchmarks/README.md
"""

import argparse
import re
import sys
from functools import partial

import torch
from augmentation import augmentation
from common import RESULTS, asm_config, make_asm, random_samples, write
from memory import memory, streaming
from mining_speed import mining_speed
from trace_gaps import gaps
from training import against_usual_way, epoch, scaling, seconds_of, step_ceiling

PAPER = {"image_size": 224, "width": 64, "batch_size": 128, "precision": "bf16"}
DATASETS = {"RAF-DB": 12_271, "AffectNet": 287_651}


def measure(device: torch.device, folder: str, count: int) -> None:
    """Everything, into results/`folder`."""
    write(folder, "step_ceiling_224", device, **step_ceiling(device, count=count, repeats=5, **PAPER))
    options = {key: PAPER[key] for key in ("width", "batch_size", "precision")}
    samples = random_samples(16 * PAPER["batch_size"], PAPER["image_size"], device)
    method, optimizer = make_asm(asm_config(**PAPER), samples)
    epoch(method, optimizer, samples)
    found = gaps(method, optimizer, samples, PAPER["batch_size"], str(RESULTS / folder / "trace.json.gz"))
    write(folder, "gaps", device, **found)
    del samples, method, optimizer
    write(folder, "mining", device, **mining_speed(device, [10_000, 100_000, 1_000_000]))
    write(folder, "augmentation_224", device, **augmentation(device, count=128, image_size=224, repeats=7))
    write(folder, "usual_way_224", device, **against_usual_way(device, count=2048, repeats=2, **PAPER))
    write(folder, "memory", device, **memory(device, counts=[2_000, 8_000, 32_000], **PAPER))
    write(folder, "streaming", device, **streaming(device, count=8_000, repeats=3, **PAPER))
    counts, sizes = [1_000, 4_000, 16_000, 64_000], [96, 128, 160, 192, 224]
    write(folder, "scaling", device, **scaling(device, counts, 224, sizes, 8_000, **options))
    seconds = {}
    for name, number in DATASETS.items():
        samples = random_samples(number, 224, device)
        method, optimizer = make_asm(asm_config(**PAPER), samples)
        seconds[name] = round(seconds_of(partial(epoch, method, optimizer, samples), device), 2)
        del samples, method, optimizer  # AffectNet's number of images takes 43 GB
    write(folder, "datasets", device, samples=DATASETS, seconds_per_epoch=seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=4096, help="samples of benchmark 1")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("error: no GPU that torch can use; on a CPU: make bench")
    torch.manual_seed(0)
    gpu = torch.device("cuda", 0)
    name = re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name(gpu).lower())
    (RESULTS / name).mkdir(parents=True, exist_ok=True)
    measure(gpu, name, arguments.count)
