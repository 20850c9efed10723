//! A seeder, and peers that come to it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::kit::{Target, is_hung_up, message, numbers, read_message, reset, stands};
use crate::program::PIECE;
use crate::stage::a_seeder_survives;

#[test]
fn c1_what_is_no_handshake_is_closed_without_a_word() {
    a_seeder_survives("c1", |target| {
        let mut unknown = target.handshake(2);
        unknown[30] ^= 1;
        let openings: [&[u8]; 7] = [
            &[0; 68],
            &[255; 300],
            b"\x13BitTorrent protokol\0\0\0\0\0\0\0\0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            b"\x9d\x11\xc3Zx\x01kkk\x90\x7f\x33\x00\x12abcdefgh",
            &unknown,
        ];
        for opening in openings {
            let mut stream = target.connect(2);
            stream.write_all(opening).expect("it is accepted");
            let mut reply = Vec::new();
            // A reset is an end as good as any.
            let _ = stream.read_to_end(&mut reply);
            assert!(reply.is_empty(), "{opening:?} is answered");
        }
    });
}

#[test]
fn c1_the_same_peer_does_not_come_twice() {
    a_seeder_survives("c1-twice", |target| {
        let mut first = target.peer(2);
        let mut second = target.connect(3);
        second.write_all(&target.handshake(2)).expect("it reads");
        assert!(is_hung_up(&mut second));
        assert!(stands(&mut first));
    });
}

#[test]
fn c2_two_hundred_slow_greetings_keep_nobody_out() {
    a_seeder_survives("c2", |target| {
        let mut slow: Vec<TcpStream> = (0..200u8)
            .map(|host| target.connect(1 + host % 100))
            .collect();
        let greeting = target.handshake(2);
        for byte in &greeting[..3] {
            // Those that were refused can't be written to.
            slow.retain_mut(|stream| stream.write_all(&[*byte]).is_ok());
            thread::sleep(Duration::from_millis(800));
        }
        std::mem::forget(slow);
    });
}

#[test]
fn c4_a_length_beyond_belief_is_closed_before_its_body() {
    a_seeder_survives("c4", |target| {
        let lengths = [
            vec![255; 4 + 1],
            message(7, &[])[..4]
                .iter()
                .map(|_| 0x7f)
                .chain([7])
                .collect(),
            [&(1u32 << 20).to_be_bytes()[..], &[20]].concat(),
            [&17_410u32.to_be_bytes()[..], &[7]].concat(),
        ];
        for (length, number) in lengths.into_iter().zip(2..) {
            let mut stream = target.peer(number);
            stream.write_all(&length).expect("it reads");
            assert!(is_hung_up(&mut stream), "{length:?}");
        }
        // A length without an id waits for it.
        let mut stream = target.peer(9);
        stream.write_all(&20u32.to_be_bytes()).expect("it reads");
        assert!(stands(&mut stream));
    });
}

#[test]
fn c4_a_million_keep_alives_are_nothing() {
    a_seeder_survives("c4-alive", |target| {
        let mut stream = target.peer(2);
        stream.write_all(&vec![0; 4_000_000]).expect("it reads");
        assert!(stands(&mut stream));
    });
}

#[test]
fn c5_openings_in_any_order_stand_and_wrong_ones_fall() {
    a_seeder_survives("c5", |target| {
        let bitfield =
            |fill: u8, more: usize| message(5, &vec![fill; target.pieces().div_ceil(8) + more]);
        let extended = message(20, b"\0d1:md6:ut_pexi1ee1:v4:teste");
        let have = message(4, &numbers([3]));
        let good = [
            [extended.clone(), bitfield(0, 0)].concat(),
            [have, bitfield(0x55, 0)].concat(),
            [bitfield(0, 0), bitfield(0x57, 0)].concat(),
            [message(15, &[]), bitfield(0x0f, 0), message(9, &[0, 1])].concat(),
            extended,
        ];
        for (opening, number) in good.into_iter().zip(2..) {
            let mut stream = target.peer(number);
            stream.write_all(&opening).expect("it reads");
            assert!(stands(&mut stream), "{opening:?}");
        }
        let bad = [
            bitfield(0, 1),
            message(5, &[]),
            message(4, &numbers([target.pieces() as u32])),
            message(4, &[0]),
            message(17, &numbers([u32::MAX])),
        ];
        for (opening, number) in bad.into_iter().zip(20..) {
            let mut stream = target.peer(number);
            stream.write_all(&opening).expect("it reads");
            assert!(is_hung_up(&mut stream), "{opening:?}");
        }
    });
}

#[test]
fn c6_requests_out_of_range_close_and_long_ones_are_not_served() {
    a_seeder_survives("c6", |target| {
        let out = [
            [target.pieces() as u32, 0, 16_384],
            [0, PIECE as u32, 1],
            [0, 1, PIECE as u32],
            [0, u32::MAX, 2],
            [u32::MAX, u32::MAX, u32::MAX],
        ];
        for (request, number) in out.into_iter().zip(2..) {
            let mut stream = wanting(target, number);
            stream
                .write_all(&message(6, &numbers(request)))
                .expect("it reads");
            assert!(is_hung_up(&mut stream), "{request:?}");
        }
        let mut stream = wanting(target, 9);
        let long = message(6, &numbers([0, 0, 32_768]));
        stream.write_all(&long).expect("it reads");
        let (id, body) = next_but(&mut stream, &[4, 5, 14, 20]);
        assert_eq!(
            (id, &body[..]),
            (16, &numbers([0, 0, 32_768])[..]),
            "a reject"
        );
    });
}

#[test]
fn c6_a_hundred_thousand_requests_cost_no_memory() {
    a_seeder_survives("c6-many", |target| {
        let mut stream = wanting(target, 2);
        let request = message(6, &numbers([0, 0, 16_384]));
        stream
            .set_write_timeout(Some(Duration::from_secs(1)))
            .expect("TCP");
        // It may stop reading: that is one way to bound it.
        let _ = stream.write_all(&request.repeat(100_000));
    });
}

#[test]
fn c11_however_a_connection_ends_it_is_let_go() {
    a_seeder_survives("c11", |target| {
        for number in 2..12 {
            let mut stream = wanting(target, number);
            stream
                .write_all(&message(6, &numbers([0, 0, 16_384]))[..9])
                .expect("it reads");
            reset(stream);
            let mut stream = target.peer(number + 20);
            stream.write_all(&message(14, &[])).expect("it reads");
            stream.shutdown(Shutdown::Write).expect("TCP");
            assert!(is_hung_up(&mut stream));
        }
    });
}

#[test]
fn c12_bytes_one_by_one_get_the_same_answer() {
    a_seeder_survives("c12", |target| {
        let mut stream = target.connect(2);
        let request = message(6, &numbers([1, 5, 9_000]));
        let all = [target.handshake(2), message(15, &[]), message(2, &[])].concat();
        for byte in all {
            stream.write_all(&[byte]).expect("it reads");
        }
        let mut theirs = [0; 68];
        stream.read_exact(&mut theirs).expect("it answers");
        assert_eq!(next_but(&mut stream, &[5, 14, 20]).0, 1, "an unchoke");
        for byte in request {
            stream.write_all(&[byte]).expect("it reads");
        }
        let (id, body) = next_but(&mut stream, &[]);
        assert_eq!(id, 7);
        assert!(body[8..] == target.payload[PIECE + 5..][..9_000]);
    });
}

#[test]
fn c13_who_never_reads_costs_no_memory() {
    a_seeder_survives("c13", |target| {
        // As many as are unchoked at once.
        let deaf: Vec<TcpStream> = (2..6)
            .map(|number| {
                let mut stream = wanting(target, number);
                let blocks = (0..2000).map(|n| numbers([n % 12, n % 4 * 16_384, 16_384]));
                let requests: Vec<u8> = blocks.flat_map(|block| message(6, &block)).collect();
                let _ = stream.write_all(&requests);
                stream
            })
            .collect();
        thread::sleep(Duration::from_millis(500));
        drop(deaf);
    });
}

#[test]
fn c17_flapping_for_five_seconds_is_a_flood() {
    a_seeder_survives("c17", |target| {
        let mut stream = target.peer(2);
        let flapping = [message(2, &[]), message(3, &[])].concat().repeat(2000);
        let end = Instant::now() + Duration::from_secs(30);
        while stream.write_all(&flapping).is_ok() {
            assert!(Instant::now() < end, "it listens for ever");
            thread::sleep(Duration::from_millis(20));
        }
    });
}

#[test]
fn c18_fast_messages_out_of_place_are_ignored_or_close() {
    a_seeder_survives("c18", |target| {
        let mut stream = target.peer(2);
        let odd = [
            message(16, &numbers([1, 0, 16_384])),
            message(13, &numbers([2])).repeat(1000),
            message(15, &[]),
            message(1, &[]),
        ];
        stream.write_all(&odd.concat()).expect("it reads");
        assert!(stands(&mut stream));
    });
}

#[test]
fn c19_a_hostile_extension_handshake_closes_or_is_bounded() {
    a_seeder_survives("c19", |target| {
        let mut deep = target.peer(2);
        let nested = [&b"\0d1:m"[..], &[b'l'; 60_000]].concat();
        deep.write_all(&message(20, &nested)).expect("it reads");
        assert!(is_hung_up(&mut deep));
        let mut odd = target.peer(3);
        let payload = b"\0d1:md1:ai0e1:bi256e1:ci-1ee4:reqqi99999999999999999e1:v9:\x1b[2J\xff\x07\x0d\x0ax6:yourip3:abce";
        odd.write_all(&message(20, payload)).expect("it reads");
        assert!(stands(&mut odd));
    });
}

/// A peer that has said it is interested, and was unchoked.
fn wanting(target: &Target, number: u8) -> TcpStream {
    let mut stream = target.peer(number);
    stream.write_all(&message(2, &[])).expect("it reads");
    while let Some((id, _)) = read_message(&mut stream) {
        if id == 1 {
            break;
        }
    }
    stream
}

/// The next message that is none of these.
fn next_but(stream: &mut TcpStream, ids: &[u8]) -> (u8, Vec<u8>) {
    loop {
        let (id, body) = read_message(stream).expect("it stands");
        if !ids.contains(&id) {
            return (id, body);
        }
    }
}
