//! TCP for ureq that a signal ends: its own waits in calls that begin anew after one.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Error, Timeout};

use crate::reactor::Interrupts;

/// Opens connections.
#[derive(Debug)]
pub(super) struct Tcp(pub(super) Interrupts);

impl Connector<()> for Tcp {
    type Out = Connection;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _chained: Option<()>,
    ) -> Result<Option<Connection>, Error> {
        let timeout = details.timeout;
        // The addresses share the time: a dead one leaves some to the next.
        let count = u32::try_from(details.addrs.len()).unwrap_or(u32::MAX);
        let each = timeout.not_zero().map(|all| *all / count.max(1));
        let mut failed = Error::HostNotFound;
        for address in &details.addrs {
            match self.open(*address, each) {
                Ok(stream) => {
                    let (input, output) = (
                        details.config.input_buffer_size(),
                        details.config.output_buffer_size(),
                    );
                    return Ok(Some(Connection {
                        stream,
                        buffers: LazyBuffers::new(input, output),
                        interrupts: self.0.clone(),
                    }));
                }
                Err(error) => failed = in_words(error, Timeout::Connect),
            }
            if self.0.came() {
                break;
            }
        }
        Err(failed)
    }
}

impl Tcp {
    fn open(&self, address: SocketAddr, most: Option<Duration>) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {
                self.0.wait(&socket, PollFlags::OUT, most)?;
                socket.take_error()?.map_or(Ok(()), Err)?;
            }
            done => done?,
        }
        Ok(socket.into())
    }
}

/// A connection that stands.
pub(super) struct Connection {
    /// It never blocks.
    stream: TcpStream,
    buffers: LazyBuffers,
    interrupts: Interrupts,
}

impl Connection {
    /// Calls until there is no need to wait, and waits in between.
    fn waiting<T>(
        &mut self,
        ways: PollFlags,
        timeout: NextTimeout,
        mut call: impl FnMut(&mut TcpStream, &mut LazyBuffers) -> io::Result<T>,
    ) -> Result<T, Error> {
        loop {
            let failed = match call(&mut self.stream, &mut self.buffers) {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            match failed.kind() {
                io::ErrorKind::Interrupted => continue,
                io::ErrorKind::WouldBlock => {}
                _ => return Err(Error::Io(failed)),
            }
            let most = timeout.not_zero().map(|most| *most);
            self.interrupts
                .wait(&self.stream, ways, most)
                .map_err(|error| in_words(error, timeout.reason))?;
        }
    }
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let mut sent = 0;
        while sent < amount {
            let part = self.waiting(PollFlags::OUT, timeout, |stream, buffers| {
                stream.write(&buffers.output()[sent..amount])
            })?;
            if part == 0 {
                return Err(Error::Io(io::ErrorKind::WriteZero.into()));
            }
            sent += part;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let amount = self.waiting(PollFlags::IN, timeout, |stream, buffers| {
            stream.read(buffers.input_append_buf())
        })?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    /// Nothing must have come: it would be an answer to no question.
    fn is_open(&mut self) -> bool {
        let peeked = self.stream.peek(&mut [0]);
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.fmt(f)
    }
}

fn in_words(error: io::Error, reason: Timeout) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut => Error::Timeout(reason),
        _ => Error::Io(error),
    }
}
