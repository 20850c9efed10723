//! One tracker of a torrent, and the announce to it that is under way.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use super::{Action, CallId, udp};
use crate::base::time::{Instant, earliest};
use crate::net::http_call::Redirects;
use crate::net::resolver::Families;
use crate::wire::tracker_http::url::TrackerUrl;
use crate::wire::tracker_http::{Announce, Event};

/// A tracker and what it knows of us.
pub(super) struct Tracker {
    pub(super) url: TrackerUrl,
    pub(super) shown: String,
    /// When it is asked next; `None`: not in this run.
    pub(super) due: Option<Instant>,
    /// Before this it is not asked, however short of peers we are.
    pub(super) not_before: Instant,
    /// Whether its last announce was answered with peers, or that there are none.
    pub(super) is_working: bool,
    /// Whether any announce to it was ever answered so.
    pub(super) has_worked: bool,
    pub(super) failures: u32,
    /// Whether it has answered `started` in this run.
    pub(super) knows_us: bool,
    pub(super) owes_completed: bool,
    pub(super) owes_stopped: bool,
    pub(super) tracker_id: Option<Vec<u8>>,
    pub(super) addresses: Vec<IpAddr>,
    /// Which of its addresses are used. A public tracker with both families is told of us over both (BEP 7): it
    /// stands twice in the list then.
    pub(super) families: Families,
    /// Its entry for the other family.
    pub(super) twin: Option<usize>,
    pub(super) connection: Option<udp::Connection>,
    pub(super) attempt: Option<Attempt>,
}

impl Tracker {
    pub(super) fn new(url: TrackerUrl, shown: String) -> Self {
        Self {
            url,
            shown,
            due: None,
            not_before: Instant::default(),
            is_working: false,
            has_worked: false,
            failures: 0,
            knows_us: false,
            owes_completed: false,
            owes_stopped: false,
            tracker_id: None,
            addresses: Vec::new(),
            families: Families::Both,
            twin: None,
            connection: None,
            attempt: None,
        }
    }

    pub(super) fn abandon(&mut self, actions: &mut VecDeque<Action>) {
        let step = self.attempt.take().map(|attempt| attempt.step);
        if let Some(Step::Http(call)) = step {
            actions.push_back(Action::Abandon { call });
        }
    }

    pub(super) fn is_completing(&self) -> bool {
        let attempt = self.attempt.as_ref();
        attempt.is_some_and(|a| a.announce.event == Event::Completed && !a.is_judged)
    }

    pub(super) fn exchange_with(&self) -> Option<SocketAddr> {
        match &self.attempt.as_ref()?.step {
            Step::Udp(exchange) => Some(exchange.to()),
            Step::Resolving(_) | Step::Http(_) | Step::Between => None,
        }
    }
}

/// One announce that is under way.
pub(super) struct Attempt {
    pub(super) announce: Announce,
    /// What is asked: the tracker's URL with our parameters, or where it redirected us.
    pub(super) url: TrackerUrl,
    pub(super) redirects: Redirects,
    /// Addresses that are tried, in this order, if no connection comes about.
    pub(super) untried: Vec<IpAddr>,
    pub(super) step: Step,
    /// When the tracker counts as failed unless something comes.
    pub(super) silent_at: Instant,
    /// When an HTTP call with all its redirects must be over.
    pub(super) whole_by: Instant,
    /// Whether it counts as failed already while it goes on.
    pub(super) is_judged: bool,
}

impl Attempt {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let silence = (!self.is_judged).then_some(self.silent_at);
        match &self.step {
            Step::Udp(exchange) => earliest(silence, Some(exchange.poll_timeout())),
            Step::Resolving(_) | Step::Http(_) | Step::Between => silence,
        }
    }
}

/// How far an attempt is.
pub(super) enum Step {
    /// Waits for the addresses of a name.
    Resolving(String),
    Http(CallId),
    Udp(udp::Exchange),
    /// Within a call of ours: no one is waited for.
    Between,
}
