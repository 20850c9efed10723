"""A long line: a relay that hands every byte on half a round trip later.

    relay.py LISTEN_PORT TO_IP TO_PORT --rtt MS

Listens at 127.0.0.2. It takes what the sender gives, up to 64 MiB in flight a direction, so what it measures is
whether a client keeps enough asked for. Standard output says `ready`.
"""
import argparse
import queue
import socket
import threading
import time


def hand_on(source, sink, delay):
    """Reads from `source` now, writes to `sink` in `delay` seconds."""
    waiting = queue.Queue(WINDOW // PART)

    def deliver():
        while True:
            due, data = waiting.get()
            time.sleep(max(0, due - time.monotonic()))
            try:
                sink.sendall(data) if data else sink.shutdown(socket.SHUT_WR)
            except OSError:
                data = b""
            if not data:
                return

    threading.Thread(target=deliver, daemon=True).start()
    data = b"x"
    while data:
        try:
            data = source.recv(PART)
        except OSError:
            data = b""
        waiting.put((time.monotonic() + delay, data))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("listen", type=int)
    parser.add_argument("ip")
    parser.add_argument("port", type=int)
    parser.add_argument("--rtt", type=float, default=100)
    args = parser.parse_args()
    listener = socket.create_server(("127.0.0.2", args.listen))
    print("ready", flush=True)
    while True:
        near = listener.accept()[0]
        far = socket.create_connection((args.ip, args.port))
        for one, other in ((near, far), (far, near)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=hand_on, args=(one, other, args.rtt / 2000), daemon=True).start()


WINDOW, PART = 64 << 20, 128 << 10

if __name__ == "__main__":
    main()
