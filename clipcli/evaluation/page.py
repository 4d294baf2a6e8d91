"""An evaluation as one HTML page that needs nothing else: no network, no script.

Everything that comes from a file's name or a label passes through `_shown`.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

from PIL import Image

from clipcli.errors import one_line
from clipcli.evaluation import tables
from clipcli.evaluation.measure import Evaluation, Judged, worst_mistakes
from clipcli.evaluation.svg import confusion_picture, reliability_picture
from clipcli.evaluation.tables import Table
from clipcli.photos.decode import open_photo, readable_formats, upright_rgb

N_MISTAKES = 24
N_CONFUSIONS = 12
THUMBNAIL_PX = 200
JPEG_QUALITY = 80

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a; background: #fff;
       max-width: 1240px; margin: 2em auto; padding: 0 1.5em; }
h1 { font-size: 1.6em; margin-bottom: 0; } h2 { font-size: 1.2em; margin: 2em 0 .5em; }
.said { color: #555; margin-top: .2em; overflow-wrap: anywhere; }
table { border-collapse: collapse; } td, th { padding: .2em 1em .2em 0; text-align: left; }
th { font-weight: 600; border-bottom: 1px solid #999; }
td { border-bottom: 1px solid #e4e4e4; overflow-wrap: anywhere; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.beside { display: flex; flex-wrap: wrap; gap: 1em 3em; align-items: flex-start; }
.beside > div { max-width: 370px; }
.long { max-height: 36em; overflow-y: auto; } .picture { overflow-x: auto; }
.mistakes { display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr));
            gap: 1.2em; }
figure { margin: 0; } figcaption { font-size: .85em; overflow-wrap: anywhere; }
figure img, .gone { width: 100%; aspect-ratio: 1; object-fit: contain; background: #f2f2f2; }
.gone { display: grid; place-items: center; color: #777; }
.path { color: #666; } svg text { font: 11px system-ui, sans-serif; }
"""

COMPARISON_HEADING = """<h2>Compared</h2>
<p>Differences are to the first line, in points of top-1, on the same photographs. The rest of this
page is about the first line.</p>"""

MATRIX_HEADING = """<h2>Confusion matrix</h2>
<p>A row for what the photographs show, a column for what they were taken for; the darker, the
larger the share of the row. Blue is right, red is wrong. Point at a cell to read it.</p>"""

RELIABILITY_HEADING = """<h2>Can its probabilities be trusted?</h2>
<p>A bar as high as the share that was right of the answers with that probability;
on the line it keeps its word. The darker, the more answers.</p>"""


def page(evaluations: Sequence[Evaluation]) -> str:
    """The first evaluation in full, and in a table how the others differ from it."""
    first = evaluations[0]
    parts = [
        _heading(first),
        _table(tables.overall(first)),
        _comparison(evaluations),
        MATRIX_HEADING,
        f'<div class="picture">{confusion_picture(list(first.per_label), first.matrix)}</div>',
        '<div class="beside"><div><h2>Labels</h2><div class="long">',
        _table(tables.of_labels(first)),
        "</div></div><div><h2>Confusions that cost most</h2>",
        _table(tables.of_confusions(first, N_CONFUSIONS)) if first.confusions else "<p>None.</p>",
        f"</div><div>{RELIABILITY_HEADING}",
        reliability_picture(first.bins),
        "</div></div>",
        _mistakes(worst_mistakes(first, N_MISTAKES)),
    ]
    body = "\n".join(parts)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>clipcli eval: {_shown(first.asked.spec.name)}</title><style>{STYLE}</style></head>
<body>
{body}
</body></html>
"""


def thumbnail(path: str) -> bytes | None:
    """A small JPEG of a photograph, turned as its EXIF says; None if it can no longer be read."""
    try:
        with open_photo(path) as file, Image.open(file, formats=readable_formats()) as picture:
            picture.draft(None, (2 * THUMBNAIL_PX, 2 * THUMBNAIL_PX))
            picture.load()
            small = upright_rgb(picture)
            small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
            stored = io.BytesIO()
            # without the metadata, which may say where the photograph was taken
            Image.frombytes("RGB", small.size, small.tobytes()).save(
                stored, "JPEG", quality=JPEG_QUALITY
            )
            return stored.getvalue()
    except Exception:  # it was read a moment ago; whatever Pillow raises now, the page goes on
        return None


def _heading(evaluation: Evaluation) -> str:
    asked = evaluation.asked
    templates = ", ".join(_shown(repr(template)) for template in asked.templates)
    return (
        "<h1>How often it is right</h1>"
        f'<p class="said">{evaluation.n:,} photographs, {len(evaluation.per_label):,} labels.'
        f" Model {_shown(asked.spec.name)}, {asked.spec.precision}, {asked.preprocessing};"
        f" SHA-256 {asked.spec.fingerprint}.<br>Templates: {templates}</p>"
    )


def _comparison(evaluations: Sequence[Evaluation]) -> str:
    if len(evaluations) == 1:
        return ""
    return COMPARISON_HEADING + _table(tables.comparison(evaluations))


def _mistakes(mistakes: Sequence[Judged]) -> str:
    if not mistakes:
        return ""
    figures = "\n".join(_figure(one) for one in mistakes)
    return f'<h2>Worst mistakes</h2>\n<div class="mistakes">\n{figures}\n</div>'


def _figure(one: Judged) -> str:
    stored = thumbnail(one.path)
    if stored is None:
        picture = '<div class="gone">no longer readable</div>'
    else:
        data = base64.b64encode(stored).decode()
        picture = f'<img alt="" src="data:image/jpeg;base64,{data}">'
    best = one.predictions[0]
    return (
        f"<figure>{picture}<figcaption><b>{_shown(one.truth)}</b> taken for"
        f" <b>{_shown(best.label)}</b>, {tables.percent(best.probability)}<br>"
        f'<span class="path">{_shown(one.path)}</span></figcaption></figure>'
    )


def _table(table: Table) -> str:
    def line(tag: str, cells: Sequence[str]) -> str:
        written = []
        for place, cell in enumerate(cells):
            kind = ' class="number"' if place in table.numbers else ""
            written.append(f"<{tag}{kind}>{_shown(cell)}</{tag}>")
        return f"<tr>{''.join(written)}</tr>"

    lines = [line("th", table.names), *(line("td", row) for row in table.rows)]
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def _shown(text: str) -> str:
    """Text as it is read on the page, whatever is in it."""
    return html.escape(one_line(text))
