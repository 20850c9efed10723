//! `scrape`.
use super::exit::Exit;
use super::options::Options;
pub(super) fn scrape(_options: &Options) -> Exit {
    Exit::Internal
}
