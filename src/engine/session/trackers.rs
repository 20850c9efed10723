//! Announces: the announcers' actions, the connections and datagrams they ride on, and announces made to us.

use std::net::SocketAddr;

use super::{Seat, Session};
use crate::base::time::Instant;
use crate::engine::conn::{Conn, Kind};
use crate::engine::io::{ConnId, Event, Output, TorrentId};
use crate::engine::timers::Timer;
use crate::engine::torrent::swarm::Origin;
use crate::engine::tracker::call::TrackerCall;
use crate::engine::tracker::{Action, CallId, Facts, HttpFailure};
use crate::net::http_call::Response;
use crate::net::stream::{TlsConfig, TlsError};

impl Session {
    /// Gives every announcer its time, and carries out what they want.
    pub(super) fn drive_announcers(&mut self, now: Instant) {
        for id in self.torrents.iter().map(|(id, _)| id).collect::<Vec<_>>() {
            let Some(Seat {
                torrent, announcer, ..
            }) = self.torrents.get_mut(id)
            else {
                continue;
            };
            if announcer.poll_timeout().is_some_and(|at| at <= now) {
                let facts = Facts {
                    uploaded: torrent.flow.uploaded,
                    downloaded: torrent.flow.downloaded - torrent.flow.wasted,
                    left: torrent.left(),
                };
                announcer.handle_timeout(now, &facts, &mut self.rng);
            }
            self.drain_actions(now, id);
        }
        self.settle_names(now);
    }

    pub(super) fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let rng = &mut self.rng;
        let mut seats = self.torrents.iter_mut();
        if seats.any(|(_, seat)| seat.announcer.handle_datagram(now, from, bytes, rng)) {
            drop(seats);
            self.drive_announcers(now);
            return;
        }
        drop(seats);
        self.handle_dht_datagram(now, from, bytes);
    }

    pub(super) fn handle_tracker_bytes(&mut self, now: Instant, id: ConnId, bytes: &[u8]) {
        let Some(call) = self.call(id) else {
            return;
        };
        let result = call.handle_wire(bytes);
        let (torrent, name) = (call.torrent, call.id);
        let has_more = !call.poll_transmit().is_empty();
        if let Some(seat) = self.torrents.get_mut(torrent) {
            seat.announcer.handle_http_progress(name);
        }
        if !self.finish_call(now, id, result.err()) && has_more {
            self.out.push_back(Output::Transmit { conn: id });
        }
    }

    /// Begins TLS on a tracker's connection.
    pub(super) fn handle_trust(
        &mut self,
        now: Instant,
        id: ConnId,
        trust: Result<TlsConfig, TlsError>,
        now_unix: u64,
    ) {
        let Some(call) = self.call(id) else {
            return;
        };
        let result = call.handle_trust(trust, now_unix);
        if !self.finish_call(now, id, result.err()) {
            self.out.push_back(Output::Transmit { conn: id });
        }
    }

    pub(super) fn handle_tracker_end(&mut self, now: Instant, id: ConnId) {
        let Some(call) = self.call(id) else {
            return;
        };
        let failure = call.handle_end().err().unwrap_or(HttpFailure::Broken);
        self.finish_call(now, id, Some(failure));
    }

    /// Takes bytes of an announce made to us, and answers it when it is whole.
    pub(super) fn handle_served_bytes(&mut self, now: Instant, id: ConnId, bytes: &[u8]) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let Kind::Served(http) = &mut conn.kind else {
            return;
        };
        http.handle_bytes(bytes);
        if let Some(request) = http.poll_request()
            && let Some(tracker) = &mut self.tracker
        {
            let from = conn.address.ip();
            let answer = tracker.handle_request(now, from, &request.path_and_query);
            http.respond(answer.status, "text/plain", &answer.body);
        }
        if !http.poll_transmit().is_empty() {
            self.out.push_back(Output::Transmit { conn: id });
        }
    }

    fn call(&mut self, id: ConnId) -> Option<&mut TrackerCall> {
        match &mut self.conns.get_mut(id)?.kind {
            Kind::Tracker(call) => Some(call),
            Kind::Dialling { .. } | Kind::Greeting(_) | Kind::Peer { .. } | Kind::Served(_) => None,
        }
    }

    /// Ends a call whose reply is whole, or that failed; else it goes on. Whether it is over.
    fn finish_call(&mut self, now: Instant, id: ConnId, failure: Option<HttpFailure>) -> bool {
        let Some(call) = self.call(id) else {
            return true;
        };
        let (torrent, name) = (call.torrent, call.id);
        let result = match (call.poll_response(), failure) {
            (Some(response), _) => response.unpacked().map_err(HttpFailure::Http),
            (None, Some(failure)) => Err(failure),
            (None, None) => return false,
        };
        self.conns.remove(id);
        self.out.push_back(Output::Close { conn: id });
        self.tell_announcer(now, torrent, name, result);
        true
    }

    pub(super) fn tell_announcer(
        &mut self,
        now: Instant,
        torrent: TorrentId,
        call: CallId,
        result: Result<Response, HttpFailure>,
    ) {
        if let Some(seat) = self.torrents.get_mut(torrent) {
            seat.announcer.handle_http(now, call, result, &mut self.rng);
        }
        self.drive_announcers(now);
    }

    pub(super) fn drain_actions(&mut self, now: Instant, id: TorrentId) {
        while let Some(seat) = self.torrents.get_mut(id)
            && let Some(action) = seat.announcer.poll_action()
        {
            match action {
                Action::Http {
                    call,
                    to,
                    tls,
                    request,
                } => {
                    let call = TrackerCall::new(id, call, request, tls);
                    let kind = Kind::Tracker(Box::new(call));
                    let conn = self.conns.insert(Conn {
                        address: to,
                        since: now,
                        kind,
                    });
                    self.connect(now, conn, to);
                }
                Action::Abandon { call } => self.abandon(id, call),
                Action::Datagram { to, bytes } => {
                    self.send_datagram(now, to, bytes);
                }
                Action::Resolve { name } => self.resolver.resolve(now, &name, &mut self.rng),
                Action::Peers { tracker, peers } => {
                    seat.torrent.swarm.add(peers, Origin::Tracker(tracker));
                    self.timers.set_earlier(Timer::Sweep, now);
                }
                Action::Report { url, result } => {
                    let result = result.map_err(|error| error.to_string());
                    seat.answered |= result.is_ok();
                    let trouble = result.as_ref().err();
                    seat.tracker_trouble = trouble.map(|why| (url.clone(), why.clone()));
                    self.out.push_back(Output::Event(Event::Tracker {
                        torrent: id,
                        url,
                        result,
                    }));
                }
                Action::Scraped { url, counts } => {
                    let event = Event::Scraped {
                        torrent: id,
                        url,
                        counts,
                    };
                    self.out.push_back(Output::Event(event));
                }
                Action::Warning { url, text } => {
                    let message = format!("{url} says: {text}");
                    let event = Event::Warning {
                        torrent: Some(id),
                        kind: "tracker.warning",
                        message,
                    };
                    self.out.push_back(Output::Event(event));
                }
            }
        }
    }

    fn abandon(&mut self, torrent: TorrentId, call: CallId) {
        let wanted = |conn: &Conn| {
            matches!(&conn.kind, Kind::Tracker(other)
                if other.torrent == torrent && other.id == call)
        };
        let found = self
            .conns
            .iter()
            .find(|(_, conn)| wanted(conn))
            .map(|(id, _)| id);
        if let Some(id) = found {
            self.conns.remove(id);
            self.out.push_back(Output::Close { conn: id });
        }
    }
}
