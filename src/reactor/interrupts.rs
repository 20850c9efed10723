//! SIGINT and SIGTERM for what has no loop: whatever waits here waits for them, too.

use std::io::{self, BufRead, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use signal_hook::consts::signal::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// Whether the process was asked to stop. That it was stays so: nothing is begun after it.
///
/// Waiting fails then, with an error that only says so; [`Interrupts::came`] tells it from others.
#[derive(Clone, Debug, Default)]
pub struct Interrupts(
    /// Becomes readable with the first signal, and is never read.
    Option<Arc<UnixStream>>,
);

impl Interrupts {
    /// Catches nothing: to wait is only to wait.
    pub fn none() -> Self {
        Self::default()
    }

    /// Catches the two signals from now on.
    ///
    /// # Errors
    ///
    /// What the system says if there is no descriptor or no memory for it.
    pub fn catch() -> io::Result<Self> {
        let (signalled, signaller) = UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM] {
            pipe::register(signal, signaller.try_clone()?)?;
        }
        Ok(Self(Some(Arc::new(signalled))))
    }

    /// Whether a signal has come.
    pub fn came(&self) -> bool {
        self.0.as_ref().is_some_and(|signalled| {
            let mut signalled = [PollFd::new(signalled, PollFlags::IN)];
            let now = Timespec::default();
            retry_on_intr(|| poll(&mut signalled, Some(&now))).is_ok_and(|ready| ready > 0)
        })
    }

    /// Waits until `on` is ready in one of these ways, or broken: then the next call on it says how.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::TimedOut`] after `most`; another kind if a signal came.
    pub fn wait(&self, on: impl AsFd, ways: PollFlags, most: Option<Duration>) -> io::Result<()> {
        self.wait_for_any(vec![PollFd::new(&on, ways)], most)
    }

    /// As [`Interrupts::wait`], for one of several to be ready.
    ///
    /// # Errors
    ///
    /// As [`Interrupts::wait`].
    pub(super) fn wait_for_any<'a>(
        &'a self,
        mut on: Vec<PollFd<'a>>,
        most: Option<Duration>,
    ) -> io::Result<()> {
        let own = on.len();
        if let Some(signalled) = &self.0 {
            on.push(PollFd::new(signalled, PollFlags::IN));
        }
        // A wait too long to be counted is one without end.
        let most = most.and_then(|most| Timespec::try_from(most).ok());
        let ready = loop {
            match poll(&mut on, most.as_ref()) {
                // Some other signal: the wait begins anew, and signals are few.
                Err(rustix::io::Errno::INTR) => continue,
                ready => break ready?,
            }
        };
        let signalled = on.get(own).is_some_and(|it| !it.revents().is_empty());
        match ready {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ if signalled => Err(io::Error::other("a signal asked the process to stop")),
            _ => Ok(()),
        }
    }

    /// Reads what `from` has, to its end or one byte beyond `most`.
    ///
    /// # Errors
    ///
    /// What the system says; as [`Interrupts::wait`].
    pub fn read(&self, mut from: impl BufRead + AsFd, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while bytes.len() <= most {
            self.wait(&from, PollFlags::IN, None)?;
            // All that is buffered is taken each time, so that there is nothing left when it waits.
            let part = match from.fill_buf() {
                Ok([]) => break,
                Ok(part) => part,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let taken = part.len();
            bytes.extend_from_slice(&part[..taken.min(most + 1 - bytes.len())]);
            from.consume(taken);
        }
        Ok(bytes)
    }

    /// Writes all of it, however long its reader takes.
    ///
    /// # Errors
    ///
    /// As [`Interrupts::read`].
    pub fn write(&self, mut to: impl Write + AsFd, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(AT_ONCE) {
            self.wait(&to, PollFlags::OUT, None)?;
            to.write_all(part)?;
            to.flush()?;
        }
        Ok(())
    }
}

/// What a pipe takes without waiting once it is ready (`PIPE_BUF`).
const AT_ONCE: usize = 4096;
