#!/usr/bin/env python3
"""Makes the pictures that the photo models were trained on: public-domain photos, and drawings of our own.

Usage: python scripts/photo_data.py CC0_FOLDER OUT

OUT/train holds the photos of CC0_FOLDER but for those that are held back, and drawn pictures: text, line drawings,
gradients, screens. OUT/val holds a part of each photo that was held back, and drawings from other numbers. The drawings
come from their numbers alone, and from the fonts of Debian's packages in ``FONT_PACKAGES``.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

FONT_PACKAGES = "fonts-dejavu fonts-liberation fonts-freefont-ttf fonts-lato fonts-linuxlibertine fonts-hack".split()
_FONT_FOLDERS = (
    "truetype/dejavu", "truetype/liberation", "truetype/freefont", "truetype/lato", "opentype/linux-libertine",
    "truetype/hack",
)  # fmt: skip
_SIDE = 1024
_TRAINED, _HELD = 32, 4
"""Drawings."""
HELD_BACK = (
    "beacon-street-sunset.jpg", "budgie-branch.jpg", "motherboard-circuits.jpg", "rich-port.jpg", "tea-gardens.jpg",
)  # fmt: skip
"""Photos to validate on, chosen by hand: a bird, plants, houses, a sky, a circuit board."""
_PART = 640
"""Side of the part of a held-back photo, in pixels: as large as validation may be slow."""
_WORDS = (
    "upscale pixel kernel network tile photo garden river stone window early light Market 1024 768 3.14 Straße café "
    "naïve coöperate façade Ångström Łódź señor кот дом вода синий λόγος φῶς ΑΒΓ δέλτα (see) [42] {x} a+b=c 50% #17 "
    "@home e-mail: www. --help ~/file *.png Monday Tuesday winter summer 12:45 2026-01-31 the of and to in is it you "
    "that he was for on are with as his they at be this have from or one had by word but not what all were we when"
).split()

Chance = np.random.Generator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, metavar="CC0_FOLDER")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    photos = sorted(args.photos.glob("*.jpg"))
    if absent := set(HELD_BACK) - {photo.name for photo in photos}:
        sys.exit(f"{args.photos} lacks {', '.join(sorted(absent))}: name the folder of the public-domain photos")
    train, val = args.out / "train", args.out / "val"
    for folder in (train, val):
        folder.mkdir(parents=True, exist_ok=True)
    for photo in photos:
        if photo.name in HELD_BACK:
            middle_of(Image.open(photo).convert("RGB"), _PART).save(val / f"{photo.stem}.png")
        else:
            shutil.copyfile(photo, train / photo.name)
    fonts = find_fonts()
    for number in range(_TRAINED + _HELD):
        folder = train if number < _TRAINED else val
        picture = draw(number, fonts)
        picture = picture if folder is train else middle_of(picture, _PART // 2)
        picture.save(folder / f"drawn-{number:02}.png")


def middle_of(picture: Image.Image, side: int) -> Image.Image:
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.crop((left, top, left + side, top + side))


def find_fonts() -> list[Path]:
    folders = [Path("/usr/share/fonts") / name for name in _FONT_FOLDERS]
    if absent := [folder for folder in folders if not folder.is_dir()]:
        sys.exit(f"{absent[0]} is missing: apt install {' '.join(FONT_PACKAGES)}")
    return sorted(path for folder in folders for path in folder.iterdir() if path.suffix in {".ttf", ".otf"})


def draw(number: int, fonts: Sequence[Path]) -> Image.Image:
    """Picture `number`, RGB, of the kind that comes next."""
    kinds: tuple[Callable[[Chance, Sequence[Path]], Image.Image], ...] = (text, lines, gradients, screen)
    return kinds[number % len(kinds)](np.random.default_rng([1, number]), fonts)


def text(chance: Chance, fonts: Sequence[Path]) -> Image.Image:
    """Lines of words, from 9 to 90 pixels high, in blocks of their own colours."""
    picture = Image.new("RGB", (_SIDE, _SIDE), colour(chance, light=True))
    pen = ImageDraw.Draw(picture)
    top = 0
    while top < _SIDE:
        height = int(chance.integers(80, 300))
        dark = chance.random() < 0.3
        pen.rectangle((0, top, _SIDE, top + height), fill=colour(chance, light=not dark))
        write(pen, chance, fonts, (0, top, _SIDE, top + height), ink=colour(chance, light=dark))
        top += height
    return picture


def write(
    pen: ImageDraw.ImageDraw, chance: Chance, fonts: Sequence[Path], box: tuple[int, int, int, int], ink: str
) -> None:
    """Fills the box with lines of one font and size."""
    size = round(9 * 10 ** chance.random())
    font = ImageFont.truetype(fonts[chance.integers(len(fonts))], size)
    left, top, right, bottom = box
    y = top + size // 3
    while y + size * 1.3 < bottom:
        line = " ".join(
            _WORDS[index] for index in chance.integers(len(_WORDS), size=2 + 3 * (right - left) // (2 * size))
        )
        while line and font.getlength(line) > right - left - size:
            line = line[:-1]
        pen.text((left + size // 2, y), line, fill=ink, font=font)
        y += round(size * 1.3)


def lines(chance: Chance, fonts: Sequence[Path]) -> Image.Image:
    """Curves, circles, hatching and polygons, drawn four times as large."""
    large = 4 * _SIDE
    picture = Image.new("RGB", (large, large), colour(chance, light=True))
    pen = ImageDraw.Draw(picture)
    coloured = chance.random() < 0.5
    for _ in range(90):
        ink = colour(chance, light=False) if coloured else "#101010"
        width = int(4 * chance.uniform(1, 6))
        x, y = chance.uniform(0, large, 2)
        reach = chance.uniform(100, 900)
        kind = chance.integers(4)
        if kind == 0:
            pen.line(curve(chance, x, y, reach), fill=ink, width=width, joint="curve")
        elif kind == 1:
            pen.ellipse((x - reach, y - reach / 2, x + reach, y + reach / 2), outline=ink, width=width)
        elif kind == 2:
            step, angle = width * chance.uniform(2, 4), chance.uniform(0, np.pi)
            for offset in np.arange(0, reach, step):
                sx, sy = x + offset * np.cos(angle), y + offset * np.sin(angle)
                pen.line((sx, sy, sx - reach * np.sin(angle), sy + reach * np.cos(angle)), fill=ink, width=width)
        else:
            corners = [(x + dx, y + dy) for dx, dy in chance.uniform(-reach / 2, reach / 2, (5, 2))]
            pen.polygon(corners, fill=colour(chance, light=True), outline=ink, width=width)
    return picture.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)


def curve(chance: Chance, x: float, y: float, reach: float) -> list[tuple[float, float]]:
    """Points of a smooth walk."""
    turns = np.cumsum(chance.normal(0, 0.12, 120)) + chance.uniform(0, 2 * np.pi)
    step = reach / 20
    points = np.cumsum(np.stack([np.cos(turns), np.sin(turns)], 1) * step, 0) + np.array([x, y])
    return [(float(px), float(py)) for px, py in points]


def gradients(chance: Chance, fonts: Sequence[Path]) -> Image.Image:
    """Soft changes of colour, with sharp shapes over them."""
    down, along = np.mgrid[0 : 1 : _SIDE * 1j, 0 : 1 : _SIDE * 1j]
    field = np.zeros((_SIDE, _SIDE, 3))
    for _ in range(5):
        fx, fy, phase = chance.uniform(-3, 3), chance.uniform(-3, 3), chance.uniform(0, 2 * np.pi)
        wave = 0.5 + 0.5 * np.cos(2 * np.pi * (fx * along + fy * down) + phase)
        field += wave[..., None] * chance.uniform(0, 80, 3)
    base = Image.fromarray(np.clip(field, 0, 255).astype(np.uint8))
    large = Image.new("L", (2 * _SIDE, 2 * _SIDE), 0)
    pen = ImageDraw.Draw(large)
    for _ in range(25):
        x, y = chance.uniform(0, 2 * _SIDE, 2)
        reach = chance.uniform(20, 300)
        shape = pen.ellipse if chance.random() < 0.5 else pen.rectangle
        shape((x, y, x + reach, y + reach * chance.uniform(0.2, 1.5)), fill=int(chance.uniform(60, 255)))
    shapes = large.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return Image.composite(Image.new("RGB", base.size, colour(chance, light=chance.random() < 0.5)), base, shapes)


def screen(chance: Chance, fonts: Sequence[Path]) -> Image.Image:
    """Windows with bars, buttons, rules and text, all edges on whole pixels."""
    picture = Image.new("RGB", (_SIDE, _SIDE), colour(chance, light=chance.random() < 0.5))
    pen = ImageDraw.Draw(picture)
    for _ in range(9):
        width, height = (int(value) for value in chance.integers(180, 620, 2))
        left, top = int(chance.integers(-60, _SIDE - 120)), int(chance.integers(-20, _SIDE - 120))
        light = chance.random() < 0.6
        pen.rectangle((left, top, left + width, top + height), fill=colour(chance, light=light), outline="#606060")
        pen.rectangle((left + 1, top + 1, left + width - 1, top + 26), fill=colour(chance, light=not light))
        write(pen, chance, fonts, (left + 8, top + 60, left + width - 8, top + height), colour(chance, light=not light))
        for x in range(left + 8, left + width - 70, 76):
            pen.rounded_rectangle(
                (x, top + 32, x + 66, top + 54), 5, fill=colour(chance, light=True), outline="#808080"
            )
        for y in range(top + 60, top + height, int(chance.integers(18, 60))):
            pen.line((left, y, left + width, y), fill="#b0b0b0")
    return picture


def colour(chance: Chance, *, light: bool) -> str:
    """Often white or black, else any light or dark one."""
    if chance.random() < 0.4:
        return "#ffffff" if light else "#000000"
    low, high = (170, 256) if light else (0, 130)
    return "#{:02x}{:02x}{:02x}".format(*chance.integers(low, high, 3))


if __name__ == "__main__":
    main()
