//! The life of one worker's thread, from its start to the moment its ports go.
//!
//! One thing must stay true: the ledgers and the fault are on record before the ports are dropped, so that what
//! neighbours see when channels close is a consequence and never the cause.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::edge::Ledger;
use crate::fault::{Fault, FaultKind, Health};
use crate::meter::WorkerMeter;
use crate::port::{InletProgress, Witness};
use crate::reserve::Reserve;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::watch::{Watch, Watched, WatchedSlot};
use crate::{Actor, StageError, Stop};

/// A worker that waits for its thread.
pub(crate) struct Worker {
    pub(crate) actor: Box<dyn Actor>,
    pub(crate) post: Post,
    /// Where the watchdog finds it while it is inside a call, if its calls are watched.
    pub(crate) slot: Option<Arc<dyn WatchedSlot>>,
    /// Another thread went on in its place.
    pub(crate) replaced: Arc<AtomicBool>,
}

impl Worker {
    /// One whose calls are watched.
    pub(crate) fn watched<W: Watched>(worker: W, post: Post) -> Worker {
        let replaced = Arc::default();
        let watch = Watch::new(Box::new(worker), &replaced, &post.meter);
        Worker {
            post,
            slot: Some(watch.slot()),
            actor: Box::new(watch),
            replaced,
        }
    }
}

/// A worker's place in its run. Whoever replaces the worker takes it over.
#[derive(Clone)]
pub(crate) struct Post {
    pub(crate) meter: Arc<WorkerMeter>,
    pub(crate) witness: Arc<Witness>,
    pub(crate) told: Arc<AtomicBool>,
    /// Of the stage.
    pub(crate) reserve: Arc<Reserve>,
    pub(crate) inlets: Vec<(Arc<Ledger>, Arc<InletProgress>)>,
    /// The edges on whose ledgers this worker stands as a producer.
    pub(crate) leases: Vec<Arc<Ledger>>,
}

/// How one worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It saw all of its input and delivered all of its output.
    Well,
    /// Its input or output was cut, or it failed.
    Cut,
}

/// The life of one worker's thread. Nothing comes of one that was replaced: its post is another thread's.
pub(crate) fn work(worker: Worker, stage: &str, health: &Health) -> Option<Ending> {
    let Worker {
        mut actor,
        post,
        replaced,
        ..
    } = worker;
    let Post {
        meter,
        witness,
        told,
        reserve,
        inlets,
        leases,
    } = post;
    meter.start();
    let result = catch_unwind(AssertUnwindSafe(|| actor.run()));
    if replaced.load(Ordering::Acquire) {
        return None;
    }
    meter.stop();
    let ending = match result {
        // What came of it after it had lost input or output, or had heard of the stop, is a consequence, whatever it says.
        _ if witness.was_cut() || told.load(Ordering::Acquire) => Ok(Ending::Cut),
        Ok(Ok(())) => {
            let unread = inlets
                .iter()
                .any(|(ledger, progress)| !progress.ended() && !ledger.is_satisfied());
            match unread {
                true => Err((FaultKind::Contract, UNREAD.to_owned())),
                false => Ok(Ending::Well),
            }
        }
        Ok(Err(StageError::Stopped(Stop::Enough))) => {
            // That nobody wants more of its output means that it wants no more input.
            inlets.iter().for_each(|(ledger, _)| ledger.satisfy());
            Ok(Ending::Well)
        }
        Ok(Err(StageError::Stopped(_))) if health.stopping() => Ok(Ending::Cut),
        Ok(Err(StageError::Stopped(_))) => Err((FaultKind::Contract, UNTOLD.to_owned())),
        Ok(Err(error)) => Err((FaultKind::Error, error.to_string())),
        Err(panic) => Err((FaultKind::Panic, panic_message(&*panic))),
    };
    let ending = ending.unwrap_or_else(|(kind, message)| {
        health.record(Fault {
            stage: stage.to_owned(),
            kind,
            message,
        });
        Ending::Cut
    });
    // Whoever were called up now would find that there is nothing left to do.
    reserve.close();
    if ending == Ending::Well {
        leases.iter().for_each(|ledger| ledger.end_producer());
    }
    // Only now do the ports go, and neighbours see channels close: the ledgers and the fault are already on record.
    discard(actor, stage, health);
    Some(ending)
}

const UNREAD: &str = "it ended before its input did, and did not say that it had enough";
pub(crate) const UNTOLD: &str = "it stopped early, and nothing had told it to";

/// Drops a worker's actor, or what would have made it, which may panic once more.
pub(crate) fn discard<T>(actor: T, stage: &str, health: &Health) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(actor))) {
        health.record(Fault {
            stage: stage.to_owned(),
            kind: FaultKind::Panic,
            message: format!("while it was dropped: {}", panic_message(&*panic)),
        });
    }
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(message), _) => (*message).to_owned(),
        (_, Some(message)) => message.clone(),
        _ => "it panicked with a value that is no text".to_owned(),
    }
}
