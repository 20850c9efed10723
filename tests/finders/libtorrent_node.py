"""Takes part in a network without trackers with libtorrent, for the tests of finding peers.

    libtorrent_node.py node|seed|fetch TARGET DIR ADDRESS:PORT [--dht HOST:PORT] [--lsd] [--pex] [--no-dial] [--peer IP:PORT]...

TARGET is a torrent file or a magnet link; a `node` has none (-) and is in the DHT only. `fetch` ends with 0 when all is
there, the others run until they are killed. Each says `ready` when it listens.
"""
import argparse
import os
import sys

import libtorrent as lt

parser = argparse.ArgumentParser()
parser.add_argument("mode", choices=["node", "seed", "fetch"])
parser.add_argument("target")
parser.add_argument("dir")
parser.add_argument("listen")
parser.add_argument("--dht")
parser.add_argument("--lsd", action="store_true")
parser.add_argument("--pex", action="store_true")
parser.add_argument("--no-dial", action="store_true", help="take connections only, as if no other could be made")
parser.add_argument("--more", type=int, default=0, help="so many nodes more, on the ports behind")
parser.add_argument("--limit", type=int, default=0)
parser.add_argument("--peer", action="append", default=[])
args = parser.parse_args()

is_node = args.mode == "node"
settings = {
    "listen_interfaces": args.listen,
    "enable_dht": bool(args.dht) or is_node,
    "dht_bootstrap_nodes": args.dht or "",
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_ignore_dark_internet": False,
    "dht_enforce_node_id": False,
    "dht_privacy_lookups": False,
    "enable_lsd": args.lsd,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_outgoing_utp": False,
    "enable_incoming_utp": False,
    "allow_multiple_connections_per_ip": True,
    "ssrf_mitigation": False,
    "out_enc_policy": int(lt.enc_policy.disabled),
    "in_enc_policy": int(lt.enc_policy.disabled),
    "alert_mask": lt.alert.category_t.status_notification
    | lt.alert.category_t.error_notification
    | lt.alert.category_t.peer_notification
    | lt.alert.category_t.connect_notification
    | lt.alert.category_t.storage_notification,
}
if args.no_dial:
    # The first peers of a torrent are dialled beside that rate.
    settings.update(connection_speed=0, torrent_connect_boost=0)
session = lt.session(settings)
# Some clients do nothing in a network of very few nodes.
host, port = args.listen.rsplit(":", 1)
others = [
    lt.session({
        **settings,
        "listen_interfaces": f"{host}:{int(port) + 100 + n}",
        "dht_bootstrap_nodes": args.listen,
        "alert_mask": 0,
    })
    for n in range(args.more)
]
handle = None
if not is_node:
    if args.target.startswith("magnet:"):
        params = lt.parse_magnet_uri(args.target)
    else:
        params = lt.add_torrent_params()
        params.ti = lt.torrent_info(args.target)
    params.save_path = args.dir
    if not args.pex:
        params.flags |= lt.torrent_flags.disable_pex
    handle = session.add_torrent(params)
    # Those of a session are not for peers nearby.
    if args.limit:
        handle.set_download_limit(args.limit)
        handle.set_upload_limit(args.limit)
    for peer in args.peer:
        ip, port = peer.rsplit(":", 1)
        handle.connect_peer((ip, int(port)))

QUIET = ("log_alert", "stats_alert", "picker_log_alert", "block_")
print("ready", flush=True)
while True:
    session.wait_for_alert(200)
    for alert in session.pop_alerts():
        name = type(alert).__name__
        if not name.startswith(QUIET) and "log" not in name:
            print(name, alert.message(), flush=True)
        if args.mode == "fetch" and isinstance(alert, lt.torrent_finished_alert):
            handle.flush_cache()
        if args.mode == "fetch" and isinstance(alert, lt.cache_flushed_alert):
            # The interpreter's own end takes the session apart in an order that may crash it.
            sys.stdout.flush()
            os._exit(0)
