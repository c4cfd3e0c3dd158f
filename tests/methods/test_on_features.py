"""Every method that needs no pixels trains a head on a bank of views: it learns, and resumes to the byte."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tiny import HEAD, make_bank_samples, make_config, make_data, make_method

from asm.grid.params import METHODS
from asm.parts.batches import Data
from asm.parts.perceptron import Perceptron, build
from asm.training import cell

ON_FEATURES = sorted(name for name, method in METHODS.items() if not method.needs_pixels)
OWN = {"dmue": {"similarity_weight": 1.0}}  # its own is for batches of 72


def bank_data(train: int = 30, wrong: int = 6) -> Data:
    return make_data(train, wrong, make_bank_samples)


def config_of(name: str, **training):
    own = {name: OWN[name]} if name in OWN else {}
    return make_config(name, training={**HEAD, **training}, optimizer={"lr": 0.01}, **own)


def test_all_but_ran_learn_from_features():
    assert set(METHODS) - set(ON_FEATURES) == {"ran"}


@pytest.mark.parametrize("name", ON_FEATURES)
def test_its_networks_are_heads_that_differ(name):
    data = bank_data()
    method = make_method(name, data, training=HEAD)
    networks = list(method.networks)
    assert len(networks) == METHODS[name].num_networks
    assert all(isinstance(network, Perceptron) for network in networks)
    hidden = [network.stages[0][0].weight for network in networks]
    assert all(weight.shape == (16, 6) for weight in hidden)
    assert len({weight.detach().numpy().tobytes() for weight in hidden}) == len(networks)


@pytest.mark.parametrize("name", ON_FEATURES)
def test_it_learns(tmp_path, train_cell, name):
    data = bank_data(train=120, wrong=6)
    train_cell(config_of(name, epochs=6, warmup_epochs=2), data, tmp_path)
    out = tmp_path / "out"
    history = pd.read_csv(out / "history.csv")
    assert np.isfinite(history["loss_total"]).all()
    assert history["test_accuracy"].iloc[-1] > 0.6  # chance is a third
    probs = np.load(out / "test_predictions.npz")["probabilities"]
    assert probs.shape == (5, METHODS[name].num_networks, 12, 3)
    np.testing.assert_allclose(probs.sum(-1), 1, atol=1e-4)
    assert np.load(out / "features.npz")["test"].shape == (12, 16)  # the hidden units
    assert load_file(out / "weights.safetensors")


@pytest.mark.parametrize("name", ON_FEATURES)
def test_stopped_after_two_epochs_it_goes_on_to_the_same_bytes(tmp_path, train_cell, name, monkeypatch):
    config, real = config_of(name), cell.set_rates

    def stop_before_the_third(optimizer, options, epoch, epochs):
        if epoch == 3:
            raise KeyboardInterrupt
        return real(optimizer, options, epoch, epochs)

    whole = train_cell(config, bank_data(), tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(cell, "set_rates", stop_before_the_third)
        with pytest.raises(KeyboardInterrupt):
            train_cell(config, bank_data(), tmp_path / "stopped")
    assert train_cell(config, bank_data(), tmp_path / "stopped") == whole


# --- the head -----------------------------------------------------------------------------------------------


def test_a_head_is_one_hidden_layer_and_a_linear_classifier():
    head = build(3, 6, 8, 0.5, head_seed=1).eval()
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    layer = head.stages[0][0]
    hidden = (x @ layer.weight.T + layer.bias).relu()
    torch.testing.assert_close(head.features(x), hidden)
    assert head.feature_map(x).shape == (5, 8, 1, 1)
    assert head.feature_size(112) == (8, 1)
    torch.testing.assert_close(head(x), hidden @ head.head.weight.T + head.head.bias)


def test_its_dropout_is_of_the_hidden_units_and_off_in_evaluation():
    x = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
    head = build(3, 6, 64, 0.5, head_seed=1)
    plain = head.eval().features(x)
    torch.manual_seed(0)
    dropped = head.train().features(x)
    alive = plain > 0
    kept = dropped[alive] > 0
    assert 0.45 < kept.float().mean() < 0.55
    torch.testing.assert_close(dropped[alive][kept], 2 * plain[alive][kept])
    without = build(3, 6, 64, 0.0, head_seed=1).train()
    assert torch.equal(without.features(x), plain)


def test_a_head_is_drawn_from_its_seed_and_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, again, other = (build(3, 6, 8, 0.0, head_seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert not any(torch.equal(one[key], other[key]) for key in one)
