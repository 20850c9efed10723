"""The other side of a benchmark: peers that seed, trickle or swallow one torrent, on one thread.

    peers.py TORRENT PAYLOAD_DIR [--count N] [--pace MIB] [--dial PORT] [--slow] [--listen PORT] [--reqq N]
    peers.py TORRENT --swallow PORT

Seeds listen at 127.0.0.2, .3, ... on one port each (or dial 127.0.0.1:PORT) and send `--pace` MiB/s each at most.
With `--reqq` they say how many requests they queue (BEP 10). With `--slow` every second peer has half of the pieces
and says `have` each second, and only a tenth of them unchoke, at 32 KiB/s. `--swallow` downloads once from 127.0.0.1:PORT, without a look at the data.
Standard output says `ready`, then `done` when a swallower has everything.
"""
import argparse
import hashlib
import mmap
import os
import random
import selectors
import socket
import struct
import sys
import time
from collections import deque

BLOCK = 16384


def bdecode(data, at=0):
    """-> (value, where it ends)."""
    kind = data[at:at + 1]
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1:end]), end + 1
    if kind in (b"l", b"d"):
        items, at = [], at + 1
        while data[at:at + 1] != b"e":
            item, at = bdecode(data, at)
            items.append(item)
        return (items if kind == b"l" else dict(zip(items[::2], items[1::2]))), at + 1
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    return data[colon + 1:end], end


class Torrent:
    def __init__(self, path):
        with open(path, "rb") as file:
            data = file.read()
        info = bdecode(data)[0][b"info"]
        begin = data.index(b"4:info") + 6
        self.info_hash = hashlib.sha1(data[begin:bdecode(data, begin)[1]]).digest()
        self.piece, self.pieces = info[b"piece length"], len(info[b"pieces"]) // 20
        name = info[b"name"].decode()
        self.files = [(os.path.join(name, *[part.decode() for part in f[b"path"]]), f[b"length"])
                      for f in info[b"files"]] if b"files" in info else [(name, info[b"length"])]
        self.size = sum(length for _, length in self.files)
        bits = bytearray(b"\xff" * ((self.pieces + 7) // 8))
        bits[-1] &= 0xff << (-self.pieces % 8) & 0xff
        self.bits = bytes(bits)

    def payload(self, root):
        """All content as one view: the file mapped, or many small ones joined."""
        if len(self.files) == 1:
            with open(os.path.join(root, self.files[0][0]), "rb") as file:
                return memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
        parts = []
        for name, _ in self.files:
            with open(os.path.join(root, name), "rb") as file:
                parts.append(file.read())
        return memoryview(b"".join(parts))


class Seed:
    """One connection that serves."""

    def __init__(self, sock, torrent, view, pace, bits, silent, dialled, reqq):
        self.sock, self.torrent, self.view, self.silent = sock, torrent, view, silent
        self.pace, self.credit, self.paid = pace, 0.0, time.monotonic()
        self.read, self.shaken = bytearray(), False
        flags = bytes([0, 0, 0, 0, 0, 0x10 if reqq else 0, 0, 0])
        self.greeting = (b"\x13BitTorrent protocol" + flags + torrent.info_hash + b"-BB0001-" + os.urandom(12)
                         + struct.pack(">IB", len(bits) + 1, 5) + bits)
        if reqq:
            says = b"d1:mde4:reqqi%dee" % reqq
            self.greeting += struct.pack(">IBB", len(says) + 2, 20, 0) + says
        # Who dials greets first.
        self.out = deque([self.greeting] if dialled else [])
        self.dialled = dialled
        self.asked = deque()

    def readable(self):
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        self.read += data
        at = 0
        if not self.shaken:
            if self.read[:1] != b"\x13":
                return False  # encryption: it will come back without
            if len(self.read) < 68:
                return True
            self.shaken, at = True, 68
            if not self.dialled:
                self.out.append(self.greeting)
        while len(self.read) - at >= 4:
            length = int.from_bytes(self.read[at:at + 4], "big")
            if len(self.read) - at < 4 + length:
                break
            if length == 13 and self.read[at + 4] == 6:
                self.asked.append(struct.unpack_from(">III", self.read, at + 5))
            elif length == 1 and self.read[at + 4] == 2 and not self.silent:
                self.out.append(b"\0\0\0\1\1")
            at += 4 + length
        del self.read[:at]
        return True

    def writable(self, now):
        """Sends what may go; false when the connection is gone."""
        if self.pace:
            # A block at a time, as from a real line: what comes in bursts is cheaper to receive.
            self.credit = min(self.credit + (now - self.paid) * self.pace, max(self.pace / 1000, 2 * BLOCK))
            self.paid = now
        while self.out or self.asked:
            while self.asked and len(self.out) < 32 and (not self.pace or self.credit >= BLOCK):
                piece, begin, length = self.asked.popleft()
                start = piece * self.torrent.piece + begin
                self.credit -= length
                self.out.append(struct.pack(">IBII", 9 + length, 7, piece, begin))
                self.out.append(self.view[start:start + length])
            if not self.out:
                return True
            try:
                sent = self.sock.sendmsg(list(self.out)[:64])
            except BlockingIOError:
                return True
            except OSError:
                return False
            while sent and sent >= len(self.out[0]):
                sent -= len(self.out.popleft())
            if sent:
                self.out[0] = memoryview(self.out[0])[sent:]
        return True

    def wants(self):
        return bool(self.out or self.asked)


def serve(args):
    torrent = Torrent(args.torrent)
    view = torrent.payload(args.payload)
    rng = random.Random(1)
    poll = selectors.DefaultSelector()
    seeds = []

    def take(sock, index):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        half = args.slow and index % 2
        bits = bytes(b & rng.getrandbits(8) for b in torrent.bits) if half else torrent.bits
        pace = 32768 if args.slow else args.pace * (1 << 20)
        seed = Seed(sock, torrent, view, pace, bits, args.slow and index % 10 != 0, bool(args.dial),
                    args.reqq)
        seed.half = half
        seeds.append(seed)
        poll.register(sock, selectors.EVENT_READ, seed)

    for index in range(args.count):
        ip = f"127.0.{index // 200}.{index % 200 + 2}"
        if args.dial:
            sock = socket.socket()
            sock.bind((ip, 0))
            sock.connect(("127.0.0.1", args.dial))
            take(sock, index)
            seeds[-1].writable(time.monotonic())
            time.sleep(0.005)
        else:
            sock = socket.create_server((ip, args.listen))
            poll.register(sock, selectors.EVENT_READ, index)
    print("ready", flush=True)
    told = time.monotonic()
    while True:
        paced = args.pace or args.slow
        busy = paced and any(seed.asked for seed in seeds)
        if busy:
            time.sleep(0.0001 if args.pace else 0.005)  # finer than a selector's time-out can be
        for key, events in poll.select(0 if busy else 0.5):
            if isinstance(key.data, int):
                take(key.fileobj.accept()[0], key.data)
            elif events & selectors.EVENT_READ and not key.data.readable():
                drop(poll, seeds, key.data)
        now = time.monotonic()
        if args.slow and now - told >= 1:
            told = now
            for seed in seeds:
                if seed.half and seed.shaken:
                    seed.out.append(struct.pack(">IBI", 5, 4, rng.randrange(torrent.pieces)))
        for seed in list(seeds):
            if seed.wants() and not seed.writable(now):
                drop(poll, seeds, seed)
            elif not paced:
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if seed.wants() else 0)
                if poll.get_key(seed.sock).events != events:
                    poll.modify(seed.sock, events, seed)


def drop(poll, seeds, seed):
    poll.unregister(seed.sock)
    seed.sock.close()
    seeds.remove(seed)


def swallow(args):
    torrent = Torrent(args.torrent)
    sock = socket.create_connection(("127.0.0.1", args.swallow), 20, ("127.0.0.2", 0))
    sock.settimeout(60)
    sock.sendall(b"\x13BitTorrent protocol" + bytes(8) + torrent.info_hash + b"-BB0002-" + os.urandom(12) + b"\0\0\0\1\2")
    todo = [(at // torrent.piece, at % torrent.piece, min(BLOCK, torrent.size - at))
            for at in range(0, torrent.size, BLOCK)]
    asked = got = 0
    print("ready", flush=True)
    buffer, view = bytearray(1 << 20), None
    view, fill, skip, open_ = memoryview(buffer), 0, 0, False
    while fill < 68:
        fill += sock.recv_into(view[fill:])
    view[:fill - 68] = bytes(view[68:fill])
    fill -= 68
    while got < torrent.size:
        at = 0
        while True:
            if skip:
                part = min(skip, fill - at)
                skip, at, got = skip - part, at + part, got + part
            if skip or fill - at < 5:
                break
            length, kind = int.from_bytes(view[at:at + 4], "big"), view[at + 4]
            if not length:
                at += 4
            elif kind == 7 and fill - at >= 13:
                skip, at = length - 9, at + 13
            elif kind != 7 and fill - at >= 4 + length:
                open_ = {1: True, 0: False}.get(kind, open_)
                at += 4 + length
            else:
                break
        view[:fill - at] = bytes(view[at:fill])
        fill -= at
        if open_ and asked < len(todo) and asked - got // BLOCK <= 96:
            more = todo[asked:asked + 128]
            asked += len(more)
            sock.sendall(b"".join(struct.pack(">IBIII", 13, 6, *block) for block in more))
        if got < torrent.size:
            more = sock.recv_into(view[fill:])
            if not more:
                sys.exit("closed early")
            fill += more
    print("done", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("torrent")
    parser.add_argument("payload", nargs="?")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--pace", type=float, default=0)
    parser.add_argument("--dial", type=int, default=0)
    parser.add_argument("--listen", type=int, default=0)
    parser.add_argument("--reqq", type=int, default=0)
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--swallow", type=int, default=0)
    args = parser.parse_args()
    swallow(args) if args.swallow else serve(args)


if __name__ == "__main__":
    main()
