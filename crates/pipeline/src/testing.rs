//! Sources and sinks in memory, for testing stages and whole jobs without a file system, and a test of conduct for
//! stages.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Errors, Message, Outcome, Outlet, Sink, Source, StageError, Verdict};

mod conformance;

pub use conformance::{Trial, conformance};

/// A source that sends what it was given.
#[derive(Clone, Debug)]
pub struct Items<T>(pub Vec<T>);

impl<T: Message> Source for Items<T> {
    type Out = T;

    fn run(&mut self, out: &mut Outlet<T>) -> Result<(), StageError> {
        self.0.drain(..).try_for_each(|item| out.send(item))
    }
}

/// A sink that keeps what it gets. Clones share it, so that a test keeps one and gives one away.
#[derive(Debug)]
pub struct Collected<T> {
    inner: Arc<Mutex<Collection<T>>>,
}

#[derive(Debug)]
struct Collection<T> {
    items: Vec<T>,
    prepared: bool,
    verdict: Option<Outcome>,
}

impl<T> Clone for Collected<T> {
    fn clone(&self) -> Self {
        Collected {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<T> Default for Collected<T> {
    fn default() -> Self {
        let collection = Collection {
            items: Vec::new(),
            prepared: false,
            verdict: None,
        };
        Collected {
            inner: Arc::new(Mutex::new(collection)),
        }
    }
}

impl<T: Clone> Collected<T> {
    /// An empty sink.
    pub fn new() -> Self {
        Collected::default()
    }

    /// What was written so far.
    pub fn items(&self) -> Vec<T> {
        self.lock().items.clone()
    }

    /// Whether it was told to prepare.
    pub fn prepared(&self) -> bool {
        self.lock().prepared
    }

    /// The outcome that it was told when it came to publishing.
    pub fn verdict(&self) -> Option<Outcome> {
        self.lock().verdict
    }

    /// Whether it would stand under its final name now.
    pub fn published(&self) -> bool {
        self.verdict().is_some_and(Outcome::publishes)
    }

    fn lock(&self) -> MutexGuard<'_, Collection<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Message> Sink for Collected<T> {
    type In = T;

    fn write(&mut self, message: T, _: &Errors) -> Result<(), StageError> {
        self.lock().items.push(message);
        Ok(())
    }

    fn prepare(&mut self) -> Result<(), StageError> {
        self.lock().prepared = true;
        Ok(())
    }

    fn publish(self, verdict: &Verdict) -> Result<(), StageError> {
        self.lock().verdict = Some(verdict.outcome);
        Ok(())
    }
}
