"""Starlette's router, on uvicorn or hypercorn."""

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from shared import METHODS, ran


def handler(name):
    async def run(request):
        lazy = request.headers.get("x-lazy")
        scope = request.scope
        line = ran(
            name,
            body=b"" if lazy else await request.body(),
            lazy=bool(lazy),
            method=request.method,
            path=scope["path"],
            script=scope.get("root_path", ""),
            target=scope.get("raw_path", b"").decode("latin-1"),
            query=scope["query_string"].decode("latin-1"),
            host=request.headers.get("host"),
            scheme=request.url.scheme,
            client=request.client.host if request.client else None,
            headers=[[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
        )
        return Response(line, media_type="application/json")

    return run


def routes(name, *paths):
    return [Route(path, handler(name), methods=METHODS) for path in paths]


app = Starlette(
    routes=[
        *routes("admin", "/admin", "/admin/{rest:path}"),
        *routes("orders", "/orders", "/orders/{rest:path}"),
        *routes("user", "/users/{id}"),
        *routes("secret", "/users/{id}/secret"),
        *routes("own", "/own/{id}", "/own/{id}/{rest:path}"),
        *routes("verb", "/me:delete"),
        *routes("cafe", "/café"),
        *routes("keys", "/keys"),
        *routes("other", "/{rest:path}"),
    ]
)
