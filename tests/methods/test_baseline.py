import torch
import torch.nn.functional as F
from tiny import make_config
from torch import nn

from asm.methods import METHODS, Baseline, Batch
from asm.params import METHOD_SECTIONS


def test_the_loss_is_cross_entropy_of_the_given_labels():
    net = nn.Sequential(nn.Flatten(), nn.Linear(3, 3))
    method = Baseline(make_config("baseline"), [net], num_classes=3)
    weak, labels = torch.randn(5, 3, 1, 1), torch.tensor([0, 1, 2, 0, 1])
    found = method.losses(Batch(torch.arange(5), weak, labels, lambda mask: None, 1))
    torch.testing.assert_close(found["total"], F.cross_entropy(net(weak), labels))
    assert method.start_epoch(1, labels, lambda: None) == {}
    assert method.predict(weak).shape == (1, 5, 3)


def test_every_method_of_the_params_exists_and_the_other_way_round():
    assert set(METHODS) == set(METHOD_SECTIONS)
