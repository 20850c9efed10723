//! Whose fault a failed announce is, and how long the tracker is left alone for it.

use std::time::Duration;

use super::TrackerError;
use crate::base::escape::escape;
use crate::net::http_call::Response;
use crate::wire::tracker_http::reply::{Reply, ReplyError, Retry};

/// Whose fault a failure is, which decides how soon the tracker is asked again.
pub(super) enum Blame {
    /// The tracker's: 60 s, doubled each time, to 30 min.
    Tracker,
    /// This machine's or its network's: 5 s, doubled each time, to 5 min.
    Ourselves,
    /// The name servers': 5 s, doubled each time, to 45 s. Asking them costs no tracker anything, and a network that
    /// comes up is used within a minute: the lookup has ten seconds.
    Names,
    /// Ours, says the tracker (4xx): 30 min.
    Request,
    /// The tracker has said when to come again (BEP 31).
    Told(Retry),
}

impl Blame {
    /// The pause behind a failure that `earlier` others came before; `None` for ever.
    pub(super) fn pause(&self, earlier: u32) -> Option<Duration> {
        let doubled = |first: Duration| first * (1 << earlier.min(10));
        match self {
            Self::Tracker => Some(doubled(TRACKER_PAUSE).min(TRACKER_PAUSE_MAX)),
            Self::Ourselves => Some(doubled(LOCAL_PAUSE).min(LOCAL_PAUSE_MAX)),
            Self::Names => Some(doubled(LOCAL_PAUSE).min(NAMES_PAUSE_MAX)),
            Self::Request => Some(TRACKER_PAUSE_MAX),
            Self::Told(Retry::After(pause)) => Some(*pause),
            Self::Told(Retry::Never) => None,
        }
    }
}

/// A response's meaning. An error status is one even if its body reads well.
pub(super) fn read_response(response: &Response) -> Result<Reply, (TrackerError, Blame)> {
    let status = response.status;
    let is_good = (200..300).contains(&status);
    // 408, 425 and 429 ask for patience: they don't say that the request is wrong.
    let blame = match status {
        408 | 425 | 429 => Blame::Tracker,
        400..500 => Blame::Request,
        _ => Blame::Tracker,
    };
    match Reply::parse(&response.body) {
        Ok(reply) if is_good => Ok(reply),
        Err(ReplyError::Failure { reason, retry }) => {
            let reason = match is_good {
                true => reason,
                false => escape(format!("HTTP status {status}: {reason}").as_bytes(), 200),
            };
            let error = TrackerError::new("tracker.failure", reason);
            Err((error, retry.map_or(blame, Blame::Told)))
        }
        Err(ReplyError::Malformed) if is_good => {
            let error = TrackerError::new("tracker.reply", "the reply is no tracker's");
            Err((error, blame))
        }
        Ok(_) | Err(ReplyError::Malformed) => {
            let error = TrackerError::new("tracker.status", format!("HTTP status {status}"));
            Err((error, blame))
        }
    }
}

/// The first and the longest pause after a tracker's failure.
const TRACKER_PAUSE: Duration = Duration::from_secs(60);
/// See [`TRACKER_PAUSE`].
pub(super) const TRACKER_PAUSE_MAX: Duration = Duration::from_secs(30 * 60);
/// The first and the longest pause after a failure on our side.
const LOCAL_PAUSE: Duration = Duration::from_secs(5);
/// See [`LOCAL_PAUSE`].
const LOCAL_PAUSE_MAX: Duration = Duration::from_secs(5 * 60);
/// The longest pause after a failure of the name servers.
const NAMES_PAUSE_MAX: Duration = Duration::from_secs(45);
