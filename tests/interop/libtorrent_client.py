"""Seeds or fetches one torrent with libtorrent, for the interop tests.

    libtorrent_client.py seed|fetch TORRENT DIR PORT [--ip IP] [--upload-limit BYTES] [--peer IP:PORT]...

`fetch` ends with 0 when all is there; `seed` runs until it is killed. Only TCP, only the loopback.
"""
import argparse
import os
import sys

import libtorrent as lt

parser = argparse.ArgumentParser()
parser.add_argument("mode", choices=["seed", "fetch"])
parser.add_argument("torrent")
parser.add_argument("dir")
parser.add_argument("port")
parser.add_argument("--peer", action="append", default=[])
parser.add_argument("--ip", default="127.0.0.1")
parser.add_argument("--upload-limit", type=int, default=0)
args = parser.parse_args()

session = lt.session({
    "listen_interfaces": f"[{args.ip}]:{args.port}" if ":" in args.ip else f"{args.ip}:{args.port}",
    "outgoing_interfaces": args.ip,
    "enable_dht": False,
    "enable_lsd": False,
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
    | lt.alert.category_t.tracker_notification
    | lt.alert.category_t.storage_notification,
})
params = lt.add_torrent_params()
params.ti = lt.torrent_info(args.torrent)
params.save_path = args.dir
handle = session.add_torrent(params)
if args.upload_limit:
    handle.set_upload_limit(args.upload_limit)
for peer in args.peer:
    ip, port = peer.rsplit(":", 1)
    handle.connect_peer((ip, int(port)))

while True:
    session.wait_for_alert(200)
    for alert in session.pop_alerts():
        print(type(alert).__name__, alert.message(), flush=True)
        if args.mode == "fetch" and isinstance(alert, lt.torrent_finished_alert):
            handle.flush_cache()
        if args.mode == "fetch" and isinstance(alert, lt.cache_flushed_alert):
            # The interpreter's own end takes the session apart in an order that may crash it.
            sys.stdout.flush()
            os._exit(0)
