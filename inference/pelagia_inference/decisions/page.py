"""An explanation as one HTML page that needs no other file and no network.

Invariant: every text that comes from a file passes through `_text`, so a name is shown and never run.
"""

from __future__ import annotations

import base64
import html
import math

import cv2
import numpy as np

from pelagia_inference.decisions.explain import Explanation, Level, Pixels, Similar

_LONGEST, _LONGEST_REFERENCE = 640, 200
_SMALL = 200
"""Images with a shorter longest side are enlarged on the page, each pixel as a square."""
_LEAST = 0.005
MODEL_CLASS = "class of the model"
"""What a class of the model is called beside the ranks of taxa, one of which is class."""
_CLASSES = 10

_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;overflow-wrap:anywhere}
h1{font-size:1.3rem}h2{font-size:1.1rem;margin-top:2rem}
.picture img{max-width:100%;border:1px solid #888}
.small img{width:min(100%,400px);image-rendering:pixelated}
table{border-collapse:collapse;min-width:min(100%,32rem)}
th,td{text-align:left;padding:.2rem .6rem .2rem 0;border-bottom:1px solid #8884;font-weight:normal}
thead th{font-weight:bold}
th.number{text-align:right}
.values th{white-space:nowrap}
td.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
meter{width:8rem;max-width:25vw}
.verdict{font-size:1.2rem;font-weight:bold}
.rank{opacity:.75;font-size:.85em}
ul.similar{display:flex;flex-wrap:wrap;gap:1rem;padding:0;list-style:none}
ul.similar li{width:9.5rem;font-size:.9rem}
ul.similar img{width:100%;height:8rem;object-fit:contain;background:#8882}
@media print{body{max-width:none}ul.similar li{break-inside:avoid}}
"""


def page_of(found: Explanation, survey: str, model: str) -> str:
    """The page.

    Args:
        found: the explanation.
        survey: the name of the survey.
        model: the name of its model; empty if it is not known.
    """
    name = _text(found.row.path)
    parts = [
        f"<h1>{name}</h1>",
        f"<p>Survey {_text(survey)}{f', model {_text(model)}' if model else ''}</p>",
        _picture(found),
        _verdict(found),
        _classes(found),
        _tree(found),
        _flags(found),
        _similar(found),
        _columns(found),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width,initial-scale=1"><title>{name}</title><style>{_STYLE}</style></head>'
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _text(value: object) -> str:
    return html.escape(str(value))


def _image(pixels: Pixels, longest: int, alt: str) -> str:
    height, width = pixels.shape[:2]
    if (shrink := longest / max(height, width)) < 1:
        size = max(1, round(width * shrink)), max(1, round(height * shrink))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    data = base64.b64encode(cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{_text(alt)}">'


def _picture(found: Explanation) -> str:
    if found.pixels is None:
        return f"<p>The picture cannot be shown: {_text(found.no_picture)}.</p>"
    height, width = found.pixels.shape[:2]
    kind = "picture small" if max(height, width) < _SMALL else "picture"
    image = _image(found.pixels, _LONGEST, f"The image {found.row.path}")
    return f'<div class="{kind}">{image}</div><p>{width} &times; {height} pixels. {_text(found.row.file)}</p>'


def _verdict(found: Explanation) -> str:
    row = found.row
    if not row.ok:
        return f"<h2>Decision</h2><p>The image was not classified: {_text(row.message or row.reason)}.</p>"
    lines = []
    if row.verdict.decision:
        named = row.verdict.name and f": {_text(row.verdict.name)} {_rank(row.verdict.rank)}"
        lines.append(f'<p class="verdict">{_text(row.verdict.decision.replace("_", " "))}{named}</p>')
    lines.append(f"<p>{_text(sentence_of(found))}</p>")
    if found.confirmed:
        by = f" by {_text(found.confirmed.people)}" if found.confirmed.people else ""
        lines.append(f"<p>Confirmed as {_text(found.confirmed.class_name)}{by}.</p>")
    return f"<h2>Decision</h2>{''.join(lines)}"


def sentence_of(found: Explanation) -> str:
    """Why the decision was made, in words."""
    if found.rule:
        return found.rule.words
    if found.row.verdict.decision:
        return "The survey keeps no thresholds, because an older version made it: name the model with --model."
    return "The model has no thresholds: each image has its likeliest class, whatever the probability is."


def _rank(rank: str) -> str:
    return f'<span class="rank">{_text(rank)}</span>' if rank else ""


def _row(name: str, probability: float, threshold: float | None = None, shows: bool = False) -> str:
    meter = f'<meter value="{probability:.4f}" min="0" max="1" aria-hidden="true"></meter>'
    limit = ""
    if shows:
        words = "" if threshold is None else "never accepted" if math.isinf(threshold) else f"{threshold:.3f}"
        limit = f'<td class="number">{words}</td>'
    return f'<tr><th scope="row">{name}</th><td>{meter}</td><td class="number">{probability:.3f}</td>{limit}</tr>'


def _table(head: str, rows: str, kind: str = "") -> str:
    return f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _classes(found: Explanation) -> str:
    if not found.classes:
        return ""
    rows = "".join(_row(_text(name), value) for name, value in found.classes[:_CLASSES])
    more = len(found.classes) - _CLASSES
    said = f"<p>{more} more classes are less likely.</p>" if more > 0 else ""
    head = '<th>class</th><th></th><th class="number">probability</th>'
    return f"<h2>Probabilities of the classes</h2>{_table(head, rows)}{said}"


def shown_levels(found: Explanation) -> list[Level]:
    """The taxa and classes that are likely enough to be shown."""
    return [level for level in found.levels if level.probability >= _LEAST]


def _tree(found: Explanation) -> str:
    levels = shown_levels(found)
    if not levels:
        return ""
    shows = any(level.threshold is not None for level in levels)
    rows = "".join(
        _row(
            f'<span style="padding-left:{1.2 * level.depth}rem">{_text(level.name)} '
            f"{_rank(level.rank or MODEL_CLASS)}</span>",
            level.probability,
            level.threshold,
            shows,
        )
        for level in levels
    )
    head = '<th>taxon</th><th></th><th class="number">sum</th>' + ('<th class="number">threshold</th>' if shows else "")
    said = f"<p>Taxa and classes below {_LEAST:.1%} are not shown.</p>"
    return f"<h2>Sums by taxon</h2>{_table(head, rows)}{said}"


def _flags(found: Explanation) -> str:
    lines = [f"{flag.flag}: {flag.detail}" if flag.detail else flag.flag for flag in found.flags]
    if found.row.ok and found.row.message:
        lines.append(found.row.message)
    if not lines:
        return ""
    return f"<h2>Flags</h2><ul>{''.join(f'<li>{_text(line)}</li>' for line in lines)}</ul>"


def _similar(found: Explanation) -> str:
    if not found.similar:
        return f"<h2>Most similar reference images</h2><p>None: {_text(found.no_similar)}.</p>"
    items = "".join(f"<li>{_reference(one)}</li>" for one in found.similar)
    return f'<h2>Most similar reference images</h2><ul class="similar">{items}</ul>'


def _reference(one: Similar) -> str:
    image = "" if one.pixels is None else _image(one.pixels, _LONGEST_REFERENCE, f"Reference image {one.path}")
    label = f"<strong>{_text(one.class_name)}</strong><br>" if one.class_name else ""
    return f"{image}<br>{label}similarity {one.similarity:.3f}<br>{_text(one.path)}"


def _columns(found: Explanation) -> str:
    cells = "".join(
        f'<tr><th scope="row">{_text(name)}</th><td>{_text(value)}</td></tr>'
        for name, value in found.row.columns.items()
        if value
    )
    if not cells:
        return ""
    table = _table("<th>column</th><th>value</th>", cells, ' class="values"')
    return f"<h2>Columns of the input</h2>{table}"
