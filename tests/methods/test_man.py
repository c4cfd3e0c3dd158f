"""MAN's co-division and its three losses, worked out by hand for two networks with rotated answers."""

import math

import pytest
import torch
from tiny import make_batch, make_data, make_method

from asm.methods.man import MAN
from asm.mining import AMBIGUOUS, CLEAN, NOISY
from asm.parts import views as views_module

LOG2 = math.log(2)
# Rows 0-2 of the batch are clean, ambiguous, noisy. A view gives 1/2 to one class and 1/4 to the others.
WEAK_TOP, STRONG_TOP = (0, 0, 0), 2  # strong: of the noisy row
LABELS = (0, 0, 1)


def halves(top: int) -> torch.Tensor:
    """An image [3, 1, 1] whose three values are the logits of 1/2 at `top` and 1/4 elsewhere."""
    p = torch.full((3, 1, 1), 0.25)
    p[top] = 0.5
    return p.log()


class Rotated(torch.nn.Module):
    """A network that answers with an image's three values, rotated by some classes."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.scale = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :, 0, 0].roll(self.classes, dims=1) * self.scale


@pytest.fixture
def views(monkeypatch):
    """The constructed weak and strong images, with gradient."""
    weak = torch.stack([halves(top) for top in WEAK_TOP]).requires_grad_()
    strong = halves(STRONG_TOP)[None].clone().requires_grad_()
    monkeypatch.setattr(MAN, "strong_view", lambda method, faces, *_: strong[: len(faces)])
    return weak, strong


def make_man(weak: torch.Tensor, codes: tuple[int, ...] | None = (CLEAN, AMBIGUOUS, NOISY), **options) -> MAN:
    data = make_data()
    data.train.labels[:3] = torch.tensor(LABELS)
    method = make_method("man", data, man=options, training={"image_size": 48})
    method.networks = torch.nn.ModuleList([Rotated(0), Rotated(1)])
    method.weak = lambda batch: weak[: len(batch.labels)]
    method.subset = None if codes is None else torch.tensor(codes, dtype=torch.int8)
    return method


def losses(method: MAN, rows: tuple[int, ...] = (0, 1, 2), epoch: int = 3) -> dict[str, torch.Tensor]:
    return method.losses(make_batch(method.samples, list(rows), epoch))


# Network 1 gives its half to `top`, network 2 to the class after it.
# Label 0, top 0: CE1 = -log 1/2 = log 2, CE2 = -log 1/4 = 2 log 2; their mean is 1.5 log 2.
CE = 1.5 * LOG2
# p1 and p2 differ by 1/4 in two classes, where the logarithms differ by log 2:
# KL(p1||p2) + KL(p2||p1) = 2 (1/4 log 2) = log 2 / 2; MAN takes half of it.
KL = 0.25 * LOG2
# Weak and strong differ by 1/4 in two of three classes, in either network: mean over classes 2/16/3.
MSE = 2 / 16 / 3


@pytest.mark.parametrize("epoch", [1, 4])
def test_the_loss_is_the_mean_over_the_networks_of_each_subsets_loss(views, epoch):
    found = losses(make_man(views[0], omega=0.5, gamma=3.0), epoch=epoch)
    weight = 0.9 * math.exp(-0.65 * (1 - epoch / 3.6) ** 2)  # 4 epochs, ramp to 0.9 of them and not clipped
    mut = (1 - weight) * CE + weight * KL
    assert found["sup"].item() == pytest.approx(CE)
    assert found["mut"].item() == pytest.approx(mut)
    assert found["usc"].item() == pytest.approx(MSE)
    assert found["total"].item() == pytest.approx(CE + 0.5 * mut + 3 * MSE)


def test_a_loss_is_the_mean_over_its_subset_however_small(views):
    found = losses(make_man(views[0], (CLEAN, CLEAN, NOISY)))
    assert found["sup"].item() == pytest.approx(CE)  # two samples of the same loss
    assert found["mut"].item() == 0
    assert found["usc"].item() == pytest.approx(MSE)


def test_warm_up_is_the_networks_mean_cross_entropy_on_all_samples(views):
    found = losses(make_man(views[0], None))
    # label 1, top 0: CE1 = 2 log 2, CE2 = log 2; the same mean as that of the other two rows
    assert set(found) == {"total"}
    assert found["total"].item() == pytest.approx(CE)


def test_the_gradient_passes_through_both_views_and_both_networks(views):
    weak, strong = views
    method = make_man(weak, (NOISY, NOISY, NOISY))
    losses(method, (2,))["total"].backward()
    # d/dz of (1/2)(1/3) sum_k d_k^2 for a network, d = p_w - p_s = (1/4, 0, -1/4), p_w = (1/2, 1/4, 1/4):
    # (1/3) p_j (d_j - sum_k p_k d_k) with sum 1/16: (1/3)(3/32, -1/64, -5/64); the rotation maps network 2's
    # d and p onto network 1's, so both add the same.
    expected = [2 / 3 * v for v in (3 / 32, -1 / 64, -5 / 64)]
    assert weak.grad[0, :, 0, 0].tolist() == pytest.approx(expected)
    # strong: -(1/3) p_s (d - sum p_s d), p_s = (1/4, 1/4, 1/2), sum -1/16: -(1/3)(5/64, 1/64, -3/32)
    assert strong.grad[0, :, 0, 0].tolist() == pytest.approx([-2 / 3 * v for v in (5 / 64, 1 / 64, -3 / 32)])


def test_the_agreement_pulls_both_networks(views):
    method = make_man(views[0], lambda_max=1.0, beta=0.0)  # lambda 1: the agreement alone
    found = losses(method, (1,))
    found["mut"].backward()
    assert found["mut"].item() == pytest.approx(KL)
    # d/d scale at 1 of (1/2) sum_k (p1 - p2)(z1 - z2): directly (1/2) sum (p1 - p2) z1, and by way of p1
    # (1/2) cov_p1(z1, z1 - z2). z1 - z2 = (log 2, -log 2, 0), p1 = (1/2, 1/4, 1/4), z1 = -(1, 2, 2) log 2:
    # direct (1/2)(1/4) log 2; cov: E[z1 g] = -(1/2 - 2/4) log^2 2 = 0, E[z1] E[g] = -(3/2)(1/4) log^2 2
    expected = LOG2 / 8 + 3 / 16 * LOG2**2
    grads = [network.scale.grad.item() for network in method.networks]
    assert grads == pytest.approx([expected] * 2, abs=1e-6)


def test_the_label_of_a_noisy_sample_is_never_used(views):
    method = make_man(views[0])
    before = losses(method)["total"].item()
    method.samples.labels[2] = 0
    assert losses(method)["total"].item() == before


def test_two_right_predictions_are_clean_one_ambiguous_none_noisy():
    right, wrong = [0.5, 0.3, 0.2], [0.1, 0.3, 0.6]
    probs = torch.tensor([[right, right, wrong, wrong], [right, wrong, right, wrong]])
    mined = make_method("man").mine(probs, torch.zeros(4, dtype=torch.int64))
    assert mined.confidence is mined.clean_threshold is mined.noisy_threshold is None
    found = mined.subset
    assert found.dtype == torch.int8
    assert found.tolist() == [CLEAN, AMBIGUOUS, AMBIGUOUS, NOISY]


def test_an_epoch_after_warm_up_starts_with_the_division_of_the_training_set():
    data = make_data(train=4)
    data.train.labels[:] = torch.tensor([0, 0, 1, 2])
    method = make_method("man", data, training={"warmup_epochs": 2})
    answer = torch.eye(3)[torch.tensor([[0, 0, 1, 1], [0, 1, 1, 0]])]
    method.predict_all = lambda faces, view: answer
    assert method.start_epoch(2) == {}
    assert method.subset is None
    logs = method.start_epoch(3)
    assert method.subset.tolist() == [CLEAN, AMBIGUOUS, CLEAN, NOISY]
    assert logs == {
        "subset_clean": 0.5,
        "subset_ambiguous": 0.25,
        "subset_noisy": 0.25,
        "lambda": pytest.approx(0.9 * math.exp(-0.65 * (1 - 3 / 3.6) ** 2)),
    }


def mining_images(epoch: int, faces: torch.Tensor, **sections) -> torch.Tensor:
    method = make_method("man", **sections)
    seen = []
    real = method.predict_all
    method.predict_all = lambda faces, view: (seen.append(view(faces)), real(faces))[1]
    method.start_epoch(epoch)
    return seen[0]


def test_mining_sees_weak_views_that_seed_and_epoch_decide():
    faces = make_data().train.faces
    plain = views_module.evaluation_view(faces)
    weak = mining_images(2, faces)
    changed = (weak != plain).flatten(1).any(dim=1)
    assert 15 < changed.sum() <= 30  # flipped or erased: 3 in 4
    assert mining_images(2, faces).equal(weak)
    assert not mining_images(3, faces).equal(weak)
    assert not mining_images(2, faces, seed=1).equal(weak)


ROWS = list(range(8))


def passes(image_size: int, codes: list[int]) -> list[int]:
    """Sizes of one step's forward passes of each network, as its first BatchNorm sees them."""
    method = make_method("man", training={"image_size": image_size}).train()
    data = make_data()
    faces = data.train.faces[:8].repeat(1, 2, 2, 1)[:, :image_size, :image_size]
    batch = make_batch(data.train, ROWS)
    batch = type(batch)(batch.rows, batch.rows_cpu, faces, batch.labels, batch.epoch, batch.generator)
    method.subset = torch.tensor(codes, dtype=torch.int8)
    seen = []
    for network in method.networks:
        network.stem[1].register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    method.losses(batch)["total"].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())
    return seen


THREE_THREE_TWO = [CLEAN, NOISY, CLEAN, AMBIGUOUS, AMBIGUOUS, CLEAN, NOISY, AMBIGUOUS]
ONE_NOISY = [CLEAN] * 4 + [AMBIGUOUS] * 3 + [NOISY]


def test_each_subset_goes_through_by_itself():
    # clean, noisy weak, noisy strong, ambiguous; each through network 1 and network 2
    assert passes(32, THREE_THREE_TWO) == [3, 3, 2, 2, 2, 2, 3, 3]


def test_a_lone_sample_goes_with_the_others_only_where_its_last_map_is_one_pixel():
    assert passes(48, ONE_NOISY) == [4, 4, 1, 1, 1, 1, 3, 3]
    assert passes(32, ONE_NOISY) == [9, 9]


def test_an_empty_subset_is_not_sent_through():
    assert passes(32, [AMBIGUOUS] * 8) == [8, 8]


def test_the_weak_view_is_drawn_before_the_strong_one(monkeypatch):
    method = make_method("man").eval()
    method.subset = torch.tensor(THREE_THREE_TWO, dtype=torch.int8)
    batch, expected = make_batch(method.samples, ROWS), make_batch(method.samples, ROWS)
    weak = method.weak(expected)
    strong = views_module.strong_view(
        expected.faces[[1, 6]], method.config.strong_augment, expected.generator
    )  # the two noisy ones
    seen = []
    monkeypatch.setattr(method, "logits", lambda images: (seen.append(images), [images.mean((2, 3))] * 2)[1])
    method.losses(batch)
    clean, noisy_weak, noisy_strong, ambiguous = seen
    assert noisy_strong.equal(strong)
    assert clean.equal(weak[[0, 2, 5]])
    assert noisy_weak.equal(weak[[1, 6]])
    assert ambiguous.equal(weak[[3, 4, 7]])
