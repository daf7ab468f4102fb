//! Answers that are not given at once: held back, waiting for a free place, or hanging.
//!
//! No thread waits for an answer's time, so any number can be held back. What must stay true: every
//! answer that comes in here is given, at the latest when the queue is closed; otherwise a process
//! stays in the kernel for ever.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Threads that give answers whose time has come.
const THREADS: usize = 4;

/// Gives an answer.
pub(crate) type Answer = Box<dyn FnOnce() + Send>;

/// The queue and its threads.
pub(crate) struct Queue {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    /// An answer is due earlier than any before, or the queue was closed.
    sooner: Condvar,
    /// Another call hangs.
    hung: Condvar,
    /// How many calls are served at a time.
    places: Option<usize>,
}

#[derive(Default)]
struct State {
    /// Calls that have a place.
    served: usize,
    /// Calls without a place.
    waiting: VecDeque<Call>,
    /// When answers are due, the earliest first, and under which key they are in `answers`.
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    answers: BTreeMap<u64, Answer>,
    next_key: u64,
    hung: Vec<Answer>,
    /// Nothing hangs any more.
    released: bool,
    /// Nothing waits any more.
    closed: bool,
}

struct Call {
    latency: Duration,
    hang: bool,
    answer: Answer,
}

impl Queue {
    /// A queue that serves so many calls at a time, or any number.
    pub(crate) fn new(places: Option<usize>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            sooner: Condvar::new(),
            hung: Condvar::new(),
            places,
        });
        let mut queue = Self {
            shared,
            threads: Vec::new(),
        };
        for _ in 0..THREADS {
            let shared = Arc::clone(&queue.shared);
            let thread = std::thread::Builder::new().name("testfs-queue".to_owned());
            // On failure `queue` is dropped, which ends the threads that have begun.
            queue.threads.push(thread.spawn(move || shared.work())?);
        }
        Ok(queue)
    }

    /// Gives `answer` after `latency`, or when nothing hangs any more.
    pub(crate) fn put(&self, latency: Duration, hang: bool, answer: Answer) {
        if latency.is_zero() && !hang && self.shared.places.is_none() {
            return answer();
        }
        let mut state = self.shared.state.lock();
        if state.closed {
            drop(state);
            return answer();
        }
        let call = Call {
            latency,
            hang,
            answer,
        };
        if self
            .shared
            .places
            .is_some_and(|places| state.served >= places)
        {
            state.waiting.push_back(call);
        } else {
            self.shared.serve(&mut state, call);
        }
    }

    /// How many calls hang.
    pub(crate) fn hung(&self) -> usize {
        self.shared.state.lock().hung.len()
    }

    /// Waits until at least `calls` calls hang, and says whether they do.
    pub(crate) fn wait_until_hung(&self, calls: usize, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut state = self.shared.state.lock();
        while state.hung.len() < calls {
            if self
                .shared
                .hung
                .wait_until(&mut state, deadline)
                .timed_out()
            {
                return state.hung.len() >= calls;
            }
        }
        true
    }

    /// Answers what hangs; from now on nothing does.
    pub(crate) fn release(&self) {
        self.shared.release(&mut self.shared.state.lock());
    }

    /// Answers everything, in a moment what has come in and at once what comes in from now on.
    pub(crate) fn close(&self) {
        let mut state = self.shared.state.lock();
        state.closed = true;
        self.shared.release(&mut state);
        let due = std::mem::take(&mut state.due);
        let now = Instant::now();
        state.due = due
            .into_iter()
            .map(|Reverse((_, key))| Reverse((now, key)))
            .collect();
        while let Some(call) = state.waiting.pop_front() {
            self.shared.serve(&mut state, call);
        }
        self.shared.sooner.notify_all();
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.close();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so, and there is nothing to be done about it here.
            drop(thread.join());
        }
    }
}

impl Shared {
    /// Gives a call its place.
    fn serve(&self, state: &mut State, call: Call) {
        state.served += 1;
        if call.hang && !state.released {
            state.hung.push(call.answer);
            self.hung.notify_all();
        } else {
            let latency = if state.closed {
                Duration::ZERO
            } else {
                call.latency
            };
            self.put_due(state, latency, call.answer);
        }
    }

    fn put_due(&self, state: &mut State, latency: Duration, answer: Answer) {
        let key = state.next_key;
        state.next_key += 1;
        let now = Instant::now();
        let due = now
            .checked_add(latency)
            .unwrap_or(now + Duration::from_secs(u32::MAX.into()));
        state.due.push(Reverse((due, key)));
        state.answers.insert(key, answer);
        self.sooner.notify_one();
    }

    fn release(&self, state: &mut State) {
        state.released = true;
        for answer in std::mem::take(&mut state.hung) {
            self.put_due(state, Duration::ZERO, answer);
        }
    }

    /// Gives answers when they are due, until the queue is closed and empty.
    fn work(&self) {
        let mut state = self.state.lock();
        loop {
            let Some(&Reverse((due, key))) = state.due.peek() else {
                if state.closed {
                    return;
                }
                self.sooner.wait(&mut state);
                continue;
            };
            if due > Instant::now() {
                // Another thread may take it when its time comes; this one then looks again.
                self.sooner.wait_until(&mut state, due);
                continue;
            }
            state.due.pop();
            let Some(answer) = state.answers.remove(&key) else {
                continue;
            };
            drop(state);
            answer();
            state = self.state.lock();
            state.served -= 1;
            if let Some(next) = state.waiting.pop_front() {
                self.serve(&mut state, next);
            }
        }
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.shared.state.lock();
        f.debug_struct("Queue")
            .field("served", &state.served)
            .field("waiting", &state.waiting.len())
            .field("hung", &state.hung.len())
            .finish_non_exhaustive()
    }
}
