//! Workers whose threads are started only when they are called up.
//!
//! A stage that learns while it runs how many threads pay adds a few workers that start at once and keeps the rest in
//! reserve ([`Opening::watched_in_reserve`](crate::Opening::watched_in_reserve)). Until it is called up
//! ([`Context::call_up`](crate::Context::call_up)) such a worker is no more than the closure that makes it: it has no
//! ports, no meter and no thread. When any worker of the stage has ended, or the run stops, nobody is called up any more,
//! and the closures that are left are dropped: there is nothing that they could do.
//!
//! One thing must stay true: nobody joins a stream that has ended. So the reserve as a whole stands as a producer on the
//! ledgers of its stage's outputs, from before the first thread starts until it is closed, and under its lock whoever is
//! called up enters beside it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

use crate::StageError;
use crate::crew::PostId;
use crate::edge::Ledger;
use crate::endpoints::StagePorts;
use crate::fault::{Fault, FaultKind};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::worker::{Ending, Worker, discard, panic_message};

/// Makes a worker: the ports of its stage, and its number among the workers of the stage.
pub(crate) type Make = Box<dyn FnOnce(&StagePorts, usize) -> Result<Worker, StageError> + Send>;

/// Starts the threads of those who are called up.
pub(crate) trait Recruiter: Send + Sync {
    /// A post for one more worker. From now on the run waits for its end.
    fn announce(&self) -> PostId;

    /// Starts a thread at the post, or gives the worker back if there is none to be had.
    fn start(&self, post: PostId, worker: Box<Worker>) -> Result<(), Box<Worker>>;

    /// Tells the end of a post that never got its thread.
    fn withdraw(&self, post: PostId, ending: Ending);
}

/// The workers of one stage that wait to be called up.
#[derive(Default)]
pub(crate) struct Reserve {
    /// How many there are, for who looks without the lock.
    left: AtomicUsize,
    /// `None` before there are any, and when nobody is to be called up any more.
    held: Mutex<Option<Held>>,
}

struct Held {
    /// Those who are called up first come last.
    recruits: Vec<Recruit>,
    ports: Arc<StagePorts>,
    /// The number of the next worker.
    next: usize,
    /// The ledgers on which the reserve stands as a producer, and whoever is called up after it.
    leases: Arc<[Arc<Ledger>]>,
    /// Known once threads can be started.
    recruiter: Option<Arc<dyn Recruiter>>,
}

/// Small as long as nobody needs it: there may be hundreds.
enum Recruit {
    Unmade(Make),
    /// It was called up once, and there was no thread to be had.
    Made(Box<Worker>),
}

impl Reserve {
    fn lock(&self) -> MutexGuard<'_, Option<Held>> {
        // Nothing under this lock panics half-way.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts workers into reserve, of a stage that has `next` already, and enters the reserve on the ledgers.
    pub(crate) fn fill(&self, makes: Vec<Make>, ports: StagePorts, next: usize) {
        let leases: Arc<[_]> = ports.outgoing().into();
        leases.iter().for_each(|ledger| ledger.add_producer());
        self.left.store(makes.len(), Ordering::Relaxed);
        *self.lock() = Some(Held {
            recruits: makes.into_iter().rev().map(Recruit::Unmade).collect(),
            ports: Arc::new(ports),
            next,
            leases,
            recruiter: None,
        });
    }

    /// Lets workers be called up from now on.
    pub(crate) fn open(&self, recruiter: Arc<dyn Recruiter>) {
        if let Some(held) = self.lock().as_mut() {
            held.recruiter = Some(recruiter);
        }
    }

    /// Starts one more worker; says whether there was one, and a thread for it.
    pub(crate) fn call_up(&self) -> bool {
        if self.left.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let Some(call) = self.take() else {
            return false;
        };
        let Call {
            recruit,
            ports,
            number,
            leases,
            recruiter,
            post,
        } = call;
        // Without the lock: making a worker may take its time, and may even call up another.
        let made = match recruit {
            Recruit::Made(worker) => Ok(worker),
            Recruit::Unmade(make) => make_worker(make, &ports, number).map(Box::new),
        };
        let Ok(worker) = made else {
            // On none of the ledgers it has ended: what comes after the stage is no whole.
            recruiter.withdraw(post, Ending::Cut);
            return false;
        };
        match recruiter.start(post, worker) {
            Ok(()) => true,
            Err(worker) => {
                let refused = self.take_back(worker);
                leases.iter().for_each(|ledger| ledger.end_producer());
                if let Some(worker) = refused {
                    discard(worker.actor, ports.stage(), ports.health());
                }
                recruiter.withdraw(post, Ending::Well);
                false
            }
        }
    }

    /// Takes a worker out of the reserve and gives it a post, unless there is none or the time has passed.
    fn take(&self) -> Option<Call> {
        let mut held = self.lock();
        let held = held.as_mut()?;
        let recruiter = Arc::clone(held.recruiter.as_ref()?);
        if held.ports.health().stopping() {
            return None;
        }
        let recruit = held.recruits.pop()?;
        self.left.store(held.recruits.len(), Ordering::Relaxed);
        held.next += 1;
        // The reserve has not ended on any of them.
        held.leases.iter().for_each(|ledger| ledger.add_producer());
        Some(Call {
            recruit,
            ports: Arc::clone(&held.ports),
            number: held.next - 1,
            leases: Arc::clone(&held.leases),
            post: recruiter.announce(),
            recruiter,
        })
    }

    /// Puts a worker back that got no thread, or returns it if there is no reserve any more.
    fn take_back(&self, worker: Box<Worker>) -> Option<Box<Worker>> {
        match self.lock().as_mut() {
            Some(held) => {
                held.recruits.push(Recruit::Made(worker));
                self.left.store(held.recruits.len(), Ordering::Relaxed);
                None
            }
            None => Some(worker),
        }
    }

    /// Calls nobody up any more, and lets go of those who were left.
    pub(crate) fn close(&self) {
        let Some(held) = self.lock().take() else {
            return;
        };
        self.left.store(0, Ordering::Relaxed);
        held.leases.iter().for_each(|ledger| ledger.end_producer());
        // Only now do the ends of the channels go.
        let (stage, health) = (held.ports.stage(), held.ports.health());
        for recruit in held.recruits {
            match recruit {
                Recruit::Made(worker) => discard(worker.actor, stage, health),
                Recruit::Unmade(make) => discard(make, stage, health),
            }
        }
    }
}

/// A worker on its way out of the reserve.
struct Call {
    recruit: Recruit,
    ports: Arc<StagePorts>,
    number: usize,
    leases: Arc<[Arc<Ledger>]>,
    post: PostId,
    recruiter: Arc<dyn Recruiter>,
}

/// Makes a worker. If that fails, the fault is on record.
fn make_worker(make: Make, ports: &StagePorts, number: usize) -> Result<Worker, ()> {
    let message = match catch_unwind(AssertUnwindSafe(|| make(ports, number))) {
        Ok(Ok(worker)) => return Ok(worker),
        Ok(Err(StageError::Stopped(_))) if ports.health().stopping() => return Err(()),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => panic_message(&*panic),
    };
    ports.health().record(Fault {
        stage: ports.stage().to_owned(),
        kind: FaultKind::Open,
        message,
    });
    Err(())
}

#[cfg(test)]
#[cfg(not(shuttle))]
mod tests {
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::fault::Health;
    use crate::monitor::MonitoredEdge;
    use crate::opening::Patience;
    use crate::stall::Stalls;
    use crate::testing::Collected;
    use crate::wiring::{Opened, open, wire};
    use crate::{
        Builder, CancelHandle, Declare, Kind, Opening, Outlet, OutputPort, Properties, Watch,
        Watched,
    };

    /// Does nothing, and counts how often it was made.
    struct Idle {
        _out: Outlet<u64>,
    }

    impl Watched for Idle {
        fn run(_: &mut Watch<Idle>) -> Result<(), StageError> {
            Ok(())
        }

        fn call(&self, _: u64) -> (&'static str, Vec<u8>) {
            ("nothing", Vec::new())
        }

        fn give_up(&mut self, _: u64) {}
    }

    struct Idling;

    impl Kind for Idling {
        type Config = Arc<AtomicUsize>;
        type Ports = OutputPort<u64>;

        fn declare(&self, _: Option<&Self::Config>, ports: &mut Declare<'_>) -> Self::Ports {
            ports.output("out", Properties::default())
        }

        fn open(
            &self,
            made: Arc<AtomicUsize>,
            out: Self::Ports,
            stage: &mut Opening<'_>,
        ) -> Result<(), StageError> {
            stage.watched(|ends| {
                Ok(Idle {
                    _out: ends.output(&out),
                })
            })?;
            stage.watched_in_reserve(move |ends| {
                made.fetch_add(1, Ordering::SeqCst);
                Ok(Idle {
                    _out: ends.output(&out),
                })
            });
            Ok(())
        }
    }

    /// Has threads for those only who come after the first so many.
    struct Reluctant {
        refuses: AtomicUsize,
        /// The posts that are waited for.
        posts: AtomicUsize,
        started: Mutex<Vec<Worker>>,
    }

    impl Recruiter for Reluctant {
        fn announce(&self) -> PostId {
            let worker = self.posts.fetch_add(1, Ordering::SeqCst);
            PostId { stage: 0, worker }
        }

        fn start(&self, _: PostId, worker: Box<Worker>) -> Result<(), Box<Worker>> {
            let refuses = self.refuses.load(Ordering::SeqCst);
            if refuses > 0 {
                self.refuses.store(refuses - 1, Ordering::SeqCst);
                return Err(worker);
            }
            self.started.lock().unwrap().push(*worker);
            Ok(())
        }

        fn withdraw(&self, _: PostId, ending: Ending) {
            assert_eq!(ending, Ending::Well);
            self.posts.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn opened(made: &Arc<AtomicUsize>, health: &Arc<Health>) -> (Opened, Vec<MonitoredEdge>) {
        let mut builder = Builder::new("test");
        let source = builder.stage("source", Idling, Arc::clone(made)).done();
        let _ = builder.sink("sink", Collected::<u64>::new()).reads(&source);
        let graph = builder.build().unwrap().graph;
        let (edges, monitored) = wire(&graph);
        let patience = Patience {
            began: Instant::now(),
            stall_after: Duration::from_secs(3600),
            left: &Cell::new(Duration::ZERO),
            stalls: &Stalls::default(),
        };
        let opened = open(graph, &edges, health, false, patience);
        assert_eq!(health.fault(), None);
        (opened, monitored)
    }

    #[test]
    fn a_worker_without_a_thread_stays_in_reserve_as_it_was_and_keeps_nobody_waiting() {
        let made = Arc::new(AtomicUsize::new(0));
        let health = Arc::new(Health::new(CancelHandle::new()));
        let (opened, edges) = opened(&made, &health);
        let [(_, reserve)] = &opened.reserves[..] else {
            panic!("one stage has a reserve");
        };
        assert!(!reserve.call_up(), "before there is a crew");
        let crew = Arc::new(Reluctant {
            refuses: AtomicUsize::new(2),
            posts: AtomicUsize::new(0),
            started: Mutex::default(),
        });
        reserve.open(Arc::clone(&crew) as _);
        assert!(!reserve.call_up());
        assert!(!reserve.call_up());
        assert_eq!(crew.posts.load(Ordering::SeqCst), 0);
        assert!(reserve.call_up(), "it is still there");
        assert!(!reserve.call_up(), "it was the only one");
        assert_eq!(crew.posts.load(Ordering::SeqCst), 1);
        assert_eq!(made.load(Ordering::SeqCst), 1);
        assert_eq!(health.fault(), None);
        // The ledger counts as many producers as there are: the first worker, the one called up, and the reserve.
        let [edge] = &edges[..] else {
            panic!("one edge");
        };
        reserve.close();
        let called_up = crew.started.lock().unwrap().pop().unwrap();
        for worker in opened.workers.into_iter().map(|(_, worker)| worker) {
            for ledger in &worker.post.leases {
                ledger.end_producer();
            }
        }
        assert!(!edge.ledger.all_ended());
        called_up
            .post
            .leases
            .iter()
            .for_each(|ledger| ledger.end_producer());
        assert!(edge.ledger.all_ended());
    }

    #[test]
    fn nobody_is_called_up_when_the_run_is_stopping() {
        let made = Arc::new(AtomicUsize::new(0));
        let health = Arc::new(Health::new(CancelHandle::new()));
        let (opened, _) = opened(&made, &health);
        let (_, reserve) = &opened.reserves[0];
        reserve.open(Arc::new(Reluctant {
            refuses: AtomicUsize::new(0),
            posts: AtomicUsize::new(0),
            started: Mutex::default(),
        }));
        health.stop();
        assert!(!reserve.call_up());
        assert_eq!(made.load(Ordering::SeqCst), 0);
    }
}
