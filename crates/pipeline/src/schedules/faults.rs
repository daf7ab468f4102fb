//! The record of the first fault, written by several at once.

use std::sync::Arc;

use shuttle::thread;

use super::{below, explore};
use crate::CancelHandle;
use crate::fault::{Fault, FaultKind, Health};

fn fault(stage: usize) -> Fault {
    Fault {
        stage: stage.to_string(),
        kind: FaultKind::Error,
        message: "trapped".to_owned(),
    }
}

#[test]
fn the_first_fault_is_kept_and_who_sees_the_stop_sees_the_fault() {
    explore(|| {
        let health = Arc::new(Health::new(CancelHandle::new()));
        let failing = (0..3).map(|stage| {
            let health = Arc::clone(&health);
            thread::spawn(move || {
                let earlier = health.fault();
                health.record(fault(stage));
                assert!(health.stopping());
                let kept = health.fault();
                assert!(kept.is_some() && (earlier.is_none() || earlier == kept));
                kept
            })
        });
        let failing: Vec<_> = failing.collect();
        let stopping = health.stopping();
        let seen = health.fault();
        assert!(!stopping || seen.is_some());
        for thread in failing {
            let kept = thread.join().unwrap();
            assert_eq!(kept, health.fault());
            assert!(seen.is_none() || kept == seen);
        }
    });
}

#[test]
fn a_cancelled_run_has_no_fault_and_stops_no_other() {
    explore(|| {
        let cancel = CancelHandle::new();
        let health = Arc::new(Health::new(cancel.clone()));
        let other = Arc::new(Health::new(cancel.clone()));
        let own = below(2) == 0;
        let stopping = {
            let (health, cancel) = (Arc::clone(&health), cancel.clone());
            thread::spawn(move || match own {
                true => health.stop(),
                false => cancel.cancel(),
            })
        };
        let seen = health.stopping();
        stopping.join().unwrap();
        assert!(health.stopping() && health.fault().is_none());
        assert_eq!(other.stopping(), !own);
        assert_eq!(cancel.is_cancelled(), !own);
        assert!(!seen || health.stopping());
    });
}
