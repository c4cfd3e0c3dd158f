"""DMUE's branches and losses, on three classes, against numbers worked out by hand."""

import math

import pytest
import torch
from tiny import make_batch, make_data, make_method
from torch import nn

from asm.methods import dmue

Y = torch.tensor([0, 1, 2, 1])


def make(**sections):
    """DMUE with branches that differ, classifiers larger than the initial N(0, 0.001), and without dropout
    unless given."""
    sections["dmue"] = {"dropout": 0.0, **sections.get("dmue", {})}
    method = make_method("dmue", **sections)
    torch.manual_seed(0)
    for layer in (method.networks[0].head, *method.head):
        nn.init.normal_(layer.weight)
    for parameter in method.branches.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return method


def gradients(method, loss: torch.Tensor) -> set[str]:
    """Which parts of the method a loss changes."""
    method.zero_grad()
    loss.backward(retain_graph=True)
    changed = {n for n, p in method.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    parts = ("networks.0.stem", "networks.0.stages.3", "networks.0.head", "branches", "head", "uncertainty")
    return {part for part in parts if any(n.startswith(part + ".") for n in changed)}


def test_a_soft_label_comes_from_the_branch_that_leaves_the_label_out():
    logits = torch.zeros(3, 4, 2)
    logits[0, 0] = torch.tensor([math.log(4.0), 0.0])  # label 0: classes 1, 2
    logits[1, 1] = torch.tensor([math.log(9.0), 0.0])  # label 1: classes 0, 2
    logits[2, 2] = torch.tensor([0.0, math.log(4.0)])  # label 2: classes 0, 1
    logits[0, 1] = logits[2, 1] = torch.tensor([7.0, -7.0])  # the other branches do not count
    # p^(1/T) with T = 2: odds 4 become 2, odds 9 become 3
    expected = [[0, 2 / 3, 1 / 3], [3 / 4, 0, 1 / 4], [1 / 3, 2 / 3, 0], [1 / 2, 0, 1 / 2]]
    torch.testing.assert_close(dmue.soft_labels(logits, Y, 2.0), torch.tensor(expected))


def test_the_soft_loss_leaves_the_label_out_and_means_over_samples_and_classes():
    z = torch.tensor([[0.0, 0.0, math.log(2.0)], [0.0, 0.0, math.log(2.0)]])  # p = 1/4, 1/4, 1/2
    soft = torch.tensor([[0.0, 0.25, 0.75], [0.5, 0.5, 0.0]])
    # sample 0 (label 0): (1/2 - 3/4)^2 = 1/16; sample 1 (label 2): twice (1/4 - 1/2)^2 = 2/16; over 2 x 3
    torch.testing.assert_close(dmue.soft_loss(z, soft, torch.tensor([0, 2])), torch.tensor(3 / 16 / 6))


def test_the_auxiliary_loss_is_each_branchs_cross_entropy_on_the_other_classes():
    odds3 = [math.log(3.0), 0.0]  # p = 3/4, 1/4
    logits = torch.zeros(3, 4, 2)
    logits[0, 1:] = torch.tensor(odds3)  # labels 1, 2, 1 are its classes 0, 1, 0
    logits[1, [0, 2]] = torch.tensor(odds3)  # labels 0, 2 are its classes 0, 1
    logits[[0, 1, 1, 2], [0, 1, 3, 2]] = torch.tensor([50.0, -50.0])  # its own class: not learned from
    right, wrong = -math.log(3 / 4), -math.log(1 / 4)
    expected = ((2 * right + wrong) / 3 + (right + wrong) / 2 + math.log(2)) / 3
    torch.testing.assert_close(dmue.auxiliary_loss(logits, Y), torch.tensor(expected))


def test_a_branch_without_samples_adds_nothing():
    y = torch.tensor([1, 1])  # branch 1 has none; branches 0 and 2 are undecided
    found = dmue.auxiliary_loss(torch.zeros(3, 2, 2), y)
    torch.testing.assert_close(found, torch.tensor(2 * math.log(2) / 3))
    features = torch.eye(2).repeat(3, 1, 1)
    features[1, 0] = torch.tensor([1.0, 1.0])  # only branch 1 differs from the target
    assert dmue.similarity_loss(features, torch.eye(2), y) == 0


def test_the_similarity_loss_compares_normalised_gram_matrices_of_the_samples_learned_from():
    y = torch.tensor([0, 1, 1])
    target = torch.tensor([[9.0, 9.0], [1.0, 0.0], [0.0, 1.0]])
    branches = target.repeat(3, 1, 1)
    branches[0, 1] = torch.tensor([3.0, 4.0])
    branches[0, 0] = torch.tensor([-5.0, 2.0])  # class 0: not branch 0's
    # branch 0, samples 1 and 2: Gram [[25, 4], [4, 1]] against [[1, 0], [0, 1]], rows scaled to one
    r1, r2 = math.sqrt(25**2 + 4**2), math.sqrt(4**2 + 1)
    squares = (25 / r1 - 1) ** 2 + (4 / r1) ** 2 + (4 / r2) ** 2 + (1 / r2 - 1) ** 2
    expected = torch.tensor(squares / 4 / 3)  # mean of 2 x 2 entries, then of 3 branches
    torch.testing.assert_close(dmue.similarity_loss(branches, target, y), expected)


def test_class_similarity_is_the_mean_cosine_to_the_others_scaled_by_row():
    features = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0], [-1.0, 0.0], [0.6, 0.8]])
    one_hot = torch.eye(3)[[0, 0, 1, 1, 2]]
    h = 1 / math.sqrt(2)
    # sample 0: class 0 (sample 1 alone) 0, class 1 (h - 1) / 2, class 2 .6
    low = (h - 1) / 2
    found = dmue.class_similarity(features, one_hot)
    torch.testing.assert_close(found[0], torch.tensor([-low / (0.6 - low), 0.0, 1.0]))
    # sample 4 is the only one of class 2: class 0 (.6 + .8) / 2, class 1 (1.4 h - .6) / 2, class 2 none
    low4 = (1.4 * h - 0.6) / 2
    assert low4 < 0.7
    torch.testing.assert_close(found[4], torch.tensor([1.0, 0.0, 0.0]))
    # with itself: sample 0's class 0 (1 + 0) / 2, class 1 as before; sample 4's class 2 is itself alone, 1
    found = dmue.class_similarity(features, one_hot, with_itself=True)
    torch.testing.assert_close(found[0], torch.tensor([(0.5 - low) / (0.6 - low), 0.0, 1.0]))
    torch.testing.assert_close(found[4], torch.tensor([(0.7 - low4) / (1 - low4), 0.0, 1.0]))


def test_class_similarity_of_two_samples_is_finite_with_its_gradient():
    for rows in ([0, 0], [0, 1]):
        features = torch.tensor([[1.0, 2.0], [1.0, 2.0]], requires_grad=True)
        found = dmue.class_similarity(features, torch.eye(3)[rows])
        assert found.abs().max() == 0  # one class known: no spread
        found.sum().backward()
        assert features.grad.isfinite().all()


@pytest.mark.parametrize(
    ("epoch", "warmup", "up", "down"),
    [
        (1, 4, math.exp(-5 * 9 / 16), 1.0),
        (4, 4, 1.0, 1.0),
        (8, 4, 1.0, math.exp(-1 / 4)),
        (1, 0, 1.0, math.exp(-1)),
    ],
)
def test_the_target_ramps_up_and_the_auxiliary_branches_down(epoch, warmup, up, down):
    assert dmue.ramps(epoch, warmup) == pytest.approx((up, down))


def test_the_total_weighs_the_losses():
    data = make_data()
    method = make(training={"warmup_epochs": 2}, dmue={"soft_weight": 3.0, "similarity_weight": 7.0})
    found = method.losses(make_batch(data.train, [0, 1, 2, 3, 4, 5], epoch=1))
    up = math.exp(-5 / 4)
    expected = up * (found["ce"] + 3 * found["soft"] + 7 * found["sp"]) + found["aux"]
    torch.testing.assert_close(found["total"], expected)
    assert all(found[name] > 0 for name in ("ce", "soft", "sp", "aux"))


def test_the_score_scales_the_logits_in_the_cross_entropy_alone():
    data, method = make_data(), make(augment={"flip": 0.0, "erasing": 0.0})  # the same view twice
    rows = [0, 1, 2, 3, 4, 5]
    before = method.losses(make_batch(data.train, rows))
    method.scores = lambda features, y: torch.zeros(len(y), 1)
    after = method.losses(make_batch(data.train, rows))
    assert after["ce"].item() == pytest.approx(math.log(3))  # no logits left: uniform over 3 classes
    assert before["ce"].item() != pytest.approx(math.log(3), abs=1e-3)
    for name in ("soft", "sp", "aux"):
        torch.testing.assert_close(before[name], after[name])


def test_the_score_of_known_weights():
    method = make()
    first, slope, last, _ = method.uncertainty
    nn.init.zeros_(first.weight)
    nn.init.zeros_(first.bias)
    first.weight.data[0, 3] = 2.0  # behind the three similarities: label 0
    first.weight.data[1, 4] = -4.0  # label 1, through PReLU's 0.25
    last.weight.data[:] = 1.0
    last.bias.data[:] = 0.5
    assert slope.weight.item() == 0.25
    found = method.scores(torch.randn(4, 32), Y).squeeze(1)
    torch.testing.assert_close(found, torch.tensor([2.5, -0.5, 0.5, -0.5]).sigmoid())
    first.weight.data[2, 1] = 1.0  # similarity to class 1
    features = torch.eye(32)[[0, 1, 0, 1]]  # sample 3, label 1: like sample 1; classes 0 and 2 are apart
    found = method.scores(features, Y).squeeze(1)
    torch.testing.assert_close(found[3], torch.tensor(0.5).sigmoid())  # -1 + 1 x similarity 1 + 0.5


def test_where_each_loss_has_its_gradient():
    method = make()
    found = method.losses(make_batch(make_data().train, [0, 1, 2, 3, 4, 5]))
    trunk, target = "networks.0.stem", {"networks.0.stages.3", "networks.0.head"}
    assert gradients(method, found["ce"]) == {trunk, *target, "uncertainty"}
    assert gradients(method, found["soft"]) == {trunk, *target}  # the soft label is detached
    assert gradients(method, found["sp"]) == {trunk, "networks.0.stages.3", "branches"}
    assert gradients(method, found["aux"]) == {trunk, "branches", "head"}


def test_the_gradient_passes_through_the_score_to_the_features():
    method = make()
    constant = torch.zeros(3, 6, 2), torch.randn(6, 32)
    method.branch_logits = lambda features, y: constant
    found = method.losses(make_batch(make_data().train, [0, 1, 2, 3, 4, 5]))
    assert gradients(method, found["ce"]) == {
        *("networks.0.stem", "networks.0.stages.3", "networks.0.head", "uncertainty")
    }


def test_a_branch_learns_nothing_from_the_class_it_leaves_out():
    logits = torch.randn(3, 4, 2, requires_grad=True)
    dmue.auxiliary_loss(logits, Y).backward()
    # labels 0, 1, 2, 1
    expected = [[False, True, True, True], [True, False, True, False], [True, True, False, True]]
    assert (logits.grad.abs().amax(dim=2) > 0).tolist() == expected


def test_dropout_spares_the_branch_that_gives_the_soft_label(monkeypatch):
    method = make(dmue={"dropout": 0.9})
    monkeypatch.setattr(dmue.F, "batch_norm", lambda x, *_: x)  # the neck's too
    method.head = nn.ModuleList(nn.Identity() for _ in range(3))
    auxiliary, target = method.branch_logits(torch.ones(4, 4, 32), Y)
    spared = (torch.cat([auxiliary, target[None]]) == 1).all(dim=2)
    assert spared.tolist() == [*(~dmue.others(Y, 3)).tolist(), [False] * 4]


def test_the_neck_normalises_each_branch_and_keeps_the_targets_statistics():
    method = make()
    method.neck.weight.data[:] = 2.0
    method.neck.bias.data[:] = 1.0
    method.head = nn.ModuleList(nn.Identity() for _ in range(3))
    column = torch.tensor([1.0, 1.0, 3.0, 3.0])  # mean 2, standard deviation 1
    features = torch.stack([column, column + 5, 10 * column, 4 * column])[:, :, None].repeat(1, 1, 32)
    auxiliary, target = method.branch_logits(features, Y)
    expected = torch.tensor([-1.0, -1.0, 3.0, 3.0])[:, None].expand(4, 32)  # 2 x (-1 or 1) + 1
    for branch in (*auxiliary, target):
        torch.testing.assert_close(branch, expected, atol=1e-4, rtol=0)
    assert method.neck.running_mean[0].item() == pytest.approx(0.8)  # 0.1 of the target's mean 8
    assert method.neck.num_batches_tracked == 1


def test_the_branches_start_as_copies_of_the_last_stage():
    method = make_method("dmue")
    features = method.branch_features(torch.randn(4, 3, 32, 32))
    assert features.shape == (4, 4, 32)
    for branch in features[:-1]:
        torch.testing.assert_close(branch, features[-1])
    assert len({id(p) for p in method.branches.parameters()}) == 3 * len(
        list(method.networks[0].stages[3].parameters())
    )
    method.eval()
    images = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(method.branch_features(images)[-1], method.networks[0].features(images))


def test_the_classifiers_are_small_without_bias_and_have_the_heads_rate():
    method = make_method("dmue")
    names = {n for n, p in method.named_parameters() if "head" in n.split(".")}
    assert names == {"networks.0.head.weight", "head.0.weight", "head.1.weight", "head.2.weight"}
    weights = torch.cat([method.get_parameter(n).flatten() for n in names])
    assert 0.0007 < weights.std() < 0.0013
    assert method.head[0].weight.shape == (2, 32)


def test_prediction_is_the_target_branch_without_score():
    method = make().eval()
    images = torch.randn(5, 3, 32, 32)
    network = method.networks[0]
    before = method.predict(images)
    method.neck.running_mean += 1.0  # the neck takes part
    method.neck.running_var *= 4.0
    found = method.predict(images)
    assert not torch.allclose(before, found)
    necked = (network.features(images) - 1.0) / math.sqrt(4.0 + method.neck.eps)
    torch.testing.assert_close(found[0], (necked @ network.head.weight.T).softmax(dim=1))
    for module in (method.branches, method.head, method.uncertainty):
        for parameter in module.parameters():
            parameter.data.zero_()
    torch.testing.assert_close(method.predict(images), found)


@pytest.mark.parametrize("train", [True, False])
def test_the_uncertainty_module_and_the_neck_are_trained_or_stay(train):
    method = make(dmue={"train_uncertainty": train})
    found = method.losses(make_batch(make_data().train, [0, 1, 2, 3]))
    found["total"].backward()
    for module in (method.uncertainty, method.neck):
        assert all((p.grad is not None) == train for p in module.parameters())
    assert method.networks[0].stem[0].weight.grad.abs().max() > 0


@pytest.mark.parametrize("itself", [True, False])
def test_the_score_sees_the_similarity_with_or_without_the_sample_itself(itself):
    method = make(dmue={"self_similarity": itself})
    seen = []
    method.uncertainty.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][:, :3]))
    features = torch.randn(4, 32, generator=torch.Generator().manual_seed(0))
    method.scores(features, Y)
    one_hot = torch.eye(3)[Y]
    torch.testing.assert_close(seen[0], dmue.class_similarity(features, one_hot, itself))


@pytest.mark.parametrize("compared", ["features", "logits"])
def test_the_auxiliary_side_of_the_similarity_is_features_or_logits(compared):
    method = make(dmue={"auxiliary_similarity": compared})
    found = method.losses(make_batch(make_data().train, [0, 1, 2, 3, 4, 5]))
    # the auxiliary classifiers take part only where their logits are compared
    assert ("head" in gradients(method, found["sp"])) == (compared == "logits")


class OneLogits(nn.Module):
    """The logits (1, 0), whatever enters: a Gram matrix of ones."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.tensor([1.0, 0.0]).expand(len(features), 2)


@pytest.mark.parametrize(("dropout", "sums"), [(0.0, (1.0, 1.0, 0.5)), (1.0, (0.5, 0.5, 0.25))])
def test_as_released_the_targets_gram_matrix_is_of_what_enters_its_classifier(dropout, sums):
    method = make(dmue={"auxiliary_similarity": "logits", "dropout": dropout})
    method.head = nn.ModuleList(OneLogits() for _ in range(3))
    method.neck.weight.data[1:] = 0.0  # one feature is left
    features = torch.zeros(4, 4, 32)
    features[:, :, 0] = torch.tensor([5.0, 5.0, 7.0, 7.0])  # after the neck -1, -1, 1, 1
    method.branch_features = lambda images: features
    found = method.losses(make_batch(make_data(wrong=0).train, [0, 1, 3, 4]))  # labels 0, 1, 0, 1
    # branch 2 learns from all: rows of 1/2 against rows of 1/2 and -1/2, 8 of 16 entries differ by 1.
    # Branches 0 and 1 learn from one sample of either sign: 2 of 4 entries differ by 2 / sqrt(2). Features
    # that are all dropped are 0 after the neck: the rows' own squares are left, 1/4 and 1/2 an entry.
    # Before the neck, where all features are positive, none would differ by more than .1.
    assert found["sp"].item() == pytest.approx(sum(sums) / 3, rel=1e-3)


@pytest.mark.parametrize("rows", [[0, 3], [0, 1], [0, 1, 2], [1, 4, 7]])
def test_small_batches_without_some_classes_are_finite(rows):
    method = make(dmue={"dropout": 0.5})
    found = method.losses(make_batch(make_data(wrong=0).train, rows))
    found["total"].backward()
    assert all(value.isfinite() for value in found.values())
    assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None)
