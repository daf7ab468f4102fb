//! A kind of stage, and the second step of its life: opening.
//!
//! *Declare* names and types the ports and reports every problem; *open* acquires what the stage
//! needs and yields one worker for each thread. Between the two stands the check of the whole graph.

use std::any::Any;
use std::sync::Arc;

use crate::{Declare, Opening, StageError};

/// Whether a kind can run on several threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threading {
    /// On one, and a job that asks for more is refused.
    Single,
    /// On as many as the job says; on as many as pay where it says nothing. Several threads give up
    /// the order.
    Parallel,
    /// As [`Parallel`](Threading::Parallel), and it can vary their number while it runs, so that a job may give it bounds
    /// ([`ThreadSetting::Range`](crate::ThreadSetting::Range)).
    Adaptive,
}

/// A kind of stage, registered by value under a name.
///
/// For most stages one of the shapes of [`Registry`](crate::Registry) is less work; this is what
/// they are made of.
pub trait Kind: Send + Sync + 'static {
    /// Its options. A registered kind reads them from the stage's table.
    type Config: Send + 'static;
    /// The handles of its ports, carried from *declare* to *open*.
    type Ports: Send + 'static;

    /// One line for a list of kinds: what it does.
    fn about(&self) -> &'static str {
        ""
    }

    /// Whether it can run on several threads.
    fn threading(&self) -> Threading {
        Threading::Single
    }

    /// Names and types the ports. Pure.
    ///
    /// Without a configuration (there was a mistake in it, already reported) the ports are declared
    /// as far as they can be known, so that mistakes of the neighbours show in the same run.
    fn declare(&self, config: Option<&Self::Config>, ports: &mut Declare<'_>) -> Self::Ports;

    /// Acquires what the stage needs and adds its workers.
    ///
    /// # Errors
    /// Any error fails the run before a thread has started.
    fn open(
        &self,
        config: Self::Config,
        ports: Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError>;
}

/// A configuration whose type only its kind knows.
pub(crate) type AnyConfig = Box<dyn Any + Send>;

/// How a declared stage is opened, once.
pub(crate) type OpenStage = Box<dyn FnOnce(&mut Opening<'_>) -> Result<(), StageError> + Send>;

/// [`Kind`] without its types, for a graph that holds many.
pub(crate) trait ErasedKind: Send + Sync {
    /// Declares; returns how to open, unless the configuration is missing.
    fn declare(
        self: Arc<Self>,
        config: Option<AnyConfig>,
        ports: &mut Declare<'_>,
    ) -> Option<OpenStage>;
}

impl<K: Kind> ErasedKind for K {
    fn declare(
        self: Arc<Self>,
        config: Option<AnyConfig>,
        ports: &mut Declare<'_>,
    ) -> Option<OpenStage> {
        // A graph only pairs a kind with what was decoded or built for the same kind.
        let config = config.and_then(|config| config.downcast::<K::Config>().ok());
        let handles = Kind::declare(&*self, config.as_deref(), ports);
        let config = config?;
        Some(Box::new(move |stage| {
            Kind::open(&*self, *config, handles, stage)
        }))
    }
}
