"""Class names that a figure would take for something else, or could not write."""

import made_up
import pytest

from asm.report import drawing
from asm.report.drawing import drawn, undrawable

NAMES = ["happy", "a$x^$b", "$\\frac$", "_sad", "高兴", "खुश", "gêne", "100 % {sure} \\x"]


def test_names_are_drawn_as_they_are_or_by_their_number():
    assert drawn(["happy", "gêne", "$5"]) == ["happy", "gêne", r"\$5"]
    assert undrawable(NAMES) == ["高兴", "खुश"]
    assert drawn(NAMES)[4:6] == ["class 5", "class 6"]


@pytest.mark.filterwarnings("error")
def test_every_name_can_be_drawn_and_stands_in_the_legend(tmp_path):
    with drawing.style():
        figure = drawing.canvas(5, 5)
        axes = figure.subplots()
        for k, name in enumerate(drawn(NAMES)):
            axes.plot([0, 1], [0, k], label=name)
        axes.set_xticks(range(len(NAMES)), drawn(NAMES))
        axes.legend()
        drawing.save(figure, tmp_path, "x", tmp_path)
    assert len(axes.get_legend().get_texts()) == len(NAMES)


def test_a_report_of_such_classes_is_complete_and_says_what_it_could_not_write(tmp_path, monkeypatch, small):
    monkeypatch.setattr(made_up, "CLASSES", NAMES[:7])
    out = made_up.write_report(made_up.write_run(tmp_path, small))
    details = (out / "details.md").read_text()
    assert "| names that no font of the figures has: synthetic | 高兴 = class 5, खुश = class 6 " in details
    assert (out / "figures" / "fig_thresholds.png").is_file()
