"""Django's router under WSGI."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path, re_path
from django.views.decorators.csrf import csrf_exempt

from shared import of_environ, ran

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="of a test", MIDDLEWARE=[])


def view(name):
    @csrf_exempt
    def run(request, **_):
        lazy = request.headers.get("X-Lazy")
        seen = of_environ(request.environ)
        seen.update(method=request.method, path=request.path, host=request.get_host())
        return HttpResponse(ran(name, body=b"" if lazy else request.body, lazy=bool(lazy), **seen), "application/json")

    return run


urlpatterns = [
    path("admin", view("admin")),
    path("admin/<path:rest>", view("admin")),
    path("orders", view("orders")),
    path("orders/<path:rest>", view("orders")),
    path("users/<str:id>", view("user")),
    path("users/<str:id>/secret", view("secret")),
    path("own/<str:id>", view("own")),
    path("own/<str:id>/<path:rest>", view("own")),
    path("me:delete", view("verb")),
    path("café", view("cafe")),
    re_path("(?i)^keys$" if os.environ["MODE"] == "fold" else "^keys$", view("keys")),
    re_path("", view("other")),
]
application = get_wsgi_application()
