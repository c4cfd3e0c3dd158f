"""ResNet-18 against torchvision's."""

import torch
from torchvision.models import resnet18

from asm import backbone


def test_width_64_is_torchvisions_resnet18():
    reference = resnet18(weights=None, num_classes=7)
    ours = backbone.ResNet18(7, 64)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: v.shape for k, v in reference.state_dict().items()
    }
    ours.load_state_dict(reference.state_dict())
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours.eval()(x), reference.eval()(x))


def test_forward_is_the_head_of_the_features():
    net = backbone.ResNet18(5, 4).eval()
    x = torch.randn(3, 3, 32, 32)
    assert net.features(x).shape == (3, 32)
    torch.testing.assert_close(net(x), net.fc(net.features(x)))


def test_same_backbone_different_heads():
    initial = backbone.backbone_state(backbone.ResNet18(3, 4))
    one, two = (backbone.build(7, 4, initial, head_seed=s) for s in (0, 1))
    assert torch.equal(one.conv1.weight, two.conv1.weight)
    assert not torch.equal(one.fc.weight, two.fc.weight)
    again = backbone.build(7, 4, None, head_seed=1)
    assert torch.equal(two.fc.weight, again.fc.weight)
    assert not torch.equal(two.conv1.weight, again.conv1.weight)


def test_build_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    backbone.build(7, 4, None, head_seed=9)
    assert torch.equal(torch.rand(3), expected)
