//! Pausing, going on, and the end.

use std::sync::Arc;

use minitorrent::engine::command::{AddTorrent, Aim, Command, CommandError};
use minitorrent::engine::io::Event;

use crate::scene::{MODERN, Scene, id, listens, meta};

#[test]
fn shutdown_closes_everything_and_ends_in_stopped() {
    let mut scene = Scene::knowing(&[listens(1)], |_| {});
    let peer = scene.peer(2, MODERN);
    let greeting = scene.accept(3).expect("there is room");
    let (dial, _) = scene.dials[0];
    let now = scene.now;
    scene
        .session
        .handle_command(now, Command::Shutdown)
        .expect("once");
    scene.drain();
    for conn in [peer, greeting, dial] {
        assert!(scene.is_closed(conn));
    }
    scene.run_to(3.0);
    let stopped = |event: &&Event| **event == Event::Stopped;
    assert_eq!(scene.events.iter().filter(stopped).count(), 1);
    assert_eq!(scene.session.poll_timeout(), None);
    assert_eq!(scene.accept(4), None);
    let again = scene.session.handle_command(now, Command::Shutdown);
    assert_eq!(again, Err(CommandError::Stopping));
}

/// As a client does that lets go of its last torrent.
#[test]
fn a_torrent_that_is_removed_says_goodbye_though_the_end_comes_right_behind() {
    const REPLY: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-length: 27\r\n\r\nd8:intervali1800e5:peers0:e";
    let mut described = (*meta(4)).clone();
    described.trackers = vec![vec!["http://192.0.2.1/announce".to_owned()]];
    let metainfo = Arc::new(described);
    let add = Command::Add(AddTorrent {
        metainfo: Arc::clone(&metainfo),
        aim: Aim::Download,
        peers: Vec::new(),
    });
    let mut scene = Scene::set(metainfo, |_| {}, add);
    scene.checked(&[]);
    scene.run_to(1.5);
    let says = |scene: &mut Scene, event: &str| {
        let call = scene.connect();
        let asked = String::from_utf8(scene.sent_bytes(call)).expect("a request");
        assert!(asked.contains(event), "{asked}");
        call
    };
    let call = says(&mut scene, "&event=started ");
    scene.bytes(call, REPLY);
    scene.run_to(10.0);
    scene.command(Command::Remove(scene.torrent));
    scene.command(Command::Shutdown);
    let call = says(&mut scene, "&event=stopped ");
    assert!(!scene.events.contains(&Event::Stopped));
    scene.bytes(call, REPLY);
    assert_eq!(scene.events.last(), Some(&Event::Stopped));
    assert_eq!(scene.session.poll_timeout(), None);
}

#[test]
fn a_paused_torrent_has_no_connection_and_makes_none() {
    let mut scene = Scene::knowing(&[listens(1), listens(2)], |_| {});
    let peer = scene.peer(3, MODERN);
    let greeting = scene.accept(4).expect("there is room");
    let (connected, _) = scene.dials.remove(0);
    scene.handle(minitorrent::engine::io::Input::Connected { conn: connected });
    let (dial, _) = scene.dials[0];
    let pause = Command::Pause(scene.torrent);
    scene
        .session
        .handle_command(scene.now, pause)
        .expect("it is known");
    scene.drain();
    for conn in [peer, connected, dial] {
        assert!(scene.is_closed(conn));
    }
    scene.greet(greeting, id(4), MODERN);
    assert!(scene.is_closed(greeting));
    scene.run_to(200.0);
    assert!(scene.dials.is_empty() && scene.accept(5).is_none());
    assert_eq!(scene.session.poll_timeout(), None);
    let resume = Command::Resume(scene.torrent);
    scene
        .session
        .handle_command(scene.now, resume)
        .expect("it is known");
    scene.drain();
    scene.run_to(200.0);
    assert_eq!(scene.dials.len(), 2);
}

#[test]
fn a_torrent_is_taken_once() {
    let mut scene = Scene::new(4);
    let add = AddTorrent {
        metainfo: std::sync::Arc::clone(&scene.meta),
        aim: Aim::Seed,
        peers: Vec::new(),
    };
    let reply = scene.session.handle_command(scene.now, Command::Add(add));
    let known = scene.meta.info_hash;
    assert_eq!(reply, Err(CommandError::Duplicate(known)));
}

#[test]
fn a_torrent_that_is_only_checked_takes_no_peer() {
    let mut scene = Scene::with(4, Aim::Check, |_| {}, &[listens(1)], &[0]);
    assert!(scene.dials.is_empty());
    assert_eq!(scene.accept(1), None);
    assert_eq!(scene.session.poll_timeout(), None);
}

#[test]
fn peers_told_of_later_are_dialled_at_once() {
    let mut scene = Scene::new(4);
    scene.run_to(50.0);
    let (torrent, peers) = (scene.torrent, vec![listens(9)]);
    let command = Command::AddPeers { torrent, peers };
    scene
        .session
        .handle_command(scene.now, command)
        .expect("it is known");
    scene.drain();
    scene.run_to(50.0);
    assert_eq!(scene.dials.len(), 1);
}
