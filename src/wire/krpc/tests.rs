use super::*;
use crate::base::rng::Rng;

const ME: NodeId = NodeId(*b"abcdefghij0123456789");
const YOU: NodeId = NodeId(*b"mnopqrstuvwxyz123456");

fn message<'a>(transaction: &'a [u8], body: Body<'a>) -> Message<'a> {
    Message {
        transaction,
        version: b"",
        seen_as: None,
        is_read_only: false,
        body,
    }
}

fn query(ask: Ask<'_>) -> Message<'_> {
    let id = ME;
    message(
        b"aa",
        Body::Query(Query {
            id,
            want: None,
            ask,
        }),
    )
}

fn both_ways(bytes: &[u8], expected: &Message<'_>) {
    assert_eq!(Message::decode(bytes).as_ref(), Ok(expected));
    assert_eq!(
        expected.encode().escape_ascii().to_string(),
        bytes.escape_ascii().to_string()
    );
}

#[test]
fn the_queries_of_bep_5_are_read_and_written() {
    both_ways(
        b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe",
        &query(Ask::Ping),
    );
    both_ways(
        b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe",
        &query(Ask::FindNode { target: YOU }),
    );
    let info_hash = InfoHash(YOU.0);
    both_ways(
        b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe",
        &query(Ask::GetPeers {
            info_hash,
            scrape: false,
        }),
    );
    both_ways(
        b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe",
        &query(Ask::AnnouncePeer {
            info_hash,
            port: AnnouncedPort::Source { listen: 6881 },
            token: b"aoeusnth",
            is_seed: false,
        }),
    );
}

#[test]
fn the_responses_of_bep_5_are_read_and_written() {
    let respond = |response| message(b"aa", Body::Response(response));
    both_ways(
        b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re",
        &respond(Response::new(YOU)),
    );
    let values = Values::new(b"l6:axje.u6:idhtnme").expect("a list");
    both_ways(
        b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re",
        &respond(Response {
            token: Some(b"aoeusnth"),
            values: Some(values),
            ..Response::new(ME)
        }),
    );
    let expected: [SocketAddr; 2] = [
        ([97, 120, 106, 101], 0x2e75).into(),
        ([105, 100, 104, 116], 0x6e6d).into(),
    ];
    assert!(values.addresses().eq(expected));
    assert_eq!(
        write_values(expected.into_iter(), 100),
        b"l6:axje.u6:idhtnme"
    );
    assert_eq!(write_values(expected.into_iter(), 17), b"l6:axje.ue");
    both_ways(
        b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee",
        &message(
            b"aa",
            Body::Error {
                code: 201,
                text: b"A Generic Error Ocurred",
            },
        ),
    );
}

#[test]
fn the_fields_of_later_beps_stand_in_their_places() {
    let (seeds, leechers) = ([1; 256], [2; 256]);
    let nodes6 = [7; 76];
    let mut bytes = b"d2:ip6:\x01\x02\x03\x04\x1a\xe11:rd4:BFpe256:".to_vec();
    bytes.extend_from_slice(&leechers);
    bytes.extend_from_slice(b"4:BFsd256:");
    bytes.extend_from_slice(&seeds);
    bytes.extend_from_slice(b"2:id20:abcdefghij01234567895:nodes0:6:nodes676:");
    bytes.extend_from_slice(&nodes6);
    bytes.extend_from_slice(b"e1:t1:x1:v4:MI01\x31:y1:re");
    let response = Response {
        nodes: Some(b""),
        nodes6: Some(&nodes6),
        seeds: Some(&seeds),
        leechers: Some(&leechers),
        ..Response::new(ME)
    };
    let expected = Message {
        version: b"MI01",
        seen_as: Some(([1, 2, 3, 4], 6881).into()),
        ..message(b"x", Body::Response(response))
    };
    both_ways(&bytes, &expected);
    assert_eq!(read_nodes6(&nodes6).count(), 2);

    let mut expected = query(Ask::GetPeers {
        info_hash: InfoHash(YOU.0),
        scrape: true,
    });
    expected.is_read_only = true;
    if let Body::Query(query) = &mut expected.body {
        query.want = Some(Want { v4: true, v6: true });
    }
    both_ways(
        b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz1234566:scrapei1e4:wantl2:n42:n6ee1:q9:get_peers2:roi1e1:t2:aa1:y1:qe",
        &expected,
    );
}

#[test]
fn what_is_out_of_bounds_is_refused() {
    let refused = |bytes: &[u8]| Message::decode(bytes).expect_err("must not pass");
    let id = "2:id20:abcdefghij0123456789";
    let ping = |t: &str| refused(format!("d1:ad{id}e1:q4:ping{t}1:y1:qe").as_bytes());
    assert_eq!(ping(""), KrpcError::Transaction);
    assert_eq!(ping("1:t0:"), KrpcError::Transaction);
    assert_eq!(ping("1:t17:aaaaaaaaaaaaaaaaa"), KrpcError::Transaction);
    assert_eq!(
        ping(&format!("1:t2000:{}", "a".repeat(2000))),
        KrpcError::TooLong
    );
    assert_eq!(refused(b"d1:t2:aa1:yi1ee"), KrpcError::Kind);
    assert_eq!(refused(b"d1:t2:aa1:y1:re"), KrpcError::Kind);
    for len in [19, 21] {
        let bytes = format!("d1:rd2:id{len}:{}e1:t2:aa1:y1:re", "i".repeat(len));
        assert_eq!(refused(bytes.as_bytes()), KrpcError::Id);
    }
    let response = |field: String| refused(format!("d1:rd{id}{field}e1:t1:a1:y1:re").as_bytes());
    let filler = |len: usize| format!("{len}:{}", "n".repeat(len));
    assert_eq!(
        response(format!("5:nodes{}", filler(27))),
        KrpcError::Field("nodes")
    );
    assert_eq!(
        response(format!("6:nodes6{}", filler(26))),
        KrpcError::Field("nodes6")
    );
    assert_eq!(
        response(format!("5:token{}", filler(65))),
        KrpcError::Field("token")
    );
    assert_eq!(
        response(format!("5:token{}", filler(10_000))),
        KrpcError::TooLong
    );
    assert!(matches!(
        response("5:nodes0:5:nodes0:".into()),
        KrpcError::Bencode(_)
    ));
    let announce = |port: &str| {
        let bytes = format!(
            "d1:ad{id}9:info_hash20:mnopqrstuvwxyz123456{port}5:token1:xe1:q13:announce_peer1:t1:a1:y1:qe"
        );
        refused(bytes.as_bytes())
    };
    for port in ["", "4:porti0e", "4:porti-1e", "4:porti65536e", "4:port1:x"] {
        assert_eq!(announce(port), KrpcError::Field("port"), "{port}");
    }
    assert_eq!(refused(&[b'l'; 65_000]), KrpcError::TooLong);
    assert!(matches!(refused(&[b'l'; 1500]), KrpcError::Bencode(_)));
}

#[test]
fn odd_optional_fields_cost_only_themselves() {
    let bytes = b"d2:ip3:xyz1:rd4:BFsd3:abc2:id20:abcdefghij01234567896:values3:abce2:ro1:x1:t1:a1:v17:aaaaaaaaaaaaaaaaa1:y1:re tail";
    let message = Message::decode(bytes).expect("a response");
    assert_eq!(message.seen_as, None);
    assert_eq!(message.version, b"");
    assert!(!message.is_read_only);
    assert_eq!(message.body, Body::Response(Response::new(ME)));
    let values = Values::new(b"l6:axje.ui5e3:abcle6:idhtnme").expect("a list");
    assert_eq!(values.addresses().count(), 2);
}

#[test]
fn no_input_panics_and_what_is_read_is_written_alike() {
    let seeds: [&[u8]; 4] = [
        b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnth4:wantl2:n42:n6ee1:q13:announce_peer1:t2:aa1:y1:qe",
        b"d2:ip6:abcdef1:rd2:id20:abcdefghij01234567895:nodes26:abcdefghij0123456789abcdef5:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:v4:LT011:y1:re",
        b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee",
        b"d1:rd2:id20:abcdefghij01234567896:nodes638:abcdefghij0123456789abcdefghijklmnopqre1:t2:aa1:y1:re",
    ];
    let mut rng = Rng::new([3; 32]);
    let mut read = 0;
    for round in 0..40_000 {
        let mut bytes = seeds[round % seeds.len()].to_vec();
        for _ in 0..rng.below(4) {
            let at = rng.below(bytes.len());
            match rng.below(4) {
                0 => bytes[at] = rng.next_u32() as u8,
                1 => bytes[at] = b"0123456789:ilde-"[rng.below(16)],
                2 if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at + 1),
            }
        }
        let _ = transaction(&bytes);
        let Ok(message) = Message::decode(&bytes) else {
            continue;
        };
        read += 1;
        let written = message.encode();
        if !matches!(&message.body, Body::Query(query) if matches!(query.ask, Ask::Unknown(_))) {
            assert_eq!(Message::decode(&written), Ok(message.clone()));
        }
        if let Body::Response(response) = &message.body {
            let _ = response.values.map(|values| values.addresses().count());
            let _ = read_nodes(response.nodes.unwrap_or_default()).count();
            let _ = read_nodes6(response.nodes6.unwrap_or_default()).count();
        }
    }
    assert!(read > 10_000, "{read}");
}

#[test]
fn distance_orders_ids_and_counts_the_bits_they_share() {
    let zero = NodeId([0; 20]);
    let mut near = zero;
    near.0[19] = 1;
    let mut far = zero;
    far.0[0] = 0x80;
    assert!(zero.distance(near) < zero.distance(far));
    assert_eq!(
        [zero, near, far].map(|id| zero.shared_bits(id)),
        [160, 159, 0]
    );
}
