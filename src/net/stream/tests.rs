use std::io::{Read, Write};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::{HandshakeKind, ServerConfig, ServerConnection, SupportedProtocolVersion, version};

use super::*;
use crate::base::rng::Rng;

/// The 1st of July 2026, when the certificates of the tests are judged.
const NOW: u64 = 1_782_864_000;
/// The 1st of January 2015: a clock that was never set.
const IN_2015: u64 = 1_420_070_400;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    authority_called("an authority")
}

fn authority_called(name: &str) -> Authority {
    let mut params = CertificateParams::new([]).unwrap();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// What a certificate is like: whose, valid from and until the 1st of January of which year.
fn params(host: &str, from: i32, until: i32) -> CertificateParams {
    let mut params = CertificateParams::new([host.to_owned()]).unwrap();
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    params
}

fn trusting(authority: &Authority) -> TlsConfig {
    TlsConfig::load(Some(authority.pem().as_bytes())).unwrap()
}

fn name(name: &str) -> Host {
    Host::Name(name.to_owned())
}

/// A server with a certificate; signed by itself if nobody else does.
fn server_config(
    params: &CertificateParams,
    signer: Option<&Authority>,
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    let key = KeyPair::generate().unwrap();
    let certificate = match signer {
        Some(signer) => params.signed_by(&key, signer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap()
}

/// A client and a server, and what each has read.
struct Pair {
    client: Stream,
    server: ServerConnection,
    client_read: Vec<u8>,
    server_read: Vec<u8>,
    /// What the server made of the client's bytes, if it was an error.
    server_error: Option<rustls::Error>,
}

impl Pair {
    fn new(client: Stream, server: ServerConfig) -> Self {
        Self {
            client,
            server: ServerConnection::new(Arc::new(server)).unwrap(),
            client_read: Vec::new(),
            server_read: Vec::new(),
            server_error: None,
        }
    }

    /// A pair that will get on well.
    fn good() -> Self {
        let ca = authority();
        let server = server_config(
            &params("t.example", 2020, 2030),
            Some(&ca),
            rustls::ALL_VERSIONS,
        );
        let client = Stream::tls(&trusting(&ca), &name("t.example"), NOW).unwrap();
        Self::new(client, server)
    }

    /// Carries bytes both ways, `step` at a time, until neither side has any.
    fn run(&mut self, step: usize) -> Result<(), TlsError> {
        loop {
            let up = self.client.poll_transmit();
            let up = up[..up.len().min(step)].to_vec();
            self.client.transmitted(up.len());
            let mut rest = &up[..];
            while !rest.is_empty() && self.server_error.is_none() {
                self.server.read_tls(&mut rest).unwrap();
                match self.server.process_new_packets() {
                    Ok(state) => {
                        let mut read = vec![0; state.plaintext_bytes_to_read()];
                        self.server.reader().read_exact(&mut read).unwrap();
                        self.server_read.extend(read);
                    }
                    Err(error) => self.server_error = Some(error),
                }
            }
            let mut down = Vec::new();
            while self.server.wants_write() {
                self.server.write_tls(&mut down).unwrap();
            }
            for part in down.chunks(step) {
                self.client.handle_wire(part, &mut self.client_read)?;
            }
            if up.is_empty() && down.is_empty() {
                return Ok(());
            }
        }
    }
}

/// What comes of connecting to `host` at a server with such a certificate.
fn outcome(
    host: &Host,
    params: &CertificateParams,
    signer: Option<&Authority>,
    trusted: &Authority,
    now: u64,
) -> Result<(), TlsError> {
    let server = server_config(params, signer, rustls::ALL_VERSIONS);
    let client = Stream::tls(&trusting(trusted), host, now).unwrap();
    let mut pair = Pair::new(client, server);
    let result = pair.run(usize::MAX);
    assert_eq!(result.is_ok(), !pair.client.is_handshaking());
    if result.is_err() {
        // The server is told, so that its log says why.
        let _ = pair.run(usize::MAX);
        assert!(matches!(
            pair.server_error,
            Some(rustls::Error::AlertReceived(_))
        ));
        assert!(pair.server_read.is_empty() && pair.client_read.is_empty());
    }
    result
}

#[test]
fn both_versions_carry_bytes_unchanged_however_they_are_cut() {
    let ca = authority();
    for version in [&version::TLS13, &version::TLS12] {
        for step in [1, 2, 7, 100, 4096, usize::MAX] {
            let server = server_config(&params("t.example", 2020, 2030), Some(&ca), &[version]);
            let client = Stream::tls(&trusting(&ca), &name("t.example"), NOW).unwrap();
            let mut pair = Pair::new(client, server);
            assert!(pair.client.is_handshaking());
            // Sent before there are keys, it waits for them.
            assert_eq!(pair.client.send(b"GET / HTTP/1.1\r\n\r\n"), 18);
            pair.run(step).unwrap();
            assert!(!pair.client.is_handshaking());
            assert_eq!(pair.server_read, b"GET / HTTP/1.1\r\n\r\n");
            assert_eq!(pair.server.alpn_protocol(), None);

            let reply: Vec<u8> = (0..40_000u32).map(|n| n as u8).collect();
            pair.server.writer().write_all(&reply).unwrap();
            pair.run(step).unwrap();
            assert!(pair.client_read == reply);
        }
    }
}

#[test]
fn each_fault_of_a_certificate_has_its_own_error() {
    let (ca, stranger) = (authority(), authority_called("a stranger"));
    let impostor = authority();
    let host = name("t.example");
    let good = params("t.example", 2020, 2030);
    let ask = |params, now| outcome(&host, params, Some(&ca), &ca, now);

    assert_eq!(ask(&good, NOW), Ok(()));
    let expired = params("t.example", 2020, 2025);
    assert_eq!(ask(&expired, NOW), Err(TlsError::Expired));
    let future = params("t.example", 2029, 2030);
    assert_eq!(ask(&future, NOW), Err(TlsError::NotYetValid));
    for clock in [0, 86_400, IN_2015] {
        assert_eq!(ask(&good, clock), Err(TlsError::Clock));
    }
    let other = params("other.example", 2020, 2030);
    assert_eq!(ask(&other, NOW), Err(TlsError::WrongName));

    let unknown = outcome(&host, &good, Some(&stranger), &ca, NOW);
    assert_eq!(unknown, Err(TlsError::UnknownIssuer));
    let forged = outcome(&host, &good, Some(&impostor), &ca, NOW);
    assert_eq!(forged, Err(TlsError::Certificate));
    let own = outcome(&host, &good, None, &ca, NOW);
    assert_eq!(own, Err(TlsError::UnknownIssuer));
    let mut own_authority = params("t.example", 2020, 2030);
    own_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let own = outcome(&host, &own_authority, None, &ca, NOW);
    assert_eq!(own, Err(TlsError::UnknownIssuer));
    let mut for_clients = params("t.example", 2020, 2030);
    for_clients.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    assert_eq!(ask(&for_clients, NOW), Err(TlsError::Certificate));
}

#[test]
fn a_certificate_may_be_for_an_address() {
    let ca = authority();
    for address in ["127.0.0.1", "::1"] {
        let host = Host::Address(address.parse().unwrap());
        let right = params(address, 2020, 2030);
        assert_eq!(outcome(&host, &right, Some(&ca), &ca, NOW), Ok(()));
        let wrong = params("127.0.0.2", 2020, 2030);
        let wrong = outcome(&host, &wrong, Some(&ca), &ca, NOW);
        assert_eq!(wrong, Err(TlsError::WrongName));
    }
    let impossible = Stream::tls(&trusting(&ca), &name("a b"), NOW);
    assert!(matches!(impossible, Err(TlsError::WrongName)));
}

#[test]
fn an_end_without_goodbye_is_a_truncation() {
    let mut pair = Pair::good();
    assert_eq!(pair.client.handle_end(), Err(TlsError::Truncated));
    pair.run(usize::MAX).unwrap();
    pair.server.writer().write_all(b"half").unwrap();
    pair.run(usize::MAX).unwrap();
    assert_eq!(pair.client.handle_end(), Err(TlsError::Truncated));
    pair.server.writer().write_all(b"whole").unwrap();
    pair.server.send_close_notify();
    pair.run(usize::MAX).unwrap();
    assert_eq!(pair.client_read, b"halfwhole");
    assert_eq!(pair.client.handle_end(), Ok(()));
    // What comes behind the goodbye is nobody's.
    assert_eq!(pair.client.handle_wire(b"more", &mut Vec::new()), Ok(()));
}

#[test]
fn our_goodbye_reaches_the_server() {
    let mut pair = Pair::good();
    pair.run(usize::MAX).unwrap();
    pair.client.close();
    pair.run(usize::MAX).unwrap();
    assert!(pair.server.process_new_packets().unwrap().peer_has_closed());
}

#[test]
fn a_server_that_speaks_no_tls_breaks_the_protocol() {
    for bytes in [
        &b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"[..],
        b"\x16\x03\x03\xff\xff garbage",
        b"\x16\x03\x03\x00\x04\x02\xff\xff\xff",
        &[0; 64],
    ] {
        let mut pair = Pair::good();
        let result = pair.client.handle_wire(bytes, &mut pair.client_read);
        assert_eq!(result, Err(TlsError::Protocol), "{}", bytes.escape_ascii());
        assert!(pair.client_read.is_empty());
    }
}

#[test]
fn a_server_with_another_protocol_refuses() {
    let ca = authority();
    let mut server = server_config(
        &params("t.example", 2020, 2030),
        Some(&ca),
        rustls::ALL_VERSIONS,
    );
    server.alpn_protocols = vec![b"h2".to_vec()];
    let client = Stream::tls(&trusting(&ca), &name("t.example"), NOW).unwrap();
    assert_eq!(
        Pair::new(client, server).run(usize::MAX),
        Err(TlsError::Refused)
    );
}

#[test]
fn what_waits_to_be_sent_is_bounded() {
    let mut pair = Pair::good();
    let flood = vec![7; 1 << 20];
    let mut taken = 0;
    for _ in 0..100 {
        taken += pair.client.send(&flood);
    }
    assert!((32 * 1024..=limits::TLS_PENDING_MAX).contains(&taken));
    pair.run(usize::MAX).unwrap();
    for _ in 0..100 {
        taken += pair.client.send(&flood);
        assert!(pair.client.poll_transmit().len() <= limits::TLS_PENDING_MAX + 4096);
    }
    pair.run(1000).unwrap();
    assert_eq!(pair.server_read.len(), taken);
    assert!(pair.client.poll_transmit().is_empty());

    let mut plain = Stream::plain();
    assert_eq!(plain.send(&flood), limits::TLS_PENDING_MAX);
    assert_eq!(plain.send(&flood), 0);
    plain.transmitted(40_000);
    assert_eq!(plain.send(&flood), 40_000);
    assert_eq!(plain.poll_transmit().len(), limits::TLS_PENDING_MAX);
}

#[test]
fn a_second_connection_resumes_the_first_ones_session() {
    let ca = authority();
    let config = trusting(&ca);
    let server = server_config(
        &params("t.example", 2020, 2030),
        Some(&ca),
        rustls::ALL_VERSIONS,
    );
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let client = Stream::tls(&config.clone(), &name("t.example"), NOW).unwrap();
        let mut pair = Pair::new(client, server.clone());
        pair.run(usize::MAX).unwrap();
        assert_eq!(pair.server.handshake_kind(), Some(kind));
    }
}

#[test]
fn authorities_come_from_the_bundle_or_are_built_in() {
    let (one, two) = (authority(), authority());
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let pem = format!("# ours\n{}{broken}\n{}", one.pem(), two.pem());
    assert_eq!(
        TlsConfig::load(Some(pem.as_bytes())).unwrap().authorities(),
        2
    );
    assert!(TlsConfig::load(None).unwrap().authorities() > 100);
    for nothing in ["", "no certificate", broken, "-----BEGIN CERTIFICATE-----"] {
        let loaded = TlsConfig::load(Some(nothing.as_bytes()));
        assert!(matches!(loaded, Err(TlsError::NoAuthorities)));
    }
}

#[test]
fn changed_bytes_end_the_stream_and_nothing_false_is_read() {
    let mut chance = Rng::new([5; 32]);
    let ca = authority();
    let config = trusting(&ca);
    let server = server_config(
        &params("t.example", 2020, 2030),
        Some(&ca),
        rustls::ALL_VERSIONS,
    );
    for _ in 0..200 {
        let client = Stream::tls(&config, &name("t.example"), NOW).unwrap();
        let mut pair = Pair::new(client, server.clone());
        let hello = pair.client.poll_transmit().to_vec();
        pair.client.transmitted(hello.len());
        pair.server.read_tls(&mut &hello[..]).unwrap();
        pair.server.process_new_packets().unwrap();
        let mut down = Vec::new();
        while pair.server.wants_write() {
            pair.server.write_tls(&mut down).unwrap();
        }
        // The version in the head of a record is the one thing that nobody checks (RFC 8446, 5.1).
        let mut unchecked = Vec::new();
        let mut record = 0;
        while record < down.len() {
            unchecked.extend([record + 1, record + 2]);
            let length = u16::from_be_bytes([down[record + 3], down[record + 4]]);
            record += 5 + usize::from(length);
        }
        let at = chance.below(down.len());
        down[at] ^= 1 << chance.below(8);
        let result = pair.client.handle_wire(&down, &mut pair.client_read);
        assert!(result.is_err() || pair.client.is_handshaking() || unchecked.contains(&at));
        assert!(pair.client_read.is_empty());
    }
}
