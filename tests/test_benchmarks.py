"""The benchmarks measure what they say, and need no more than they say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_the_usual_way_mines_the_same_subsets(tmp_path):
    """Sample by sample from files, or at once: the same thresholds, the same partition."""
    import usual_way
    from common import ASM, CLASSES, asm_config, random_samples
    from PIL import Image

    cpu = torch.device("cpu")
    samples = random_samples(40, 32, cpu)
    files = [tmp_path / f"{i}.png" for i in range(40)]
    for file, face in zip(files, samples.faces.numpy(), strict=True):
        Image.fromarray(face).save(file)
    networks, _ = usual_way.build(CLASSES, 4, cpu)
    method = ASM(asm_config(32, 4, 8), networks, CLASSES, samples)
    predicted = method.predict_all(samples.faces).mean(0).argmax(1)
    samples.labels[::2] = predicted[::2]  # so that some classes have correct predictions
    method.start_epoch(11)
    mined = usual_way._mine(files, samples.labels.tolist(), networks, CLASSES, 8, 0, cpu)
    assert [mined[i] for i in range(40)] == method.subset.tolist()
    assert len(set(mined.values())) > 1


def test_the_largest_gap_of_a_trace():
    from trace_gaps import largest_gap

    assert largest_gap([(0, 4), (1, 2), (5, 6), (5.5, 9)]) == 1
    assert largest_gap([(3, 4), (0, 2)]) == 1
    assert largest_gap([(0, 10), (1, 2), (9, 12)]) == 0


def test_ratios_are_of_pairs_and_the_exponent_is_of_a_power():
    from common import ratio, slope

    found = ratio([2.0, 3.0, 8.0], [1.0, 1.0, 2.0])
    assert found == {"ratio": 3.0, "smallest": 2.0, "largest": 4.0}
    assert slope([1.0, 2.0, 4.0], [3.0, 12.0, 48.0]) == pytest.approx(2.0)


def test_each_benchmark_finds_what_it_imports():
    names = sorted(path.stem for path in BENCHMARKS.glob("*.py"))
    assert {"alignment", "audit", "cpu", "gpu", "pipeline"} <= set(names)
    command = [sys.executable, "-c", f"import {', '.join(names)}"]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


BARE = """
import sys
sys.modules.update(dict.fromkeys({absent!r}))  # to import one of these fails
sys.path.insert(0, {benchmarks!r})
import gpu, json, torch, training
torch.set_num_threads(1)
cpu = torch.device("cpu")
tiny = dict(image_size=64, width=4, batch_size=8, precision="fp32")
print(json.dumps({{
    "step": gpu.step_ceiling(cpu, count=24, repeats=1, **tiny),
    "usual": gpu.against_usual_way(cpu, count=24, repeats=1, **tiny),
    "bf16": training.half_precision(
        cpu, count=16, image_size=64, backbone="dlib29", width=4, batch_size=8, repeats=1
    ),
    "mining": gpu.mining_speed(cpu, [1000, 2000], repeats=3),
    "augmentation": gpu.augmentation(cpu, count=4, image_size=48, repeats=1),
    "streaming": gpu.streaming(cpu, count=24, repeats=1, **tiny),
    "memory": gpu.memory(cpu, counts=[24, 48], **tiny),
    "scaling": gpu.scaling(cpu, [16, 32], 48, [48, 64], 16, width=4, batch_size=8, precision="fp32"),
}}))
"""


def test_the_gpu_script_needs_no_more_than_it_says():
    """torch, torchvision, numpy, pandas, Pillow, pydantic and PyYAML."""
    absent = {"sklearn", "scipy", "dvc", "safetensors", "facenet_pytorch", "matplotlib", "jinja2"}
    absent |= {"psutil", "tabulate", "tqdm", "threadpoolctl", "seaborn"}
    script = BARE.format(absent=absent, benchmarks=str(BENCHMARKS))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["step"]["samples"] == 24
    assert found["step"]["ratio"] > 0
    assert sum(found["step"]["not_in_the_networks"].values()) <= 1.001
    assert found["usual"]["samples_per_second_usual"] > 0
    assert found["bf16"]["smallest"] == found["bf16"]["ratio"] == found["bf16"]["largest"] > 0  # one pair
    assert {"weak", "strong"} == set(found["augmentation"])
    assert len(found["memory"]["peak_mb"]) == 2
    assert set(found["scaling"]["by_samples"]["seconds"]) == {"16", "32"}


def test_the_page_shows_the_results_that_are_there():
    from report import load, page

    assert (BENCHMARKS / "README.md").read_text(encoding="utf-8") == page(load())


def test_without_a_gpu_the_gpu_script_says_so():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "gpu.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "error: no GPU that torch can use; on a CPU: make bench\n"
