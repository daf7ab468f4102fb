//! A bounded channel into one input port, and the ledger that tells a complete stream from a cut one.
//!
//! A closed channel proves nothing: it closes as well when a producer panics half-way. So each edge counts its
//! producers, those that ended well, and what was sent and received. One thing must stay true: a receiver is told
//! that its input has *ended* only when every producer is on the ledger as ended well.

use std::any::Any;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crate::fault::Health;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::channel::{self, RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};
use crate::sync::{Condvar, Mutex};
use crate::{Message, Stop};

/// How long a blocked thread sleeps before it looks whether the run is stopping. Waking by the channel itself is not
/// affected; a `select!` over a stop channel instead was measured ten times slower.
pub(crate) const SLICE: Duration = Duration::from_millis(20);

/// How much an edge holds at the most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// What both ends of an edge share, whatever its message type.
#[derive(Debug)]
pub(crate) struct Ledger {
    capacity: Capacity,
    producers: AtomicUsize,
    ended: AtomicUsize,
    sent: AtomicU64,
    received: AtomicU64,
    /// The consumer wants no more.
    satisfied: AtomicBool,
    queued_bytes: AtomicUsize,
    /// Senders that wait for bytes to be freed; only when there are any does a receiver take the lock.
    byte_waiters: AtomicUsize,
    bytes_freed: (Mutex<()>, Condvar),
    depth_sum: AtomicU64,
    depth_max: AtomicUsize,
}

/// Figures of an edge at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LedgerFigures {
    pub(crate) capacity: Capacity,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) depth_mean: f64,
    pub(crate) depth_max: usize,
    pub(crate) satisfied: bool,
}

impl Ledger {
    fn new(capacity: Capacity) -> Ledger {
        Ledger {
            capacity,
            producers: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            satisfied: AtomicBool::new(false),
            queued_bytes: AtomicUsize::new(0),
            byte_waiters: AtomicUsize::new(0),
            bytes_freed: (Mutex::new(()), Condvar::new()),
            depth_sum: AtomicU64::new(0),
            depth_max: AtomicUsize::new(0),
        }
    }

    /// Enters one more producer: before any thread starts, or while another one stands there that has not ended.
    pub(crate) fn add_producer(&self) {
        self.producers.fetch_add(1, Ordering::AcqRel);
    }

    /// Marks one producer as ended well. Must precede the drop of its sender.
    pub(crate) fn end_producer(&self) {
        self.ended.fetch_add(1, Ordering::AcqRel);
    }

    /// Lets the producers know that nothing more is wanted.
    pub(crate) fn satisfy(&self) {
        self.satisfied.store(true, Ordering::Release);
    }

    pub(crate) fn is_satisfied(&self) -> bool {
        self.satisfied.load(Ordering::Acquire)
    }

    pub(crate) fn all_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire) == self.producers.load(Ordering::Acquire)
    }

    pub(crate) fn figures(&self) -> LedgerFigures {
        let sent = self.sent.load(Ordering::Acquire);
        LedgerFigures {
            capacity: self.capacity,
            sent,
            received: self.received.load(Ordering::Acquire),
            depth_mean: self.depth_sum.load(Ordering::Relaxed) as f64 / sent.max(1) as f64,
            depth_max: self.depth_max.load(Ordering::Relaxed),
            satisfied: self.is_satisfied(),
        }
    }

    /// The bytes of all messages that are queued or about to be.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued_bytes.load(Ordering::SeqCst)
    }

    /// Takes room for a message. An empty queue admits any message, or one larger than the capacity could never pass.
    fn try_reserve(&self, weight: usize) -> bool {
        let mut queued = self.queued_bytes.load(Ordering::SeqCst);
        loop {
            if queued != 0 && queued.saturating_add(weight) > self.capacity.bytes {
                return false;
            }
            match self.queued_bytes.compare_exchange_weak(
                queued,
                queued + weight,
                Ordering::SeqCst,
                Ordering::SeqCst,
            ) {
                Ok(_) => return true,
                Err(now) => queued = now,
            }
        }
    }

    fn release(&self, weight: usize) {
        self.queued_bytes.fetch_sub(weight, Ordering::SeqCst);
        if self.byte_waiters.load(Ordering::SeqCst) > 0 {
            // The lock orders this against a waiter between its check and its sleep.
            let _guard = self
                .bytes_freed
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            self.bytes_freed.1.notify_all();
        }
    }

    fn note_depth(&self, depth: usize) {
        self.depth_sum.fetch_add(depth as u64, Ordering::Relaxed);
        self.depth_max.fetch_max(depth, Ordering::Relaxed);
    }
}

/// A message with the weight it was admitted by, so that what is released is what was reserved.
struct Parcel<T> {
    weight: usize,
    message: T,
}

/// The ends of a channel before they are handed out: both, or one of them.
pub(crate) struct Edge<T> {
    ledger: Arc<Ledger>,
    sender: Option<channel::Sender<Parcel<T>>>,
    receiver: Option<channel::Receiver<Parcel<T>>>,
}

/// An edge whatever its message type.
///
/// Who keeps one for later keeps the half that is wanted: as long as anybody holds the other, no channel closes.
pub(crate) trait AnyEdge: Any + Send + Sync {
    fn sending_half(&self) -> Box<dyn AnyEdge>;
    fn receiving_half(&self) -> Box<dyn AnyEdge>;
}

impl<T: Message> AnyEdge for Edge<T> {
    fn sending_half(&self) -> Box<dyn AnyEdge> {
        Box::new(Edge {
            ledger: Arc::clone(&self.ledger),
            sender: self.sender.clone(),
            receiver: None,
        })
    }

    fn receiving_half(&self) -> Box<dyn AnyEdge> {
        Box::new(Edge {
            ledger: Arc::clone(&self.ledger),
            sender: None,
            receiver: self.receiver.clone(),
        })
    }
}

/// An input port gets the receiving ends of an edge and an output port the sending ones, by their types.
const OTHER_HALF: &str = "each end is taken from the half that has it";

impl<T: Message> Edge<T> {
    pub(crate) fn new(capacity: Capacity) -> Edge<T> {
        let (sender, receiver) = channel::bounded(capacity.messages);
        Edge {
            ledger: Arc::new(Ledger::new(capacity)),
            sender: Some(sender),
            receiver: Some(receiver),
        }
    }

    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    pub(crate) fn sender(&self, health: &Arc<Health>) -> EdgeSender<T> {
        EdgeSender {
            ledger: Arc::clone(&self.ledger),
            channel: self.sender.clone().expect(OTHER_HALF),
            health: Arc::clone(health),
        }
    }

    pub(crate) fn receiver(&self, health: &Arc<Health>) -> EdgeReceiver<T> {
        EdgeReceiver {
            ledger: Arc::clone(&self.ledger),
            channel: self.receiver.clone().expect(OTHER_HALF),
            health: Arc::clone(health),
        }
    }
}

#[cfg(all(test, shuttle))]
impl<T: Message> Edge<T> {
    /// The bytes of what is in the channel, and those that are taken on the ledger at the same moment.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        let receiver = self.receiver.as_ref().expect(OTHER_HALF);
        receiver.look(|parcels| {
            let queued = parcels.iter().map(|parcel| parcel.weight).sum();
            (queued, self.ledger.queued_bytes())
        })
    }
}

pub(crate) struct EdgeSender<T> {
    ledger: Arc<Ledger>,
    channel: channel::Sender<Parcel<T>>,
    health: Arc<Health>,
}

/// A message that has to wait for room, and for what.
pub(crate) enum Blocked<T> {
    Bytes(T, usize),
    Slot(T, usize),
}

impl<T: Message> EdgeSender<T> {
    /// Whether the consumer waits for something to do.
    pub(crate) fn is_starved(&self) -> bool {
        self.is_wanted() && self.channel.is_empty()
    }

    pub(crate) fn is_wanted(&self) -> bool {
        !self.ledger.is_satisfied()
    }

    /// Sends without waiting, or gives the message back to be [waited for](EdgeSender::send_blocked).
    pub(crate) fn try_send(&self, message: T) -> Result<Option<Blocked<T>>, Stop> {
        if let Some(stop) = self.stop() {
            return Err(stop);
        }
        let weight = message.weight();
        if !self.ledger.try_reserve(weight) {
            return Ok(Some(Blocked::Bytes(message, weight)));
        }
        match self.channel.try_send(Parcel { weight, message }) {
            Ok(()) => {
                self.sent();
                Ok(None)
            }
            Err(TrySendError::Full(parcel)) => Ok(Some(Blocked::Slot(parcel.message, weight))),
            Err(TrySendError::Disconnected(_)) => Err(self.refused(weight)),
        }
    }

    /// Waits until there is room, the consumer has enough, or the run stops.
    pub(crate) fn send_blocked(&self, blocked: Blocked<T>) -> Result<(), Stop> {
        let (message, weight) = match blocked {
            Blocked::Slot(message, weight) => (message, weight),
            Blocked::Bytes(message, weight) => {
                self.reserve_blocked(weight)?;
                (message, weight)
            }
        };
        let mut parcel = Parcel { weight, message };
        loop {
            match self.channel.send_timeout(parcel, SLICE) {
                Ok(()) => {
                    self.sent();
                    return Ok(());
                }
                Err(SendTimeoutError::Timeout(back)) => parcel = back,
                Err(SendTimeoutError::Disconnected(_)) => return Err(self.refused(weight)),
            }
            if let Some(stop) = self.stop() {
                self.ledger.release(weight);
                return Err(stop);
            }
        }
    }

    fn reserve_blocked(&self, weight: usize) -> Result<(), Stop> {
        let ledger = &*self.ledger;
        ledger.byte_waiters.fetch_add(1, Ordering::SeqCst);
        let mut guard = ledger
            .bytes_freed
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let result = loop {
            if ledger.try_reserve(weight) {
                break Ok(());
            }
            if let Some(stop) = self.stop() {
                break Err(stop);
            }
            guard = ledger
                .bytes_freed
                .1
                .wait_timeout(guard, SLICE)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        };
        drop(guard);
        ledger.byte_waiters.fetch_sub(1, Ordering::SeqCst);
        result
    }

    fn stop(&self) -> Option<Stop> {
        if self.ledger.is_satisfied() {
            Some(Stop::Enough)
        } else if self.health.stopping() {
            Some(Stop::Cancelled)
        } else {
            None
        }
    }

    /// The consumer is gone: it had enough, or it ended for a reason that is on record elsewhere.
    fn refused(&self, weight: usize) -> Stop {
        self.ledger.release(weight);
        self.stop().unwrap_or(Stop::Cancelled)
    }

    fn sent(&self) {
        self.ledger.sent.fetch_add(1, Ordering::AcqRel);
        self.ledger.note_depth(self.channel.len());
    }
}

pub(crate) struct EdgeReceiver<T> {
    ledger: Arc<Ledger>,
    channel: channel::Receiver<Parcel<T>>,
    health: Arc<Health>,
}

/// What a receiver found.
pub(crate) enum Taken<T> {
    Message(T),
    /// Nothing there for now.
    Empty,
    /// The stream is over and complete.
    End,
}

impl<T: Message> EdgeReceiver<T> {
    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    pub(crate) fn try_recv(&self) -> Result<Taken<T>, Stop> {
        // Some worker of this stage has said that the stage has enough; what is queued is not wanted.
        if self.ledger.is_satisfied() {
            return Ok(Taken::End);
        }
        if self.health.stopping() {
            return Err(Stop::Cancelled);
        }
        // Read before the channel: what was sent before the last producer ended is in the channel then.
        let all_ended = self.ledger.all_ended();
        match self.channel.try_recv() {
            Ok(parcel) => Ok(Taken::Message(self.take(parcel))),
            // A sending end that outlives its worker (a publisher holds it, say) does not keep the stream open.
            Err(TryRecvError::Empty) if all_ended => Ok(Taken::End),
            Err(TryRecvError::Empty) => Ok(Taken::Empty),
            Err(TryRecvError::Disconnected) => self.closed(),
        }
    }

    /// Waits for a message, the end, `deadline`, or the run's stop.
    pub(crate) fn recv_blocked(&self, deadline: Option<Instant>) -> Result<Taken<T>, Stop> {
        loop {
            let slice = match deadline {
                Some(deadline) => deadline
                    .saturating_duration_since(Instant::now())
                    .min(SLICE),
                None => SLICE,
            };
            match self.channel.recv_timeout(slice) {
                Ok(parcel) => return Ok(Taken::Message(self.take(parcel))),
                Err(RecvTimeoutError::Disconnected) => return self.closed(),
                Err(RecvTimeoutError::Timeout) => {}
            }
            match self.try_recv()? {
                Taken::Empty => {}
                found => return Ok(found),
            }
            if slice < SLICE {
                return Ok(Taken::Empty);
            }
        }
    }

    fn take(&self, parcel: Parcel<T>) -> T {
        self.ledger.received.fetch_add(1, Ordering::AcqRel);
        self.ledger.release(parcel.weight);
        parcel.message
    }

    fn closed(&self) -> Result<Taken<T>, Stop> {
        if self.ledger.is_satisfied() || self.ledger.all_ended() {
            Ok(Taken::End)
        } else if self.health.stopping() {
            Err(Stop::Cancelled)
        } else {
            Err(Stop::Truncated)
        }
    }
}
