"""What holds for every method: it learns, resumes to the byte, and stays finite on odd batches."""

import ast
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tiny import (
    HEAD,
    PARAMS,
    make_bank_samples,
    make_batch,
    make_config,
    make_data,
    make_method,
    make_samples,
)

from asm import methods
from asm.grid.params import METHODS
from asm.parts import backbones, views
from asm.training import cell
from asm.training.epoch import run_epoch
from asm.training.optimization import build_optimizer, set_rates

PEERS = sorted(set(METHODS) - {"baseline", "asm"})
TWO_NETWORKS = sorted(name for name, method in METHODS.items() if method.num_networks == 2)
# DMUE's weights are made for batches of 72, and the share of each of its losses changes with the epoch
OWN = {"dmue": {"similarity_weight": 1.0}}
FALLING = {"dmue": "loss_aux"}
FOLDER = Path(methods.__file__).parent
INPUTS = [  # every method with each of the inputs that it takes: what `training` says, and its samples
    pytest.param(name, training, make, id=f"{name}-{kind}")
    for name in sorted(METHODS)
    for kind, training, make in (("images", {}, make_samples), ("features", HEAD, make_bank_samples))
    if kind == "images" or not METHODS[name].needs_pixels
]


def test_every_method_has_one_file_with_a_docstring_and_the_other_way_round():
    files = {path.stem for path in FOLDER.glob("*.py")} - {"__init__", "base", "config"}
    assert files == set(METHODS)
    for name in files:
        assert ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text())), name


@pytest.mark.parametrize("name", sorted(METHODS))
def test_no_parameter_is_dead(name):
    """Every parameter is trained at some time, or frozen openly; so the cost table counts what is there."""
    data = make_data()
    method = make_method(name, data)
    touched, phases = set(), []
    for epoch in (1, 2, 3):
        method.start_epoch(epoch)
        method.train()
        method.zero_grad(set_to_none=True)
        method.losses(make_batch(data.train, list(range(24)), epoch))["total"].backward()
        phases.append({key for key, p in method.named_parameters() if p.grad is not None})
        touched |= phases[-1]
    # several processes have to know whether they may wait for all gradients
    assert method.trains_in_phases == any(phase != touched for phase in phases)
    expected = {key for key, p in method.named_parameters() if p.requires_grad}
    assert expected - touched == set()


@pytest.mark.parametrize("name", PEERS)
def test_it_learns_and_its_predictions_are_probabilities(tmp_path, train_cell, name):
    data = make_data(train=120, wrong=6)
    own = {name: OWN[name]} if name in OWN else {}
    train_cell(make_config(name, training={"epochs": 8, "warmup_epochs": 3}, **own), data, tmp_path)
    out = tmp_path / "out"
    history = pd.read_csv(out / "history.csv")
    assert np.isfinite(history["loss_total"]).all()
    falling = history[FALLING.get(name, "loss_total")]
    assert falling.iloc[2] < falling.iloc[0]  # during the warm-up
    assert history["test_accuracy"].iloc[-1] > 0.6  # colours are easy; chance is a third
    probs = np.load(out / "test_predictions.npz")["probabilities"]
    assert probs.shape == (5, METHODS[name].num_networks, 12, 3)
    np.testing.assert_allclose(probs.sum(-1), 1, atol=1e-4)
    assert (history["forward_passes"] >= 1).all()


@pytest.mark.parametrize("name", PEERS)
def test_stopped_after_any_epoch_it_goes_on_to_the_same_bytes(tmp_path, train_cell, name, monkeypatch):
    config, real, saves = make_config(name), cell.checkpoint.save, []
    whole = train_cell(config, make_data(), tmp_path / "whole")

    def stop_after_saving(state, path):
        real(state, path)
        saves.append(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(cell.checkpoint, "save", stop_after_saving)
    for _ in range(config.training.epochs):
        with pytest.raises(KeyboardInterrupt):
            train_cell(config, make_data(), tmp_path / "stopped")
    monkeypatch.undo()
    assert len(saves) == config.training.epochs
    assert train_cell(config, make_data(), tmp_path / "stopped") == whole


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("name", "training", "make"), INPUTS)
def test_odd_batches_give_finite_losses_and_gradients(name, training, make, precision):
    """Batches of two, of one class, of one origin; after warm-up, whatever the mining made of them."""
    data = make_data(make=make)
    method = make_method(name, data, training={**training, "precision": precision})
    for epoch in (1, 2, 4):
        method.start_epoch(epoch)
        method.train()
        for rows in ([0, 1], [10, 13, 16], list(range(9)), [5, 5]):
            with method.autocast():
                losses = method.losses(make_batch(data.train, rows, epoch))
            assert all(torch.isfinite(v).all() and v.ndim == 0 for v in losses.values()), (epoch, rows)
            method.zero_grad()
            losses["total"].backward()
            assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters()), (epoch, rows)


@pytest.mark.parametrize(("name", "training", "make"), INPUTS)
def test_predictions_of_many_are_those_of_evaluation_and_change_nothing(name, training, make):
    """Also of a method that is training: each network's softmax, with the running statistics."""
    data = make_data(train=12, make=make)
    method = make_method(name, data, training=training)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    found = method.train().predict_all(data.train.faces)
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())
    with torch.no_grad():
        logits = method.eval().logits(method.plain(data.train.faces))
    torch.testing.assert_close(found, torch.stack(logits).softmax(-1))
    torch.testing.assert_close(method.train().predict_all(data.train.faces[:2]), found[:, :2])


@pytest.mark.parametrize("name", PEERS)
def test_it_trains_in_its_published_schedule(name):
    """The optimiser, sampling and views of `published`; its epochs and batch size are for a GPU."""
    data = make_data()
    own = {
        section: keys
        for section, keys in PARAMS.published[name].items()
        if section not in ("training", "with_noise")
    }
    method = make_method(name, data, **own)
    optimizer = build_optimizer(method, method.config.optimizer)
    before = [p.detach().clone() for p in method.parameters()]
    for epoch in (1, 2):
        set_rates(optimizer, method.config.optimizer, epoch, method.config.training.epochs)
        method.start_epoch(epoch)
        logs = run_epoch(method, optimizer, data.train, epoch)
        assert np.isfinite(logs["loss_total"])
    assert any(not torch.equal(p, b) for p, b in zip(method.parameters(), before, strict=True))


@pytest.mark.parametrize("name", ["coteaching", "jocor", "ran"])
def test_where_the_release_augments_nothing_its_schedule_shows_the_faces_as_they_are(name):
    data = make_data()
    method = make_method(name, data, augment=PARAMS.published[name]["augment"])
    batch = make_batch(data.train, list(range(30)))
    assert torch.equal(method.weak(batch), views.evaluation_view(batch.faces))


@pytest.mark.parametrize("name", sorted(METHODS))
def test_labels_of_the_training_set_stay_as_given(tmp_path, train_cell, name):
    data = make_data()
    before, out = data.train.labels.clone(), tmp_path / "out"
    train_cell(make_config(name), data, tmp_path)
    assert torch.equal(data.train.labels, before)
    assert np.load(out / "train_predictions.npz")["given"].tolist() == before.tolist()
    assert load_file(out / "weights.safetensors")


@pytest.mark.parametrize("name", TWO_NETWORKS)
def test_two_networks_share_the_backbone_and_start_from_different_heads(name):
    initial = backbones.build("resnet18", 1, 4, None, head_seed=9).backbone_state()
    first, second = cell.make_method(make_config(name), make_data(), initial).networks
    assert not torch.equal(first.head.weight, second.head.weight)
    for key, value in initial.items():
        assert torch.equal(first.state_dict()[key], value)
        assert torch.equal(second.state_dict()[key], value)
