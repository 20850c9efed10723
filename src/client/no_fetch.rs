//! Stands for `fetch` in a program that was built without it.

/// Says that it can't.
pub(super) fn fetch(
    _url: &str,
    _most: usize,
    _ca_file: Option<&std::path::Path>,
    _interrupts: &crate::reactor::Interrupts,
) -> Result<Vec<u8>, String> {
    Err("this program was built without fetching from URLs".into())
}
