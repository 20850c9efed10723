//! A name looked up where there is no loop: the same resolver, and a wait that a signal ends.

use std::io;
use std::net::IpAddr;

use super::clock::Clock;
use super::interrupts::Interrupts;
use super::names::{Wire, read_config};
use crate::base::rng::Rng;
use crate::net::resolver::{Action, Resolver, ResolverConfig, SocketEvent, SocketId};

/// The addresses of a name, or of what is one already. Takes ten seconds at most. `seed` makes questions hard to
/// guess.
///
/// # Errors
///
/// What the resolver says, or the system; as [`Interrupts::wait`] if a signal came.
pub fn look_up(name: &str, seed: [u8; 32], interrupts: &Interrupts) -> io::Result<Vec<IpAddr>> {
    let (clock, mut rng) = (Clock::new(), Rng::new(seed));
    let mut resolver = Resolver::unconfigured(ResolverConfig::from_text("", ""));
    let mut asked = Asked::default();
    let mut buffer = vec![0; DATAGRAM_MAX];
    resolver.resolve(clock.now(), name, &mut rng);
    // Ends because the resolver gives every name up in time.
    loop {
        while let Some(action) = resolver.poll_action() {
            let now = clock.now();
            if let Action::ReadConfig = action {
                let (resolv_conf, hosts) = read_config();
                let config = ResolverConfig::from_text(&resolv_conf, &hosts);
                resolver.reconfigure(now, config, &mut rng);
            } else if let Err(socket) = asked.act(action) {
                resolver.handle_socket(now, socket, SocketEvent::Failed, &mut rng);
            }
        }
        if let Some((_, result)) = resolver.poll_resolved() {
            return result.map_err(|why| io::Error::other(why.to_string()));
        }
        let most = resolver.poll_timeout().map(|due| due.since(clock.now()));
        let fds = asked.0.iter().map(|(_, wire)| wire.poll_fd()).collect();
        match interrupts.wait_for_any(fds, most) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                resolver.handle_timeout(clock.now(), &mut rng);
                continue;
            }
            waited => waited?,
        }
        for (socket, wire) in &mut asked.0 {
            while let Some(event) = wire.poll(&mut buffer) {
                resolver.handle_socket(clock.now(), *socket, event, &mut rng);
                if event == SocketEvent::Failed {
                    break;
                }
            }
        }
    }
}

/// The sockets that are open.
#[derive(Default)]
struct Asked(Vec<(SocketId, Wire)>);

impl Asked {
    /// Does what is to be done on a socket; an error names the one on which it can't be done.
    fn act(&mut self, action: Action) -> Result<(), SocketId> {
        let (socket, opened) = match action {
            Action::Datagram { socket, to, bytes } => (socket, Wire::ask(to, &bytes)),
            Action::Connect { socket, to } => (socket, Wire::connect(to)),
            Action::Send { socket, bytes } => {
                let known = self.0.iter_mut().find(|(known, _)| *known == socket);
                let sent = known.map(|(_, wire)| wire.send(&bytes));
                return match sent {
                    Some(Ok(())) => Ok(()),
                    Some(Err(_)) | None => Err(socket),
                };
            }
            Action::Close { socket } => {
                self.0.retain(|(known, _)| *known != socket);
                return Ok(());
            }
            Action::ReadConfig => return Ok(()),
        };
        let wire = opened.map_err(|error| {
            log::debug!("a name server can't be asked: {error}");
            socket
        })?;
        self.0.push((socket, wire));
        Ok(())
    }
}

/// Longer answers come over TCP.
const DATAGRAM_MAX: usize = 4096;
