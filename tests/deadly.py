"""Pictures that kill who reads them, by their names: for the processes of a Ray."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from srgan_trt.imaging.sources import Source


def arm() -> None:
    """From now on reading poison.png kills this process each time, once.png the first time."""
    read = Source.read

    def deadly(self: Source, **options: Any) -> Path | bytes:
        mark = Path(self.location).with_suffix(".killed")
        if "poison" in self.name or ("once" in self.name and not mark.exists()):
            with mark.open("a") as file:
                file.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        return read(self, **options)

    Source.read = deadly  # type: ignore[method-assign]
