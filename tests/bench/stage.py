"""What is measured, and one run of it: payloads, seeders, a tracker, and what a process used."""
import filecmp
import hashlib
import http.server
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from clients import PORT, PROGRAM, ROOT, TARGET, Libtorrent, Minitorrent

HERE = Path(__file__).resolve().parent
FLOOR = TARGET / "release/examples/floor"
MIB, GIB = 1 << 20, 1 << 30

# name: (bytes, piece length, files, seeders, MiB/s of each, where it goes)
DOWNLOADS = {
    "w1": (GIB, 256 << 10, 1, 1, 0, "tmpfs"),
    "w1disk": (GIB, 256 << 10, 1, 1, 0, "disk"),
    "w2": (GIB, 4 << 20, 1, 1, 0, "tmpfs"),
    "w3": (GIB, 256 << 10, 1, 12, 0, "tmpfs"),
    "w4": (10000 * 16384, 256 << 10, 10000, 1, 0, "tmpfs"),
    "p1": (512 * MIB, 256 << 10, 1, 1, 100, "tmpfs"),
    "p12": (512 * MIB, 256 << 10, 1, 12, 8, "tmpfs"),
    "big": (GIB, 16 << 20, 1, 1, 0, "tmpfs"),
    "longlink": (GIB, 256 << 10, 1, 1, 0, "tmpfs"),
    "reqq": (GIB, 256 << 10, 1, 1, 0, "tmpfs"),
}
# Rows behind a relay: milliseconds of a round trip, and what the seeder names as `reqq`.
LONG = {"longlink": (100, 0), "reqq": (100, 2000)}


def bencode(value):
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, (str, bytes)):
        value = value.encode() if isinstance(value, str) else value
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l" + b"".join(map(bencode, value)) + b"e"
    return b"d" + b"".join(bencode(key) + bencode(value[key]) for key in sorted(value)) + b"e"


class Tracker(http.server.BaseHTTPRequestHandler):
    """Names the peers of the run to everybody who asks."""
    peers = b""

    def do_GET(self):
        body = bencode({"interval": 1800, "peers": Tracker.peers})
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Payload:
    """A torrent and its content, made once."""

    def __init__(self, data, size, piece, files, announce):
        name = f"bench-{size}-{files}"
        self.root = data / name
        self.torrent = data / f"{name}-{piece}.torrent"
        self.size = size
        names = [name] if files == 1 else [f"{name}/d{at // 500:02}/f{at:05}" for at in range(files)]
        hashes, hasher, room = [], hashlib.sha1(), piece
        rng = random.Random(name)
        for path in (self.root / each for each in names):
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = not path.exists()
            with open(path, "wb" if fresh else "rb") as file:
                left = size // files
                while left:
                    part = rng.randbytes(min(left, MIB)) if fresh else file.read(min(left, MIB))
                    file.write(part) if fresh else None
                    left -= len(part)
                    while part:
                        hasher.update(part[:room])
                        room, part = room - len(part[:room]), part[room:]
                        if not room:
                            hashes.append(hasher.digest())
                            hasher, room = hashlib.sha1(), piece
        if room != piece:
            hashes.append(hasher.digest())
        info = {"name": name, "piece length": piece, "pieces": b"".join(hashes)}
        if files == 1:
            info["length"] = size
        else:
            info["files"] = [{"length": size // files, "path": each.split("/")[1:]} for each in names]
        self.names = names
        self.torrent.write_bytes(bencode({"announce": announce, "info": info}))

    def same(self, out):
        return all((out / name).is_file() and filecmp.cmp(self.root / name, out / name, shallow=False)
                   for name in self.names)


class Run:
    """A process, with what it used."""

    def __init__(self, command, work):
        self.log = open(work / "log", "wb")
        env = {**os.environ, "HOME": str(work), "XDG_STATE_HOME": str(work / "state")}
        self.began = time.monotonic()
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log, env=env, cwd=work)
        self.pid, self.usage, self.rss, self.wakes, self.took = self.process.pid, None, 0, 0, 0

    def status(self):
        try:
            lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
            wakes = 0
            for task in Path(f"/proc/{self.pid}/task").iterdir():
                for line in (task / "status").read_text().splitlines():
                    if line.startswith("voluntary_ctxt"):
                        wakes += int(line.split()[1])
        except (OSError, ValueError):
            return {}
        values = dict(line.split(":", 1) for line in lines if ":" in line)
        self.wakes = max(self.wakes, wakes)
        if "VmHWM" in values:
            self.rss = max(self.rss, int(values["VmHWM"].split()[0]) / 1024)
        return values

    def over(self):
        if self.usage is None:
            self.status()
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.usage, self.took = usage, time.monotonic() - self.began
                self.process.returncode = os.waitstatus_to_exitcode(status)
        return self.usage is not None

    def wait(self, limit, ended=None):
        """Until it ends or the file `ended` is there; -> in time."""
        while time.monotonic() - self.began < limit:
            if self.over():
                return True
            if ended and ended.exists():
                self.took = time.monotonic() - self.began
                return True
            time.sleep(0.01)
        return False

    def cpu(self):
        """Seconds so far, or in all once it has ended."""
        if self.usage:
            return self.usage.ru_utime + self.usage.ru_stime
        total = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def stop(self):
        took = self.took
        for sig in (signal.SIGTERM, signal.SIGKILL):
            if not self.over():
                os.kill(self.pid, sig)
                self.wait(time.monotonic() - self.began + 8)
        self.took = took or self.took
        self.log.close()


class Stage:
    def __init__(self, args):
        self.args = args
        self.data = Path(args.tmpfs) / "minitorrent-bench"
        self.data.mkdir(exist_ok=True)
        self.disk = Path(args.disk) / "minitorrent-bench"
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tracker)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.announce = f"http://127.0.0.1:{server.server_port}/announce"
        self.payloads = {}
        self.libtorrent = Libtorrent()

    def payload(self, size, piece, files):
        key = (size, piece, files)
        if key not in self.payloads:
            self.payloads[key] = Payload(self.data, size, piece, files, self.announce)
        return self.payloads[key]

    def room(self, where="tmpfs", keep=""):
        """An empty work directory and an empty output directory; `keep` names a second pair."""
        work = self.data / f"work{keep}"
        out = (self.disk if where == "disk" else self.data) / f"out{keep}"
        for path in (work, out):
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)
        return work, out

    def peers(self, payload, *options, work):
        command = [sys.executable, HERE / "peers.py", payload.torrent, payload.root, *options]
        return helper(command, open(work / "peers", "wb"))

    def relay(self, port, ip, to, rtt):
        return helper([sys.executable, HERE / "relay.py", port, ip, to, "--rtt", rtt], subprocess.DEVNULL)

    def name(self, count):
        """Has the tracker name so many seeders."""
        port = PORT + 100
        Tracker.peers = b"".join(socket.inet_aton(f"127.0.0.{at + 2}") + port.to_bytes(2, "big") for at in range(count))
        return port

    # ------------------------------------------------------------------------------------------ one run each
    def download(self, client, row):
        size, piece, files, seeders, pace, where = DOWNLOADS[row]
        each = size // files
        files = max(1, int(files * self.args.scale)) if files > 1 else 1
        size = each * files if files > 1 else int(size * self.args.scale)
        payload = self.payload(size, piece, files)
        work, out = self.room(where)
        touch(size)
        rtt, reqq = LONG.get(row, (0, 0))
        port = self.name(0 if client.inbound else seeders)
        # Behind a relay the seeder listens where no client looks for it.
        options = ["--count", seeders, "--pace", pace, "--listen", port + bool(rtt), "--reqq", reqq]
        helpers = []
        try:
            if not client.inbound:
                helpers.append(self.peers(payload, *options, work=work))
            if rtt:
                helpers.append(self.relay(port, "127.0.0.2", port + 1, rtt))
            run = Run(client.fetch(payload.torrent, out, work, max(seeders, 12)), work)
            if client.inbound:
                listens(run)
                helpers.append(self.peers(payload, *options, "--dial", PORT, work=work))
            done = run.wait(300, client.ended(work))
            run.status()
            run.stop()
            if not done or not payload.same(out):
                return None
            gib = size / GIB
            if rtt:
                return {"speed": size / MIB / run.took, "rss": run.rss}
            return {"cpu": run.cpu() / gib, "wall": run.took, "rss": run.rss, "wakes": run.wakes / gib,
                    "speed": size / MIB / run.took}
        finally:
            for helper in helpers:
                end(helper)

    def seeding(self, client, row):
        """`recheck`, then `upload`: what is there is hashed, then swallowed by one peer."""
        payload = self.payload(int(GIB * self.args.scale), 256 << 10, 1)
        work, _ = self.room()
        self.name(0)
        run = Run(client.seed(payload.torrent, payload.root, work, 12), work)
        try:
            listens(run)
            settle(run)
            run.status()
            gib, checked = payload.size / GIB, run.cpu()
            if row == "recheck":
                return {"cpu": checked / gib, "rss": run.rss}
            began = time.monotonic()
            if self.libtorrent.path:
                came = self.leech(payload)
            else:
                leech = self.peers(payload, "--swallow", PORT, work=work)
                came = leech.stdout.read().split()[-1:] == ["done"]
                end(leech)
            run.status()
            if not came or run.over():
                return None
            return {"cpu": (run.cpu() - checked) / gib, "wall": time.monotonic() - began, "rss": run.rss}
        finally:
            run.stop()

    def leech(self, payload):
        """Has libtorrent fetch it from the client; -> whether it came."""
        work, out = self.room(keep="leech")
        command = self.libtorrent.fetch(payload.torrent, out, work, 12)
        command[-1] = PORT + 50
        run = Run([*command, "--peer", f"127.0.0.1:{PORT}"], work)
        done = run.wait(120)
        run.stop()
        return done and payload.same(out)

    def quiet(self, client, row):
        """`idle`: a seeder nobody asks; `dht`: one in a DHT of 20 nodes; `swarm`: a leecher with 200 slow peers."""
        small = self.payload(int(GIB * self.args.scale), 256 << 10, 1)
        work, out = self.room()
        self.name(0)
        swarm, dht = row == "swarm", row == "dht"
        others, seconds = None, 60 if dht else 20
        if swarm:
            command = client.fetch(small.torrent, out, work, 250)
        elif dht:
            node = f"127.0.0.1:{PORT + 200}"
            others = helper([Libtorrent().path, ROOT / "tests/finders/libtorrent_node.py", "node", "-", "-", node,
                             "--more", 19], subprocess.DEVNULL)
            command = client.seed_in_dht(small.torrent, small.root, work, node)
        else:
            command = client.seed(small.torrent, small.root, work, 12)
        run = Run(command, work)
        try:
            listens(run)
            if swarm:
                others = self.peers(small, "--count", 200, "--slow", "--dial", PORT, work=work)
            settle(run, 6 if swarm or dht else 3)
            run.status()
            cpu, wakes = run.cpu(), run.wakes
            time.sleep(seconds)
            if run.over():
                return None
            rss = int(run.status()["VmRSS"].split()[0]) / 1024
            # Some listen on a socket for both families, and are found among those of IPv6.
            connected = sum(f":{PORT:04X} " in line and " 01 " in line for table in ("tcp", "tcp6")
                            for line in Path("/proc/net", table).read_text().splitlines())
            result = {"rss": rss, "cpu_ms": (run.cpu() - cpu) / seconds * 1000, "wakes_s": (run.wakes - wakes) / seconds}
            return result if not swarm or connected >= 380 else None
        finally:
            end(others)
            run.stop()

    def startup(self, client, row):
        if client.name == "libtorrent":
            return None
        best = 1e9
        for _ in range(300 if isinstance(client, Minitorrent) else 10):
            began = time.monotonic()
            subprocess.run([client.path, "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            best = min(best, time.monotonic() - began)
        return {"ms": best * 1000, "size": os.path.getsize(os.path.realpath(client.path)) / MIB}

    def size(self, client, row):
        """MiB of the program that is shipped, and of the one without `tls` and `fetch`."""
        if client.path != str(PROGRAM):
            return None
        programs = {"all": PROGRAM, "small": PROGRAM.with_name(PROGRAM.name + "-small")}
        return {figure: path.stat().st_size / MIB for figure, path in programs.items() if path.exists()}

    def one(self, client, row):
        kinds = {"upload": self.seeding, "recheck": self.seeding, "idle": self.quiet, "dht": self.quiet,
                 "swarm": self.quiet, "startup": self.startup, "size": self.size}
        return kinds.get(row, self.download)(client, row)


def helper(command, errors):
    """Starts the other side of a benchmark; returns when it is ready."""
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True, stderr=errors)
    process.stdout.readline()
    return process


def touch(size):
    """Has the host back the memory that the payload will fill, or whoever comes first would pay for it."""
    left = size
    path = Path("/dev/shm/minitorrent-bench/touch")
    with open(path, "wb") as file:
        while left > 0:
            left -= file.write(bytes(min(left, 16 * MIB)))
    path.unlink()


def listens(run):
    """Until something accepts on the client's port."""
    while time.monotonic() - run.began < 60 and not run.over():
        try:
            socket.create_connection(("127.0.0.1", PORT), 1, ("127.0.0.250", 0)).close()
            return
        except OSError:
            time.sleep(0.02)


def settle(run, quiet=1.0):
    """Until the process has used next to nothing for a while: what it does at the start is over."""
    since, last = time.monotonic(), run.cpu()
    while time.monotonic() - run.began < 90 and time.monotonic() - since < quiet:
        time.sleep(0.1)
        if quiet <= 3 and run.cpu() - last > 0.02:
            since, last = time.monotonic(), run.cpu()


def end(process):
    if process:
        process.kill()
        process.wait()


def floor(stage, row):
    """What one thread needs for the same bytes and nothing else."""
    where = {"w1disk": stage.disk}.get(row, stage.data)
    kinds = {"w1": "download", "w1disk": "download", "w3": "crowd", "w4": "files", "upload": "upload", "recheck": "recheck"}
    if row not in kinds:
        return None
    where.mkdir(exist_ok=True)
    shutil.rmtree(where / "floor", ignore_errors=True)
    touch(GIB)
    said = subprocess.run([FLOOR, kinds[row], where], capture_output=True, text=True).stdout
    return {"cpu": float(said)} if said else None
