"""ASM sends the weak batch and the noisy samples' strong views through each network together."""

import pytest
import torch
from tiny import make_batch, make_data, make_method

from asm import losses
from asm.mining import AMBIGUOUS, CLEAN, NOISY
from asm.parts.views import strong_view


@pytest.mark.parametrize("noisy", [0, 1, 5])
def test_with_frozen_normalisation_it_equals_one_forward_a_subset(noisy):
    """Losses and gradients of the joint step against each subset by itself, as public code has it."""
    data = make_data()
    method = make_method("asm", data)
    method.subset = torch.tensor([NOISY] * noisy + [CLEAN, AMBIGUOUS] * 15, dtype=torch.int8)[:30]
    batch = make_batch(data.train, list(range(12)))
    method.eval()  # the statistics of a batch are the one thing that differs
    joint = method.losses(batch)
    joint["total"].backward()
    gradients = [p.grad.clone() for p in method.parameters()]
    method.zero_grad()

    batch = make_batch(data.train, list(range(12)))
    weak = method.weak(batch)
    codes, size = method.subset[:12], 12
    clean, ambiguous, wrong = (codes == code for code in (CLEAN, AMBIGUOUS, NOISY))
    strong = strong_view(batch.faces[wrong], method.config.strong_augment, batch.generator)
    nothing = torch.zeros(0, 3)
    c1, c2 = method.logits(weak[clean])
    a1, a2 = method.logits(weak[ambiguous])
    w1, w2 = method.logits(weak[wrong]) if noisy else (nothing, nothing)
    s1, s2 = method.logits(strong) if noisy else (nothing, nothing)
    sup = losses.supervised(c1, c2, batch.labels[clean], size)
    weight = losses.ramp(batch.epoch, 0.9 * method.config.training.epochs)
    mut = losses.mutual(a1, a2, batch.labels[ambiguous], weight, size)
    usc = losses.consistency(w1, s1, w2, s2, size)
    (sup + 0.6 * mut + usc).backward()
    for name, value in (("sup", sup), ("mut", mut), ("usc", usc)):
        torch.testing.assert_close(joint[name], value, rtol=1e-4, atol=1e-6)
    for parameter, expected in zip(method.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-3, atol=1e-6)
