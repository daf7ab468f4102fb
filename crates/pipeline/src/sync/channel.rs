//! Bounded channels for schedules: what `crossbeam::channel` promises of them, made of one lock and two condition
//! variables.
//!
//! As in the original: who holds the last end of one side closes the channel by dropping it; what was sent before can
//! still be received; what nobody can receive any more is dropped with the last receiver; each message and each free
//! slot wakes one waiter, closing wakes all.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

pub(crate) use crossbeam::channel::{
    RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError,
};
use shuttle::sync::{Mutex, MutexGuard};

use super::Condvar;

struct Channel<T> {
    state: Mutex<State<T>>,
    not_full: Condvar,
    not_empty: Condvar,
}

struct State<T> {
    capacity: usize,
    queue: VecDeque<T>,
    senders: usize,
    receivers: usize,
}

impl<T> Channel<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Sender<T>(Arc<Channel<T>>);

pub(crate) struct Receiver<T>(Arc<Channel<T>>);

/// A channel for so many messages, at least one.
pub(crate) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a channel without slots is not modelled");
    let channel = Arc::new(Channel {
        state: Mutex::new(State {
            capacity,
            queue: VecDeque::new(),
            senders: 1,
            receivers: 1,
        }),
        not_full: Condvar::new(),
        not_empty: Condvar::new(),
    });
    (Sender(Arc::clone(&channel)), Receiver(channel))
}

impl<T> Sender<T> {
    pub(crate) fn len(&self) -> usize {
        self.0.lock().queue.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        match self.send_timeout(message, Duration::ZERO) {
            Ok(()) => Ok(()),
            Err(SendTimeoutError::Timeout(message)) => Err(TrySendError::Full(message)),
            Err(SendTimeoutError::Disconnected(message)) => {
                Err(TrySendError::Disconnected(message))
            }
        }
    }

    pub(crate) fn send_timeout(
        &self,
        message: T,
        timeout: Duration,
    ) -> Result<(), SendTimeoutError<T>> {
        let mut state = self.0.lock();
        let mut timed_out = timeout.is_zero();
        loop {
            if state.receivers == 0 {
                return Err(SendTimeoutError::Disconnected(message));
            }
            if state.queue.len() < state.capacity {
                state.queue.push_back(message);
                drop(state);
                self.0.not_empty.notify_one();
                return Ok(());
            }
            if timed_out {
                return Err(SendTimeoutError::Timeout(message));
            }
            (state, timed_out) = self
                .0
                .not_full
                .wait_timeout(state, timeout)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Receiver<T> {
    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        self.recv_timeout(Duration::ZERO)
            .map_err(|error| match error {
                RecvTimeoutError::Timeout => TryRecvError::Empty,
                RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
            })
    }

    pub(crate) fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        let mut state = self.0.lock();
        let mut timed_out = timeout.is_zero();
        loop {
            if let Some(message) = state.queue.pop_front() {
                drop(state);
                self.0.not_full.notify_one();
                return Ok(message);
            }
            if state.senders == 0 {
                return Err(RecvTimeoutError::Disconnected);
            }
            if timed_out {
                return Err(RecvTimeoutError::Timeout);
            }
            (state, timed_out) = self
                .0
                .not_empty
                .wait_timeout(state, timeout)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Receiver<T> {
    /// Looks at what is queued, for tests: nothing comes or goes meanwhile.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&VecDeque<T>) -> R) -> R {
        look(&self.0.lock().queue)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Sender(Arc::clone(&self.0))
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.0.lock().receivers += 1;
        Receiver(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.senders -= 1;
        let last = state.senders == 0;
        drop(state);
        if last {
            self.0.not_empty.notify_all();
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.receivers -= 1;
        let last = state.receivers == 0;
        let unread = match last {
            true => std::mem::take(&mut state.queue),
            false => VecDeque::new(),
        };
        drop(state);
        if last {
            self.0.not_full.notify_all();
        }
        // Only now, without the lock: dropping a message may do anything.
        drop(unread);
    }
}
