"""audit.html: one page, offline, in which labels are reviewed by keyboard; beside it the small pictures where
they are too many to be part of it."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from asm import mining
from asm.basics.files import atomic_write, writing
from asm.faces import thumbnail
from asm.faces.store import AlignedFaces

TEMPLATE = Path(__file__).with_name("review_page.html")
INLINE = 1000  # pictures inside the page
SIDE = 112  # pixels of a picture


def write(
    out: Path,
    table: pd.DataFrame,
    aligned: AlignedFaces,
    findings: list[tuple[str, list[str]]],
    title: str,
    summary: str,
    about: str,
) -> Path:
    """Write `out`/audit.html and, with more than `INLINE` faces, `out`/thumbs.

    Args:
        table: as of `asm.tools.audit.ranking.table`, by rank; all its ids are in `aligned`.
        findings: what else is amiss, as headings and lines of text.
        title, summary, about: text of the page's head.
    """
    classes = list(aligned.classes)
    pictures = pd.Index(aligned.manifest["id"]).get_indexer(table["id"]).tolist()
    p = table[[f"p_{name}" for name in classes]].to_numpy()
    chosen = {name: table[name].map(classes.index).to_numpy() for name in ("given", "suggested")}
    rows = {
        **{name: table[name].tolist() for name in ("id", "path", "split", "note")},
        **{name: ids.tolist() for name, ids in chosen.items()},
        **{f"p_{name}": p[np.arange(len(p)), ids].round(3).tolist() for name, ids in chosen.items()},
        "subset": table["subset"].map(mining.SUBSETS.index).tolist(),
        "ambiguity": table["ambiguity_rank"].tolist(),
        "picture": pictures,
    }
    # what was decided of other labels is not shown beside these
    key = hashlib.sha256("\0".join(sorted(table["id"] + "\0" + table["given"])).encode()).hexdigest()[:16]
    content = {
        **{"title": title, "summary": summary, "about": about, "key": key, "classes": classes},
        **{"subsets": list(mining.SUBSETS), "rows": rows, "findings": findings, "pictures": None},
    }
    out.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(out / "thumbs", ignore_errors=True)
    if len(table) <= INLINE:
        content["pictures"] = [thumbnail.data_url(aligned.faces[row], SIDE) for row in pictures]
    else:
        with writing(out / "thumbs"):
            (out / "thumbs").mkdir()
            for row in tqdm(pictures, "pictures", file=sys.stderr):
                (out / "thumbs" / f"{row}.jpg").write_bytes(thumbnail.jpeg(aligned.faces[row], SIDE))
    # "<" only occurs in texts, where it may be written so: no text can end the script
    text = json.dumps(content, ensure_ascii=False).replace("<", "\\u003c")
    page = TEMPLATE.read_text(encoding="utf-8").replace("__DATA__", text)
    with atomic_write(out / "audit.html") as path:
        path.write_text(page, encoding="utf-8")
    return out / "audit.html"
