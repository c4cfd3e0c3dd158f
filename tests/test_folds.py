"""Cross-validation of a cell: who is predicted by whom, and an interrupted run."""

import numpy as np
import pytest
import torch
from tiny import HEAD, make_bank_samples, make_config, make_data

from asm import mining
from asm.basics.errors import InputError
from asm.methods.baseline import Baseline
from asm.training import cell, checkpoint
from asm.training.folds import out_of_sample
from asm.training.results import Record

CPU = torch.device("cpu")


def drawn(monkeypatch, folder, data, config=None, folds=3) -> tuple[list, dict]:
    """The data of each fold, whose networks say sharply which of 30 samples they were asked about, and what
    comes out."""
    parts = []

    def made_up(method, part, path, stamp):
        parts.append(part)
        number = torch.tensor([int(name.removeprefix("train")) for name in part.test.ids])
        probs = torch.stack([number / 60, 0.5 - number / 60, torch.full(number.shape, 0.5)], dim=1)
        return Record(predictions={4: probs.expand(len(method.networks), -1, -1)})

    monkeypatch.setattr("asm.training.folds.run_epochs", made_up)
    return parts, out_of_sample(config or make_config("baseline"), data, None, folder, CPU, folds=folds)


def test_no_sample_is_predicted_by_networks_that_were_trained_on_it(tmp_path, monkeypatch, data):
    parts, found = drawn(monkeypatch, tmp_path, data)
    assert found["ids"].tolist() == data.train.ids
    assert found["given"].tolist() == data.train.labels.tolist()
    assert found["true"].tolist() == data.true.tolist()
    np.testing.assert_allclose(found["probabilities"][:, 0], np.arange(30) / 60, atol=1e-6)
    assert sorted(name for part in parts for name in part.test.ids) == sorted(data.train.ids)
    for part in parts:
        assert set(part.train.ids) | set(part.test.ids) == set(data.train.ids)
        assert not set(part.train.ids) & set(part.test.ids)
        assert not part.valid.ids
        rows = [data.train.ids.index(name) for name in part.train.ids]
        assert part.true.tolist() == data.true[rows].tolist()
        assert (part.train.faces == data.train.faces[rows]).all()
        counts = np.bincount(part.test.labels, minlength=3)  # of given labels, as even as in the whole
        assert counts.max() - counts.min() <= 3


def test_the_cells_seed_draws_the_folds(tmp_path, monkeypatch, data):
    folds = [
        [part.test.ids for part in drawn(monkeypatch, tmp_path, data, make_config("baseline", seed=seed))[0]]
        for seed in (0, 0, 1)
    ]
    assert folds[0] == folds[1] != folds[2]


def test_the_rule_is_the_methods_own_on_these_predictions_alone(tmp_path, monkeypatch, data):
    _, found = drawn(monkeypatch, tmp_path, data, make_config("asm", thresholds={"init_clean": 0.7}))
    probs, given = torch.from_numpy(found["probabilities"]), torch.from_numpy(found["given"])
    clean = mining.clean_thresholds(probs, given, torch.full((3,), 0.7))
    assert 0.7 in clean  # nobody is recognised as of class 0 or of class 1
    assert found["clean_threshold"].tolist() == clean.tolist()
    assert found["noisy_threshold"].tolist() == (1 - clean).tolist()
    subset = mining.partition(torch.from_numpy(found["confidence"]), given, clean, 1 - clean)
    assert found["final_subset"].tolist() == subset.tolist()
    assert len(drawn(monkeypatch, tmp_path, data)[1]["final_subset"]) == 0  # the baseline's


def test_wrong_labels_are_not_believed_out_of_sample(tmp_path, monkeypatch):
    """Heads that memorise: on their own training samples they repeat wrong labels, on others they do not."""
    monkeypatch.setattr(checkpoint, "save", lambda *_: None)  # takes longer than the training
    data = make_data(train=90, wrong=18, make=make_bank_samples)
    config = make_config(
        "baseline",
        training=HEAD | {"hidden": 256, "dropout": 0.0, "epochs": 30, "batch_size": 30},
        optimizer={"lr": 0.02, "lr_decay": 1.0},
    )
    found = out_of_sample(config, data, None, tmp_path, CPU)["probabilities"]
    wrong = data.train.labels.numpy() != data.true
    repeated = (found.argmax(1) == data.train.labels.numpy())[wrong].mean()
    inside = cell.make_method(config, data, None)
    cell.run_epochs(inside, data, tmp_path / "whole.pt", {})
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
    assert {k: v.tolist() for k, v in found.items()} == {k: v.tolist() for k, v in expected.items()}
    assert len(calls) < 3 * steps - steps  # neither the first fold nor the second's first epochs


def test_fewer_samples_than_folds_are_refused(tmp_path):
    with pytest.raises(InputError, match="too few for 5 folds"):
        out_of_sample(make_config("baseline"), make_data(train=9, wrong=0), None, tmp_path, CPU)
