//! What is tried.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::certificates::{Authority, self_signed};
use crate::namespace::{Needs, Play, is_there, must};
use crate::program::judge::{Process, judge};
use crate::program::{PIECE, Running, Scene, torrent};
use crate::servers::{
    NAME_SERVER, deaf, endless, gruff, http_server, http_server_at, name_server, peers,
    rebinding_server, whole,
};

/// Every trial.
pub(crate) const ALL: &[Play] = &[
    (
        "a_good_tracker_behind_twenty_dead_ones_gives_a_peer_within_five_seconds",
        a_good_tracker_behind_twenty_dead_ones_gives_a_peer_within_five_seconds,
        Needs::Network,
    ),
    (
        "each_fault_of_a_certificate_has_its_own_line",
        each_fault_of_a_certificate_has_its_own_line,
        Needs::Network,
    ),
    (
        "two_programs_meet_over_ipv6",
        two_programs_meet_over_ipv6,
        Needs::Network,
    ),
    (
        "a_network_that_comes_up_late_is_used",
        a_network_that_comes_up_late_is_used,
        Needs::Network,
    ),
    (
        "trackers_that_mean_harm_cost_no_memory",
        trackers_that_mean_harm_cost_no_memory,
        Needs::Network,
    ),
    (
        "d11_no_proxy_of_the_environment_is_asked",
        d11_no_proxy_of_the_environment_is_asked,
        Needs::Network,
    ),
    (
        "a_torrent_file_comes_from_a_web_server_with_a_name",
        a_torrent_file_comes_from_a_web_server_with_a_name,
        Needs::Network,
    ),
    (
        "s1_the_name_of_a_web_server_that_nobody_knows_delays_no_end",
        s1_the_name_of_a_web_server_that_nobody_knows_delays_no_end,
        Needs::Network,
    ),
    (
        "e5_a_flood_of_made_up_answers_changes_nothing",
        e5_a_flood_of_made_up_answers_changes_nothing,
        Needs::Network,
    ),
    (
        "e6_a_victim_that_is_named_ten_thousand_times_is_called_once",
        e6_a_victim_that_is_named_ten_thousand_times_is_called_once,
        Needs::Network,
    ),
    (
        "f3_a_name_that_turns_to_a_local_address_is_seen_through",
        f3_a_name_that_turns_to_a_local_address_is_seen_through,
        Needs::Network,
    ),
    (
        "f4_a_machine_without_network_and_names_is_waited_for",
        f4_a_machine_without_network_and_names_is_waited_for,
        Needs::Network,
    ),
];

fn a_good_tracker_behind_twenty_dead_ones_gives_a_peer_within_five_seconds() {
    name_servers_are_known();
    name_server(&[("tracker.test", &["127.0.0.9"])]);
    let scene = Scene::new("names-dead", 20 * PIECE);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let authority = Authority::new("ours");
    scene.write("ca.pem", authority.pem().as_bytes());
    let tls = authority.server("tracker.test", 2020, 2100);
    let good = http_server("127.0.0.9", Some(tls), peers(&[parsed(&address)]));
    let (silent, silent_udp) = (deaf(), std::net::UdpSocket::bind("127.0.0.1:0"));
    let silent_udp = silent_udp.expect("a free port");
    let mut urls: Vec<String> = Vec::new();
    urls.extend((1..=5).map(|n| format!("http://127.0.0.1:{n}/announce")));
    urls.extend((0..5).map(|n| format!("http://{silent}/announce?{n}")));
    urls.extend((0..5).map(|n| format!("https://silent{n}.test/announce")));
    urls.extend((0..3).map(|n| format!("http://name{n}.nx.test/announce")));
    let udp = silent_udp.local_addr().expect("it is bound");
    urls.extend((0..2).map(|n| format!("udp://{udp}/announce{n}")));
    assert_eq!(urls.len(), 20);
    urls.push(format!("https://tracker.test:{}/announce", good.port()));
    scene.write("x.torrent", &tiers(&scene.payload, &urls));

    let traced = scene.path("clones");
    let mut command = match is_there("strace") {
        true => {
            let mut strace = Command::new("strace");
            strace.args(["-f", "-qq", "--trace=clone,clone3,fork,vfork", "-o"]);
            strace.arg(&traced).arg(env!("CARGO_BIN_EXE_minitorrent"));
            strace
        }
        false => Command::new(env!("CARGO_BIN_EXE_minitorrent")),
    };
    command.args(["x.torrent", "-o", "out", "--port", "0", "--json"]);
    command.arg("--ca-file").arg(scene.path("ca.pem"));
    // Nobody has asked for a proxy.
    for variable in [
        "http_proxy",
        "https_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
    ] {
        command.env(variable, "http://127.0.0.1:9/junk");
    }
    let began = Instant::now();
    let mut download = scene.start_command(command);
    download.line_with("\"connected\"");
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let ended = download.end();
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(scene.is_complete("out/x.bin"));
    let clones = fs::read_to_string(traced).unwrap_or_default();
    assert_eq!(clones, "", "one thread");
}

fn each_fault_of_a_certificate_has_its_own_line() {
    name_servers_are_known();
    let names = ["old", "new", "self", "other", "stranger"].map(|name| format!("{name}.test"));
    let known: Vec<(&str, &[&str])> = names
        .iter()
        .map(|name| (name.as_str(), &["127.0.0.9"] as &[&str]))
        .collect();
    name_server(&known);
    let (authority, stranger) = (Authority::new("ours"), Authority::new("a stranger"));
    let servers = [
        (authority.server("old.test", 2010, 2011), "[tls.expired]"),
        (
            authority.server("new.test", 2090, 2100),
            "[tls.not-yet-valid]",
        ),
        (self_signed("self.test"), "[tls.issuer]"),
        (authority.server("else.test", 2020, 2100), "[tls.name]"),
        (stranger.server("stranger.test", 2020, 2100), "[tls.issuer]"),
    ];
    let scene = Scene::new("names-certificates", PIECE);
    scene.write("ca.pem", authority.pem().as_bytes());
    let mut expected = BTreeMap::new();
    for (name, (tls, kind)) in names.iter().zip(servers) {
        let address = http_server("127.0.0.9", Some(tls), peers(&[]));
        let url = format!("https://{name}:{}/announce", address.port());
        expected.insert(url, kind.to_owned());
    }
    let plain = gruff();
    expected.insert(format!("https://{plain}/announce"), "[tls.protocol]".into());
    let urls: Vec<String> = expected.keys().cloned().collect();
    scene.write("x.torrent", &tiers(&scene.payload, &urls));
    let file = scene.path("ca.pem");
    let mut download = start(&scene, &[("SSL_CERT_FILE", file.to_str().expect("text"))]);
    assert_eq!(kinds(&mut download, urls.len()), expected);
    drop(download);

    let mut download = start(&scene, &[("SSL_CERT_FILE", "/nonexistent")]);
    for kind in kinds(&mut download, urls.len()).values() {
        assert_eq!(kind, "[tls.ca-file]");
    }
}

fn two_programs_meet_over_ipv6() {
    let scene = Scene::new("names-ipv6", 20 * PIECE);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let port = parsed(&address).port();
    let peer = SocketAddr::new("::1".parse().expect("v6"), port);
    let tracker = http_server("::1", None, peers(&[peer]));
    let url = format!("http://{tracker}/announce");
    scene.write("x.torrent", &tiers(&scene.payload, &[url]));
    let mut download = start(&scene, &[]);
    let line = download.line_with("\"connected\"");
    assert!(line.contains(&peer.to_string()), "{line}");
    let ended = download.end();
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(scene.is_complete("out/x.bin"));
}

fn a_network_that_comes_up_late_is_used() {
    let scene = Scene::new("names-late", 20 * PIECE);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let tracker = http_server("127.0.0.9", None, peers(&[parsed(&address)]));
    let url = format!("http://tracker.test:{}/announce", tracker.port());
    scene.write("x.torrent", &tiers(&scene.payload, &[url]));
    let mut download = start(&scene, &[]);
    let line = download.line_with("\"error\"");
    assert!(line.contains("[dns]"), "{line}");
    name_server(&[("tracker.test", &["127.0.0.9"])]);
    name_servers_are_known();
    let began = Instant::now();
    download.line_with("\"connected\"");
    assert!(began.elapsed() < Duration::from_secs(60));
    assert_eq!(download.end().code(), 0);
    assert!(scene.is_complete("out/x.bin"));
}

fn trackers_that_mean_harm_cost_no_memory() {
    let scene = Scene::new("names-harm", PIECE);
    let clean = http_server("127.0.0.1", None, peers(&[]));
    let urls = [format!("http://{clean}/announce")];
    scene.write("x.torrent", &tiers(&scene.payload, &urls));
    let mut download = start(&scene, &[]);
    kinds(&mut download, 1);
    let usual = most_memory(&download);
    drop(download);

    let victim_calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&victim_calls);
    let victim = http_server(
        "127.0.0.1",
        None,
        Arc::new(move |_, _| {
            counted.fetch_add(1, Ordering::Relaxed);
        }),
    );
    let loops = Arc::new(AtomicU32::new(0));
    let looped = Arc::clone(&loops);
    let zeros: &[u8] = &[b'0'; 64 * 1024];
    let now = Duration::ZERO;
    let to_victim = format!("HTTP/1.1 302 Found\r\nLocation: http://{victim}/announce\r\n\r\n");
    let no_gzip = b"\x1f\x8b\x08\0\0\0\0\0\x02\x03\xec\xec\xec".to_vec();
    // Two hundred and fifty kilobytes that are a quarter of a gigabyte.
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..4000 {
        bomb.write_all(zeros).expect("a vector takes all");
    }
    let bomb = bomb.finish().expect("a vector takes all");
    assert!((200_000..262_144).contains(&bomb.len()), "{}", bomb.len());
    let harm = [
        (
            "127.0.0.1",
            "[tracker.too-large]",
            endless(
                "HTTP/1.1 200 OK\r\nContent-Length: 10000000000000\r\n\r\n",
                zeros,
                now,
            ),
        ),
        (
            "127.0.0.1",
            "[tracker.too-large]",
            endless("HTTP/1.1 200 OK\r\n\r\n", zeros, now),
        ),
        (
            "127.0.0.1",
            "[tracker.too-large]",
            endless(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFF\r\n",
                zeros,
                now,
            ),
        ),
        (
            "127.0.0.1",
            "[tracker.http]",
            endless("HTTP/1.1 200 OK\r\n", b"X-Filler: 0123456789\r\n", now),
        ),
        (
            "127.0.0.1",
            "[tracker.http]",
            endless("HTTP/1.1 200 OK\r\nX-Filler: ", zeros, now),
        ),
        (
            "127.0.0.1",
            "[tracker.http]",
            endless("", b"HTTP/1.1 103 Early Hints\r\n\r\n", now),
        ),
        (
            "127.0.0.1",
            "[tracker.timeout]",
            endless("HTTP/1.1 200 OK\r\nX-Drip: ", b"x", Duration::from_secs(1)),
        ),
        ("127.0.0.1", "[tracker.reply]", whole(no_gzip)),
        ("127.0.0.1", "[tracker.too-large]", whole(bomb)),
        ("127.0.0.1", "[tracker.reply]", whole(vec![b'l'; 1 << 19])),
        ("127.0.0.1", "[tracker.reply]", whole(b"<html>".to_vec())),
        ("127.0.0.1", "[tracker.http]", {
            Arc::new(move |_, line| {
                looped.fetch_add(1, Ordering::Relaxed);
                let head = b"HTTP/1.1 302 Found\r\nLocation: /announce?again\r\n\r\n";
                let _ = line.write_all(head);
            })
        }),
        ("198.51.100.7", "[tracker.ssrf]", {
            Arc::new(move |_, line| {
                let _ = line.write_all(to_victim.as_bytes());
            })
        }),
    ];
    for (ip, kind, reply) in harm {
        let url = format!("http://{}/announce", http_server(ip, None, reply));
        scene.write(
            "x.torrent",
            &tiers(&scene.payload, std::slice::from_ref(&url)),
        );
        let began = Instant::now();
        let mut download = start(&scene, &[]);
        assert_eq!(kinds(&mut download, 1)[&url], kind);
        assert!(began.elapsed() < Duration::from_secs(35));
        let most = most_memory(&download);
        assert!(most <= usual + 2048, "{kind}: {most} KiB after {usual} KiB");
        let tasks = fs::read_dir(format!("/proc/{}/task", download.id())).expect("it runs");
        assert_eq!(tasks.count(), 1);
    }
    assert_eq!(loops.load(Ordering::Relaxed), 6, "five redirects at most");
    assert_eq!(victim_calls.load(Ordering::Relaxed), 0, "never called");
}

fn d11_no_proxy_of_the_environment_is_asked() {
    let scene = Scene::new("names-proxy", 20 * PIECE);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    let proxy = http_server(
        "127.0.0.8",
        None,
        Arc::new(move |_, _| {
            counted.fetch_add(1, Ordering::Relaxed);
        }),
    );
    let tracker = http_server("127.0.0.9", None, peers(&[parsed(&address)]));
    let url = format!("http://{tracker}/announce");
    let file = http_server("127.0.0.10", None, whole(tiers(&scene.payload, &[url])));
    let mut command = Command::new(env!("CARGO_BIN_EXE_minitorrent"));
    command.arg(format!("http://{file}/x.torrent"));
    command.args(["-o", "out", "--port", "0"]);
    for variable in ["http_proxy", "https_proxy", "all_proxy"] {
        command.env(variable, format!("http://{proxy}"));
        command.env(variable.to_uppercase(), format!("http://{proxy}"));
    }
    let ended = scene.start_command(command).end();
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(scene.is_complete("out/x.bin"));
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

fn a_torrent_file_comes_from_a_web_server_with_a_name() {
    name_servers_are_known();
    // The first of its addresses refuses.
    name_server(&[("files.test", &["127.0.0.11", "127.0.0.10"])]);
    let scene = Scene::new("names-fetch", 20 * PIECE);
    let authority = Authority::new("ours");
    scene.write("ca.pem", authority.pem().as_bytes());
    let tls = authority.server("files.test", 2020, 2100);
    let body = tiers(&scene.payload, &[]);
    let server = http_server("127.0.0.10", Some(tls), whole(body));
    let show = |host: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_minitorrent"));
        command.env("SSL_CERT_FILE", scene.path("ca.pem"));
        command.args([
            "show",
            &format!("https://{host}:{}/x.torrent", server.port()),
        ]);
        scene.start_command(command).end()
    };
    let shown = show("FILES.test");
    assert_eq!(shown.code(), 0, "{shown:?}");
    assert!(
        shown.stdout.starts_with("name          x.bin\n"),
        "{shown:?}"
    );
    for (host, why) in [
        ("name.nx.test", "no such name, or it has no address"),
        ("127.0.0.10", "invalid peer certificate"),
    ] {
        let ended = show(host);
        assert_eq!(ended.code(), 3, "{ended:?}");
        let line = format!("error[torrent.fetch]: https://{host}:");
        assert!(ended.stderr.starts_with(&line), "{ended:?}");
        assert!(ended.stderr.contains(why), "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    }
}

fn s1_the_name_of_a_web_server_that_nobody_knows_delays_no_end() {
    name_servers_are_known();
    let scene = Scene::new("names-fetch-signal", PIECE);
    let deaf = UdpSocket::bind((NAME_SERVER, 53)).expect("a private network");
    let url = "http://files.test/x.torrent";
    let fetching = scene.start(&["show", url]);
    deaf.recv_from(&mut [0; 512]).expect("it asks");
    let began = Instant::now();
    fetching.signal("-TERM");
    let ended = fetching.end();
    assert!(began.elapsed() < Duration::from_secs(3), "{ended:?}");
    assert_eq!(ended.code(), 6, "{ended:?}");
    let line = format!("error[interrupted]: {url}: interrupted by a signal, run again to go on\n");
    assert_eq!(ended.stderr, line);
}

/// A UDP tracker that hears, and what it hears of.
fn udp_tracker() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.9:0").expect("a free port");
    let url = format!(
        "udp://{}/announce",
        socket.local_addr().expect("it is bound")
    );
    (socket, url)
}

fn e5_a_flood_of_made_up_answers_changes_nothing() {
    let scene = Scene::new("names-spoof", 20 * PIECE);
    let (tracker, url) = udp_tracker();
    scene.write("x.torrent", &tiers(&scene.payload, &[url]));
    // Nobody may be called: who is, was named in a made-up answer.
    let victim = std::net::TcpListener::bind("127.0.0.77:7777").expect("a private network");
    victim.set_nonblocking(true).expect("TCP");
    let download = start(&scene, &[]);
    let mut query = [0; 64];
    let (_, from) = tracker.recv_from(&mut query).expect("it asks");
    let cpu = Process(download.id()).cpu();
    let began = Instant::now();
    let elsewhere = UdpSocket::bind("127.0.0.8:0").expect("a free port");
    let mut state = 1u32;
    let mut sent = 0;
    // A hundred thousand a second, for two seconds.
    while began.elapsed() < Duration::from_secs(2) {
        if f64::from(sent) > began.elapsed().as_secs_f64() * 100_000.0 {
            std::thread::sleep(Duration::from_micros(200));
            continue;
        }
        for action in [0u32, 1, 3] {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let mut answer = [action.to_be_bytes(), state.to_be_bytes()].concat();
            answer.extend([
                0, 0, 7, 8, 0, 0, 0, 1, 0, 0, 0, 1, 127, 0, 0, 77, 0x1e, 0x61,
            ]);
            // From the very address too, as one that can forge it would send them; but it can't know the number.
            let socket = if sent % 2 == 0 { &tracker } else { &elsewhere };
            let _ = socket.send_to(&answer, from);
            sent += 1;
        }
    }
    let busy = Process(download.id()).cpu() - cpu;
    assert!(busy < began.elapsed().mul_f64(0.3), "{busy:?} for {sent}");
    assert!(victim.accept().is_err(), "a made-up answer was believed");
    download.signal("-INT");
    judge(&scene, &download.end(), 6);
}

fn e6_a_victim_that_is_named_ten_thousand_times_is_called_once() {
    let scene = Scene::new("names-victim", 20 * PIECE);
    let (tracker, url) = udp_tracker();
    scene.write("x.torrent", &tiers(&scene.payload, &[url]));
    let victim = std::net::TcpListener::bind("127.0.0.77:53").expect("a private network");
    std::thread::spawn(move || {
        let mut query = [0; 2048];
        while let Ok((len, from)) = tracker.recv_from(&mut query) {
            let (action, transaction) = (query[11], &query[12..16]);
            let mut answer = vec![0, 0, 0, action];
            answer.extend(transaction);
            match action {
                0 => answer.extend([1, 2, 3, 4, 5, 6, 7, 8]),
                _ => {
                    answer.extend([0, 0, 7, 8, 0, 0, 0, 1, 0, 0, 0, 1]);
                    answer.extend([127, 0, 0, 77, 0, 53].repeat(10_000));
                }
            }
            assert!(len >= 16);
            let _ = tracker.send_to(&answer, from);
        }
    });
    let download = start(&scene, &[]);
    let (first, _) = victim.accept().expect("it is called");
    drop(first);
    victim.set_nonblocking(true).expect("TCP");
    std::thread::sleep(Duration::from_secs(4));
    assert!(victim.accept().is_err(), "it is called again and again");
    assert!(most_memory(&download) < 16 * 1024);
    download.signal("-INT");
    judge(&scene, &download.end(), 6);
}

fn f3_a_name_that_turns_to_a_local_address_is_seen_through() {
    name_servers_are_known();
    let scene = Scene::new("names-rebind", 20 * PIECE);
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let victim = http_server(
        "127.0.0.1",
        None,
        Arc::new(move |_, _| {
            counted.fetch_add(1, Ordering::Relaxed);
        }),
    );
    let turning = rebinding_server(&[("rebind.test", "198.51.100.7", "127.0.0.1")]);
    // By the time it sends on, the name stands for another machine.
    let port = victim.port();
    let public = http_server_at(
        "198.51.100.7",
        port,
        Arc::new(move |_, line| {
            std::thread::sleep(Duration::from_secs(6));
            let to = format!("http://rebind.test:{port}/announce?again");
            let head = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\n\r\n");
            let _ = line.write_all(head.as_bytes());
        }),
    );
    assert_eq!(public.port(), port);
    let url = format!("http://rebind.test:{port}/announce");
    scene.write(
        "x.torrent",
        &tiers(&scene.payload, std::slice::from_ref(&url)),
    );
    let mut download = start(&scene, &[]);
    assert_eq!(kinds(&mut download, 1)[&url], "[tracker.ssrf]");
    assert!(turning.load(Ordering::Relaxed) > 1, "it was resolved twice");
    assert_eq!(calls.load(Ordering::Relaxed), 0, "never called");
    download.signal("-INT");
    judge(&scene, &download.end(), 6);
}

fn f4_a_machine_without_network_and_names_is_waited_for() {
    let scene = Scene::new("names-nothing", 20 * PIECE);
    must("mount -t tmpfs tmpfs /etc");
    must("ip link set lo down");
    let url = "http://tracker.test:7070/announce".to_owned();
    scene.write(
        "x.torrent",
        &tiers(&scene.payload, std::slice::from_ref(&url)),
    );
    let mut download = start(&scene, &[]);
    assert_eq!(kinds(&mut download, 1)[&url], "[dns]");
    let began = Instant::now();
    must("ip link set lo up");
    let (_seeder, address) = Running::seeder(&scene, &[]);
    http_server_at("127.0.0.9", 7070, peers(&[parsed(&address)]));
    name_server(&[("tracker.test", &["127.0.0.9"])]);
    name_servers_are_known();
    download.line_with("\"connected\"");
    assert!(began.elapsed() < Duration::from_secs(60));
    judge(&scene, &download.end(), 0);
    assert!(scene.is_complete("out/x.bin"));
}

/// The program as it fetches `x.torrent`, with these variables.
fn start(scene: &Scene, variables: &[(&str, &str)]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_minitorrent"));
    command.args(["x.torrent", "-o", "out", "--port", "0", "--json"]);
    command.envs(variables.iter().copied());
    scene.start_command(command)
}

/// What became of the first announce to each of so many trackers: `ok`, or the error's kind in brackets.
fn kinds(download: &mut Running, trackers: usize) -> BTreeMap<String, String> {
    let mut kinds = BTreeMap::new();
    while kinds.len() < trackers {
        let line = download.line_with("\"event\":\"tracker\"");
        let value: serde_json::Value = serde_json::from_str(&line).expect("a JSON line");
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let (url, message) = (text("url"), text("message"));
        let kind = match message.find(']') {
            Some(end) => message[..=end].to_owned(),
            None => text("status"),
        };
        kinds.entry(url).or_insert(kind);
    }
    kinds
}

/// The most memory a process has had, in KiB, without the pages of files that it has now: how many pages of the program
/// itself are there is the kernel's choice, and differs from run to run.
fn most_memory(running: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", running.id())).expect("it runs");
    let figure = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name));
        let digits = line.expect("Linux").split_whitespace().nth(1);
        digits.expect("a number").parse().expect("a number")
    };
    figure("VmHWM:") - figure("RssFile:")
}

/// A torrent with each of these trackers in a tier of its own.
fn tiers(payload: &[u8], urls: &[String]) -> Vec<u8> {
    let mut bytes = b"d13:announce-listl".to_vec();
    for url in urls {
        bytes.extend(format!("l{}:{url}e", url.len()).into_bytes());
    }
    bytes.push(b'e');
    bytes.extend(&torrent(payload, None)[1..]);
    bytes
}

fn parsed(address: &str) -> SocketAddr {
    address.parse().expect("an address")
}

/// Puts the name server into the private `resolv.conf`.
fn name_servers_are_known() {
    let text = format!("nameserver {NAME_SERVER}\n");
    fs::write("/etc/resolv.conf", text).expect("it is private");
}
