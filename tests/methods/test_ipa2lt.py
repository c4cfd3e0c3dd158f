"""IPA2LT: likelihood of annotations through transition matrices, who labels what, and what is frozen when."""

from math import log

import pytest
import torch
from tiny import make_batch, make_config, make_data, make_method
from torch import Tensor, nn

from asm.parts.batches import Data, Samples
from asm.training import optimization

# One sample's q and two annotators' matrices; q T = (.61, .22, .17) and (.13, .69, .18)
Q = torch.tensor([[0.7, 0.2, 0.1]])
T = torch.tensor(
    [
        [[0.8, 0.1, 0.1], [0.2, 0.6, 0.2], [0.1, 0.3, 0.6]],
        [[0.1, 0.9, 0.0], [0.2, 0.1, 0.7], [0.2, 0.4, 0.4]],
    ]
)


def union_data(origin: list[int], labels: list[int] | None = None) -> Data:
    """The tiny data set with these origins."""
    data = make_data(train=len(origin), wrong=0)
    given = data.train.labels if labels is None else torch.tensor(labels)
    samples = Samples(data.train.ids, data.train.faces, given, torch.tensor(origin))
    return Data(data.classes, samples, data.valid, data.test, data.true)


def make(origin: list[int] | None = None, labels: list[int] | None = None, **sections):
    return make_method("ipa2lt", union_data(origin, labels) if origin else None, **sections)


def set_transitions(method, values: Tensor) -> None:
    """Of the first annotators; the others' are the identity."""
    with torch.no_grad():
        method.transitions.copy_(torch.eye(3).expand_as(method.transitions))
        method.transitions[: len(values)] = values


class Fixed(nn.Module):
    """A network that answers every image with the same logits, times a parameter."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.values = torch.tensor(logits)
        self.seen = 0

    def forward(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        return self.scale * self.values.expand(len(images), -1)


# --- the transition layer ---


def test_matrices_begin_near_the_identity_and_differ():
    t = make().transitions
    assert t.shape == (4, 3, 3)  # two humans, two networks
    torch.testing.assert_close(t.sum(dim=2), torch.ones(4, 3))
    assert (t >= 0).all()
    # a diagonal of 999 beside noise of at most (3 / 3) ** .5 = 1
    assert (t.diagonal(dim1=1, dim2=2) > 999 / 1001.01).all()
    assert not torch.equal(t[0], t[1])


def test_negative_entries_are_lifted_and_rows_renormalised_in_place():
    method = make(ipa2lt={"smallest_transition": 0.05})
    set_transitions(method, torch.tensor([[[-0.2, 0.5, 0.5], [0.0, 3.0, 1.0], [0.0, 0.0, 1.0]]]))
    method._annotator_losses(Q, torch.zeros(1, 4, dtype=torch.int64))
    expected = torch.tensor([[0.05 / 1.05, 0.5 / 1.05, 0.5 / 1.05], [0.0, 0.75, 0.25], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(method.transitions.detach()[0], expected)


def test_nll_is_minus_the_log_of_the_annotations_probability():
    method = make()
    set_transitions(method, T)
    losses = method._annotator_losses(Q, torch.tensor([[1, 2, 0, 1]]))
    # the third and fourth matrices are the identity: q itself
    assert losses.tolist() == pytest.approx([-log(0.22), -log(0.18), -log(0.7), -log(0.2)], rel=1e-5)


def test_a_missing_annotation_is_ignored_and_the_mean_runs_over_the_given_ones():
    method = make()
    set_transitions(method, T)
    q = Q.expand(3, -1)
    losses = method._annotator_losses(q, torch.tensor([[0, -1, -1, 0], [1, -1, -1, -1], [-1, 1, -1, -1]]))
    expected = [-(log(0.61) + log(0.22)) / 2, -log(0.69), 0, -log(0.7)]
    assert losses.tolist() == pytest.approx(expected, rel=1e-5)


def test_an_impossible_annotation_costs_a_finite_loss():
    method = make()
    set_transitions(method, torch.eye(3).expand(4, 3, 3))
    q = torch.tensor([[1.0, 0.0, 0.0]], requires_grad=True)
    method._annotator_losses(q, torch.tensor([[1, -1, -1, -1]])).sum().backward()
    assert q.grad.isfinite().all()
    assert method.transitions.grad.isfinite().all()


def test_reduced_precision_does_not_round_the_transition():
    method = make(training={"precision": "bf16"})
    set_transitions(method, T)
    annotations = torch.tensor([[1, 2, 0, 1]])
    with method.autocast():
        losses = method._annotator_losses(Q, annotations)
    assert torch.equal(losses, method._annotator_losses(Q, annotations))


def test_the_gradient_of_a_matrix_passes_through_its_normalisation():
    # around it: d(-log p_1) / dT[i, 1] = -q_i / p_1 = -(.7, .2, .1) / .22; no other entry takes part. Through
    # T[i] / sum(T[i]) at rows that sum to one, each entry gains -sum_k T[i, k] g[i, k]: .1 * .7 / .22,
    # .6 * .2 / .22, .3 * .1 / .22
    expected = torch.zeros(3, 3)
    expected[:, 1] = -Q[0] / 0.22
    expected += torch.tensor([[0.07], [0.12], [0.03]]) / 0.22
    method = make()
    set_transitions(method, T)
    method._annotator_losses(Q, torch.tensor([[1, -1, -1, -1]])).sum().backward()
    torch.testing.assert_close(method.transitions.grad[0], expected)
    assert not method.transitions.grad[1:].any()


def test_the_matrix_becomes_the_annotators_rates():
    """Of 20 samples of each class 14 are labelled right and 3 each of the other ways; q knows the truth."""
    truth = torch.arange(3).repeat_interleave(20)
    given = (truth + torch.tensor([0] * 14 + [1] * 3 + [2] * 3).repeat(3)) % 3
    annotations = torch.stack([given, *[torch.full_like(given, -1)] * 3], dim=1)
    method = make()
    set_transitions(method, torch.full((4, 3, 3), 0.05) + 0.85 * torch.eye(3))
    optimizer = torch.optim.SGD([method.transitions], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        method._annotator_losses(torch.eye(3)[truth], annotations).sum().backward()
        optimizer.step()
    method._normalise_transitions()
    found = method.transitions[0].detach()
    torch.testing.assert_close(found.diagonal(), torch.full((3,), 0.7), atol=0.005, rtol=0)


# --- who labels what ---


def test_one_data_set_is_split_into_random_halves_by_the_seed():
    first, again, other = make(), make(), make(seed=1)
    assert first.origin.bincount().tolist() == [15, 15]
    assert torch.equal(first.origin, again.origin)
    assert not torch.equal(first.origin, other.origin)
    assert len(first.models) == 2


def test_the_data_sets_of_a_union_stay_as_they_are():
    method = make([0, 2, 2, 4, 0, 2])  # numbers may have gaps: a part may have lost all its samples
    assert method.origin.tolist() == [0, 1, 1, 2, 0, 1]
    assert len(method.models) == 3
    assert method.transitions.shape == (6, 3, 3)


def test_an_origins_network_shares_the_backbone_and_has_a_head_of_its_own():
    method = make()
    base, (first, second) = method.networks[0], method.models
    for model in (first, second):
        assert torch.equal(model.stem[0].weight, base.stem[0].weight)
        assert model.stem[0].weight is not base.stem[0].weight
        assert not torch.equal(model.head.weight, base.head.weight)
    assert not torch.equal(first.head.weight, second.head.weight)


def test_networks_label_the_other_origins_once_at_the_end_of_the_warm_up():
    method = make([0, 0, 1, 1, 2, 2], training={"warmup_epochs": 2})
    method.models = nn.ModuleList([Fixed(0, 1, 0), Fixed(0, 0, 1), Fixed(1, 0, 0)])  # say 1, 2 and 0
    assert method.start_epoch(2) == {}
    assert (method.pseudo_labels == -1).all()
    logs = method.start_epoch(3)
    expected = [[-1, 2, 0], [-1, 2, 0], [1, -1, 0], [1, -1, 0], [1, 2, -1], [1, 2, -1]]
    assert method.pseudo_labels.tolist() == expected
    assert list(logs) == [f"transition_{kind}_{o}" for kind in ("human", "model") for o in range(3)]
    assert min(logs.values()) > 0.99
    method.models[0] = Fixed(1, 0, 0)
    method.start_epoch(4)
    assert method.pseudo_labels.tolist() == expected
    assert method.models[0].seen == 0

    other = make([0, 0, 1, 1, 2, 2])
    other.load_state_dict({"pseudo_labels": method.pseudo_labels}, strict=False)
    assert other.pseudo_labels.tolist() == expected


def test_annotations_are_the_own_human_label_and_the_other_networks():
    method = make([0, 0, 1], labels=[2, 1, 0])
    method.pseudo_labels = torch.tensor([[-1, 1], [-1, 2], [0, -1]])
    batch = make_batch(method.samples, [2, 0])
    # columns: human 0, human 1, network 0, network 1
    assert method._annotations(batch).tolist() == [[-1, 0, 0, -1], [2, -1, -1, 1]]


# --- the two stages of training ---


def test_warm_up_trains_the_base_on_all_and_each_network_on_its_own_by_cross_entropy():
    method = make([0, 0, 1, 1, 1], labels=[0, 1, 2, 2, 2])
    base, first, second = Fixed(log(2), 0, 0), Fixed(0, log(3), 0), Fixed(0, 0, log(6))
    # probabilities: base (1/2, 1/4, 1/4), first (1/5, 3/5, 1/5), second (1/8, 1/8, 6/8)
    method.networks[0], method.models = base, nn.ModuleList([first, second])
    found = method.losses(make_batch(method.samples, [0, 1, 2, 3, 4], epoch=1))
    expected_base = (log(2) + 4 * log(4)) / 5
    expected_models = (log(5) + log(5 / 3)) / 2 + log(8 / 6)
    assert found["base"].item() == pytest.approx(expected_base)
    assert found["models"].item() == pytest.approx(expected_models)
    assert found["total"].item() == pytest.approx(expected_base + expected_models)
    assert (base.seen, first.seen, second.seen) == (5, 2, 3)
    found["total"].backward()
    assert method.transitions.grad is None
    assert all(net.scale.grad is not None for net in (base, first, second))


def test_a_network_with_fewer_than_two_samples_of_its_origin_in_a_batch_waits():
    method = make([0, 1, 1, 1])
    method.train()
    found = method.losses(make_batch(method.samples, [0, 1, 2], epoch=1))
    found["total"].backward()
    assert all(p.grad is None for p in method.models[0].parameters())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.models[1].parameters())
    assert method.models[0].stem[1].num_batches_tracked == 0
    alone = method.losses(make_batch(method.samples, [0, 3], epoch=1))
    assert alone["models"] == 0
    assert alone["total"] == alone["base"]


def test_total_weighs_the_annotators_losses():
    method = make([0, 0, 1], labels=[2, 1, 0], ipa2lt={"human_weight": 2.0, "model_weight": 0.25})
    method.networks[0] = Fixed(log(0.7), log(0.2), log(0.1))
    set_transitions(method, T)
    method.pseudo_labels = torch.tensor([[-1, 1], [-1, 2], [0, -1]])
    found = method.losses(make_batch(method.samples, [0, 1, 2], epoch=2))
    # human 0 says 2 and 1 through T_0, human 1 says 0 through T_1; network 0 says 0, network 1 says 1 and 2,
    # both through the identity
    human = -(log(0.17) + log(0.22)) / 2 - log(0.13)
    model = -log(0.7) - (log(0.2) + log(0.1)) / 2
    assert found["human"].item() == pytest.approx(human, rel=1e-5)
    assert found["model"].item() == pytest.approx(model, rel=1e-5)
    assert found["total"].item() == pytest.approx(2 * human + 0.25 * model, rel=1e-5)


def test_after_the_warm_up_base_and_matrices_learn_and_the_networks_are_frozen():
    method = make([0, 0, 0, 1, 1, 1])
    optimizer = optimization.build_optimizer(method, make_config("ipa2lt").optimizer)
    for epoch in (1, 2):
        if epoch == 2:
            method.start_epoch(2)
            models = {k: v.clone() for k, v in method.models.state_dict().items()}
            before = method.networks[0].stem[0].weight.clone(), method.transitions.clone()
        method.train()
        losses = method.losses(make_batch(method.samples, list(range(6)), epoch))
        optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()
        optimizer.step()
    assert all(p.grad is None for p in method.models.parameters())
    # nor weight decay, nor momentum of the warm-up, nor batch statistics move them
    assert all(torch.equal(v, models[k]) for k, v in method.models.state_dict().items())
    assert not torch.equal(method.networks[0].stem[0].weight, before[0])
    assert not torch.equal(method.transitions, before[1])


def test_a_batch_of_one_origin_without_pseudo_labels_trains_the_base():
    method = make([0, 0, 1, 1])
    method.train()
    found = method.losses(make_batch(method.samples, [0, 1]))
    assert found["model"] == 0
    found["total"].backward()
    assert method.networks[0].stem[0].weight.grad.isfinite().all()


# --- inference ---


def test_the_class_is_the_latent_truths_whatever_the_matrices_say():
    method = make()
    method.networks[0] = Fixed(log(2), 0, 0)
    set_transitions(method, torch.eye(3).roll(1, dims=1).expand(4, 3, 3))
    found = method.predict(torch.zeros(2, 3, 32, 32))
    torch.testing.assert_close(found, torch.tensor([[[0.5, 0.25, 0.25]] * 2]))
