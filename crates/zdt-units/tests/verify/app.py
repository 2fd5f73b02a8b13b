"""A WSGI program as people write it: an answer at once, a slow one, one that reads a body."""

import time


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/slow":
        time.sleep(0.8)
    if environ["REQUEST_METHOD"] == "POST":
        environ["wsgi.input"].read()
    body = b"hello\n"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
