"""The page of an audit in a real browser: reviewed by keyboard, left, taken up again, and fed back."""

import time

import browser
import numpy as np
import pandas as pd
from PIL import Image

from asm.datasets import load
from asm.faces import thumbnail
from asm.faces.store import AlignedFaces
from asm.tools.audit import ranking, review_page

webdriver = browser.webdriver
from selenium.webdriver.common.keys import Keys  # noqa: E402

pytestmark = browser.NEEDED
CLASSES = ["anger", "fear", "joy"]
VISIBLE = "document.querySelectorAll('.row').length"
COUNT = "document.getElementById('count').textContent"


def press(page, *keys):
    webdriver.ActionChains(page).send_keys(*keys).perform()


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
    keys = ([Keys.ENTER, "s", "d", "a", "1", "2", "3"] * 8)[:50]
    with browser.opened(path, tmp_path) as page:
        assert page.title == "Audit"
        press(page, *keys[:30])
        assert browser.value(page, COUNT) == "30 decided"
    with browser.opened(path, tmp_path) as page:  # another day
        assert browser.value(page, COUNT) == "30 decided"
        browser.choose(page, "state", "open")
        assert browser.value(page, "document.querySelector('.row.current').dataset.id") == table["id"][30]
        press(page, *keys[30:], "d", "u", Keys.ARROW_UP, Keys.ARROW_DOWN)  # one too many, and undone
        assert browser.value(page, COUNT) == "50 decided"
        page.find_element("id", "download").click()
        saved = tmp_path / "downloads" / "corrections.csv"
        end = time.monotonic() + 30
        while not saved.is_file() and time.monotonic() < end:
            time.sleep(0.05)

    expected = {}
    for key, row in zip(keys, table.itertuples(), strict=False):
        new = {"s": row.suggested, "1": "anger", "2": "fear", "3": "joy"}.get(key, row.given)
        action = {Keys.ENTER: "keep", "d": "drop", "a": "ambiguous"}.get(key, "relabel")
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
    with browser.opened(path, tmp_path) as page:
        assert browser.value(page, VISIBLE) < 30
        page.execute_script("document.getElementById('list').scrollTop = 125 * 9000")
        name = table["id"][9000]
        browser.wait(page, f"[...document.querySelectorAll('.row')].some(r => r.dataset.id === '{name}')")
        assert browser.value(page, VISIBLE) < 30
        browser.wait(page, "[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        browser.choose(page, "given", "1")
        assert browser.value(page, "document.getElementById('shown').textContent") == "3333 of 10000"
        page.find_element("id", "toggle").click()
        assert "x.png: <b>why</b>" in browser.value(page, "document.getElementById('findings').textContent")
