//! Announces: the announcers' actions, the connections and datagrams they ride on, and announces made to us.

use std::net::SocketAddr;

use super::{Seat, Session};
use crate::base::time::Instant;
use crate::engine::conn::{Conn, Kind};
use crate::engine::io::{ConnId, ConnectError, Event, Output, TorrentId};
use crate::engine::timers::Timer;
use crate::engine::tracker::{Action, CallId, Facts, HttpFailure};

impl Session {
    /// Gives every announcer its time, and carries out what they want.
    pub(super) fn drive_announcers(&mut self, now: Instant) {
        for id in self.torrents.iter().map(|(id, _)| id).collect::<Vec<_>>() {
            let Some(Seat { torrent, announcer }) = self.torrents.get_mut(id) else {
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
        let Some(Conn {
            kind:
                Kind::Tracker {
                    torrent,
                    call,
                    http,
                },
            ..
        }) = self.conns.get_mut(id)
        else {
            return;
        };
        if let Some(seat) = self.torrents.get_mut(*torrent) {
            seat.announcer.handle_http_progress(*call);
        }
        let result = http.handle_bytes(bytes);
        self.finish_call(now, id, result.err().map(HttpFailure::Http));
    }

    pub(super) fn handle_tracker_end(&mut self, now: Instant, id: ConnId) {
        let Some(Conn {
            kind: Kind::Tracker { http, .. },
            ..
        }) = self.conns.get_mut(id)
        else {
            return;
        };
        let failure = http
            .handle_end()
            .err()
            .map_or(HttpFailure::Broken, HttpFailure::Http);
        self.finish_call(now, id, Some(failure));
    }

    pub(super) fn tracker_unreachable(
        &mut self,
        now: Instant,
        torrent: TorrentId,
        call: CallId,
        why: ConnectError,
    ) {
        self.tell_announcer(now, torrent, call, Err(HttpFailure::Connect(why)));
    }

    pub(super) fn tracker_broke(&mut self, now: Instant, torrent: TorrentId, call: CallId) {
        self.tell_announcer(now, torrent, call, Err(HttpFailure::Broken));
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

    /// Ends a call whose reply is whole, or that failed; else it goes on.
    fn finish_call(&mut self, now: Instant, id: ConnId, failure: Option<HttpFailure>) {
        let Some(Conn {
            kind:
                Kind::Tracker {
                    torrent,
                    call,
                    http,
                },
            ..
        }) = self.conns.get_mut(id)
        else {
            return;
        };
        let (torrent, call) = (*torrent, *call);
        let result = match (http.poll_response(), failure) {
            (Some(response), _) => Ok(response),
            (None, Some(failure)) => Err(failure),
            (None, None) => return,
        };
        self.conns.remove(id);
        self.out.push_back(Output::Close { conn: id });
        self.tell_announcer(now, torrent, call, result);
    }

    fn tell_announcer(
        &mut self,
        now: Instant,
        torrent: TorrentId,
        call: CallId,
        result: Result<crate::net::http_call::Response, HttpFailure>,
    ) {
        if let Some(seat) = self.torrents.get_mut(torrent) {
            seat.announcer.handle_http(now, call, result, &mut self.rng);
        }
        self.drive_announcers(now);
    }

    fn drain_actions(&mut self, now: Instant, id: TorrentId) {
        while let Some(seat) = self.torrents.get_mut(id)
            && let Some(action) = seat.announcer.poll_action()
        {
            match action {
                Action::Http { call, to, request } => {
                    let http = Box::new(request);
                    let kind = Kind::Tracker {
                        torrent: id,
                        call,
                        http,
                    };
                    let conn = self.conns.insert(Conn {
                        address: to,
                        since: now,
                        kind,
                    });
                    self.out.push_back(Output::Connect { conn, to });
                }
                Action::Abandon { call } => self.abandon(id, call),
                Action::Datagram { to, bytes } => {
                    self.out.push_back(Output::Datagram { to, bytes });
                }
                Action::Resolve { name } => {
                    let why = Err("names of trackers are not looked up yet");
                    seat.announcer
                        .handle_resolved(now, &name, why, &mut self.rng);
                }
                Action::Peers { peers } => {
                    seat.torrent.swarm.add(peers, false);
                    self.timers.set_earlier(Timer::Sweep, now);
                }
                Action::Report { url, result } => {
                    let result =
                        result.map_err(|error| format!("{}: {}", error.kind, error.message));
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
            matches!(&conn.kind, Kind::Tracker { torrent: t, call: c, .. }
                if *t == torrent && *c == call)
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
