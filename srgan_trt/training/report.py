"""What an evaluation found, for people and programs: a table, `scores.json`, and a page that needs nothing else."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import atomic_write
from .evaluation import BICUBIC, Measured, Scores, mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PAGE = "report.html"
SCORES = "scores.json"

PROTOCOL = (
    "pictures cropped at the lower right to a multiple of the scale, 8-bit RGB in and out; low resolution by MATLAB's "
    "antialiased bicubic imresize, or as given; luma of BT.601 in studio levels, unrounded; a border as wide as the "
    "scale not counted; means over pictures"
)
"""How scores are made, in words."""
MEASURES = {
    "psnr": "dB, peak 255, of the luma; higher is closer (null: the pictures are equal)",
    "ssim": "Wang et al. 2004, of the luma, 11x11 Gaussian window of sigma 1.5; higher is closer",
    "paper_ssim": (
        "as the SRGAN paper prints it: the window of the Daala tools, which grows with the picture's height; higher is "
        "closer, and not to be compared with ssim"
    ),
    "blocks": (
        "steps of luma at the borders of a JPEG's blocks over steps elsewhere, less the original's; 0: nothing of them "
        "is seen"
    ),
}

_HEADS = ("picture", "pixels", "method", "PSNR", "SSIM", "paper's SSIM")
_OPTIONAL = {"distance": "distance", "blocks": "blocks"}
"""Fields of `Scores` that may be unknown, and their heads."""
_LEFT = 3
"""Columns of words, before those of figures."""

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .8rem; text-align: right; white-space: nowrap; }
th.word, td.word { text-align: left; }
tr.first td { border-top: 1px solid #8888; }
dt { font-weight: 600; } dd { margin: 0 0 .2rem 1.5rem; overflow-wrap: anywhere; }
section { margin: 1.5rem 0; } h3 { margin: 0 0 .3rem; font-size: 1rem; }
.crops { display: flex; flex-wrap: wrap; gap: .6rem; }
figure { margin: 0; } figcaption { font-size: .85rem; }
img { width: 16rem; image-rendering: pixelated; display: block; }
"""


def text_table(measured: Sequence[Measured]) -> str:
    """The scores of each picture and their means, aligned, one line for each method."""
    rows = [_heads(measured), *(row for _, row in _rows(measured))]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if place < _LEFT else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def write_report(folder: Path, measured: Sequence[Measured], facts: Mapping[str, Any]) -> list[Path]:
    """Writes `scores.json` and `report.html` into a folder that exists, over those of an earlier evaluation.

    facts: what was measured and with what, in words and numbers that JSON holds; they stand in both files.
    Raises OSError where they cannot be written.
    """
    scores = folder / SCORES
    page = folder / PAGE
    atomic_write(scores, (json.dumps(_as_json(measured, facts), indent=1, ensure_ascii=False) + "\n").encode())
    atomic_write(page, _page(measured, facts).encode())
    return [scores, page]


def _heads(measured: Sequence[Measured]) -> tuple[str, ...]:
    return (*_HEADS, *(_OPTIONAL[name] for name in _known(measured)))


def _known(measured: Sequence[Measured]) -> list[str]:
    """The optional scores that were measured."""
    every = [scores for picture in measured for scores in picture.scores.values()]
    return [name for name in _OPTIONAL if any(getattr(scores, name) is not None for scores in every)]


def _rows(measured: Sequence[Measured]) -> Iterator[tuple[bool, tuple[str, ...]]]:
    """Whether a new picture begins, and the cells of a line."""
    known = _known(measured)
    for picture in measured:
        size = f"{picture.width} x {picture.height}"
        for method, scores in picture.scores.items():
            first = method == BICUBIC
            yield first, (picture.name if first else "", size if first else "", method, *_figures(scores, known))
    many = f"mean of {len(measured)}"
    for method in measured[0].scores:
        first = method == BICUBIC
        yield first, (many if first else "", "", method, *_figures(mean(measured, method), known))


def _figures(scores: Scores, known: Sequence[str]) -> tuple[str, ...]:
    others = (getattr(scores, name) for name in known)
    optional = ("" if value is None else f"{value:.4f}" for value in others)
    return f"{scores.psnr:.3f}", f"{scores.ssim:.4f}", f"{scores.paper_ssim:.4f}", *optional


def _as_json(measured: Sequence[Measured], facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **facts,
        "mean": {method: _finite(mean(measured, method)) for method in measured[0].scores},
        "pictures": [
            {
                "name": picture.name,
                "width": picture.width,
                "height": picture.height,
                "scores": {method: _finite(scores) for method, scores in picture.scores.items()},
            }
            for picture in measured
        ],
    }


def _finite(scores: Scores) -> dict[str, float | None]:
    """JSON has no infinity."""
    return {
        name: value if value is not None and math.isfinite(value) else None
        for name, value in dataclasses.asdict(scores).items()
    }


def _page(measured: Sequence[Measured], facts: Mapping[str, Any]) -> str:
    methods = [method for method in measured[0].scores if method != BICUBIC]
    title = html.escape(f"{', '.join(methods)} on {len(measured)} pictures")
    sections = "\n".join(_section(picture) for picture in measured)
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>{_STYLE}</style>
<h1>{title}</h1>
{_table(measured, means=True)}
<h2>Where the methods differ most from bicubic</h2>
{sections}
<h2>Each picture</h2>
{_table(measured, means=False)}
<h2>How it was measured</h2>
<dl>
{_facts(facts)}
</dl>
</html>
"""


def _table(measured: Sequence[Measured], *, means: bool) -> str:
    """The lines of the means, or those of the pictures."""
    rows = list(_rows(measured))
    of_means = len(measured[0].scores)
    rows = rows[-of_means:] if means else rows[:-of_means]

    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=word' if place < _LEFT else ''}>{html.escape(cell)}</{tag}>"
            for place, cell in enumerate(row)
        )

    body = "\n".join(f"<tr{' class=first' if first else ''}>{cells(row, 'td')}</tr>" for first, row in rows)
    return f"<table>\n<tr>{cells(_heads(measured), 'th')}</tr>\n{body}\n</table>"


def _facts(facts: Mapping[str, Any]) -> str:
    lines = []
    for key, value in facts.items():
        lines.append(f"<dt>{html.escape(key)}</dt>")
        parts = [f"{name}: {_words(part)}" for name, part in value.items()] if isinstance(value, Mapping) else [value]
        lines += [f"<dd>{html.escape(str(part))}</dd>" for part in parts]
    return "\n".join(lines)


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {part}" for key, part in value.items())
    return str(value)


def _section(picture: Measured) -> str:
    crop = picture.crop
    figures = [
        _figure(f"{method}, {picture.scores[method].psnr:.2f} dB", image) for method, image in crop.results.items()
    ]
    figures.append(_figure("original", crop.high))
    where = f"{crop.high.shape[1]} x {crop.high.shape[0]} pixels at ({crop.left}, {crop.top})"
    return (
        f"<section>\n<h3>{html.escape(picture.name)}, {where}</h3>\n<div class=crops>\n"
        + "\n".join(figures)
        + "\n</div>\n</section>"
    )


def _figure(caption: str, image: NDArray[np.uint8]) -> str:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", optimize=True)
    data = base64.b64encode(stream.getvalue()).decode()
    text = html.escape(caption)
    return (
        f'<figure><img alt="{html.escape(caption, quote=True)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{text}</figcaption></figure>"
    )
