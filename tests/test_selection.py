"""SCN's relabelling and Co-teaching's selection, on numbers that can be read off."""

import pytest
import torch
from tiny import make_samples

from asm.parts import selection


def test_a_label_is_replaced_where_the_prediction_exceeds_it_by_more_than_the_margin():
    probs = torch.tensor(
        [
            [0.50, 0.25, 0.25],  # given 1: 0.25 apart, not more than the margin
            [0.625, 0.25, 0.125],  # given 1: 0.375 apart
            [0.625, 0.25, 0.125],  # given 2: 0.5 apart
            [0.10, 0.80, 0.10],  # given 1: predicted as given
        ]
    )
    labels = torch.tensor([1, 1, 2, 1])
    assert selection.relabel(probs, labels, 0.25).tolist() == [1, 0, 0, 1]
    assert selection.relabel(probs, labels, 0.4).tolist() == [1, 1, 0, 1]
    assert selection.relabel(probs, labels, 0.2).tolist() == [0, 0, 0, 1]
    assert labels.tolist() == [1, 1, 2, 1]


def test_the_drop_rate_rises_from_0_to_the_forget_rate_and_stays():
    found = [selection.drop_rate(epoch, 0.4, 4) for epoch in range(1, 8)]
    assert found == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.4, 0.4])
    assert selection.drop_rate(1, 0.4, 0) == 0.4  # no ramp


@pytest.mark.parametrize(
    ("drop", "expected"),
    [
        (0.0, [2, 0, 3, 1]),
        (0.25, [2, 0, 3]),
        (0.3, [2, 0]),  # 0.7 * 4 = 2.8
        (0.99, [2]),
        (1.0, [2]),
    ],
)
def test_the_smallest_losses_are_kept_rounded_down_and_never_none(drop, expected):
    assert selection.small_loss(torch.tensor([0.2, 0.9, 0.1, 0.5]), drop).tolist() == expected


@pytest.mark.parametrize(("drop", "count", "kept"), [(0.8, 10, 2), (0.2 * 3 / 3, 120, 96), (0.4, 50, 30)])
def test_a_whole_number_of_samples_is_not_lost_to_rounding(drop, count, kept):
    assert len(selection.small_loss(torch.rand(count), drop)) == kept


def test_the_selection_gives_no_gradient_and_keeps_equal_losses_in_their_order():
    losses = torch.tensor([1.0, 0.5, 0.5, 0.5], requires_grad=True)
    kept = selection.small_loss(losses, 0.5)
    assert kept.tolist() == [1, 2]
    assert not kept.requires_grad


def test_rows_are_relabelled_where_they_changed():
    """Also of a row that is there twice, as in balanced sampling."""
    labels = torch.tensor([0, 1, 2, 3, 4])
    rows, new = torch.tensor([3, 0, 3, 1, 4, 4]), torch.tensor([6, 5, 7, 8, 1, 2])
    selection.relabel_rows(labels, rows, new, torch.tensor([False, True, True, False, True, True]))
    assert labels.tolist() == [5, 1, 2, 7, 2]


class Relabelling(selection.Relabels, torch.nn.Module):
    """Three samples with labels 0, 1 and 2."""

    def __init__(self) -> None:
        super().__init__()
        self.samples = make_samples("train", 3, 0)
        self.keep_labels(self.samples)


SURE = torch.tensor([[0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])


def test_new_labels_are_learnt_from_the_next_epoch_on_and_stay():
    method, other = Relabelling(), Relabelling()
    rows = torch.tensor([2, 0])
    method.propose(rows, method.labels[rows], SURE, 0.2)
    assert method.labels.tolist() == [0, 1, 2]
    method.propose(rows, method.labels[rows], torch.full((2, 3), 1 / 3), 0.2)  # a later visit finds nothing
    other.load_state_dict(method.state_dict())  # they travel with the state
    for each in (method, other):
        assert each.start_epoch(2) == {"relabelled": pytest.approx(2 / 3)}
        assert each.labels.tolist() == [2, 1, 1]
        assert each.samples.labels.tolist() == [0, 1, 2]
