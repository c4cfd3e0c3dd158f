"""DivideMix: the division, the targets, the mixing and the losses, on numbers worked out by hand."""

from math import log

import numpy as np
import pytest
import torch
from tiny import make_batch, make_config, make_data, make_method, make_samples
from torch import Tensor, nn

from asm.methods.dividemix import DivideMix, clean_probability, mix, sharpen

# Probability of class 0 of two samples: two views under each network.
FIRST = [[0.6, 0.3], [0.8, 0.5]]
SECOND = [[0.9, 0.2], [0.5, 0.4]]
# Network 2 teaches network 1 that sample 0 is labelled, network 1 teaches network 2 that sample 1 is.
W = torch.tensor([[0.2, 0.9], [0.8, 0.4]])


class Table(nn.Module):
    """A network that answers an image, a one-hot vector of its row and view, with that entry's logits."""

    def __init__(self, of_zero: list[list[float]]) -> None:
        super().__init__()
        p = torch.tensor(of_zero).flatten()
        self.logits = nn.Parameter(torch.stack([p, 1 - p], dim=1).log())

    def forward(self, images: Tensor) -> Tensor:
        return images @ self.logits


def make_dividemix(w: Tensor | None = W, warmup_epochs: int = 2, **options) -> DivideMix:
    """Networks that know two samples, both labelled 0; the tiny alpha makes l = 1, so nothing is mixed."""
    config = make_config(
        "dividemix", training={"warmup_epochs": warmup_epochs}, dividemix={"mix_alpha": 1e-6, **options}
    )
    samples = make_samples("train", 2, 0)
    samples.labels[:] = 0
    method = DivideMix(config, [Table(FIRST), Table(SECOND)], 2, samples)
    method.w = w
    views = iter(range(1000))
    method.weak = lambda batch: torch.eye(4)[batch.rows + 2 * (next(views) % 2)]
    return method


def losses(method: DivideMix, epoch: int = 3) -> dict[str, Tensor]:
    return method.losses(make_batch(method.samples, [0, 1], epoch))


# Targets, class 0. Labelled: w + (1 - w) times the mean over the network's own views. Unlabelled: the mean
# over both networks' views. Sharpened with T = 1/2: squares, scaled to sum to one.
REFINED_1 = 0.94**2 / (0.94**2 + 0.06**2)  # 0.8 + 0.2 * (0.6 + 0.8) / 2
GUESSED_1 = 0.35**2 / (0.35**2 + 0.65**2)  # (0.3 + 0.5 + 0.2 + 0.4) / 4
GUESSED_2 = 0.7**2 / (0.7**2 + 0.3**2)  # (0.6 + 0.8 + 0.9 + 0.5) / 4
REFINED_2 = 0.93**2 / (0.93**2 + 0.07**2)  # 0.9 + 0.1 * (0.2 + 0.4) / 2


def cross_entropy(target: float, p: float) -> float:
    return -(target * log(p) + (1 - target) * log(1 - p))


def squared(target: float, p: float) -> float:
    """Mean over both classes, whose differences are opposite."""
    return (target - p) ** 2


def test_targets_refine_the_labels_and_guess_the_missing_ones():
    method = make_dividemix()
    # the weights come in by the network that learns
    found = method.targets(torch.eye(4), torch.tensor([0, 0]), W.flip(0))
    expected = torch.tensor([[REFINED_1, GUESSED_1] * 2, [GUESSED_2, REFINED_2] * 2])
    torch.testing.assert_close(found[..., 0], expected)
    torch.testing.assert_close(found.sum(-1), torch.ones(2, 4))
    assert not found.requires_grad


def test_losses_without_mixing():
    found = losses(make_dividemix())
    labelled = (cross_entropy(REFINED_1, 0.6) + cross_entropy(REFINED_1, 0.8)) / 2
    labelled += (cross_entropy(REFINED_2, 0.2) + cross_entropy(REFINED_2, 0.4)) / 2
    unlabelled = (squared(GUESSED_1, 0.3) + squared(GUESSED_1, 0.5)) / 2
    unlabelled += (squared(GUESSED_2, 0.9) + squared(GUESSED_2, 0.5)) / 2
    # mean predictions 0.55 and (0.9 + 0.2 + 0.5 + 0.4) / 4 = 0.5; the second is uniform
    uniform = 0.5 * log(0.5 / 0.55) + 0.5 * log(0.5 / 0.45)
    assert found["labelled"].item() == pytest.approx(labelled, rel=1e-5)
    assert found["unlabelled"].item() == pytest.approx(unlabelled, rel=1e-5)
    assert found["uniform"].item() == pytest.approx(uniform, rel=1e-4)
    assert found["total"].item() == pytest.approx(labelled + uniform, rel=1e-5)


def test_the_unlabelled_weight_rises_over_the_ramp_after_warm_up():
    method = make_dividemix(unlabelled_weight=8.0, ramp_epochs=4)
    for epoch, weight in ((3, 0.0), (4, 2.0), (6, 6.0), (7, 8.0), (30, 8.0)):
        found = losses(method, epoch)
        expected = found["labelled"] + weight * found["unlabelled"] + found["uniform"]
        torch.testing.assert_close(found["total"], expected)
    without = losses(make_dividemix(), 30)
    torch.testing.assert_close(without["total"], without["labelled"] + without["uniform"])


def test_no_gradient_flows_through_the_targets():
    method = make_dividemix()
    losses(method)["total"].backward()
    # Network 1, by the logit of class 0. Cross-entropy of the two labelled rows: (p - target) / 2. Uniform:
    # -1/2 (1 / q - 1 / (1 - q)) times the mean prediction q = 0.55's own derivative p (1 - p) / 4.
    p = torch.tensor([0.6, 0.3, 0.8, 0.5])
    expected = -0.5 * (1 / 0.55 - 1 / 0.45) * p * (1 - p) / 4
    expected[[0, 2]] += (p[[0, 2]] - REFINED_1) / 2
    torch.testing.assert_close(method.networks[0].logits.grad[:, 0], expected)


def test_the_label_of_an_unlabelled_sample_is_never_used():
    method = make_dividemix(torch.tensor([[0.2, 0.9], [0.3, 0.8]]))
    before = losses(method)["total"].item()
    method.samples.labels[0] = 1
    assert losses(method)["total"].item() == before
    method.samples.labels[1] = 1
    assert losses(method)["total"].item() != before


@pytest.mark.parametrize(("w", "empty"), [(0.1, "labelled"), (0.9, "unlabelled")])
def test_a_batch_of_one_kind_alone_gives_exactly_zero_for_the_other(w, empty):
    method = make_dividemix(torch.full((2, 2), w), unlabelled_weight=1.0)
    found = losses(method, epoch=20)
    assert found[empty].item() == 0
    assert found["total"].item() > 0
    found["total"].backward()
    assert all(p.grad.isfinite().all() for p in method.parameters())


def test_a_sample_is_labelled_above_the_clean_probability():
    threshold = make_dividemix(torch.full((2, 2), 0.5))
    assert losses(threshold)["labelled"].item() == 0  # not above it
    lower = make_dividemix(torch.full((2, 2), 0.5), clean_probability=0.4)
    assert losses(lower)["labelled"].item() > 0
    assert losses(lower)["unlabelled"].item() == 0


def test_sharpening():
    p = torch.tensor([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]])
    expected = torch.tensor([[0.25 / 0.38, 0.09 / 0.38, 0.04 / 0.38], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(sharpen(p, 0.5), expected)
    torch.testing.assert_close(sharpen(p, 1.0), p)
    method = make_dividemix(temperature=1.0)
    targets = method.targets(torch.eye(4), torch.tensor([0, 0]), W.flip(0))[0, :2, 0]
    assert targets.tolist() == pytest.approx([0.94, 0.35])


def test_images_and_targets_are_mixed_alike_with_the_row_itself_in_the_majority():
    images, targets = torch.eye(6).view(6, 6, 1, 1), torch.eye(6)
    mixed, mixed_targets = mix(images, targets, 4.0, torch.Generator().manual_seed(0))
    assert torch.equal(mixed.view(6, 6), mixed_targets)
    torch.testing.assert_close(mixed_targets.sum(dim=1), torch.ones(6))
    share = mixed_targets.diagonal().min()
    assert 0.5 <= share < 1
    others = mixed_targets - share * torch.eye(6)  # a permutation, scaled
    torch.testing.assert_close(others.max(dim=1).values, torch.full((6,), 1 - float(share)))
    torch.testing.assert_close(others.sum(dim=0), torch.full((6,), 1 - float(share)))


@pytest.mark.parametrize(("alpha", "mean"), [(4.0, 0.5 + 35 / 256), (1.0, 0.75)])
def test_the_share_is_the_larger_part_of_a_beta_draw(alpha, mean):
    """E |l - 1/2|: for Beta(4, 4), of density 140 (1/4 - u^2)^3 in u = l - 1/2, twice the integral of
    140 u (1/4 - u^2)^3 from 0 to 1/2 is 280 (1/4)^4 / 8 = 35/256; for the uniform Beta(1, 1) it is 1/4."""
    generator = torch.Generator().manual_seed(1)
    pair = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    # the first row's own share, or 1 where the permutation leaves the pair alone
    shares = [float(mix(pair, pair, alpha, generator)[1][0, 0]) for _ in range(4000)]
    shares = [share for share in shares if share < 1]
    assert min(shares) >= 0.5
    assert np.mean(shares) == pytest.approx(mean, abs=0.012)  # 4 standard errors


def expectation_maximisation(x: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Posterior of the first component, from the clusters `first` and the rest: at most ten steps after the
    initial one, fewer once the mean log-likelihood changes by less than 1e-2; 5e-4 added to the variances."""
    posterior, previous, converged = np.stack([first, ~first], axis=1).astype(float), -np.inf, False
    for _ in range(11):
        total = posterior.sum(0)
        mean = posterior.T @ x / total
        squares = (x[:, None] - mean) ** 2
        variance = (posterior * squares).sum(0) / total + 5e-4
        density = total / len(x) * np.exp(-squares / 2 / variance) / np.sqrt(2 * np.pi * variance)
        posterior = density / density.sum(1, keepdims=True)
        if converged:
            break
        likelihood = np.log(density.sum(1)).mean()
        converged, previous = abs(likelihood - previous) < 1e-2, likelihood
    return posterior[:, 0]


def test_the_clean_probability_is_the_posterior_of_the_smaller_losses():
    rng = np.random.default_rng(0)
    x = np.concatenate([[0.0, 1.0], rng.uniform(0, 0.55, 60), rng.uniform(0.45, 1, 40)])
    found = clean_probability(torch.tensor(x), 0).numpy()
    centre = (0.0, 1.0)
    for _ in range(50):  # k-means: the clusters that the fit starts from
        first = np.abs(x - centre[0]) < np.abs(x - centre[1])
        centre = (x[first].mean(), x[~first].mean())
    np.testing.assert_allclose(found, expectation_maximisation(x, first), atol=1e-6)
    assert found[0] > 0.99 > 0.01 > found[1]
    assert ((found > 0.05) & (found < 0.95)).sum() >= 5  # not a mere cut


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_the_clean_probability_does_not_depend_on_the_losses_scale():
    x = torch.rand(80, generator=torch.Generator().manual_seed(0)) ** 2
    torch.testing.assert_close(clean_probability(0.01 * x + 3, 0), clean_probability(x, 0), atol=1e-2, rtol=0)
    assert clean_probability(torch.full((4,), 0.7), 0).isfinite().all()


def test_start_epoch_divides_by_each_networks_cross_entropy():
    """Of 6 samples labelled 0, network 1 takes the first four for right, network 2 the last one."""
    method = make_dividemix(None, unlabelled_weight=4.0, ramp_epochs=4)
    method.samples = make_samples("train", 6, 0)
    method.samples.labels[:] = 0
    right, wrong = [4.0, 0.0], [0.0, 4.0]
    answers = torch.tensor([[right] * 4 + [wrong] * 2, [wrong] * 5 + [right]])
    method.predict_all = lambda faces, forward: answers
    found = method.start_epoch(4)
    expected = torch.tensor([[1.0, 1, 1, 1, 0, 0], [0.0, 0, 0, 0, 0, 1]])
    torch.testing.assert_close(method.w, expected, atol=1e-6, rtol=0)
    assert found == pytest.approx(
        {"w_net1": 4 / 6, "w_net2": 1 / 6, "labelled_net1": 4 / 6, "labelled_net2": 1 / 6, "lambda_u": 1.0}
    )


def test_during_warm_up_cross_entropy_and_no_division():
    method = make_dividemix(None)
    method.predict_all = None
    assert method.start_epoch(2) == {}
    assert method.w is None
    found = losses(method, 2)
    expected = -(log(0.6) + log(0.3) + log(0.9) + log(0.2)) / 2
    assert found["total"].item() == pytest.approx(expected)
    assert set(found) == {"total"}


def test_real_networks_are_divided_in_evaluation_mode_and_mixed_alike_for_equal_generators():
    data = make_data()
    method = make_method("dividemix", data, training={"warmup_epochs": 0})
    before = {k: v.clone() for k, v in method.state_dict().items()}
    method.start_epoch(1)
    assert method.w.shape == (2, 30)
    assert all(torch.equal(v, before[k]) for k, v in method.state_dict().items())
    method.start_epoch(1)
    first, second = (method.losses(make_batch(data.train, list(range(8)), 1))["total"] for _ in range(2))
    assert first.item() == second.item()


def test_both_networks_predict_and_their_mean_probability_decides():
    method = make_dividemix()
    first, second = torch.tensor([[3.0, 2.0, -9.0]]), torch.tensor([[-9.0, 2.0, 3.0]])
    method.logits = lambda images: [first, second]
    found = method.predict(torch.zeros(1))
    torch.testing.assert_close(found, torch.stack([first, second]).softmax(-1))
    # sums of logits -6, 4, -6 would say class 1; mean probabilities are .37, .27, .37
    assert found.mean(0).argmin() == 1
