"""An OpenAI-shaped server that answers at once, as fast as Python can: `python -m benchmarks.mock_upstream`.

Says its port on stdout. A request with "stream" gets 20 chunks and [DONE] in one write. No claim.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

USAGE = {"prompt_tokens": 30, "completion_tokens": 20, "total_tokens": 50}
CHUNKS = 20


def _base(kind: str, **choice: Any) -> dict[str, Any]:
    head = {"id": "chatcmpl-1", "object": kind, "created": 1, "model": "mock"}
    return {**head, "choices": [{"index": 0, "finish_reason": None, **choice}]}


def _whole() -> bytes:
    said = {"role": "assistant", "content": "Hello there, how are you today? " * 3}
    body = json.dumps(
        {**_base("chat.completion", message=said, finish_reason="stop"), "usage": USAGE}
    ).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    return head + body


def _stream() -> bytes:
    events = [_base("chat.completion.chunk", delta={"content": f"word{i} "}) for i in range(CHUNKS)]
    events.append({**_base("chat.completion.chunk", delta={}, finish_reason="stop"), "usage": USAGE})
    texts = [b"data: %b\n\n" % json.dumps(each).encode() for each in events] + [b"data: [DONE]\n\n"]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(text), text) for text in texts) + b"0\r\n\r\n"


WHOLE, STREAM = _whole(), _stream()


class Mock(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self._transport, self._rest = transport, b""

    def data_received(self, data: bytes) -> None:
        rest = self._rest + data
        while (end := rest.find(b"\r\n\r\n")) >= 0:
            head = rest[:end].lower()
            at = head.find(b"content-length:")
            size = int(head[at + 15 :].split(b"\r", 1)[0]) if at >= 0 else 0
            stop = end + 4 + size
            if len(rest) < stop:
                break
            body, rest = rest[end + 4 : stop], rest[stop:]
            streams = b'"stream":true' in body or b'"stream": true' in body
            self._transport.write(STREAM if streams else WHOLE)
        self._rest = rest


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Mock, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve())
