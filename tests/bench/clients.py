"""How each client is told to fetch a torrent, and to seed it."""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
# The program that is shipped: what docs/packaging/build-static makes.
PROGRAM = TARGET / "static/minitorrent-x86_64"
# The same with the system's C library: what `cargo build --release` makes.
DYNAMIC = TARGET / "release/minitorrent"
PORT = 17881


class Client:
    """How a client is told to fetch, and to seed: `fetch` and `seed` give a command line."""
    binary, inbound, seeds = "", False, True

    def __init__(self):
        self.name = self.binary
        self.path = shutil.which(self.binary)

    def ended(self, work):
        """A file that tells of the end, for clients that go on seeding."""
        return work / "ended"

    def hook(self, work):
        script = work / "hook"
        script.write_text(f"#!/bin/sh\n: > {self.ended(work)}\n")
        script.chmod(0o755)
        return script


class Minitorrent(Client):
    name, program = "minitorrent", PROGRAM

    def __init__(self):
        self.path = str(self.program) if self.program.exists() else None

    def fetch(self, torrent, out, work, peers):
        return [self.path, torrent, *self.common(out, peers)]

    def seed(self, torrent, out, work, peers):
        return [self.path, "seed", torrent, *self.common(out, peers)]

    def seed_in_dht(self, torrent, out, work, node):
        return [self.path, "seed", torrent, *self.common(out, 12, ["--dht-entry-point", node])]

    def common(self, out, peers, dht=("--no-dht",)):
        # As for the others: whom the tracker names, and nobody else.
        alone = ["--no-lsd", "--no-pex"]
        return ["-o", out, "--port", PORT, "--max-peers", peers, "--progress", "none", *alone, *dht]


class Dynamic(Minitorrent):
    name, program = "dynamic", DYNAMIC


class Aria2(Client):
    binary = "aria2c"

    def fetch(self, torrent, out, work, peers, seed=("--seed-time=0", "--file-allocation=none")):
        return [self.path, "--no-conf", "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false",
                "--enable-peer-exchange=false", f"--bt-max-peers={peers}", f"--listen-port={PORT}", f"--dir={out}",
                "--summary-interval=0", "--show-console-readout=false", "--console-log-level=error", *seed, torrent]

    def seed(self, torrent, out, work, peers):
        return self.fetch(torrent, out, work, peers, ("--seed-ratio=0.0", "--check-integrity=true"))


class Rtorrent(Client):
    binary = "rtorrent"

    def fetch(self, torrent, out, work, peers):
        (work / "rc").write_text(f"""system.daemon.set = true
directory.default.set = {out}
network.port_range.set = {PORT}-{PORT}
network.port_random.set = no
dht.mode.set = disable
protocol.pex.set = no
protocol.encryption.set = none
throttle.max_peers.normal.set = {peers}
throttle.max_peers.seed.set = {peers}
pieces.hash.on_completion.set = no
method.set_key = event.download.finished,ended,"execute.nothrow=touch,{self.ended(work)}"
load.start = {torrent}
""")
        return [self.path, "-n", "-o", f"import={work}/rc"]

    seed = fetch


class Qbittorrent(Client):
    binary = "qbittorrent-nox"

    def fetch(self, torrent, out, work, peers):
        config = work / "home/qBittorrent/config"
        config.mkdir(parents=True)
        session = {"BTProtocol": "TCP", "DHTEnabled": "false", "LSDEnabled": "false", "PeXEnabled": "false",
                   "Encryption": 2, "MultiConnectionsPerIp": "true", "Port": PORT, "QueueingSystemEnabled": "false",
                   "MaxConnections": 500, "MaxConnectionsPerTorrent": max(peers, 100), "DefaultSavePath": out}
        (config / "qBittorrent.conf").write_text(
            f"[LegalNotice]\nAccepted=true\n[AutoRun]\nenabled=true\nprogram={self.hook(work)}\n[Network]\n"
            "PortForwardingEnabled=false\n[Preferences]\nWebUI\\Enabled=false\n[BitTorrent]\n"
            + "".join(f"Session\\{key}={value}\n" for key, value in session.items()))
        return [self.path, f"--profile={work}/home", f"--save-path={out}", "--skip-dialog=true", torrent]

    seed = fetch


class Transmission(Client):
    # It drops peers in 127/8 that a tracker names, so here they dial it.
    binary, inbound = "transmission-cli", True

    def fetch(self, torrent, out, work, peers):
        (work / "home").mkdir()
        (work / "home/settings.json").write_text(json.dumps({
            "dht-enabled": False, "lpd-enabled": False, "pex-enabled": False, "utp-enabled": False, "encryption": 0,
            "port-forwarding-enabled": False, "peer-limit-per-torrent": peers, "peer-limit-global": peers + 50}))
        return [self.path, "-g", work / "home", "-M", "-w", out, "-p", PORT, "-f", self.hook(work), torrent]

    def seed(self, torrent, out, work, peers):
        return self.fetch(torrent, out, work, peers) + ["-v"]


class Libtorrent(Client):
    binary = "python3"

    def __init__(self):
        self.name, self.path = "libtorrent", None
        for python in (TARGET / "tools/venv/bin/python", sys.executable):
            if os.path.exists(python) and subprocess.run([python, "-c", "import libtorrent"],
                                                         capture_output=True).returncode == 0:
                self.path = str(python)
                return

    def fetch(self, torrent, out, work, peers):
        return [self.path, ROOT / "tests/interop/libtorrent_client.py", "fetch", torrent, out, PORT]

    def seed(self, torrent, out, work, peers):
        return [self.path, ROOT / "tests/interop/libtorrent_client.py", "seed", torrent, out, PORT]


class Rqbit(Client):
    binary, seeds = "rqbit", False

    def fetch(self, torrent, out, work, peers):
        return [self.path, "-s", "--disable-dht", "--disable-dht-persistence", "--disable-lsd", "-v", "error",
                "--listen-port", PORT, "--peer-limit", peers, "download", "--disable-http-api", "-e", "-o", out,
                "--overwrite", torrent]


def installed():
    """The clients that are here, our two programs first."""
    kinds = (Minitorrent, Dynamic, Aria2, Rtorrent, Qbittorrent, Transmission, Libtorrent, Rqbit)
    return [client for client in (kind() for kind in kinds) if client.path]
