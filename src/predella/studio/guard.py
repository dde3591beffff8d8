"""Who may ask the page: what it shows by itself, not what another website makes the same browser ask."""

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class OnlyOwnPage:
    """Refuses requests that another site's page makes (Origin), or that reach this machine by another site's name (Host).

    Args:
        app: what answers the others.
        port: of the page.
    """

    def __init__(self, app: ASGIApp, port: int):
        self.app = app
        self.hosts = {f"{name}{end}" for name in ("127.0.0.1", "localhost") for end in (f":{port}", *[""] * (port == 80))}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
            origin = headers.get(b"origin")
            if headers.get(b"host") not in self.hosts or (origin is not None and origin.removeprefix("http://") not in self.hosts):
                await PlainTextResponse("this page answers its own machine alone\n", 403)(scope, receive, send)
                return
        await self.app(scope, receive, send)
