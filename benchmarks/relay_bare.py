"""A relay and nothing else: plain ASGI on uvicorn with our HTTP client. No claim.

`python -m benchmarks.relay_bare UPSTREAM_PORT` says its address on stderr.
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn

from smallworks.server.run import listen
from smallworks.server.upstream.pool import Pool, Target

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: m\r\ncontent-type: application/json\r\ncontent-length: "


def relay(port: int) -> Any:
    pool = Pool(Target.of(f"http://127.0.0.1:{port}/v1"), connect_seconds=5)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        connection = await pool.take()
        connection.ask(b"%b%d\r\n\r\n%b" % (HEAD, len(body), body), limit=2**24, patience=60.0)
        status = await connection.head()
        kind = connection.headers[b"content-type"]
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
        while data := await connection.take():
            await send({"type": "http.response.body", "body": data, "more_body": True})
        pool.give(connection)
        await send({"type": "http.response.body", "body": b""})

    return app


if __name__ == "__main__":
    with listen("127.0.0.1", 0) as listener:
        sys.stderr.write(f"Serving at http://127.0.0.1:{listener.getsockname()[1]}\n")
        sys.stderr.flush()
        usual: dict[str, Any] = {"log_level": "warning", "access_log": False, "lifespan": "off"}
        uvicorn.Server(uvicorn.Config(relay(int(sys.argv[1])), **usual)).run([listener])
