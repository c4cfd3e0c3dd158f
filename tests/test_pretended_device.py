"""Every method on a second device that is none (pretended.py): nothing mixes with the CPU, no step waits.

It cannot show: whether a GPU's kernels exist and agree, streams and pinned memory, NCCL, speed, memory.
"""

import platform

import numpy as np
import pandas as pd
import pretended
import pytest
import torch
from pretended import DEVICE, Mixed, Waited, host_waits_nowhere, pretending
from tiny import HEAD, make_bank_samples, make_batch, make_config, make_data, make_method

from asm.grid.params import METHODS
from asm.methods import Method
from asm.parts.batches import Data, StreamedFaces
from asm.training import cell


def without_waits(monkeypatch, owner: type, name: str) -> None:
    real = getattr(owner, name)

    def call(*args, **options):
        with host_waits_nowhere(f"{owner.__name__}.{name}"):
            return real(*args, **options)

    monkeypatch.setattr(owner, name, call)


@pytest.mark.parametrize(("name", "streamed"), [*((name, False) for name in sorted(METHODS)), ("asm", True)])
def test_a_cell_is_trained_without_mixing_or_waiting(tmp_path, monkeypatch, name, streamed):
    """Mining, losses, gradients, steps, evaluation and results; the faces on the device or streamed to it."""
    for owner, function in ((Method, "forward"), (torch.Tensor, "backward"), (torch.optim.Adam, "step")):
        without_waits(monkeypatch, owner, function)
    monkeypatch.setenv("ASM_MEMORY_GB", "0" if streamed else "1")
    places, real = [], Data.to
    monkeypatch.setattr(Data, "to", lambda *args: places.append(real(*args)) or places[-1])
    config = make_config(name, training={"epochs": 2})
    with pretending():
        cell.train(config, make_data(), None, tmp_path / "out", tmp_path / "ck", tmp_path / "t.csv", DEVICE)
    (data,) = places
    assert isinstance(data.train.faces, StreamedFaces if streamed else pretended.Pretended)
    assert data.train.labels.device == DEVICE
    history = pd.read_csv(tmp_path / "out" / "history.csv")
    assert np.isfinite(history["loss_total"]).all()
    assert len(list((tmp_path / "out").iterdir())) == 6


def test_its_numbers_are_the_cpus(data):
    """Of one step, before rounding decides what follows."""
    found = []
    for device in (torch.device("cpu"), DEVICE):
        with pretending():
            method = make_method("asm").to(device)
            placed = data.train.to(device)
            method.samples = placed
            rows = torch.arange(12)
            batch = make_batch(data.train, rows.tolist(), epoch=1)
            moved = {
                "rows": rows.to(device),
                "faces": batch.faces.to(device),
                "labels": batch.labels.to(device),
            }
            loss = method.losses(type(batch)(**{**vars(batch), **moved}))["total"]
            loss.backward()
            found.append([loss.item(), *(p.grad.abs().sum().item() for p in method.parameters())])
    assert found[0] == pytest.approx(found[1], rel=1e-4, abs=1e-6)


def test_features_of_a_frozen_backbone_too(tmp_path):
    data = make_data(make=make_bank_samples)
    with pretending():
        config = make_config("asm", training={**HEAD, "epochs": 2})
        cell.train(config, data, None, tmp_path / "out", tmp_path / "ck", tmp_path / "t.csv", DEVICE)
    assert np.isfinite(pd.read_csv(tmp_path / "out" / "history.csv")["loss_total"]).all()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("instructions", [True, False])
def test_bf16_without_instructions_for_it_is_said(
    tmp_path, data, capsys, monkeypatch, precision, instructions
):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: instructions)
    config = make_config("baseline", training={"precision": precision, "epochs": 1})
    places = (tmp_path / "out", tmp_path / "ck", tmp_path / "t.csv")
    cell.train(config, data, None, *places, torch.device("cpu"))
    said = "training.precision: bf16 takes many times as long" in capsys.readouterr().err
    assert said == (precision == "bf16" and not instructions)


def test_mistakes_are_noticed():
    """The test of the tests."""
    with pretending():
        there, here = torch.arange(6.0).to(DEVICE), torch.arange(6.0)
        assert there.device == torch.zeros(2, device=DEVICE).device == torch.tensor([1], device=DEVICE).device
        assert (there * torch.tensor(2.0)).sum().item() == 30  # a number may come from the host
        for mistake in (
            lambda: there + here,
            lambda: torch.cat([there, here]),
            lambda: there[here.long()],
            lambda: here.add_(there),
            lambda: torch.where(here > 1, there, there),
            lambda: there.numpy(),
            lambda: np.asarray(there),
        ):
            with pytest.raises(Mixed):
                mistake()
        waits = (
            there.sum().item,
            there.tolist,
            there.cpu,
            (there > 2).nonzero,
            lambda: bool(there[0] > 1),
            lambda: there[there > 2],
            lambda: here.copy_(there),
            lambda: there.to("cpu", torch.float64),
            lambda: torch.bincount(there.long()),
        )
        for wait in waits:
            wait()  # allowed, but for
            with host_waits_nowhere("a step"), pytest.raises(Waited, match="a step: "):
                wait()
        with host_waits_nowhere("a step"):
            there.add_(1).masked_fill_(there > 2, 0.0)
            here.to(DEVICE)
