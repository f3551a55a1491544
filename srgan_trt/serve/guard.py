"""What every request passes: Host, origin and token on the way in, headers and counts on the way out. Plain ASGI."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .metrics import Metrics
from .refusal import Refusal, internal
from .settings import Settings

OPEN = ("/", "/healthz", "/readyz", "/openapi.json")
"""Paths that need no token, and those below /page/: they hold no secrets."""
_METHODS = ("GET", "HEAD", "POST", "DELETE", "OPTIONS")
_LINGER = 2.0
"""Seconds that the rest of a refused body is read and dropped: who is sending does not listen yet."""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_EXPOSED = "Retry-After, Server-Timing, X-Srgan-Notes, Content-Disposition"


class Guard:
    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        begun = ended = False

        async def incoming() -> Message:
            nonlocal ended
            message = await receive()
            ended = ended or message["type"] == "http.disconnect" or not message.get("more_body", False)
            return message

        async def outgoing(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                self._dress(message, headers)
                self._count(scope, message["status"])
            await send(message)

        try:
            answer = self._checked(scope, headers)
            if answer is None:
                scope["app"] = self._app  # without one Starlette answers errors in plain text
                await self._app(scope, incoming, outgoing)
                return
        except ClientDisconnect:
            return
        except Refusal as refusal:
            answer = refusal.response()
        except HTTPException as error:
            code = {404: "not_found", 405: "wrong_method"}.get(error.status_code, "bad_request")
            answer = Refusal(code, f"{error.detail.lower()}: /openapi.json lists what there is").response()
            answer.headers.update(error.headers or {})
        except Exception as error:
            answer = internal(error).response()
        if begun:
            return
        if "content-length" in headers or "transfer-encoding" in headers:
            try:
                async with asyncio.timeout(_LINGER):
                    while not ended:
                        await incoming()
            except TimeoutError:
                answer.headers["Connection"] = "close"
        await answer(scope, receive, outgoing)

    def _checked(self, scope: Scope, headers: Headers) -> Response | None:
        """Raises Refusal for who may not come in; a Response for a browser that asks whether it may."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if len(headers.getlist("host")) > 1 or not self._settings.is_host(host):
            raise Refusal(
                "wrong_host", "the service does not go by this name: use its address, or the name it was given"
            )
        if origin is not None and not self._settings.is_origin(origin, host):
            raise Refusal("wrong_origin", "pages of other sites may not use this service: see --allow-origin")
        if scope["method"] == "OPTIONS" and origin == self._settings.allow_origin and origin is not None:
            allowed = {"Access-Control-Allow-Methods": "GET, POST, DELETE", "Access-Control-Max-Age": "600"}
            allowed["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
            return Response(status_code=204, headers=allowed)
        if scope["path"] not in OPEN and not scope["path"].startswith("/page/"):
            kind, _, token = headers.get("authorization", "").partition(" ")
            if not self._settings.admits(token.strip() if kind.lower() == "bearer" else None):
                raise Refusal("no_token", "this service asks for a token: send it as Authorization: Bearer TOKEN")
        return None

    def _dress(self, message: Message, headers: Headers) -> None:
        answer = MutableHeaders(scope=message)
        for name, value in _HEADERS.items():
            answer[name] = value
        answer.setdefault("Cache-Control", "no-store")
        if self._settings.allow_origin is None:
            answer["Cross-Origin-Resource-Policy"] = "same-origin"
            return
        answer.add_vary_header("Origin")
        if headers.get("origin") == self._settings.allow_origin:
            answer["Access-Control-Allow-Origin"] = self._settings.allow_origin
            answer["Access-Control-Expose-Headers"] = _EXPOSED

    def _count(self, scope: Scope, status: int) -> None:
        # A name that clients choose would make as many counters as they like.
        route = getattr(scope.get("endpoint"), "__name__", "other")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.request(method, route, status)
