"""What `srgan-trt serve` does: the models opened, the address told, requests answered until it is ended."""

from __future__ import annotations

import argparse
import importlib.util
from typing import TYPE_CHECKING

from ..errors import missing
from .argument_types import mebibytes, megapixels, port, positive, whole

if TYPE_CHECKING:
    from .console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine only)"
    )
    parser.add_argument("--port", type=port, default=7000, metavar="N", help="(default: 7000; 0: one that is free)")
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME",
        help="what --model of upscale takes; may be given several times, the default first (default: the models in the "
        "package)",
    )
    parser.add_argument(
        "--token-file", metavar="FILE", help="with the token that clients must show (or $SRGAN_TRT_TOKEN)"
    )
    parser.add_argument("--insecure", action="store_true", help="let anyone who reaches --host in, without a token")
    parser.add_argument(
        "--max-bytes", type=mebibytes, default=32 << 20, metavar="N[K|M|G]", help="largest upload (default: 32M)"
    )
    parser.add_argument(
        "--max-pixels", type=megapixels, default=25_000_000, metavar="N[K|M]", help="largest picture (default: 25M)"
    )
    parser.add_argument("--queue", type=whole, default=8, metavar="N", help="pictures that may wait (default: 8)")
    parser.add_argument(
        "--timeout",
        type=positive,
        default=120,
        metavar="N",
        help="seconds for an upload, and for a picture (default: 120)",
    )
    parser.add_argument("--allow-origin", metavar="URL", help="whose pages may use the service too (default: nobody's)")
    parser.add_argument("--no-page", action="store_true", help="only the interface for programs, no page at /")


def run(args: argparse.Namespace, console: Console) -> int:
    for package in ("starlette", "uvicorn", "python_multipart"):
        if importlib.util.find_spec(package) is None:
            raise missing(package, "serve", "answer requests")
    from ..serve.models import Models
    from ..serve.server import serve
    from ..serve.settings import Settings, read_token

    settings = Settings(
        host=args.host,
        port=args.port,
        token=read_token(args.token_file),
        insecure=args.insecure,
        max_bytes=args.max_bytes,
        max_pixels=args.max_pixels,
        queue=args.queue,
        timeout=args.timeout,
        allow_origin=args.allow_origin,
        page=not args.no_page,
    )
    if settings.token is None and not settings.is_loopback:
        console.warning(f"anyone who reaches {settings.host} may use this service")
    with Models(args.model, build_progress=console.build_progress) as models:
        names = ", ".join(models.names)
        serve(models, settings, listening=lambda address: console.result(f"{names} at {address} (Ctrl-C ends it)"))
    return 0
