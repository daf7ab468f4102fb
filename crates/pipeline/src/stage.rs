//! The shapes a stage can have.
//!
//! [`Source`], [`Transform`] and [`Sink`] cover what most stages are; [`Actor`] is the general form that they are run
//! as. Whatever the shape, a stage runs on threads of its own and talks to others through its ports alone.

use std::time::Instant;

use crate::{Errors, Message, Outlet, StageError, Verdict};

/// A stage with output and no input.
pub trait Source: Send + 'static {
    /// What it produces.
    type Out: Message;

    /// Produces everything, then returns.
    ///
    /// # Errors
    /// Pass on what [`Outlet::send`] returns; any other error fails the run.
    fn run(&mut self, out: &mut Outlet<Self::Out>) -> Result<(), StageError>;
}

/// A stage that turns messages into others, in order.
pub trait Transform: Send + 'static {
    /// What it takes.
    type In: Message;
    /// What it produces.
    type Out: Message;

    /// Handles one message.
    ///
    /// # Errors
    /// Pass on what [`Outlet::send`] returns; [`StageError::ENOUGH`] ends the stage well before its input ends; any
    /// other error fails the run.
    fn apply(&mut self, message: Self::In, out: &mut Outlet<Self::Out>) -> Result<(), StageError>;

    /// Called when the input is empty for now and when [`deadline`](Transform::deadline) has passed: the moment to
    /// hand over what has been gathered.
    ///
    /// # Errors
    /// As [`apply`](Transform::apply).
    fn idle(&mut self, out: &mut Outlet<Self::Out>) -> Result<(), StageError> {
        let _ = out;
        Ok(())
    }

    /// When [`idle`](Transform::idle) must be called at the latest, though input keeps coming.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Called once when the input has ended and was complete; never after a cancelled or truncated input.
    ///
    /// # Errors
    /// As [`apply`](Transform::apply).
    fn finish(&mut self, out: &mut Outlet<Self::Out>) -> Result<(), StageError> {
        let _ = out;
        Ok(())
    }
}

/// A stage with input and no output but what it leaves behind: a file, a table, a count.
///
/// What it leaves appears in steps, so that no output can claim to be whole in a run in which another output failed:
/// every sink [prepares](Sink::prepare), then the outcome is decided, then every sink [seals](Sink::seal), and only
/// when all have done so every sink [publishes](Sink::publish).
pub trait Sink: Send + 'static {
    /// What it takes.
    type In: Message;

    /// Handles one message.
    ///
    /// # Errors
    /// [`StageError::ENOUGH`] ends the stage well before its input ends; any other error fails the run.
    fn write(&mut self, message: Self::In, errors: &Errors) -> Result<(), StageError>;

    /// Makes everything durable under a temporary name. Called once, after a complete input.
    ///
    /// # Errors
    /// Any error fails the run, and then no sink publishes.
    fn prepare(&mut self) -> Result<(), StageError> {
        Ok(())
    }

    /// Does all of publishing that can fail, and gives nothing its final name yet. Called on a sink that has prepared,
    /// once, and only if the run has finished.
    ///
    /// # Errors
    /// Any error fails the run, and then no sink publishes.
    fn seal(&mut self, verdict: &Verdict) -> Result<(), StageError> {
        let _ = verdict;
        Ok(())
    }

    /// Gives the result its final name, or throws it away: see [`Outcome::publishes`](crate::Outcome::publishes).
    ///
    /// It is not called when the sink itself failed or never reached its end; dropping it must then leave nothing.
    ///
    /// # Errors
    /// Any error fails the run; sinks that publish later are told so.
    fn publish(self, verdict: &Verdict) -> Result<(), StageError>
    where
        Self: Sized,
    {
        let _ = verdict;
        Ok(())
    }

    /// Leaves what there is under a name that tells it from a whole result. Called in place of
    /// [`publish`](Sink::publish) when the run did not finish and its job wants
    /// [partial results](crate::PipelineSettings::keep_partial); on a sink that has started, wherever it was stopped,
    /// also by an error or a panic of its own.
    ///
    /// # Errors
    /// Any error fails the run; then nothing is left of this sink.
    fn keep(self, verdict: &Verdict) -> Result<(), StageError>
    where
        Self: Sized,
    {
        let _ = verdict;
        Ok(())
    }
}

/// The general shape: a worker that owns its ports and runs its own loop on its own thread.
///
/// The ports must live in `self`, not on the stack of `run`: they are to outlive an unwinding panic, so that the
/// cause is on record before neighbours see a channel close.
pub trait Actor: Send + 'static {
    /// Does all the work of this thread.
    ///
    /// # Errors
    /// Pass on what the ports return; any other error fails the run. Returning before an input has ended, without
    /// having [said so](crate::Inlet::enough), fails the run too.
    fn run(&mut self) -> Result<(), StageError>;
}
