"""The command line: parse, call the command, say in one line what went wrong."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from .._version import __version__
from ..errors import SrganTrtError
from .console import PROGRAM, Console
from .options import joined

COMMANDS = {
    "upscale": "upscale pictures",
    "build": "build a plan or an engine from a model file",
    "info": "show what a plan, an engine or a model file is",
    "export": "write a plan as a file for other programs",
    "mix": "mix a plan trained on pixels and its GAN's into one between",
    "tune": "benchmark tilings and lowerings here and keep the fastest",
    "models": "list the models that have a name",
    "train": "train a generator on a folder of pictures",
    "evaluate": "score models beside bicubic on a folder of pictures",
    "serve": "answer requests, and show a page for a browser",
    "doctor": "check what this machine can run, and how to mend what it cannot",
}
"""Each is a module of this package with `add_arguments(parser)` and `run(args, console) -> exit status`, which is
imported when it is called for."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `srgan-trt` with these arguments (None: those of the process). Returns the exit status.

    0: everything came out; 1: something did not, and was said; 2: wrong usage; 130: Ctrl-C.
    """
    if argv is not None:
        return _run(argv)
    # So that a killed program, too, takes its unfinished files away.
    signal.signal(signal.SIGTERM, _terminated)
    try:
        status = _run(sys.argv[1:])
    except SystemExit as stopped:
        _leave_layers(stopped.code)
        raise
    _leave_layers(status)
    return status


def _leave_layers(status: int | str | None) -> None:
    """Ends the process if it was interrupted within a layer: Python would wait for that, for up to a second or more.

    Files and messages are as they should be by now."""
    if status not in (128 + signal.SIGINT, 128 + signal.SIGTERM):
        return
    from ..runtime.pipeline import NETWORK_THREADS

    if any(thread.name.startswith(NETWORK_THREADS) for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(status))


def _run(argv: Sequence[str]) -> int:
    args = parse(argv)
    with Console(quiet=args.quiet, verbose=args.verbose) as console:
        try:
            status: int = args.run(args, console)
            return status
        except BrokenPipeError:
            # Whoever read our output has gone; Python would complain when it flushes it at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except SrganTrtError as error:
            console.traceback()
            console.error(str(error))
        except MemoryError:
            console.traceback()
            console.error("not enough memory: try --jobs 1 and a smaller --tile, or smaller pictures")
        except OSError as error:
            console.traceback()
            console.error(f"{error.filename or 'the system'}: {error.strerror or error}")
        except ImportError as error:
            console.traceback()
            console.error(f"{error}: '{PROGRAM} doctor' tells what is missing")
        except KeyboardInterrupt:
            console.error("interrupted")
            return 130
    return 1


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of a command: `run` is what it does. Exits with status 2 where they are wrong."""
    argv = joined(argv)
    if argv and _is_picture(argv[0]):
        argv = ["upscale", *argv]
    args = _parser(next((word for word in argv if not word.startswith("-")), "")).parse_args(argv)
    if "device" in args and args.device is None:
        args.device = "auto"  # not argparse's default: it would take an auto that was asked for, for one that was not
    return args


def _is_picture(word: str) -> bool:
    """Whether the first word is an input of `upscale` rather than a command: `srgan-trt photo.jpg`."""
    if word in COMMANDS or word.startswith("-"):
        return False
    return os.path.lexists(word) or any(sign in word for sign in "./\\*")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with the arguments in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} ('{self.prog} --help' shows what there is)\n")


def _parser(command: str) -> argparse.ArgumentParser:
    """The parser of all commands, with the arguments of `command`: those of the others are not needed."""
    parser = _Parser(
        prog=PROGRAM,
        description="Keras SRGAN generators as fast, seamless upscalers.",
        epilog=f"'{PROGRAM} COMMAND --help' shows the options of a command; '{PROGRAM} photo.jpg' is short for "
        f"'{PROGRAM} upscale photo.jpg'.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        subparser = commands.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False
        )
        if name == command:
            module = importlib.import_module(f".{name}", __package__)
            module.add_arguments(subparser)
            subparser.add_argument(
                "-v", "--verbose", action="store_true", help="print debug messages and tracebacks, too"
            )
            subparser.set_defaults(run=module.run, quiet=False)
    return parser


def _terminated(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
