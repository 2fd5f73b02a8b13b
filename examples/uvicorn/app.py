"""An ASGI program. The header says which process answers, so that a new one is told from those beside it."""

import asyncio
import os

INSTANCE = f"invocation={os.environ.get('INVOCATION_ID', '')}".encode()


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/slow":
        await asyncio.sleep(0.8)
    body = b"hello\n"
    headers = [(b"content-length", str(len(body)).encode()), (b"x-zdt-instance", INSTANCE)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
