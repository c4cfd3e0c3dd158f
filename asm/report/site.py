"""The page and its details as one self-contained HTML file: charts that answer to the mouse, tables to sort.

The scripts are inlined, so that the file opens without a network.
"""

import base64
import json
import re
from pathlib import Path

import vl_convert
from markdown_it import MarkdownIt

from asm.report import page
from asm.report.charts import VEGALITE, Charts
from asm.report.results import Results

IMAGE = re.compile(r'<p><img src="figures/([\w-]+)\.png" alt="[^"]*" /></p>')
LINKS = {  # between the two pages, which become links inside the one
    'href="details.md#': 'href="#',
    'href="details.md"': 'href="#details"',
    'href="README.md"': 'href="#top"',
    "<h2>Not run yet</h2>": '<h2 id="not-run-yet">Not run yet</h2>',
}


def render(results: Results, markdown: tuple[str, str], figures: Path, charts: Charts) -> str:
    """The site.

    Args:
        markdown: the page and its details.
        figures: folder of the written figures; those without a chart are inlined as they are.
        charts: by the stem of their figure (`charts.build`).
    """
    used: Charts = {}

    def shown(match: re.Match[str]) -> str:
        if match[1] not in charts:
            data = base64.b64encode((figures / f"{match[1]}.png").read_bytes()).decode()
            return f'<p><img class="figure" alt="" src="data:image/png;base64,{data}"></p>'
        used[match[1]] = charts[match[1]]
        return f'<div class="chart" id="{match[1]}"></div>'

    to_html = MarkdownIt("commonmark", {"html": True}).enable("table").render
    first, more = (IMAGE.sub(shown, _linked(to_html(text))) for text in markdown)
    return page.environment().get_template("site.html").render(
        title=f"Results: {results.grid.profile}", page=first, details=more,
        scripts=_in_script(vl_convert.javascript_bundle(vl_version=VEGALITE)),
        specs=_in_script(json.dumps(used, ensure_ascii=False, sort_keys=True)),
    )  # fmt: skip


def _linked(html: str) -> str:
    for old, new in LINKS.items():
        html = html.replace(old, new)
    return html


def _in_script(text: str) -> str:
    """Without what would end the script's element; it can only stand in a string."""
    return re.sub("</(?=script)", r"<\\/", text, flags=re.IGNORECASE)
