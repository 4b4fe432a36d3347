"""Flask's router, on Werkzeug's own server, gunicorn or waitress."""

from flask import Flask, request

from shared import METHODS, PORT, of_environ, ran

app = Flask(__name__, static_folder=None)


def handler(name):
    def run(**_):
        lazy = request.headers.get("X-Lazy")
        body = b"" if lazy else request.get_data()
        return ran(name, body=body, lazy=bool(lazy), **of_environ(request.environ)), 200, {"content-type": "application/json"}

    run.__name__ = name
    return run


def route(name, *rules):
    run = handler(name)
    for rule in rules:
        app.add_url_rule(rule, name, run, methods=METHODS)


route("admin", "/admin", "/admin/<path:rest>")
route("orders", "/orders", "/orders/<path:rest>")
route("user", "/users/<id>")
route("secret", "/users/<id>/secret")
route("own", "/own/<id>", "/own/<id>/<path:rest>")
route("verb", "/me:delete")
route("cafe", "/café")
route("keys", "/keys")
route("other", "/", "/<path:rest>")

if __name__ == "__main__":
    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", PORT, app, threaded=True)
