//! The real program and names, TLS and IPv6: each trial in a network and with a `resolv.conf` of its own, with a
//! public-looking address and a name server that the trial plays.
#![cfg_attr(
    feature = "tls",
    expect(
        clippy::disallowed_methods,
        reason = "the trials play servers, and wait for a real program"
    )
)]

#[cfg(feature = "tls")]
mod certificates;
#[path = "../namespace/mod.rs"]
mod namespace;
#[path = "../program/mod.rs"]
mod program;
#[cfg(feature = "tls")]
mod servers;
#[cfg(feature = "tls")]
mod trials;

use namespace::{Play, must};

fn main() {
    #[cfg(feature = "tls")]
    let plays: &[Play] = trials::ALL;
    #[cfg(not(feature = "tls"))]
    let plays: &[Play] = &[];
    namespace::run(plays, furnish);
}

/// Makes the namespaces habitable.
fn furnish() {
    must("ip link set lo up");
    must("ip address add 198.51.100.7/32 dev lo");
    let path = format!("{}/resolv.conf", env!("CARGO_TARGET_TMPDIR"));
    let path = format!("{path}.{}", std::process::id());
    std::fs::write(&path, "").expect("a file");
    must(&format!("mount --bind {path} /etc/resolv.conf"));
    std::fs::remove_file(&path).expect("it is mounted");
}
