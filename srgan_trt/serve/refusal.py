"""Errors that clients see: a status, a code for programs, and a line for people."""

from __future__ import annotations

import logging
import math
import secrets
import traceback

from starlette.responses import JSONResponse

from ..errors import (
    DeviceError,
    LargePictureError,
    MissingPackageError,
    ModelError,
    PictureError,
    SrganTrtError,
    StoppedError,
    UnknownFormatError,
)

_log = logging.getLogger(__name__)

CODES = {
    "bad_request": 400,
    "bad_picture": 400,
    "no_token": 401,
    "wrong_host": 403,
    "wrong_origin": 403,
    "not_found": 404,
    "no_model": 404,
    "no_job": 404,
    "wrong_method": 405,
    "slow_upload": 408,
    "not_ready": 409,
    "too_many_bytes": 413,
    "too_many_pixels": 413,
    "unknown_format": 415,
    "encoded": 415,
    "bad_option": 422,
    "too_many_of_yours": 429,
    "internal": 500,
    "queue_full": 503,
    "too_slow": 503,
    "device": 503,
    "cancelled": 503,
}
"""Every code, and the status that it comes with."""


class Refusal(Exception):
    """A request that is not done; its text is meant for the client."""

    def __init__(self, code: str, text: str, *, retry_after: float | None = None, close: bool = False) -> None:
        """retry_after: seconds after which another try may do. close: the connection is of no use any more."""
        super().__init__(text)
        self.code = code
        self.status = CODES[code]
        self.retry_after = retry_after
        self.close = close

    def facts(self) -> dict[str, str]:
        return {"error": str(self), "code": self.code}

    def response(self) -> JSONResponse:
        headers = {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if self.close:
            headers["Connection"] = "close"
        return JSONResponse(self.facts(), self.status, headers)


def refusal_of(error: SrganTrtError | MemoryError) -> Refusal:
    """What a client is told of an error of the package."""
    if isinstance(error, LargePictureError):
        return Refusal("too_many_pixels", str(error))
    if isinstance(error, UnknownFormatError):
        return Refusal("unknown_format", str(error))
    if isinstance(error, PictureError):
        return Refusal("bad_picture", str(error))
    if isinstance(error, StoppedError):
        return Refusal("cancelled", "the picture was given up")
    if isinstance(error, MemoryError):
        return Refusal("device", "there is too little memory for this picture: give a smaller one", retry_after=60)
    if isinstance(error, DeviceError | ModelError | MissingPackageError):
        return Refusal("device", str(error), retry_after=60)
    return Refusal("bad_option", str(error))


def internal(error: Exception) -> Refusal:
    """What a client is told of an error of ours: a number, under which the log has more."""
    number = secrets.token_hex(4)
    _log.error("error %s: %s: %s", number, type(error).__name__, error)
    _log.debug("%s", "".join(traceback.format_exception(error)))
    return Refusal("internal", f"something went wrong here: its owner finds it in the log as {number}")
