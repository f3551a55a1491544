"""The routes: what each path does."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from importlib.resources import files
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from ..errors import PictureError
from ..imaging.decode import picture_size
from ..imaging.encode import DEFAULT_QUALITY, check_sides
from .guard import Guard
from .job import Job, Result
from .metrics import MEDIA_TYPE, Metrics
from .models import Models
from .options import TEXTURES, options_of, written
from .queue import Queue
from .refusal import Refusal, refusal_of
from .settings import Settings
from .upload import Uploads

ROUTES = (
    ("POST", "/v1/upscale", "upscale"),
    ("POST", "/v1/jobs", "add_job"),
    ("GET", "/v1/jobs/{job}", "job"),
    ("DELETE", "/v1/jobs/{job}", "job"),
    ("GET", "/v1/jobs/{job}/events", "events"),
    ("GET", "/v1/jobs/{job}/result", "result"),
    ("GET", "/v1/models", "models"),
    ("GET", "/openapi.json", "document"),
    ("GET", "/healthz", "health"),
    ("GET", "/readyz", "ready"),
    ("GET", "/metrics", "numbers"),
)
"""Method, path, and the method of the service that answers: what openapi.json tells of."""
PAGE_ROUTES = (("GET", "/", "page"), ("GET", "/page/{file}", "page"))
_CHUNK = 256 << 10
_HEARTBEAT = 15.0
"""Seconds of silence after which a stream of events says that it is alive."""
_PAGE = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "choices.js": "text/javascript; charset=utf-8",
    "parts.js": "text/javascript; charset=utf-8",
    "service.js": "text/javascript; charset=utf-8",
    "viewer.js": "text/javascript; charset=utf-8",
    "zip.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


def application(models: Models, settings: Settings) -> ASGIApp:
    """The service as an ASGI application; its lifespan's end waits for the pictures in the works."""
    service = _Service(models, settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: object) -> AsyncIterator[None]:
        yield
        await service.queue.close()

    # The router without Starlette's application around it: errors are the guard's.
    router = Router(service.routes(), redirect_slashes=False, lifespan=lifespan)
    return Guard(router, settings, service.metrics)


class _Service:
    def __init__(self, models: Models, settings: Settings) -> None:
        self._models = models
        self._settings = settings
        self.metrics = Metrics()
        self.queue = Queue(models, settings, self.metrics)
        self._uploads = Uploads(settings)
        self._files = {name: (files(__package__) / "page" / name).read_bytes() for name in _PAGE}
        self._document = (files(__package__) / "openapi.json").read_bytes()

    def routes(self) -> list[Route]:
        table = ROUTES + PAGE_ROUTES if self._settings.page else ROUTES
        methods: dict[tuple[str, str], list[str]] = {}
        for method, path, name in table:
            methods.setdefault((path, name), []).append(method)
        return [Route(path, getattr(self, name), methods=taken) for (path, name), taken in methods.items()]

    async def upscale(self, request: Request) -> Response:
        job = await self._accepted(request, kept=False)
        gone, over = asyncio.ensure_future(request.receive()), asyncio.ensure_future(job.over())
        try:
            await asyncio.wait([gone, over], return_when=asyncio.FIRST_COMPLETED)
            if not job.is_over:
                raise ClientDisconnect()
        finally:
            gone.cancel()
            over.cancel()
            self.queue.cancel(job)
        return _picture(_result_of(job))

    async def add_job(self, request: Request) -> Response:
        job = await self._accepted(request, kept=True)
        return JSONResponse(self._facts(job), 202, {"Location": f"/v1/jobs/{job.id}"})

    async def job(self, request: Request) -> Response:
        job = self._job(request)
        if request.method == "DELETE":
            self.queue.cancel(job)
            return Response(status_code=204)
        return JSONResponse(self._facts(job))

    async def events(self, request: Request) -> Response:
        return StreamingResponse(self._events(self._job(request)), media_type="text/event-stream")

    async def result(self, request: Request) -> Response:
        job = self._job(request)
        if not job.is_over:
            raise Refusal("not_ready", f"the picture is {job.state}: wait for the event done", retry_after=1)
        return _picture(_result_of(job))

    async def models(self, request: Request) -> Response:
        limits = {"bytes": self._settings.max_bytes, "pixels": self._settings.max_pixels}
        denoise = ["auto", "off", *map(str, self._models.levels)]
        formats = written()
        quality = {format: DEFAULT_QUALITY[format] for format in formats if format in DEFAULT_QUALITY}
        facts = {"models": self._models.facts(), "formats": formats, "quality": quality}
        return JSONResponse({**facts, "denoise": denoise, "textures": TEXTURES, "limits": limits})

    async def document(self, request: Request) -> Response:
        return Response(self._document, media_type="application/json")

    async def health(self, request: Request) -> Response:
        return JSONResponse({"alive": True})

    async def ready(self, request: Request) -> Response:
        """Models are opened, and passed their trial, before the service listens."""
        ready = self.queue.failure is None
        return JSONResponse({"ready": ready, "models": list(self._models.names)}, 200 if ready else 503)

    async def numbers(self, request: Request) -> Response:
        queue = self.queue
        gauges = {
            "srgan_trt_waiting": ("Pictures that wait.", float(queue.waiting)),
            "srgan_trt_running": ("Pictures that are read, enlarged or written.", float(queue.running)),
            "srgan_trt_kept_bytes": ("Results that wait to be fetched.", float(queue.kept_bytes)),
        }
        return Response(self.metrics.text(gauges), media_type=MEDIA_TYPE)

    async def page(self, request: Request) -> Response:
        name = request.path_params.get("file", "index.html")
        if name not in self._files:
            raise HTTPException(404)
        return Response(self._files[name], media_type=_PAGE[name], headers={"Cache-Control": "no-cache"})

    async def _accepted(self, request: Request, *, kept: bool) -> Job:
        owner = request.client.host if request.client is not None else ""
        self.queue.check_room(owner)  # before a body is read that there is no room for
        upload = await self._uploads.read(request)
        names = [name for name, _ in request.query_params.multi_items()] + list(upload.fields)
        if twice := {name for name in names if names.count(name) > 1}:
            raise Refusal("bad_option", f"{min(twice)[:40]} is given twice")
        given = {**request.query_params, **upload.fields}
        models = self._models
        options = options_of(given, models=models.names, textured=models.textured, levels=models.levels)
        with _package_errors():
            width, height = await asyncio.to_thread(picture_size, upload.picture, name="the upload")
        if width * height > self._settings.max_pixels:
            limit = self._settings.max_pixels / 1e6
            text = f"the picture has {width:,} x {height:,} pixels, more than {limit:g} million, the limit here"
            raise Refusal("too_many_pixels", f"{text}: make it smaller, or cut it into parts")
        try:
            made = models[options.model].target(options.size, width, height)
            check_sides(options.format, made.width, made.height, name="the result")
        except PictureError as error:
            raise Refusal("bad_option", str(error)) from None
        job = Job(picture=upload.picture, options=options, width=width, height=height, owner=owner, kept=kept)
        self.queue.add(job)
        return job

    def _job(self, request: Request) -> Job:
        return self.queue.find(request.path_params["job"])

    def _facts(self, job: Job) -> dict[str, object]:
        return job.facts(position=self.queue.position(job))

    async def _events(self, job: Job) -> AsyncIterator[str]:
        told = ""
        while True:
            facts = json.dumps(self._facts(job))
            if facts != told:
                yield f"event: {job.state}\ndata: {facts}\n\n"
                told = facts
            if job.is_over:
                return
            try:
                # A place in the queue changes without the job: so it is looked at every second, too.
                async with asyncio.timeout(_HEARTBEAT if job.state == "running" else 1.0):
                    await job.changed()
            except TimeoutError:
                yield ": alive\n\n"


def _result_of(job: Job) -> Result:
    if job.refusal is not None:
        raise job.refusal
    assert job.result is not None
    return job.result


def _picture(result: Result) -> Response:
    timing = ", ".join(f"{step};dur={seconds * 1e3:.1f}" for step, seconds in result.seconds.items())
    headers = {
        "Content-Length": str(len(result.content)),
        "Content-Disposition": f'attachment; filename="picture_{result.label}.{result.format}"',
        "Server-Timing": timing,
    }
    if result.notes:
        headers["X-Srgan-Notes"] = quote("; ".join(result.notes), safe=" ;:,()%'/=+")
    view = memoryview(result.content)

    async def chunks() -> AsyncIterator[memoryview]:
        for at in range(0, len(view), _CHUNK):
            yield view[at : at + _CHUNK]

    return StreamingResponse(chunks(), media_type=result.media_type, headers=headers)


@contextlib.contextmanager
def _package_errors() -> Iterator[None]:
    from ..errors import SrganTrtError

    try:
        yield
    except (SrganTrtError, MemoryError) as error:
        raise refusal_of(error) from error
