//! Values that are whole, cut, and wrong.

use super::*;

fn fault(input: &[u8]) -> (Fault, usize) {
    let error = scan(input, 128).expect_err("must not pass");
    (error.fault, error.at)
}

#[test]
fn one_value_is_measured_and_what_follows_is_left() {
    for value in [
        "i5e",
        "0:",
        "4:spam",
        "le",
        "de",
        "ll0:ed1:ai1eee",
        "d1:b0:1:ale1:adee",
    ] {
        let input = format!("{value}e tail");
        assert_eq!(scan(input.as_bytes(), 3), Ok(value.len()), "{value}");
        for cut in 0..value.len() {
            assert_eq!(fault(&value.as_bytes()[..cut]).0, Fault::Truncated);
        }
    }
}

#[test]
fn nesting_ends_at_the_limit_with_the_byte_that_broke_it() {
    for (opening, width) in [("l", 1), ("d1:a", 4)] {
        let input = opening.repeat(1 << 20);
        let error = scan(input.as_bytes(), 128).expect_err("too deep");
        assert_eq!(error, Fault::Depth { max: 128 }.at(128 * width));
        assert_eq!(
            error.to_string(),
            format!("nested deeper than 128 at byte {}", 128 * width)
        );
        assert_eq!(error.kind(), "torrent.depth");
        assert_eq!(
            scan(input.as_bytes(), 32).expect_err("too deep").at,
            32 * width
        );
    }
    let deepest = ["l".repeat(128), "e".repeat(128)].concat();
    assert_eq!(scan(deepest.as_bytes(), 1000), Ok(256));
}

#[test]
fn lengths_are_held_against_what_is_left() {
    assert_eq!(fault(b"18446744073709551615:a"), (Fault::Truncated, 0));
    assert_eq!(fault(b"4294967296:a"), (Fault::Truncated, 0));
    assert_eq!(fault(b"l100000000000000000000:ae"), (Fault::Number, 1));
    assert_eq!(fault(b"d3:ab"), (Fault::Truncated, 1));
    assert_eq!(fault(b"5"), (Fault::Truncated, 0));
    assert_eq!(fault(b"5x"), (Fault::Syntax, 0));
}

#[test]
fn keys_are_strings_and_have_values() {
    assert_eq!(fault(b"di0e1:ae"), (Fault::Syntax, 1));
    assert_eq!(fault(b"dle1:ae"), (Fault::Syntax, 1));
    assert_eq!(fault(b"dde1:ae"), (Fault::Syntax, 1));
    assert_eq!(fault(b"d1:ae"), (Fault::Syntax, 4));
    assert_eq!(fault(b"e"), (Fault::Syntax, 0));
    assert_eq!(fault(b"-1:a"), (Fault::Syntax, 0));
    assert_eq!(fault(b"i1xe"), (Fault::Syntax, 0));
}

#[test]
fn odd_numbers_pass_the_scan_and_fail_where_they_are_used() {
    let long = "1".repeat(40);
    let odd = ["-0", "007", "-07", "+5", " 5", "", "-", "--1", "1.5", &long];
    for text in odd.into_iter().chain(["9223372036854775808"]) {
        let input = format!("d1:ai7e1:zi{text}ee");
        let (value, used) = Value::parse(input.as_bytes(), 4).expect("passes");
        assert_eq!(used, input.len());
        let [a, z] = value.fields([b"a".as_slice(), b"z"]).expect("no key twice");
        assert_eq!(a.expect("there").as_int(), Ok(7));
        let error = z.expect("there").as_int().expect_err(text);
        assert_eq!(error, Fault::Number.at(10));
    }
    for number in [0, 1, -1, i64::MAX, i64::MIN] {
        let input = format!("i{number}e");
        let (value, _) = Value::parse(input.as_bytes(), 0).expect("passes");
        assert_eq!(value.as_int(), Ok(number));
    }
}

#[test]
fn only_keys_that_are_asked_for_may_not_stand_twice() {
    let (value, _) = Value::parse(b"d1:xi1e1:ai2e1:xi3ee", 1).expect("passes");
    let [a] = value.fields([b"a".as_slice()]).expect("x is not asked for");
    assert_eq!(
        a.map(|a| (a.offset(), a.raw())),
        Some((10, b"i2e".as_slice()))
    );
    assert_eq!(
        value.fields([b"x".as_slice()]),
        Err(Fault::DuplicateKey.at(16))
    );
}

#[test]
fn walks_give_raw_spans_in_the_order_they_stand() {
    let input = b"d1:bli1e2:xyd1:kleee1:ai-3ee";
    let (value, _) = Value::parse(input, 4).expect("passes");
    let entries: Vec<_> = value
        .as_dict()
        .expect("a dictionary")
        .map(|(key, value)| (key, value.raw(), value.offset()))
        .collect();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0], (b"b".as_slice(), &input[4..20], 4));
    assert_eq!(entries[1], (b"a".as_slice(), b"i-3e".as_slice(), 23));
    let (b, _) = Value::parse(&input[4..], 4).expect("passes");
    let items: Vec<_> = b.as_list().expect("a list").map(Value::raw).collect();
    assert_eq!(items, [b"i1e".as_slice(), b"2:xy", b"d1:klee"]);
    let strings: Vec<_> = b.as_strings().expect("a list").take(1).collect();
    assert_eq!(strings, [None]);
    let (names, _) = Value::parse(b"l1:a0:e1:x", 1).expect("passes");
    let strings: Vec<_> = names.as_strings().expect("a list").collect();
    assert_eq!(strings, [Some(b"a".as_slice()), Some(b"")]);
    assert!(value.as_strings().is_none());
    assert!(b.as_dict().is_none() && b.as_bytes().is_none() && value.as_list().is_none());
    assert_eq!(b.as_int(), Err(Fault::Type.at(0)));
}

#[test]
fn a_scan_shows_the_entries_of_two_levels_and_no_others() {
    let input = b"d1:ad1:xd1:yi1ee1:zlee1:bld1:cleee1:di2ee!";
    let mut seen = Vec::new();
    let parsed = Value::parse_seeing(input, 4, |outer, key, value| {
        let raw = &input[value.offset()..][..value.raw().len()];
        assert_eq!(raw, value.raw());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        seen.push((outer.map(text), text(key), text(raw)));
    });
    assert_eq!(parsed.map(|(_, used)| used), Ok(input.len() - 1));
    let seen: Vec<_> = seen
        .iter()
        .map(|(outer, key, raw)| (outer.as_deref(), key.as_str(), raw.as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            (Some("a"), "x", "d1:yi1ee"),
            (Some("a"), "z", "le"),
            (None, "a", "d1:xd1:yi1ee1:zlee"),
            (None, "b", "ld1:cleee"),
            (None, "d", "i2e"),
        ]
    );
    for list in ["ld1:ai1eee", "i1e", "le"] {
        let none = |_: Option<&[u8]>, _: &[u8], _: Value<'_>| panic!("no dictionary");
        Value::parse_seeing(list.as_bytes(), 4, none).expect("passes");
    }
}

#[test]
fn fields_of_the_values_of_a_list_are_found_without_measuring_them() {
    let (value, _) =
        Value::parse(b"ld1:ad1:bi1ee1:bi2eed1:ai3e1:ai4eed1:bi6eei5edee", 3).expect("passes");
    let mut list = value.as_list().expect("a list");
    let mut next = || {
        let fields = list.next_fields([b"a".as_slice(), b"b"])?;
        Some(fields.map(|fields| fields.map(|field| field.map(Value::raw))))
    };
    assert_eq!(
        next(),
        Some(Ok([Some(b"d1:bi1ee".as_slice()), Some(b"i2e")]))
    );
    assert_eq!(next(), Some(Err(Fault::DuplicateKey.at(30))));
    assert_eq!(next(), Some(Ok([None, Some(b"i6e".as_slice())])));
    assert_eq!(next(), Some(Err(Fault::Type.at(42))));
    assert_eq!(next(), None);
}

#[test]
fn typed_values_from_the_network_are_shielded_from_depth_and_tails() {
    #[derive(Deserialize, PartialEq, Debug)]
    struct Reply<'a> {
        interval: u32,
        #[serde(with = "serde_bytes")]
        peers: &'a [u8],
    }
    let input = b"d8:intervali9e5:peers2:\xff\x00e\n";
    let (reply, used) = from_network::<Reply<'_>>(input).expect("a reply");
    assert_eq!((reply.interval, reply.peers), (9, b"\xff\x00".as_slice()));
    assert_eq!(used, input.len() - 1);
    let deep = ["d1:x", &"l".repeat(60_000)].concat();
    let error = from_network::<Reply<'_>>(deep.as_bytes()).expect_err("too deep");
    assert_eq!(error, Fault::Depth { max: 32 }.at(35));
    let error = from_network::<Reply<'_>>(b"d8:interval1:xe").expect_err("no number");
    assert_eq!(error.fault, Fault::Type);
}
