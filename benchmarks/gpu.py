"""The benchmarks that a GPU is for, at the paper's size; needs torch, torchvision, numpy, pandas, Pillow,
pydantic and PyYAML only.

python benchmarks/gpu.py                 # about 20 minutes; results/<name of the GPU>/*.json
python benchmarks/report.py              # then here: benchmarks/README.md
"""

import re
import sys

import torch
from common import Run, random_samples, seconds_of, write
from memory import memory, streaming
from training import against_usual_way, mining_speed, scaling

PAPER = {"image_size": 224, "width": 64, "batch_size": 128, "precision": "bf16"}
DATASETS = {"RAF-DB": 12_271, "AffectNet": 287_651}  # the latter's number of images takes 43 GB
COUNTS, SIZES = [1_000, 4_000, 16_000, 64_000], [96, 128, 160, 192, 224]
SHAPE = {key: PAPER[key] for key in ("width", "batch_size", "precision")}


def measure(device: torch.device, folder: str) -> None:
    """Everything, into results/`folder`."""
    write(folder, "mining", device, **mining_speed(device, [10_000, 100_000, 1_000_000]))
    write(folder, "usual_way_224", device, **against_usual_way(device, count=2048, repeats=2, **PAPER))
    write(folder, "memory", device, **memory(device, counts=[2_000, 8_000, 32_000], **PAPER))
    write(folder, "streaming", device, **streaming(device, count=8_000, repeats=3, **PAPER))
    write(folder, "scaling", device, **scaling(device, COUNTS, 224, SIZES, 8_000, **SHAPE))
    seconds = {}
    for name, number in DATASETS.items():
        run = Run(random_samples(number, 224, device), **PAPER)
        seconds[name] = round(seconds_of(run.epoch, device), 2)
        del run
    write(folder, "datasets", device, samples=DATASETS, seconds=seconds)


if __name__ == "__main__":
    if not torch.cuda.is_available():
        sys.exit("error: no GPU that torch can use; on a CPU: make bench")
    torch.manual_seed(0)
    gpu = torch.device("cuda", 0)
    name = re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name(gpu).lower())
    measure(gpu, name)
