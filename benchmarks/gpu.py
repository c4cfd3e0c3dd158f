"""The benchmarks that a GPU is for, at the paper's size; needs torch, torchvision, numpy, pandas, Pillow,
pydantic and PyYAML only.

python benchmarks/gpu.py                 # about 20 minutes; results/<name of the GPU>/*.json
python benchmarks/report.py              # then here: benchmarks/README.md

python benchmarks/gpu.py --rehearse ferplus_gpu    # 10 minutes, where the project is installed: a rehearsal
                                                   # of that profile, then what there is time for
"""

import argparse
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import torch
from common import DRIVER, RESULTS, ROOT, Run, random_samples, seconds_of, write
from memory import memory, streaming
from training import against_usual_way, mining_speed, scaling

PAPER = {"image_size": 224, "width": 64, "batch_size": 128, "precision": "bf16"}
DATASETS = {"RAF-DB": 12_271, "AffectNet": 287_651}  # the latter's number of images takes 43 GB
COUNTS, SIZES = [1_000, 4_000, 16_000, 64_000], [96, 128, 160, 192, 224]
MINUTES = {"rehearsal": 6.5, "all": 9.5}
CELLS_AT_ONCE = 4  # of a rehearsal: starting Python takes them longer than the GPU
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


def rehearse(profile: str, folder: str) -> None:
    """A rehearsal of `profile`, then what has time of the benchmarks, each a process that is ended when its
    time is over; the figures of both into results/`folder`."""
    began = time.monotonic()
    options = [profile, "--rehearse", "--cells-per-gpu", str(CELLS_AT_ONCE)]
    _until(began + 60 * MINUTES["rehearsal"], [sys.executable, str(ROOT / DRIVER), *options])
    found = ROOT / "rehearsals" / profile / "rehearsal.json"
    if found.is_file():
        (RESULTS / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(found, RESULTS / folder / f"rehearsal_{profile}.json")
    _until(began + 60 * MINUTES["all"], [sys.executable, str(Path(__file__).resolve())])
    print(
        f"{RESULTS / folder}: " + ", ".join(sorted(path.name for path in (RESULTS / folder).glob("*.json")))
    )


def _until(end: float, words: list[str]) -> None:
    """Run a command, and end it as Ctrl-C does if it takes longer: what it has found is kept."""
    process = subprocess.Popen(words, cwd=ROOT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(max(1.0, end - time.monotonic()))
        return
    print(f"{Path(words[1]).name}: stopped, its time is over", flush=True)
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(15)
    process.kill()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rehearse", metavar="PROFILE", help="rehearse this profile before")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("error: no GPU that torch can use; on a CPU: make bench")
    torch.manual_seed(0)
    gpu = torch.device("cuda", 0)
    name = re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name(gpu).lower())
    rehearse(args.rehearse, name) if args.rehearse else measure(gpu, name)
