//! Single edges: several threads at either end, bytes, ends, cuts.

use std::sync::Arc;

use shuttle::thread::{self, JoinHandle};

use super::{Item, below, explore, in_order, items, some_capacity, sorted};
use crate::edge::{Edge, EdgeReceiver, EdgeSender, Ledger, Taken};
use crate::fault::{Fault, FaultKind, Health};
use crate::sync::clock;
use crate::{CancelHandle, Stop};

const EACH: usize = 3;

/// How a producer ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Well,
    /// It fails when it has sent so many: the fault goes on record, then its end of the channel.
    Failing(usize),
    /// Its end of the channel goes, and nothing is on record.
    Vanishing(usize),
}

/// An edge whose threads do what `work` makes of workers.
struct Rig {
    edge: Edge<Item>,
    health: Arc<Health>,
    cancel: CancelHandle,
    producers: Vec<JoinHandle<Produced>>,
    consumers: Vec<JoinHandle<Consumed>>,
}

/// What one producer had to send, and whether it did all that it had to.
struct Produced {
    items: Vec<Item>,
    end: Result<(), Stop>,
}

/// What one consumer got, and how it learned that there is no more.
struct Consumed {
    items: Vec<Item>,
    end: Result<(), Stop>,
}

/// All that went into an edge and came out.
struct Outcome {
    ledger: Arc<Ledger>,
    health: Arc<Health>,
    offered: Vec<Item>,
    produced: Vec<Result<(), Stop>>,
    consumed: Vec<Consumed>,
}

impl Rig {
    fn new() -> Rig {
        let cancel = CancelHandle::new();
        Rig {
            edge: Edge::new(some_capacity()),
            health: Arc::new(Health::new(cancel.clone())),
            cancel,
            producers: Vec::new(),
            consumers: Vec::new(),
        }
    }

    /// Starts the threads: producers by how they end, consumers by how many messages are enough for them.
    fn start(mut self, producers: &[Ends], consumers: &[Option<usize>]) -> Rig {
        for _ in producers {
            self.edge.ledger().add_producer();
        }
        for (source, &ends) in producers.iter().enumerate() {
            let sender = self.edge.sender(&self.health);
            let ledger = Arc::clone(self.edge.ledger());
            let health = Arc::clone(&self.health);
            let items = items(source, EACH);
            self.producers.push(thread::spawn(move || {
                let end = produce(sender, &ledger, &health, &items, ends);
                Produced { items, end }
            }));
        }
        for &enough in consumers {
            let receiver = self.edge.receiver(&self.health);
            let consumer = thread::spawn(move || consume(&receiver, enough));
            self.consumers.push(consumer);
        }
        self
    }

    /// Looks now and then whether no more is queued than was admitted, and no more admitted than there is room for.
    fn watch(self) -> Rig {
        let largest_message = 30;
        let room = self.edge.ledger().figures().capacity.bytes;
        for _ in 0..4 {
            let (queued, taken) = self.edge.bytes();
            assert!(
                queued <= taken,
                "{queued} bytes queued, {taken} accounted for"
            );
            assert!(taken <= room.max(largest_message));
        }
        self
    }

    /// Waits for all threads. The threads alone hold the channel's ends meanwhile.
    fn wait(self) -> Outcome {
        let ledger = Arc::clone(self.edge.ledger());
        drop(self.edge);
        let mut outcome = Outcome {
            ledger,
            health: self.health,
            offered: Vec::new(),
            produced: Vec::new(),
            consumed: Vec::new(),
        };
        for producer in self.producers {
            let Produced { items, end } = producer.join().unwrap();
            outcome.offered.extend(items);
            outcome.produced.push(end);
        }
        let consumed = self.consumers.into_iter();
        outcome.consumed = consumed.map(|thread| thread.join().unwrap()).collect();
        outcome
    }
}

impl Outcome {
    fn received(&self) -> Vec<Item> {
        let all = self.consumed.iter().flat_map(|consumer| &consumer.items);
        sorted(all.copied().collect())
    }

    fn assert_whole(&self) {
        assert_eq!(self.received(), sorted(self.offered.clone()));
        let figures = self.ledger.figures();
        assert_eq!(figures.sent, self.offered.len() as u64);
        assert_eq!(figures.received, figures.sent);
        assert_eq!(self.ledger.queued_bytes(), 0);
        assert!(figures.depth_max <= figures.capacity.messages);
    }

    /// What holds of every stream, also of one that was cut: nothing was made up, doubled or put out of order.
    fn assert_honest(&self) {
        let received = self.received();
        assert!(received.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(received.iter().all(|item| self.offered.contains(item)));
        for consumer in &self.consumed {
            assert!(in_order(&consumer.items));
        }
        assert!(self.ledger.figures().received <= self.ledger.figures().sent);
    }
}

fn produce(
    sender: EdgeSender<Item>,
    ledger: &Ledger,
    health: &Health,
    items: &[Item],
    ends: Ends,
) -> Result<(), Stop> {
    for (at, &item) in items.iter().enumerate() {
        match ends {
            Ends::Failing(when) if when == at => {
                health.record(Fault {
                    stage: item.source.to_string(),
                    kind: FaultKind::Error,
                    message: "trapped".to_owned(),
                });
                return Err(Stop::Cancelled);
            }
            Ends::Vanishing(when) if when == at => return Err(Stop::Cancelled),
            _ => {}
        }
        let sent = match sender.try_send(item) {
            Ok(None) => Ok(()),
            Ok(Some(blocked)) => sender.send_blocked(blocked),
            Err(stop) => Err(stop),
        };
        match sent {
            Ok(()) => {}
            // The consumer had all it wanted, so this producer did all that it had to.
            Err(Stop::Enough) => break,
            Err(stop) => return Err(stop),
        }
    }
    ledger.end_producer();
    drop(sender);
    Ok(())
}

fn consume(receiver: &EdgeReceiver<Item>, enough: Option<usize>) -> Consumed {
    let mut items = Vec::new();
    let end = loop {
        if enough == Some(items.len()) {
            receiver.ledger().satisfy();
            break Ok(());
        }
        let satisfied = receiver.ledger().is_satisfied();
        let taken = match receiver.try_recv() {
            Ok(Taken::Empty) => receiver.recv_blocked(None),
            taken => taken,
        };
        let over = matches!(taken, Ok(Taken::End));
        assert!(over || !satisfied, "it went on after another had enough");
        match taken {
            Ok(Taken::Message(item)) => items.push(item),
            Ok(Taken::Empty) => panic!("a wait without a deadline ended with nothing"),
            Ok(Taken::End) => break Ok(()),
            Err(stop) => break Err(stop),
        }
    };
    Consumed { items, end }
}

#[test]
fn all_that_is_sent_arrives_once_and_nobody_needs_a_timeout() {
    explore(|| {
        clock::without(|| {
            let outcome = Rig::new()
                .start(&[Ends::Well; 3], &[None; 2])
                .watch()
                .wait();
            outcome.assert_honest();
            outcome.assert_whole();
            assert!(outcome.produced.iter().all(Result::is_ok));
            assert!(outcome.consumed.iter().all(|consumer| consumer.end.is_ok()));
        });
    });
}

#[test]
fn all_that_is_sent_arrives_once_though_waits_end_at_any_moment() {
    explore(|| {
        clock::with(|| {
            let outcome = Rig::new()
                .start(&[Ends::Well; 2], &[None; 2])
                .watch()
                .wait();
            outcome.assert_honest();
            outcome.assert_whole();
            assert!(outcome.consumed.iter().all(|consumer| consumer.end.is_ok()));
        });
    });
}

#[test]
fn a_stream_that_lost_a_producer_never_ends_well() {
    explore(|| {
        clock::with(|| {
            let at = below(EACH);
            let lost = match below(2) {
                0 => Ends::Failing(at),
                _ => Ends::Vanishing(at),
            };
            let mut producers = [Ends::Well; 3];
            producers[below(3)] = lost;
            let outcome = Rig::new().start(&producers, &[None; 2]).wait();
            outcome.assert_honest();
            for consumer in &outcome.consumed {
                let stop = match lost {
                    Ends::Vanishing(_) => Stop::Truncated,
                    // The fault was on record before the channel closed.
                    _ => Stop::Cancelled,
                };
                assert_eq!(consumer.end, Err(stop));
            }
            let recorded = outcome.health.fault().is_some();
            assert_eq!(recorded, matches!(lost, Ends::Failing(_)));
        });
    });
}

#[test]
fn a_cancelled_run_stops_everyone_and_an_end_is_still_the_whole() {
    explore(|| {
        clock::with(|| {
            let rig = Rig::new().start(&[Ends::Well; 2], &[None; 2]);
            let cancel = rig.cancel.clone();
            let cancelling = thread::spawn(move || cancel.cancel());
            let outcome = rig.wait();
            cancelling.join().unwrap();
            outcome.assert_honest();
            let ends = |end: Result<(), Stop>| outcome.consumed.iter().any(|each| each.end == end);
            if ends(Ok(())) {
                assert!(outcome.produced.iter().all(Result::is_ok));
                // The other consumer may have been stopped with nothing in its hands: all was received even so.
                outcome.assert_whole();
            }
            // It was cancelled, which nobody may mistake for a lost producer, unless producers were stopped first.
            if ends(Err(Stop::Truncated)) {
                assert!(outcome.produced.iter().any(Result::is_err));
            }
            assert!(outcome.health.fault().is_none());
        });
    });
}

#[test]
fn when_one_consumer_has_enough_all_end_and_end_well() {
    explore(|| {
        clock::with(|| {
            let enough = below(2 * EACH);
            let rig = Rig::new().start(&[Ends::Well; 2], &[Some(enough), None]);
            let outcome = rig.wait();
            outcome.assert_honest();
            assert!(outcome.produced.iter().all(Result::is_ok));
            assert!(outcome.consumed.iter().all(|consumer| consumer.end.is_ok()));
            if !outcome.ledger.is_satisfied() {
                outcome.assert_whole();
            }
        });
    });
}

#[test]
fn producers_do_not_outlive_a_consumer_that_failed() {
    explore(|| {
        clock::with(|| {
            let rig = Rig::new();
            let (receiver, health) = (rig.edge.receiver(&rig.health), Arc::clone(&rig.health));
            let rig = rig.start(&[Ends::Well; 2], &[]);
            let taken = below(3);
            let failing = thread::spawn(move || {
                for _ in 0..taken {
                    let _ = receiver.recv_blocked(None);
                }
                health.record(Fault {
                    stage: "consumer".to_owned(),
                    kind: FaultKind::Panic,
                    message: "trapped".to_owned(),
                });
            });
            let outcome = rig.wait();
            failing.join().unwrap();
            let stopped = |sent: &Result<(), Stop>| matches!(sent, Ok(()) | Err(Stop::Cancelled));
            assert!(outcome.produced.iter().all(stopped));
            // Those who were stopped sent less; those who were not may have sent into a queue that nobody read.
            assert!(outcome.ledger.figures().sent <= outcome.offered.len() as u64);
        });
    });
}

#[test]
fn a_cancelled_run_stops_those_whose_neighbour_hangs() {
    explore(|| {
        clock::with(|| {
            let rig = Rig::new();
            let sends = below(2) == 0;
            // What hangs keeps its end, and neither takes nor sends.
            let receiver = sends.then(|| rig.edge.receiver(&rig.health));
            let sender = (!sends).then(|| {
                rig.edge.ledger().add_producer();
                rig.edge.sender(&rig.health)
            });
            let rig = match sends {
                true => rig.start(&[Ends::Well; 2], &[]),
                false => rig.start(&[Ends::Well], &[None; 2]),
            };
            rig.cancel.cancel();
            let outcome = rig.wait();
            outcome.assert_honest();
            let consumed = outcome.consumed.iter();
            assert!(
                consumed
                    .map(|each| each.end)
                    .all(|end| end == Err(Stop::Cancelled))
            );
            drop((receiver, sender));
        });
    });
}

#[test]
fn an_end_that_outlives_its_worker_does_not_keep_the_stream_open() {
    explore(|| {
        clock::with(|| {
            let rig = Rig::new();
            let publisher = rig.edge.sender(&rig.health);
            let outcome = rig.start(&[Ends::Well; 2], &[None; 2]).wait();
            drop(publisher);
            outcome.assert_honest();
            outcome.assert_whole();
            assert!(outcome.consumed.iter().all(|consumer| consumer.end.is_ok()));
        });
    });
}
