//! SIGINT, SIGTERM and SIGHUP for what has no loop: whatever waits here waits for them, too.

use std::fs;
use std::io::{self, BufRead, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
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

    /// Catches the signals from now on. A hangup asks to stop, too: whoever waits for the answer has gone. Unless the
    /// process was started to ignore it, as `nohup` does.
    ///
    /// # Errors
    ///
    /// What the system says if there is no descriptor or no memory for it.
    pub fn catch() -> io::Result<Self> {
        match is_ignored(SIGHUP) {
            true => Self::catch_these(&[SIGINT, SIGTERM]),
            false => Self::catch_these(&[SIGHUP, SIGINT, SIGTERM]),
        }
    }

    /// The same for what is to become a run: a terminal that goes away ends no download, not even one that is about to
    /// begin.
    ///
    /// # Errors
    ///
    /// As [`Interrupts::catch`].
    pub fn catch_before_a_run() -> io::Result<Self> {
        // Nobody looks at this: to catch it is all.
        flag::register(SIGHUP, Arc::new(AtomicBool::new(false)))?;
        Self::catch_these(&[SIGINT, SIGTERM])
    }

    fn catch_these(signals: &[i32]) -> io::Result<Self> {
        let (signalled, signaller) = UnixStream::pair()?;
        for signal in signals {
            pipe::register(*signal, signaller.try_clone()?)?;
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

/// Whether the process was started to ignore a signal, as far as that can be seen.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|it| it.strip_prefix("SigIgn:"));
    let mask = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// What a pipe takes without waiting once it is ready (`PIPE_BUF`).
const AT_ONCE: usize = 4096;
