/// x
#[derive(Default)]
pub struct TinyTracker;
impl TinyTracker {
    /// x
    pub fn announce(
        &mut self,
        _n: crate::base::time::Instant,
        _i: std::net::IpAddr,
        _p: &str,
    ) -> Vec<u8> {
        vec![]
    }
}
