"""From figures to a page: the table, what was to be reached, and a picture."""
import os
from pathlib import Path

from clients import ROOT

ROWS = {
    "w1": "1 GiB in one file, one seeder, tmpfs", "w1disk": "the same on a disk", "w2": "pieces of 4 MiB",
    "w3": "12 seeders", "w4": "10,000 files of 16 KiB", "p1": "one seeder at 100 MiB/s, block by block",
    "p12": "12 seeders at 8 MiB/s each", "big": "pieces of 16 MiB",
    "upload": "upload of 1 GiB to libtorrent, or else to a peer that only swallows",
    "recheck": "hashing 1 GiB that is there", "idle": "a seeder without peers, 20 s",
    "dht": "the same in a DHT of 20 nodes of libtorrent, 60 s",
    "swarm": "200 peers, 20 of them send 32 KiB/s, 20 s",
    "longlink": "a round trip of 100 ms, 1 GiB", "reqq": "the same, from a seeder that queues 2,000 requests",
    "startup": "`--version`", "size": "the program on disk: all features; without `tls` and `fetch`",
}
UNITS = {"cpu": "CPU-s/GiB", "wall": "wall s", "speed": "MiB/s", "rss": "RSS MiB", "wakes": "wake-ups/GiB",
         "cpu_ms": "CPU ms/s", "wakes_s": "wake-ups/s", "ms": "ms", "size": "MiB on disk", "all": "MiB", "small": "MiB"}
# Of memory the most counts, of speed too; of all else the least.
PEAKS = {"rss", "speed"}
# Our two programs: the one that is shipped, and the one with the system's C library.
PROGRAMS = ("minitorrent", "dynamic")
# What is not another client.
OURS = (*PROGRAMS, "floor")
# Clients slower than this in a paced row are not at full pace.
FULL_PACE = 85


class Figures:
    """What was measured: `row -> client -> figure -> value`."""

    def __init__(self):
        self.rows = {}

    def add(self, row, client, got):
        known = self.rows.setdefault(row, {}).setdefault(client, {})
        for figure, value in (got or {}).items():
            pick = max if figure in PEAKS else min
            known[figure] = pick(known.get(figure, value), value)

    def of(self, row, figure, client):
        return self.rows.get(row, {}).get(client, {}).get(figure)

    def others(self, row, figure, at_full_pace=False):
        """The least of the other clients."""
        clients = self.rows.get(row, {})
        rest = [got[figure] for name, got in clients.items() if name not in OURS and figure in got
                and not (at_full_pace and got.get("speed", 0) < FULL_PACE)]
        return min(rest, default=None)

    def targets(self):
        """-> (what, what was measured of each of `PROGRAMS`, factor, of what, whose that is); what is allowed is the
        factor times that; higher is better where marked."""
        of, others = self.of, self.others
        def ours(row, figure):
            return [of(row, figure, name) for name in PROGRAMS]

        def spread(name):
            rss = [of(row, "rss", name) for row in ("w1", "w2", "w3", "big")]
            return (max(rss), max(rss) - min(rss)) if all(rss) else (None, None)

        rss, apart = zip(*map(spread, PROGRAMS))
        rows = [
            ("w1, tmpfs: CPU-s/GiB", ours("w1", "cpu"), 0.88, of("w1", "cpu", "aria2c"), "aria2"),
            ("", ours("w1", "cpu"), 1.10, of("w1", "cpu", "floor"), "the floor"),
            ("w1, disk: CPU-s/GiB", ours("w1disk", "cpu"), 0.72, of("w1disk", "cpu", "aria2c"), "aria2"),
            ("", ours("w1disk", "cpu"), 1.15, of("w1disk", "cpu", "floor"), "the floor"),
            ("w1, tmpfs: wall s", ours("w1", "wall"), 0.9, others("w1", "wall"), "the fastest other"),
            ("w1, disk: wall s", ours("w1disk", "wall"), 0.9, others("w1disk", "wall"), "the fastest other"),
            ("p1: CPU-s/GiB", ours("p1", "cpu"), 0.6, others("p1", "cpu", True), "the best other at full pace"),
            ("p1: sleeps/GiB", ours("p1", "wakes"), 1, 10000, ""),
            ("p12: CPU-s/GiB", ours("p12", "cpu"), 0.7, others("p12", "cpu", True), "the best other at full pace"),
            ("p12: sleeps/GiB", ours("p12", "wakes"), 1, 15000, ""),
            ("w3: CPU-s/GiB", ours("w3", "cpu"), 0.75, of("w3", "cpu", "aria2c"), "aria2"),
            ("w4: CPU-s/GiB", ours("w4", "cpu"), 0.7, of("w4", "cpu", "libtorrent"), "libtorrent"),
            ("w4: RSS MiB", ours("w4", "rss"), 1, 10, ""),
            ("w1, w2, w3, 16 MiB pieces: RSS MiB", rss, 1, 6, ""),
            ("and how far apart", apart, 1, 0.5, ""),
            ("upload: CPU-s/GiB", ours("upload", "cpu"), 0.65, of("upload", "cpu", "rtorrent"), "rtorrent"),
            ("upload: RSS MiB", ours("upload", "rss"), 1, 6, ""),
            ("recheck: CPU-s/GiB", ours("recheck", "cpu"), 1.03, of("recheck", "cpu", "floor"), "the floor"),
            ("idle: RSS MiB", ours("idle", "rss"), 1, 4, ""),
            ("idle: wake-ups/s", ours("idle", "wakes_s"), 1, 1, ""),
            ("idle in the DHT: RSS MiB", ours("dht", "rss"), 1, 6, ""),
            ("idle in the DHT: wake-ups/s", ours("dht", "wakes_s"), 1, 2, ""),
            ("200 peers: RSS MiB", ours("swarm", "rss"), 1, 9, ""),
            ("200 peers: CPU ms/s", ours("swarm", "cpu_ms"), 1, of("swarm", "cpu_ms", "rtorrent"), "rtorrent"),
            ("200 peers: wake-ups/s", ours("swarm", "wakes_s"), 1, 50, ""),
            ("long link: MiB/s, at least", ours("longlink", "speed"), 1, of("longlink", "speed", "libtorrent"), "libtorrent"),
            ("long link, `reqq` 2000: MiB/s, at least", ours("reqq", "speed"), 4, of("longlink", "speed", "libtorrent"),
             "libtorrent's without"),
            ("the program on disk: MiB", ours("size", "all"), 1, 2.5, ""),
            ("without `tls` and `fetch`: MiB", ours("size", "small"), 1, 1.2, ""),
            ("`--version`: ms", ours("startup", "ms"), 1, 2, ""),
        ]
        return [(what, values, factor, base, whom) for what, values, factor, base, whom in rows
                if base and any(value is not None for value in values)]


def number(value):
    return f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f}"


def target_table(figures):
    lines = ["| what | wanted | measured | with a C library |", "|---|---|---|---|"]
    before = ""
    for what, values, factor, base, whom in figures.targets():
        before = what or before
        wanted = f"{factor} x {whom} ({number(base)}): {number(factor * base)}" if whom else number(factor * base)
        def cell(value):
            if value is None:
                return ""
            fine = value >= factor * base if "at least" in before else value <= factor * base
            ratio = f" = {value / base:.2f} x" if whom else ""
            return f"{number(value)}{ratio}{'' if fine else ' **missed**'}"
        lines.append(f"| {what} | {wanted} | {' | '.join(map(cell, values))} |")
    return lines + [""]


def table(figures, args):
    """Everything, as Markdown."""
    lines = target_table(figures)
    for row, clients in figures.rows.items():
        shown = [figure for figure in UNITS if any(figure in got for got in clients.values())]
        if not shown:
            continue
        lines += [f"**{row}**: {ROWS[row]}", "", "| | " + " | ".join(UNITS[figure] for figure in shown) + " |",
                  "|---" * (len(shown) + 1) + "|"]
        sign = -1 if shown[0] == "speed" else 1
        for name in sorted(clients, key=lambda name: sign * clients[name].get(shown[0], sign * 1e9)):
            cells = [number(clients[name][figure]) if figure in clients[name] else "" for figure in shown]
            bold = "**" if name == "minitorrent" else ""
            lines.append(f"| {bold}{name}{bold} | " + " | ".join(cells) + " |")
        lines.append("")
    cpu = next(line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
               if line.startswith("model name"))
    load = f"{args.load[0]:.1f} at the start, {os.getloadavg()[0]:.1f} at the end"
    return "\n".join([f"{os.cpu_count()} cores of {cpu}, Linux {os.uname().release}, load {load}; up to {args.runs} "
                      f"interleaved runs{'' if args.scale == 1 else f', payloads x {args.scale}'}.", ""] + lines)


def picture(figures):
    """Bars of processor time, a group a row."""
    groups = [(row, sorted((got["cpu"], name) for name, got in clients.items() if "cpu" in got))
              for row, clients in figures.rows.items() if any("cpu" in got for got in clients.values())]
    y, parts = 40, []
    most = max((bars[-1][0] for _, bars in groups), default=1)
    for row, bars in groups:
        parts.append(f'<text x="10" y="{y}" font-weight="bold">{ROWS[row].replace("&", "&amp;")}</text>')
        y += 8
        for value, name in bars:
            fill = "#c2410c" if name in PROGRAMS else "#a3a3a3" if name == "floor" else "#3b6ea5"
            parts.append(f'<text x="130" y="{y + 12}" text-anchor="end">{name}</text><rect x="138" y="{y + 1}" '
                         f'width="{max(1, value / most * 480):.0f}" height="14" fill="{fill}"/>'
                         f'<text x="{144 + value / most * 480:.0f}" y="{y + 12}">{value:.2f}</text>')
            y += 18
        y += 22
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="700" height="{y}" font-family="sans-serif" '
            f'font-size="12"><rect width="700" height="{y}" fill="white"/><text x="10" y="16">CPU seconds a GiB: '
            f'less is better</text>{"".join(parts)}</svg>\n')


def write(text, figures):
    """Puts the table and the picture in their places below docs/."""
    path = ROOT / "docs/PERFORMANCE.md"
    page = path.read_text()
    before, rest = page.split("<!-- bench -->\n", 1)
    path.write_text(before + "<!-- bench -->\n" + text + "\n<!-- /bench -->\n" + rest.split("<!-- /bench -->\n", 1)[1])
    (ROOT / "docs/performance.svg").write_text(picture(figures))
