//! Answers that are still good, a bounded number of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::DnsError;
use crate::base::limits;
use crate::base::time::Instant;

/// What names were found to be, at most [`limits::DNS_CACHE_MAX`] of them.
#[derive(Default)]
pub(super) struct Cache(BTreeMap<String, (Instant, Result<Vec<IpAddr>, DnsError>)>);

impl Cache {
    /// Remembers an answer; if there is no room, the one that ends first makes some.
    pub(super) fn insert(
        &mut self,
        now: Instant,
        name: String,
        result: Result<Vec<IpAddr>, DnsError>,
        ttl: Duration,
    ) {
        if self.0.len() >= limits::DNS_CACHE_MAX && !self.0.contains_key(&name) {
            let first = self.0.iter().min_by_key(|(_, (end, _))| *end);
            if let Some(name) = first.map(|(name, _)| name.clone()) {
                self.0.remove(&name);
            }
        }
        self.0.insert(name, (now + ttl, result));
    }

    /// The answer to `name`, if one is still good.
    pub(super) fn get(&self, now: Instant, name: &str) -> Option<&Result<Vec<IpAddr>, DnsError>> {
        let (end, result) = self.0.get(name)?;
        (now < *end).then_some(result)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_cache_forgets_what_would_end_first() {
        let (mut cache, now) = (Cache::default(), Instant::default());
        for n in 0..=limits::DNS_CACHE_MAX as u64 {
            let ttl = Duration::from_secs(1000 - n);
            cache.insert(now, n.to_string(), Err(DnsError::NotFound), ttl);
        }
        assert_eq!(cache.0.len(), limits::DNS_CACHE_MAX);
        // The last but one had the least time left when the last came.
        let evicted = (limits::DNS_CACHE_MAX - 1).to_string();
        assert_eq!(cache.get(now, &evicted), None);
        assert!(cache.get(now, "0").is_some());
        assert_eq!(cache.get(now + Duration::from_secs(1000), "0"), None);
    }
}
