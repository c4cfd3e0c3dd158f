"""RAN's regions, its two attentions and the region-biased loss, against numbers worked out by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from tiny import make_batch, make_config, make_data, make_method
from torch import nn

from asm.methods.ran import RAN, crop, region_biased_loss
from asm.parts import backbones

LN3 = math.log(3)  # sigmoid(ln 3) = 3/4, sigmoid(2 ln 3) = 9/10


class Brightest(nn.Module):
    """A network with one feature: the image's largest value."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 3)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return images.amax(dim=(1, 2, 3))[:, None]


def one_feature(relation: tuple[float, float] = (0.0, 0.0), own: float = 0.0, **options) -> RAN:
    """Self-attention sigmoid(own F_i), relation attention sigmoid(relation . [F_i : F_m])."""
    method = RAN(make_config("ran", ran=options), [Brightest()], 3, make_data().train)
    with torch.no_grad():
        method.self_attention.weight[:] = own
        method.relation_attention.weight[:] = torch.tensor(relation)
        for head in (method.self_attention, method.relation_attention):
            head.bias.zero_()
    return method


def test_regions_are_the_published_shares_of_the_image_and_the_whole_face_comes_last():
    # a pixel holds its column (channel 0) and row (channel 1); 32 px: .05 -> 1.6 -> 2, .9 -> 28.8 -> 29
    grid = torch.arange(32.0)
    image = torch.stack([grid.expand(32, 32), grid[:, None].expand(32, 32), torch.zeros(32, 32)])
    found = crop(torch.stack([image, image + 100]), 7)
    assert found.shape == (16, 3, 32, 32)
    edges = [(4, 28, 8, 32), (0, 24, 0, 24), (8, 32, 0, 24), (2, 30, 2, 30), (3, 29, 3, 29)]
    edges += [(4, 28, 4, 28), (4, 28, 0, 24), (0, 32, 0, 32)]
    for region, (x0, x1, y0, y1) in zip(found[::2], edges, strict=True):
        assert [region[0].min(), region[0].max()] == [x0, x1 - 1]
        assert [region[1].min(), region[1].max()] == [y0, y1 - 1]
    assert torch.equal(found[14:], torch.stack([image, image + 100]))
    torch.testing.assert_close(found[1::2, :2], found[::2, :2] + 100)


def test_the_attended_features_with_a_softmax_over_the_regions():
    # mu = softmax(3/4, 1/2): the first is m = 1 / (1 + e^-1/4), and F_m = m ln 3.
    # nu = softmax(sigmoid(F_i + F_m / m)) = softmax(9/10, 3/4): the first is n = 1 / (1 + e^-.15)
    m, n = 1 / (1 + math.exp(-0.25)), 1 / (1 + math.exp(-0.15))
    method = one_feature((1.0, 1 / m), own=1.0)
    out, mu = method.attend(torch.tensor([LN3, 0.0]).view(2, 1, 1))
    assert mu.flatten().tolist() == pytest.approx([m, 1 - m])
    share = m * n / (m * n + (1 - m) * (1 - n))
    assert out[0].tolist() == pytest.approx([share * LN3, m * LN3])


def test_region_biased_loss_is_zero_once_a_crop_leads_by_the_margin():
    # first sample: best crop .5, face .3, leads by .2; second: .3 - .5 = -.2
    mu = torch.tensor([[0.5, 0.2], [0.2, 0.3], [0.3, 0.5]], requires_grad=True)
    loss = region_biased_loss(mu, 0.1)
    assert loss.item() == pytest.approx((0 + 0.3) / 2)
    loss.backward()
    assert mu.grad.tolist() == [[0, 0], [0, -0.5], [0, 0.5]]
    assert region_biased_loss(mu, 0.3).item() == pytest.approx((0.1 + 0.5) / 2)


def test_total_is_cross_entropy_plus_the_region_biased_loss():
    method = one_feature(margin=0.1)
    mu = torch.tensor([[0.5, 0.2], [0.2, 0.3], [0.3, 0.5]])
    z = torch.tensor([[LN3, 0.0, 0.0], [0.0, 0.0, 0.0]])
    method.classify = lambda images: (z, mu)
    found = method.losses(make_batch(make_data(wrong=0).train, [0, 1]))
    # labels 0, 1: -log(3/5) and -log(1/3)
    ce = (math.log(5 / 3) + LN3) / 2
    assert found["ce"].item() == pytest.approx(ce)
    assert found["region"].item() == pytest.approx(0.15)
    assert found["total"].item() == pytest.approx(ce + 0.15)


@pytest.mark.parametrize(("regions", "share"), [(1, 1 / 2), (5, 3 / 6), (6, 3 / 7), (7, 3 / 8)])
def test_inference_averages_the_same_regions_of_the_evaluation_view(regions, share):
    # one image bright in its lowest right corner from (28, 28) on: seen by the whole face and the centres .9
    # (up to 30) and .8 (up to 29), by no other crop (up to 24, or columns up to 28, or rows up to 24).
    # With all weights alike each feature is the share of the regions that see it
    method = one_feature(regions=regions).eval()
    with torch.no_grad():
        method.networks[0].head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
        method.networks[0].head.bias.zero_()
    images = torch.zeros(2, 3, 32, 32)
    images[0, :, 28:, 28:] = 1
    (found,) = method.logits(images)
    assert found[0].tolist() == pytest.approx([share, share, 2 * share])
    assert found[1].tolist() == [0, 0, 0]


def test_gradient_reaches_the_network_and_both_attentions():
    data = make_data()
    method = make_method("ran", data)
    method.losses(make_batch(data.train, [0, 1, 2, 3]))["total"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())


def test_the_network_is_updated_through_the_region_biased_loss_alone_too():
    data = make_data()
    method = make_method("ran", data, ran={"margin": 1.0})
    method.losses(make_batch(data.train, [0, 1, 2, 3]))["region"].backward()
    assert method.networks[0].stem[0].weight.grad.abs().sum() > 0
    assert method.networks[0].head.weight.grad is None


def test_all_regions_are_one_forward_pass():
    data = make_data()
    method = make_method("ran", data, ran={"regions": 3})
    calls = []
    method.networks[0].stem[0].register_forward_pre_hook(lambda _, inputs: calls.append(inputs[0].shape))
    passes = backbones.count_passes(method)
    method.losses(make_batch(data.train, [0, 1, 2, 3, 4]))
    assert calls == [(20, 3, 32, 32)]
    assert passes.images == 20


def test_training_takes_the_weak_view():
    data = make_data()
    method = make_method("ran", data).eval()
    method.weak = lambda batch: torch.zeros(len(batch.labels), 3, 32, 32)
    labels = data.train.labels[[0, 4]]
    (z,) = method.logits(torch.zeros(2, 3, 32, 32))
    found = method.losses(make_batch(data.train, [0, 4]))["ce"]
    torch.testing.assert_close(found, F.cross_entropy(z, labels))


def test_attention_stays_float32_under_autocast():
    data = make_data()
    method = make_method("ran", data, training={"precision": "bf16"})
    with method.autocast():
        z, mu = method.classify(method.weak(make_batch(data.train, [0, 1, 2])))
    assert z.dtype == mu.dtype == torch.float32
    torch.testing.assert_close(mu.sum(0), torch.ones(3), atol=1e-6, rtol=0)


def test_the_classifier_takes_both_halves_and_has_the_heads_rate():
    method = make_method("ran")
    assert method.networks[0].head.weight.shape == (3, 2 * 8 * 4)
    assert [n for n, _ in method.named_parameters() if "head" in n.split(".")] == [
        "networks.0.head.weight",
        "networks.0.head.bias",
    ]
