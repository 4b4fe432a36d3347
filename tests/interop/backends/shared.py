"""What the backends in Python have in common: the log of what ran, and one view of a WSGI environ."""

import hashlib
import json
import os

PORT = int(os.environ["PORT"])
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "PURGE", "LOCK"]


def ran(handler, **seen):
    """Notes a request that a handler was run for, before it is answered."""
    body = seen.pop("body", b"")
    seen.update(handler=handler, length=len(body), sha=hashlib.sha256(body).hexdigest())
    line = json.dumps(seen) + "\n"
    with open(os.environ["LOG"], "ab", buffering=0) as log:
        log.write(line.encode())
    return line


def of_environ(environ):
    """All that an application may take from a WSGI environ for a fact about its caller."""
    headers = [[key[5:].replace("_", "-"), value] for key, value in environ.items() if key.startswith("HTTP_")]
    return {
        "method": environ["REQUEST_METHOD"],
        "path": environ["PATH_INFO"].encode("latin-1", "replace").decode("utf-8", "replace"),
        "script": environ.get("SCRIPT_NAME", ""),
        "target": environ.get("RAW_URI") or environ.get("REQUEST_URI"),
        "query": environ.get("QUERY_STRING", ""),
        "host": environ.get("HTTP_HOST"),
        "scheme": environ.get("wsgi.url_scheme"),
        "client": environ.get("REMOTE_ADDR"),
        "user": environ.get("REMOTE_USER"),
        "headers": headers,
    }
