"""How the Earth Engine on this machine answers badly, on demand: server.faults = ['429', 'reset', ...].

Each name is used up by one request for pixels or numbers, in order; others are answered as they should be.
"""

import io
import socket
import struct
import threading

import numpy as np

STATUSES = {
    '429': 'Too Many Requests: the request rate or concurrency limit was exceeded.',
    '500': 'An internal error has occurred.',
    '503': 'The service is currently unavailable.',
    '403': 'Caller does not have required permission to use project test.',
}
MEMORY = 'User memory limit exceeded.'
FAULTS = (*STATUSES, 'memory', 'reset', 'truncated', 'short', 'other', 'trickle')


class Faults:
    "What is still to go wrong, and how many requests are under way."

    def __init__(self):
        self.left, self.lock, self.stopping = [], threading.Lock(), threading.Event()
        self.running = self.most = 0

    def take(self) -> str:
        "The next fault, '' for none."
        with self.lock:
            return self.left.pop(0) if self.left else ''

    def __enter__(self) -> int:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
            return self.running

    def __exit__(self, *words: object) -> None:
        with self.lock:
            self.running -= 1


def one_row_less(body: bytes) -> bytes:
    "An answer that is whole, but of another grid."
    file = io.BytesIO()
    np.save(file, np.load(io.BytesIO(body))[:-1])
    return file.getvalue()


def answer_badly(handler: object, fault: str, body: bytes, stopping: threading.Event) -> None:
    "Send an answer as no client should take it."
    if fault == 'reset':
        linger = struct.pack('ii', 1, 0)  # the peer is told that the connection is gone
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        handler.close_connection = True
        handler.connection.close()
        handler.rfile.close()
        return
    promised = len(body) // 2 if fault == 'short' else len(body)
    handler.send_response(200)
    handler.send_header('Content-Type', 'application/octet-stream')
    handler.send_header('Content-Length', str(promised))
    handler.end_headers()
    handler.close_connection = True
    if fault in ('truncated', 'short'):
        handler.wfile.write(body[: len(body) // 2])
        return
    for index in range(len(body)):  # trickle
        if stopping.wait(0.02):
            return
        try:
            handler.wfile.write(body[index : index + 1])
            handler.wfile.flush()
        except OSError:
            return
