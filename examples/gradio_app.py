"""The same as a page of `srgan-trt serve`, for those who want Gradio, on Hugging Face's Spaces for example.

    pip install gradio && python examples/gradio_app.py

Gradio is not a dependency of the package; it wants an older Pillow than constraints.txt has, and pip takes one.
"""

from __future__ import annotations

import os

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio
from PIL import Image

import srgan_trt

up = srgan_trt.Upscaler()


def enlarge(image: Image.Image | None) -> tuple[Image.Image, Image.Image]:
    """The picture by bicubic and by the network, of the same size."""
    if image is None:
        raise gradio.Error("Choose a picture first.")
    large = up(image)
    return image.resize(large.size, Image.Resampling.BICUBIC), large


app = gradio.Interface(
    enlarge,
    gradio.Image(type="pil", label="Picture"),
    gradio.ImageSlider(format="png", label="Bicubic, and the network"),
    title="srgan-trt",
    description=f"Pictures, {up.spec.scale} times as large.",
    flagging_mode="never",
)

if __name__ == "__main__":
    app.launch()
