"""What the coarser arithmetic of bf16 and int8 costs against the truth, rival by rival: luma PSNR."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from baselines import KERAS, all_entrants
from isolation import in_fresh_process, open_entrants
from numpy.typing import NDArray
from PIL import Image

from srgan_trt.quality.bicubic import shrink
from srgan_trt.quality.metrics import psnr

if TYPE_CHECKING:
    from baselines import Plans

_ROOT = Path(__file__).resolve().parents[1]
_SIDE, _SCALE = 256, 4


def truths() -> tuple[list[NDArray[np.uint8]], str]:
    """Pictures of 256x256 that nothing was calibrated with, and where they are from."""
    shared = Path(os.environ.get("SRGAN_TRT_SHARED", _ROOT.parent / "shared"))
    folder = shared / "images" / "test" / "Set5" / "HR"
    files, origin = sorted(folder.glob("*.png")), "Set5"
    if not files:
        files, origin = [_ROOT / "srgan_trt" / "compiler" / "data" / "held_out.jpg"], "the photo that int8 is judged by"
    found = []
    for file in files:
        with Image.open(file) as opened:
            photo = np.asarray(opened.convert("RGB"))
        top, left = (max(0, side - _SIDE) // 2 for side in photo.shape[:2])
        crop = photo[top : top + _SIDE, left : left + _SIDE]
        if crop.shape == (_SIDE, _SIDE, 3):
            found.append(np.ascontiguousarray(crop))
    return found, f"{len(found)} crops of {_SIDE}x{_SIDE} of {origin}"


def measure(network: str, folder: Path, plans: Plans) -> dict[str, Any]:
    """{"pictures": where from, "drops": {name: dB that Keras's pictures are nearer to the truth, mean}}."""
    return in_fresh_process(partial(_measure, network, folder, plans))  # type: ignore[no-any-return]


def _measure(network: str, folder: Path, plans: Plans) -> dict[str, Any]:
    from generators import GENERATORS

    pictures, origin = truths()
    generator = GENERATORS[network](folder)
    side = _SIDE // _SCALE
    entrants = [
        entrant
        for entrant in all_entrants(generator, plans, height=side, width=side)
        if entrant.precision != "fp32" or entrant.name == KERAS
    ]
    failed: dict[str, str] = {}
    small = [shrink(truth, _SCALE) for truth in pictures]
    scores = {
        name: np.array([psnr(truth, rival(low), border=_SCALE) for truth, low in zip(pictures, small, strict=True)])
        for name, (_, rival) in open_entrants(entrants, failed).items()
    }
    drops = {name: round(float((scores[KERAS] - score).mean()), 3) for name, score in scores.items() if name != KERAS}
    return {"pictures": origin, "drops": drops, "failed": failed}
