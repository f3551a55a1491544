"""The body of a request -> a picture's bytes and options: raw or multipart, in memory, counted as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from .refusal import Refusal
from .settings import Settings

_STALL = 15.0
"""Seconds that a client may send nothing."""
_FRAME = 16 << 10
"""Bytes that the parts of a multipart body may add to the picture."""
_FIELD = 200
"""Bytes of an option."""


@dataclass(frozen=True, slots=True)
class Upload:
    picture: bytes
    fields: dict[str, str] = field(default_factory=dict)
    """Options that came in the body."""


class _InMemory(MultiPartParser):
    spool_max_size = 1 << 60  # no picture is ever on a disk


class Uploads:
    """Reads bodies; all that are under way together have a limit too."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._most = settings.max_bytes * (settings.queue + 2)
        self._held = 0

    async def read(self, request: Request) -> Upload:
        """The picture and its options. Raises Refusal for a body that is too large, too slow, or not as it says, and
        ClientDisconnect where it ends before its time."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refusal("encoded", "the body is compressed: send the picture as it is", close=True)
        multipart = kind == "multipart/form-data"
        limit = self._settings.max_bytes + (_FRAME if multipart else 0)
        length = request.headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit() or int(length) > limit:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._settings.timeout):
                body = await self._body(request, limit)
        except TimeoutError:
            text = f"the upload took too long: send it within {self._settings.timeout:g} s, without a pause"
            raise Refusal("slow_upload", text, close=True) from None
        if not multipart:
            return Upload(body)
        return await self._parts(request, body)

    async def _body(self, request: Request, limit: int) -> bytes:
        body, stream = bytearray(), request.stream()
        try:
            while True:
                async with asyncio.timeout(_STALL):
                    chunk = await anext(stream, None)
                if chunk is None:
                    return bytes(body)
                self._held += len(chunk)
                body += chunk
                if len(body) > limit:
                    raise self._too_large()
                if self._held > self._most:
                    text = "too many uploads are under way: try again"
                    raise Refusal("queue_full", text, retry_after=2, close=True)
        finally:
            self._held -= len(body)

    async def _parts(self, request: Request, body: bytes) -> Upload:
        async def once() -> AsyncGenerator[bytes, None]:
            yield body

        parser = _InMemory(request.headers, once(), max_files=1, max_fields=8, max_part_size=_FIELD)
        try:
            lowering = await parser.parse()
        except MultiPartException as error:
            raise Refusal("bad_request", f"the multipart body is damaged: {error.message}") from None
        return await self._of(lowering)

    async def _of(self, lowering: FormData) -> Upload:
        picture: bytes | None = None
        fields: dict[str, str] = {}
        for name, value in lowering.multi_items():
            if isinstance(value, UploadFile):
                picture = await value.read() if name == "file" else None
            elif name in fields:
                raise Refusal("bad_option", f"{name} is given twice")
            else:
                fields[name] = value
        await lowering.close()
        if picture is None:
            raise Refusal("bad_request", "the multipart body has no file: send the picture as the part named file")
        if len(picture) > self._settings.max_bytes:
            raise self._too_large()
        return Upload(picture, fields)

    def _too_large(self) -> Refusal:
        megabytes = self._settings.max_bytes / (1 << 20)
        text = f"the upload is larger than {megabytes:g} MB, the limit here: save the picture in a denser format"
        return Refusal("too_many_bytes", text, close=True)
