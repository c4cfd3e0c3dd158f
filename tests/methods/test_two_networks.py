"""The control: ASM's warm-up, kept to the end, and nothing else."""

from math import log

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import HEAD, make_bank_samples, make_batch, make_config, make_data, make_method

from asm.methods.two_networks import TwoNetworks


def test_the_loss_is_the_sum_of_both_networks_cross_entropies():
    data = make_data()
    method = make_method("two_networks", data)
    logits = [torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.2, 0.6]]).log(), torch.full((2, 3), 1.0)]
    method.logits = lambda images: logits
    data.train.labels[:2] = torch.tensor([0, 1])
    found = method.losses(make_batch(data.train, [0, 1]))
    assert set(found) == {"total"}
    assert found["total"].item() == pytest.approx((-log(0.5) - log(0.2)) / 2 + log(3))


@pytest.mark.parametrize(("training", "make"), [({}, None), (HEAD, make_bank_samples)])
def test_it_is_asm_that_never_mines(tmp_path, train_cell, training, make):
    """The same networks, views, losses and predictions, to the bit."""
    results = {}
    for name, warm in (("two_networks", 1), ("asm", 4)):
        data = make_data(make=make) if make else make_data()
        config = make_config(name, training={**training, "epochs": 4, "warmup_epochs": warm})
        train_cell(config, data, tmp_path / name)
        out = tmp_path / name / "out"
        results[name] = load_file(out / "weights.safetensors"), np.load(out / "test_predictions.npz")
    (weights, predicted), (of_asm, predicted_by_asm) = results["two_networks"], results["asm"]
    assert set(of_asm) - set(weights) == {"clean_threshold", "noisy_threshold"}
    assert all(torch.equal(value, of_asm[key]) for key, value in weights.items())
    assert np.array_equal(predicted["probabilities"], predicted_by_asm["probabilities"])


def test_it_mines_nothing():
    method = make_method("two_networks")
    assert method.start_epoch(3) == {}
    assert method.subset is None
    assert not TwoNetworks.sections
