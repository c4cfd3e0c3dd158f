"""Cross-validation of a cell: who is predicted by whom, and an interrupted run."""

import numpy as np
import pytest
import torch
from tiny import HEAD, make_bank_samples, make_config, make_data

from asm.basics.errors import InputError
from asm.methods.baseline import Baseline
from asm.training import cell
from asm.training.folds import out_of_sample

CPU = torch.device("cpu")


def test_no_sample_is_predicted_by_networks_that_were_trained_on_it(tmp_path, monkeypatch):
    data, folds = make_data(), []

    def remember(config, part, method, path, stamp):
        folds.append(part)
        return run_epochs(config, part, method, path, stamp)

    run_epochs = cell.run_epochs
    monkeypatch.setattr("asm.training.folds.run_epochs", remember)
    found = out_of_sample(make_config("baseline"), data, None, tmp_path, CPU, folds=3)
    assert found.shape == (30, 3)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    assert sorted(name for part in folds for name in part.test.ids) == sorted(data.train.ids)
    for part in folds:
        assert set(part.train.ids) | set(part.test.ids) == set(data.train.ids)
        assert not set(part.train.ids) & set(part.test.ids)
        assert not part.valid.ids
        rows = [data.train.ids.index(name) for name in part.train.ids]
        assert part.true.tolist() == data.true[rows].tolist()
        assert (part.train.faces == data.train.faces[rows]).all()
        counts = np.bincount(part.test.labels, minlength=3)  # of given labels, as even as in the whole
        assert counts.max() - counts.min() <= 3


def test_wrong_labels_are_not_believed_out_of_sample(tmp_path):
    """Heads that memorise: on their own training samples they repeat wrong labels, on others they do not."""
    data = make_data(train=90, wrong=18, make=make_bank_samples)
    config = make_config(
        "baseline",
        training=HEAD | {"hidden": 256, "dropout": 0.0, "epochs": 40},
        optimizer={"lr": 0.01, "lr_decay": 1.0},
    )
    found = out_of_sample(config, data, None, tmp_path, CPU)
    wrong = data.train.labels.numpy() != data.true
    repeated = (found.argmax(1) == data.train.labels.numpy())[wrong].mean()
    inside = cell.make_method(config, data, None)
    cell.run_epochs(config, data, inside, tmp_path / "whole.pt", "")
    own = (inside.predict_all(data.train.faces).mean(0).argmax(1) == data.train.labels)[wrong]
    assert repeated < 0.4
    assert own.double().mean() > repeated + 0.3


def test_stopped_in_the_second_fold_it_goes_on_to_the_same_numbers(tmp_path, monkeypatch):
    data, config = make_data(), make_config("baseline")
    expected = out_of_sample(config, data, None, tmp_path / "whole", CPU, folds=3)
    calls, losses = [], Baseline.losses

    def interrupted(self, batch):
        calls.append(batch.epoch)
        if len(calls) == limit:
            raise KeyboardInterrupt
        return losses(self, batch)

    monkeypatch.setattr(Baseline, "losses", interrupted)
    steps, limit = 4 * 3, 4 * 3 + 7  # a fold has four epochs of three batches of eight
    with pytest.raises(KeyboardInterrupt):
        out_of_sample(config, data, None, tmp_path / "again", CPU, folds=3)
    calls.clear()
    limit = None
    found = out_of_sample(config, data, None, tmp_path / "again", CPU, folds=3)
    np.testing.assert_array_equal(found, expected)
    assert len(calls) < 3 * steps - steps  # neither the first fold nor the second's first epochs


def test_fewer_samples_than_folds_are_refused(tmp_path):
    with pytest.raises(InputError, match="too few for 5 folds"):
        out_of_sample(make_config("baseline"), make_data(train=9, wrong=0), None, tmp_path, CPU)
