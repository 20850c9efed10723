//! One name being looked up: its two questions, and what their answers come to.

use std::net::IpAddr;
use std::time::Duration;

use super::question::{Answer, Question, Scene};
use super::{DnsError, Net, ResolverConfig, SocketEvent};
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::slots::Key;
use crate::base::time::{Instant, earliest};

/// A name being looked up.
pub(super) struct Lookup {
    /// The name as asked for, in lower case.
    pub(super) name: String,
    /// When the first server was asked.
    pub(super) began: Instant,
    /// When the lookup is over, whatever came.
    pub(super) deadline: Instant,
    /// Whether it still counts among the first [`limits::DNS_LOOKUPS_FRESH`].
    pub(super) is_fresh: bool,
    /// The names it may stand for, and which is being asked for.
    candidates: Vec<String>,
    at: usize,
    questions: Vec<Question>,
    /// How long the other question is waited for.
    grace: Option<Instant>,
    /// The first failure of an earlier candidate: with one, nobody can say that there is no such name.
    failure: Option<DnsError>,
}

impl Lookup {
    /// A lookup that has asked nobody yet.
    pub(super) fn new(
        now: Instant,
        name: String,
        deadline: Instant,
        candidates: Vec<String>,
    ) -> Self {
        Self {
            name,
            began: now,
            deadline,
            is_fresh: true,
            candidates,
            at: 0,
            questions: Vec::new(),
            grace: None,
            failure: None,
        }
    }

    /// Asks all questions about the next candidate.
    pub(super) fn ask_all(
        &mut self,
        now: Instant,
        key: Key<Self>,
        config: &ResolverConfig,
        net: &mut Net,
        rng: &mut Rng,
    ) {
        self.abandon(net);
        self.grace = None;
        let families = config.questions().iter();
        self.questions = families
            .map(|&family| Question::new(family, net.first(now)))
            .collect();
        let scene = Scene {
            now,
            key,
            name: &self.candidates[self.at],
            deadline: self.deadline,
            config,
        };
        for (index, question) in self.questions.iter_mut().enumerate() {
            question.ask(index, &scene, net, rng);
        }
    }

    /// Something happened on the socket of one of its questions.
    pub(super) fn handle_socket(
        &mut self,
        now: Instant,
        owner: Owner,
        event: SocketEvent<'_>,
        config: &ResolverConfig,
        net: &mut Net,
        rng: &mut Rng,
    ) {
        let scene = Scene {
            now,
            key: owner.lookup,
            name: &self.candidates[self.at],
            deadline: self.deadline,
            config,
        };
        if let Some(question) = self.questions.get_mut(owner.question) {
            question.handle_socket(owner.question, event, &scene, net, rng);
        }
    }

    /// Questions whose server was silent for too long go to the next.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        key: Key<Self>,
        config: &ResolverConfig,
        net: &mut Net,
        rng: &mut Rng,
    ) {
        let scene = Scene {
            now,
            key,
            name: &self.candidates[self.at],
            deadline: self.deadline,
            config,
        };
        for (index, question) in self.questions.iter_mut().enumerate() {
            question.handle_timeout(index, &scene, net, rng);
        }
    }

    /// When `handle_timeout` or `settle` is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let questions = self.questions.iter();
        questions
            .filter(|question| question.answer.is_none())
            .map(|question| Some(question.due))
            .fold(self.grace, earliest)
    }

    /// Says whether the lookup is over; goes on to the next candidate by itself, at most once for each.
    pub(super) fn settle(
        &mut self,
        now: Instant,
        key: Key<Self>,
        config: &ResolverConfig,
        net: &mut Net,
        rng: &mut Rng,
    ) -> Verdict {
        loop {
            let open = self.questions.iter().any(|q| q.answer.is_none());
            // Addresses, or that there is no such name, say enough: the other answer may be long in coming.
            let enough = |question: &Question| {
                matches!(question.answer, Some(Answer::Found(..) | Answer::NoName(_)))
            };
            if open {
                if !self.questions.iter().any(enough) {
                    return Verdict::Open;
                }
                let grace = *self.grace.get_or_insert(now + limits::DNS_GRACE);
                if now < grace {
                    return Verdict::Open;
                }
            }
            self.abandon(net);
            let (result, ttl) = self.sum_up();
            let failure = match result {
                Ok(addresses) => return Verdict::Over(Ok(addresses), ttl),
                Err(error) => error,
            };
            if failure != DnsError::NotFound {
                self.failure.get_or_insert(failure);
            }
            if self.at + 1 == self.candidates.len() || now >= self.deadline {
                return match self.failure {
                    Some(error) => Verdict::Over(Err(error), limits::DNS_FAILURE_TTL),
                    None => Verdict::Over(Err(DnsError::NotFound), ttl),
                };
            }
            self.at += 1;
            self.ask_all(now, key, config, net, rng);
        }
    }

    /// Closes all its sockets.
    pub(super) fn abandon(&mut self, net: &mut Net) {
        for question in &mut self.questions {
            question.close(net);
        }
    }

    /// What the answers that are there come to, and for how long.
    fn sum_up(&mut self) -> (Result<Vec<IpAddr>, DnsError>, Duration) {
        let mut families: Vec<Vec<IpAddr>> = Vec::new();
        let (mut yes, mut no) = (limits::DNS_TTL_MAX, limits::DNS_NEGATIVE_TTL_MAX);
        let mut failure = None;
        let mut is_gone = false;
        for question in &mut self.questions {
            match question.answer.take() {
                Some(Answer::Found(addresses, ttl)) => {
                    yes = yes.min(ttl);
                    families.push(addresses);
                }
                Some(Answer::NoName(ttl)) => {
                    is_gone = true;
                    no = no.min(ttl);
                }
                Some(Answer::NoAddress(ttl)) => no = no.min(ttl),
                Some(Answer::Failed(error)) => failure = Some(error),
                None => failure = Some(DnsError::TimedOut),
            }
        }
        if !families.is_empty() {
            if failure.is_some() {
                yes = yes.min(limits::DNS_PARTIAL_TTL_MAX);
            }
            return (Ok(in_turns(&families)), yes);
        }
        match failure {
            Some(error) if !is_gone => (Err(error), limits::DNS_FAILURE_TTL),
            _ => (Err(DnsError::NotFound), no),
        }
    }
}

/// Whether a lookup is over.
pub(super) enum Verdict {
    /// It waits for answers.
    Open,
    /// It is, with this result that is good for so long.
    Over(Result<Vec<IpAddr>, DnsError>, Duration),
}

/// Whose socket it is.
#[derive(Clone, Copy)]
pub(super) struct Owner {
    /// The lookup.
    pub(super) lookup: Key<Lookup>,
    /// Which of its questions.
    pub(super) question: usize,
}

/// One of each family, then the next of each, so that neither crowds out the other.
fn in_turns(families: &[Vec<IpAddr>]) -> Vec<IpAddr> {
    let rounds = (0..limits::DNS_ADDRESSES_MAX).flat_map(|round| {
        let families = families.iter();
        families.filter_map(move |addresses| addresses.get(round).copied())
    });
    rounds.take(limits::DNS_ADDRESSES_MAX).collect()
}
