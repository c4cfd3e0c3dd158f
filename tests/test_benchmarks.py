"""The benchmarks measure what they say, and need no more than they say."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_the_usual_way_mines_the_same_subsets(tmp_path):
    """Sample by sample from files, or at once: the same thresholds, the same partition."""
    from common import ASM, CLASSES, asm_config, random_samples
    from PIL import Image
    from usual_way import UsualWay

    cpu = torch.device("cpu")
    samples = random_samples(40, 32, cpu)
    files = [tmp_path / f"{i}.png" for i in range(40)]
    for file, face in zip(files, samples.faces.numpy(), strict=True):
        Image.fromarray(face).save(file)
    usual = UsualWay(files, [], 4, 8, cpu)
    usual.options["num_workers"] = 0
    method = ASM(asm_config(image_size=32, width=4, batch_size=8), usual.networks, CLASSES, samples)
    predicted = method.predict_all(samples.faces).mean(0).argmax(1)
    samples.labels[::2] = predicted[::2]  # so that some classes have correct predictions
    method.start_epoch(11)
    usual.labels = samples.labels.tolist()
    mined = usual.mine()
    assert [mined[i] for i in range(40)] == method.subset.tolist()
    assert len(set(mined.values())) > 1


def test_a_run_trains_on_the_shares_of_a_trained_network():
    """Whatever its own networks, which are not trained, would mine."""
    from common import SHARES, Run, random_samples

    run = Run(random_samples(50, 32, torch.device("cpu")), image_size=32, width=4, batch_size=8)
    run.method.start_epoch(11)
    counts = {code: int((run.method.subset == code).sum()) for code in SHARES}
    assert counts == {code: round(50 * share) for code, share in SHARES.items()}


def test_ratios_are_of_pairs_and_the_exponent_is_of_a_power():
    from common import ratio, slope

    found = ratio([2.0, 3.0, 8.0], [1.0, 1.0, 2.0])
    assert found == {"ratio": 3.0, "smallest": 2.0, "largest": 4.0}
    assert slope({1: 3.0, 2: 12.0, 4: 48.0}) == pytest.approx(2.0)


def test_each_benchmark_finds_what_it_imports_and_without_a_gpu_the_gpu_script_says_so():
    from common import CODE, DRIVER, ROOT  # what the pipeline's benchmark takes of the project

    assert all((ROOT / name).exists() for name in (*CODE, DRIVER))
    assert DRIVER.partition("/")[0] in CODE
    names = sorted(path.stem for path in BENCHMARKS.glob("*.py"))
    assert {"audit", "cpu", "faces", "gpu", "pipeline"} <= set(names)
    code = f"import runpy, {', '.join(names)}\nrunpy.run_path('gpu.py', run_name='__main__')"
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=BENCHMARKS, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.endswith("error: no GPU that torch can use; on a CPU: make bench\n"), done.stderr


BARE = """
import sys
sys.modules.update(dict.fromkeys({absent!r}))  # to import one of these fails
sys.path.insert(0, {benchmarks!r})
import gpu, json, torch, training
torch.set_num_threads(1)
cpu = torch.device("cpu")
tiny = dict(image_size=64, width=4, batch_size=8, precision="fp32")
dlib = dict(image_size=64, backbone="dlib29", width=4, batch_size=8)
print(json.dumps({{
    "usual": gpu.against_usual_way(cpu, count=24, repeats=1, **tiny),
    "bf16": training.half_precision(cpu, count=16, repeats=1, **dlib),
    "mining": gpu.mining_speed(cpu, [1000, 2000], repeats=3),
    "streaming": gpu.streaming(cpu, count=24, repeats=1, **tiny),
    "memory": gpu.memory(cpu, counts=[24], **tiny),
    "scaling": gpu.scaling(cpu, [16, 32], 48, [48, 64], 16, width=4, batch_size=8, precision="fp32"),
}}))
"""


def test_the_gpu_script_needs_no_more_than_it_says():
    """torch, torchvision, numpy, pandas, Pillow, pydantic and PyYAML; its results are those of the page."""
    from report import page

    absent = {"sklearn", "scipy", "dvc", "safetensors", "facenet_pytorch", "matplotlib", "jinja2"}
    absent |= {"psutil", "tabulate", "tqdm", "threadpoolctl", "seaborn"}
    script = BARE.format(absent=absent, benchmarks=str(BENCHMARKS))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["usual"]["samples_per_second_usual"] > 0
    assert found["bf16"]["smallest"] == found["bf16"]["ratio"] == found["bf16"]["largest"] > 0  # one pair
    assert found["memory"]["peak_mb"][0]["streamed_host_mb"] > 0
    assert set(found["scaling"]["by_samples"]["seconds"]) == {"16", "32"}
    on = {"device": "none", "threads": 1, "cores": 2, "torch": "2", "date": "today"}
    written = page({"some-gpu": {name: {"machine": on, **result} for name, result in found.items()}})
    assert "## some-gpu" in written
    assert "Not measured" not in written
    for kind in ("usual way", "bf16", "mining", "streamed", "peak MB", "image side"):
        assert kind in written


def test_the_page_shows_the_results_that_are_there():
    from report import load, page

    assert (BENCHMARKS / "README.md").read_text(encoding="utf-8") == page(load())


SLOW = """
import pathlib, signal, sys, time
def stop(*_):
    pathlib.Path(sys.argv[1]).write_text("kept")
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(60)
"""


def test_a_rehearsal_and_benchmarks_on_a_gpu_end_in_time_and_leave_their_figures(tmp_path, monkeypatch):
    import gpu

    assert gpu.MINUTES["rehearsal"] < gpu.MINUTES["all"] < 10
    begun: list[tuple[list[str], float]] = []
    monkeypatch.setattr(gpu, "_until", lambda end, words: begun.append((words[1:], end)))
    monkeypatch.setattr(gpu, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(gpu, "ROOT", tmp_path)
    now = time.monotonic()
    gpu.rehearse("ferplus_gpu", "some-gpu")  # a rehearsal that left nothing
    result = tmp_path / "rehearsals" / "ferplus_gpu" / "rehearsal.json"
    result.parent.mkdir(parents=True)
    result.write_text("{}")
    gpu.rehearse("ferplus_gpu", "some-gpu")
    assert (tmp_path / "results" / "some-gpu" / "rehearsal_ferplus_gpu.json").read_text() == "{}"
    (first, rehearsed), (second, measured) = begun[2:]
    assert first[:3] == [str(tmp_path / "driver" / "repro.py"), "ferplus_gpu", "--rehearse"]
    assert second == [str(BENCHMARKS / "gpu.py")]
    assert 0 < rehearsed - now < measured - now < 600


def test_what_takes_too_long_is_ended_and_keeps_what_it_found(tmp_path, monkeypatch):
    import gpu

    monkeypatch.setattr(gpu, "ROOT", tmp_path)
    script, kept = tmp_path / "slow.py", tmp_path / "kept"
    script.write_text(SLOW)
    started = time.monotonic()
    gpu._until(started + 4, [sys.executable, str(script), str(kept)])
    assert time.monotonic() - started < 30
    assert kept.read_text() == "kept"
