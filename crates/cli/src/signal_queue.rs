//! Signals as something to wait for, beside a descriptor and a clock.
//!
//! One thing must stay true: a signal that comes while nobody waits is there at the next look.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

/// The signals that have come.
pub(crate) struct SignalQueue {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
}

impl SignalQueue {
    /// A queue that no signal comes to yet.
    pub(crate) fn new() -> io::Result<SignalQueue> {
        let (reader, writer) = UnixStream::pair()?;
        let none: [i32; 0] = [];
        let delivery = SignalDelivery::with_pipe(reader, writer, SignalOnly, none)?;
        Ok(SignalQueue { delivery })
    }

    /// From now on this signal comes here.
    pub(crate) fn add(&mut self, signal: i32) -> io::Result<()> {
        self.delivery.handle().add_signal(signal)
    }

    /// Waits for a signal, for something to read at `other`, for the end of the time or of `other`; perhaps for less.
    pub(crate) fn wait(&self, other: Option<BorrowedFd<'_>>, time: Option<Duration>) {
        let signals = self.delivery.get_read().as_fd();
        let mut descriptors = [signals, other.unwrap_or(signals)]
            .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN));
        // What does not fit is for ever.
        let time = time.and_then(|time| Timespec::try_from(time).ok());
        // Interrupted by a signal, it is over as well.
        let _ = poll(&mut descriptors, time.as_ref());
    }

    /// The signals since the last look, each once.
    pub(crate) fn pending(&mut self) -> impl Iterator<Item = i32> + use<> {
        self.delivery.pending()
    }
}
