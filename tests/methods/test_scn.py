"""SCN: weighting, ranking and relabelling by hand, on features that spell both out."""

import math

import pytest
import torch
from tiny import make_batch, make_data, make_method
from torch import nn

from asm.methods.scn import SCN, importance_groups, rank_regularisation


class Given(nn.Module):
    """Features are given; the classifier takes the first three of them as logits."""

    def __init__(self, features: torch.Tensor) -> None:
        super().__init__()
        self.given = nn.Parameter(features)
        self.head = nn.Linear(4, 3)
        self.head.weight.data, self.head.bias.data = torch.eye(3, 4), torch.zeros(3)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return self.given[: len(images)]


# probabilities and importance of each training sample, all with label 1 but the last
ROWS = [
    ([0.60, 0.30, 0.10], 0.9),  # class 0 is .3 surer
    ([0.50, 0.35, 0.15], 0.8),  # only .15
    ([0.10, 0.20, 0.70], 0.3),  # class 2 is .5 surer
    ([0.15, 0.80, 0.05], 0.2),  # class 1, its label 0, is .65 surer
]
LABELS, RELABELLED = [1, 1, 1, 0], [0, 1, 2, 1]


def make_scn(**scn) -> SCN:
    data = make_data(train=4)
    data.train.labels[:] = torch.tensor(LABELS)
    method = make_method("scn", data, scn=scn)
    # logits are scaled by the importance a, so log(p) / a gives the probabilities p
    features = [[math.log(p) / a for p in probs] + [math.log(a / (1 - a))] for probs, a in ROWS]
    method.networks[0] = Given(torch.tensor(features))
    method.importance[0] = nn.Linear(4, 1)
    method.importance[0].weight.data = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    method.importance[0].bias.data.zero_()
    return method


def step(method: SCN, epoch: int = 3, rows: tuple[int, ...] = (0, 1, 2, 3)) -> dict[str, torch.Tensor]:
    return method.losses(make_batch(method.samples, list(rows), epoch))


def mean_ce(labels: list[int]) -> float:
    return -sum(math.log(probs[y]) for (probs, _), y in zip(ROWS, labels, strict=True)) / len(ROWS)


def test_the_importance_scales_the_logits_and_their_bias():
    method = make_scn()
    method.networks[0].head.bias.data = torch.tensor([1.0, 0.0, -2.0])
    importance, z = method.weighted_logits(torch.zeros(1, 3, 32, 32))
    assert importance.item() == pytest.approx(0.9)
    assert z[0].tolist() == pytest.approx([math.log(0.6) + 0.9, math.log(0.3), math.log(0.1) - 1.8])


def test_the_high_group_is_the_floor_of_its_share():
    importance = torch.tensor([0.2, 0.9, 0.5, 0.7, 0.1])
    high, low = importance_groups(importance, 0.7)  # 3.5
    assert high.tolist() == [1, 3, 2]
    assert low.tolist() == [0, 4]


def test_the_ranking_wants_the_groups_means_apart_by_the_margin():
    importance = torch.tensor([0.9, 0.5, 0.8, 0.6], requires_grad=True)
    high, low = importance_groups(importance, 0.5)  # means .85 and .55
    assert rank_regularisation(importance, high, low, 0.07).item() == 0
    loss = rank_regularisation(importance, high, low, 0.4)
    assert loss.item() == pytest.approx(0.4 - 0.3)
    loss.backward()
    assert importance.grad.tolist() == [-0.5, 0.5, -0.5, 0.5]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_without_two_groups_there_is_no_ranking(share):
    found = step(make_scn(high_share=share, margin=1.0))
    assert found["ranking"].item() == 0
    found["total"].backward()


def test_the_total_weighs_cross_entropy_and_ranking():
    found = step(make_scn(high_share=0.7, margin=0.6, ce_weight=0.5, ranking_weight=2.0))
    # floor(.7 * 4) = 2 in the high group: means (.9 + .8) / 2 and (.3 + .2) / 2 are just .6 apart
    assert found["ce"].item() == pytest.approx(mean_ce(LABELS))
    assert found["ranking"].item() == pytest.approx(0.0, abs=1e-6)
    # 3 in the high group: means (.9 + .8 + .3) / 3 and .2
    found = step(make_scn(high_share=0.75, margin=0.6, ce_weight=0.5, ranking_weight=2.0))
    assert found["ranking"].item() == pytest.approx(0.6 - (2.0 / 3 - 0.2))
    assert found["total"].item() == pytest.approx(0.5 * mean_ce(LABELS) + 2.0 * (0.6 - (2.0 / 3 - 0.2)))


def test_cross_entropy_teaches_the_importance_too():
    method = make_scn(ranking_weight=0.0)
    step(method)["total"].backward()
    # d CE / d logit of the importance = a (1 - a) sum_k (p_k - [k = y]) f_k / 4, times its only input f_4
    expected = 0.0
    for (probs, a), y in zip(ROWS, LABELS, strict=True):
        slope = sum((p - (k == y)) * math.log(p) / a for k, p in enumerate(probs))
        expected += a * (1 - a) * slope * math.log(a / (1 - a)) / 4
    assert method.importance[0].weight.grad[0, 3].item() == pytest.approx(expected, rel=1e-4)


def test_new_labels_are_used_from_the_next_epoch_on():
    method = make_scn()
    assert method.start_epoch(3) == {"relabelled": 0.0}
    for _ in range(2):  # a second visit in the same epoch does not see them either
        assert step(method)["ce"].item() == pytest.approx(mean_ce(LABELS))
    assert method.start_epoch(4) == {"relabelled": 0.75}
    assert method.labels.tolist() == RELABELLED
    assert step(method, epoch=4)["ce"].item() == pytest.approx(mean_ce(RELABELLED))
    assert method.samples.labels.tolist() == LABELS


def test_the_margin_of_relabelling():
    method = make_scn(relabel_margin=0.1)
    step(method)
    assert method.next_labels.tolist() == [0, 0, 2, 1]


def test_nothing_is_relabelled_during_warm_up_or_when_switched_off():
    method = make_scn()
    step(method, epoch=1)  # warm-up is one epoch
    assert method.next_labels.tolist() == LABELS
    step(method, epoch=2)
    assert method.next_labels.tolist() == RELABELLED
    method = make_scn(relabel=False)
    step(method)
    assert method.next_labels.tolist() == LABELS


def test_the_importance_does_not_change_the_predicted_class():
    method = make_method("scn").eval()
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    (z,) = method.logits(images)
    importance, _ = method.weighted_logits(images)
    plain = method.networks[0](images)
    torch.testing.assert_close(z, importance[:, None] * plain)
    assert ((importance > 0) & (importance < 1)).all()
    assert torch.equal(method.predict(images)[0].argmax(1), plain.argmax(1))
