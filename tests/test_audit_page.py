"""The page of an audit in a real browser: reviewed by keyboard, left, taken up again, and fed back."""

import time

import browser
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from asm.datasets import load
from asm.faces import thumbnail
from asm.faces.store import AlignedFaces
from asm.tools.audit import ranking, review_page

pytestmark = pytest.mark.skipif(
    browser.EXECUTABLE is None, reason="no Chromium: apt install chromium, to try the page in a browser"
)
CLASSES = ["anger", "fear", "joy"]
VISIBLE = "document.querySelectorAll('.row').length"


def write(folder, count, side=16):
    """A folder of images, `count` of them for training, and the page of its audit."""
    root = folder / "data"
    rng = np.random.default_rng(0)
    ids, given = [], np.arange(count) % 3
    for k in range(count):
        ids.append(f"train/{CLASSES[given[k]]}/{k:05d}.png")
    probs = rng.dirichlet(np.full(3, 0.7), count).astype(np.float32)
    rows = pd.DataFrame({"path": ids, "split": "train"})
    stored = {"ids": np.array(ids), "given": given, "probabilities": probs, "clean_threshold": np.empty(0)}
    table, _ = ranking.table(stored, rows, CLASSES, 0)
    pixels = np.arange(count, dtype=np.int64)[:, None, None, None].repeat(side, 1).repeat(side, 2) % 256
    manifest = rows.assign(id=ids, true=given, face="mtcnn")
    faces = AlignedFaces("made", tuple(CLASSES), pixels.astype(np.uint8), manifest, np.zeros((count, 5, 2)))
    findings = [("unreadable images", ["x.png: <b>why</b>"])]
    path = review_page.write(folder, table.assign(note=""), faces, findings, "Audit", "sum", "about")
    return root, path, table


def test_fifty_faces_are_reviewed_by_keyboard_left_taken_up_again_and_trained_on(tmp_path):
    root, path, table = write(tmp_path, 60)
    for name in [*table["id"], "test/joy/t.png"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 9).save(root / name)
    keys = (["Enter", "s", "d", "a", "1", "2", "3"] * 8)[:50]
    with browser.opened(tmp_path) as page:
        page.open(path)
        assert page.run("document.title") == "Audit"
        for key in keys[:30]:
            page.press(key)
        assert page.run("document.getElementById('count').textContent") == "30 decided"
        assert not page.errors
    with browser.opened(tmp_path) as page:  # another day
        page.open(path)
        assert page.run("document.getElementById('count').textContent") == "30 decided"
        page.run("(() => { const s = document.getElementById('state'); s.value = 'open';"
                 " s.dispatchEvent(new Event('change')); })()")  # fmt: skip
        assert page.run("document.querySelector('.row.current').dataset.id") == table["id"][30]
        for key in keys[30:]:
            page.press(key)
        page.press("d")  # one too many
        page.press("u")
        page.press("ArrowUp")
        page.press("ArrowDown")
        assert page.run("document.getElementById('count').textContent") == "50 decided"
        page.run("document.getElementById('download').click()")
        saved = tmp_path / "downloads" / "corrections.csv"
        end = time.monotonic() + 30
        while not saved.is_file() and time.monotonic() < end:
            time.sleep(0.05)
        assert not page.errors

    expected = {}
    for key, row in zip(keys, table.itertuples(), strict=False):
        new = {"s": row.suggested, "1": "anger", "2": "fear", "3": "joy"}.get(key, row.given)
        action = {"Enter": "keep", "d": "drop", "a": "ambiguous"}.get(key, "relabel")
        expected[row.id] = (action, new) if new != row.given or action != "relabel" else ("keep", row.given)
    corrections = pd.read_csv(saved, keep_default_na=False).set_index("id")
    assert dict(corrections["action"]) == {name: action for name, (action, _) in expected.items()}
    (root / "corrections.csv").write_bytes(saved.read_bytes())
    data = load("folder", root, corrections="corrections.csv")
    trained_on = {row.id: data.classes[row.true] for row in data.table.itertuples()}
    for row in table.itertuples():
        action, label = expected.get(row.id, ("keep", row.given))
        assert trained_on.get(row.id) == (None if action == "drop" else label)


def test_ten_thousand_rows_hold_a_screenful_and_load_what_comes_into_view(tmp_path, monkeypatch):
    picture = thumbnail.jpeg(np.full((4, 4, 1), 99, np.uint8), 4)
    # encoding 10,000 takes longer than all else
    monkeypatch.setattr(thumbnail, "jpeg", lambda face, side: picture)
    _, path, table = write(tmp_path, 10_000, side=4)
    with browser.opened(tmp_path) as page:
        page.open(path)
        assert page.run(VISIBLE) < 30
        page.run("document.getElementById('list').scrollTop = 125 * 9000")
        name = table["id"][9000]
        page.wait(f"[...document.querySelectorAll('.row')].map(r => r.dataset.id).includes('{name}')")
        assert page.run(VISIBLE) < 30
        page.wait("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        # a second of scrolling: the longest time between two frames
        slowest = page.run("""new Promise(done => {
            const list = document.getElementById('list');
            let last = performance.now(), worst = 0, n = 0;
            const step = now => {
                worst = Math.max(worst, now - last);
                last = now;
                list.scrollTop -= 400;
                ++n < 60 ? requestAnimationFrame(step) : done(worst);
            };
            requestAnimationFrame(step);
        })""")
        print(f"longest frame of 60 while scrolling: {slowest:.0f} ms")
        page.run("(() => { const s = document.getElementById('given'); s.value = '1';"
                 " s.dispatchEvent(new Event('change')); })()")  # fmt: skip
        assert page.run("document.getElementById('shown').textContent") == "3333 of 10000"
        page.run("document.getElementById('toggle').click()")
        assert "x.png: <b>why</b>" in page.run("document.getElementById('findings').textContent")
        assert not page.errors
