"""`python -m srgan_trt` is the command `srgan-trt`."""

from __future__ import annotations

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
