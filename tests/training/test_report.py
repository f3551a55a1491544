"""What an evaluation leaves behind: a table to read, JSON for programs, a page for the eye that needs nothing else."""

from __future__ import annotations

import base64
import html.parser
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srgan_trt.training.evaluation import Crop, Measured, Scores, mean
from srgan_trt.training.report import text_table, write_report

from ..handmade import noise

FACTS = {"low": "made by bicubic", "models": {"fast": {"scale": 4, "precision": "fp32"}}}


def measured(name: str, *, psnr: float = 31.5, distance: float | None = None, seed: int = 0) -> Measured:
    scores = {
        "bicubic": Scores(psnr=28.25, ssim=0.75, paper_ssim=0.8, distance=distance),
        "fast": Scores(psnr=psnr, ssim=0.875, paper_ssim=0.9, distance=distance),
    }
    results = {"bicubic": noise(24, 32, seed=seed), "fast": noise(24, 32, seed=seed + 1)}
    crop = Crop(top=5, left=7, results=results, high=noise(24, 32, seed=seed + 2))
    return Measured(name=name, height=120, width=160, scores=scores, crop=crop)


class _Page(html.parser.HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += f"{data}\n"


def page(folder: Path) -> _Page:
    return _Page((folder / "report.html").read_text("utf-8"))


def test_the_table_is_aligned_and_ends_with_the_means() -> None:
    lines = text_table([measured("baby"), measured("a long name", psnr=7.5)]).splitlines()
    assert lines == [
        "picture      pixels     method     PSNR    SSIM  paper's SSIM",
        "baby         160 x 120  bicubic  28.250  0.7500        0.8000",
        "                        fast     31.500  0.8750        0.9000",
        "a long name  160 x 120  bicubic  28.250  0.7500        0.8000",
        "                        fast      7.500  0.8750        0.9000",
        "mean of 2               bicubic  28.250  0.7500        0.8000",
        "                        fast     19.500  0.8750        0.9000",
    ]


def test_the_table_has_a_column_of_distances_where_there_are_some() -> None:
    head, first, *_ = text_table([measured("baby", distance=0.125)]).splitlines()
    assert head.endswith("paper's SSIM  distance")
    assert first.endswith("0.8000    0.1250")


def test_json_holds_every_score_and_what_was_measured(tmp_path: Path) -> None:
    pictures = [measured("baby", distance=0.125), measured("bird", psnr=30.0, distance=0.25)]
    write_report(tmp_path, pictures, FACTS)
    found = json.loads((tmp_path / "scores.json").read_text("utf-8"))
    assert found["models"] == FACTS["models"]
    assert found["mean"]["fast"] == {
        "psnr": 30.75,
        "ssim": 0.875,
        "paper_ssim": 0.9,
        "distance": 0.1875,
        "blocks": None,
    }
    assert [picture["name"] for picture in found["pictures"]] == ["baby", "bird"]
    assert found["pictures"][1]["scores"]["fast"]["psnr"] == 30.0
    assert (found["pictures"][1]["width"], found["pictures"][1]["height"]) == (160, 120)


def test_json_of_an_equal_picture_is_still_json(tmp_path: Path) -> None:
    pictures = [measured("same", psnr=math.inf)]
    write_report(tmp_path, pictures, FACTS)
    text = (tmp_path / "scores.json").read_text("utf-8")
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert found["mean"]["fast"]["psnr"] is None
    assert found["mean"]["fast"]["distance"] is None
    assert "inf" in text_table(pictures)


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    write_report(tmp_path, [measured("baby")], FACTS)
    found = page(tmp_path)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in found.tags}
    for tag, attributes in found.tags:
        assert "href" not in attributes
        assert attributes.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")  # type: ignore[union-attr]
        assert tag == "img" or "src" not in attributes
    assert "url(" not in (tmp_path / "report.html").read_text("utf-8")


def test_the_page_shows_bicubic_method_and_original_side_by_side(tmp_path: Path) -> None:
    pictures = [measured("baby"), measured("bird", seed=9)]
    write_report(tmp_path, pictures, FACTS)
    images = [attributes for tag, attributes in page(tmp_path).tags if tag == "img"]
    assert [image["alt"] for image in images] == ["bicubic, 28.25 dB", "fast, 31.50 dB", "original"] * 2
    crops = [crop for each in pictures for crop in (*each.crop.results.values(), each.crop.high)]
    for image, crop in zip(images, crops, strict=True):
        data = base64.b64decode(str(image["src"]).partition(",")[2])
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), crop)


def test_the_page_has_the_scores_and_the_facts(tmp_path: Path) -> None:
    pictures = [measured("baby", distance=0.125), measured("bird", psnr=30.0, distance=0.25)]
    write_report(tmp_path, pictures, FACTS)
    text = page(tmp_path).text
    for words in ("baby", "bird", "31.500", f"{mean(pictures, 'fast').psnr:.3f}", "0.1875", "made by bicubic",
                  "fast: scale 4, precision fp32", "mean of 2", "32 x 24 pixels at (7, 5)"):  # fmt: skip
        assert words in text


def test_names_cannot_write_the_page(tmp_path: Path) -> None:
    name = '<script>alert("x")</script> & <b>'
    write_report(tmp_path, [measured(name)], FACTS | {"low": name})
    found = page(tmp_path)
    assert not {"script", "b"} & {tag for tag, _ in found.tags}
    assert found.text.count(name) >= 2


def test_an_earlier_report_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    for name in ("earlier", "later"):
        assert write_report(tmp_path, [measured(name)], FACTS) == [tmp_path / "scores.json", tmp_path / "report.html"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "scores.json"]
    assert "later" in page(tmp_path).text
    assert "earlier" not in page(tmp_path).text
