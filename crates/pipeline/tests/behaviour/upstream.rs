//! What a stage can learn of those before it, and what a verdict tells of what was not looked at.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use statline_pipeline::{
    Builder, Context, Declare, Endpoints, ErrorRecord, Errors, Inlet, Opening, Outcome, Outlet,
    PublishOrder, Publisher, Scope, StageError, Unread, UnreadList, Verdict,
};

use crate::support::*;

/// Each stage before a port, the nearest first: its name, whether it is a source, and what it has not looked at.
type Seen = Vec<(String, bool, Vec<String>)>;

fn shown(list: &UnreadList) -> Vec<String> {
    let shown = list.items.iter().map(|unread| {
        let subject = String::from_utf8_lossy(&unread.subject);
        format!("{subject} {:?} {}", unread.scope, unread.reason)
    });
    shown.collect()
}

fn seen(context: &Context, port: &str) -> Seen {
    let stages = context.upstream(port).iter();
    let seen = stages.map(|stage| {
        let unread = stage.unread();
        assert_eq!(unread.count(), stage.unread_count());
        (stage.name().to_owned(), stage.is_source(), shown(&unread))
    });
    seen.collect()
}

/// Keeps what a verdict says was not looked at.
struct Told(Arc<Mutex<Vec<String>>>);

impl Publisher for Told {
    fn publish(self: Box<Self>, verdict: &Verdict) -> Result<(), StageError> {
        *self.0.lock().unwrap() = shown(&verdict.unread);
        Ok(())
    }
}

#[test]
fn a_stage_sees_what_those_before_it_have_not_looked_at() {
    let mut builder = Builder::new("test");
    let source = |subject: &'static [u8]| {
        produce(move |out: &mut Outlet<u64>| {
            let error = ErrorRecord::new("open", subject.to_vec(), "EIO", "", Scope::Subtree);
            out.errors().report(error)?;
            out.errors().note_unread(Unread {
                subject: b"mount".to_vec(),
                scope: Scope::Entry,
                reason: Cow::Borrowed("excluded"),
            });
            out.send(1)
        })
    };
    let old = builder.source("old", source(b"a")).accept(["EIO"]).done();
    let new = builder.source("new", source(b"b")).done();
    let between = builder.transform("between", pass_on()).reads(&new).done();
    // What comes in from a port for errors is no part of what was read.
    let errors = consume(|_: ErrorRecord, _: &Errors| Ok(()));
    let _ = builder.sink("problems", errors).reads(new.port("errors"));

    let found = Arc::new(Mutex::new((Seen::new(), Seen::new())));
    let told = Arc::new(Mutex::new(Vec::new()));
    let (here, verdict) = (Arc::clone(&found), Arc::clone(&told));
    let kind = custom(
        |ports: &mut Declare<'_>| (ports.input::<u64>("old"), ports.input::<u64>("new")),
        move |(old, new), stage: &mut Opening<'_>| {
            let context = stage.context().clone();
            assert!(context.upstream("elsewhere").is_empty());
            let here = Arc::clone(&here);
            stage.publisher(PublishOrder::Output, Told(Arc::clone(&verdict)));
            stage.worker(move |ends: &mut Endpoints<'_>| {
                Ok(Play {
                    ports: (ends.input::<u64>(&old), ends.input::<u64>(&new)),
                    run: move |(old, new): &mut (Inlet<u64>, Inlet<u64>)| {
                        while old.recv()?.is_some() {}
                        while new.recv()?.is_some() {}
                        *here.lock().unwrap() = (seen(&context, "old"), seen(&context, "new"));
                        Ok(())
                    },
                })
            })
        },
    );
    let compared = builder.stage("compared", kind, ());
    let _ = compared.reads_on("old", &old).reads_on("new", &between);
    let report = run(build(builder));
    assert_eq!(report.outcome, Outcome::Incomplete, "{:?}", report.cause);

    let unread = |subject: &str| {
        let list = [
            format!("{subject} Subtree EIO"),
            "mount Entry excluded".to_owned(),
        ];
        list.to_vec()
    };
    let (old, new) = &*found.lock().unwrap();
    // Accepted or not: nobody has looked there.
    assert_eq!(*old, [("old".to_owned(), true, unread("a"))]);
    let between = ("between".to_owned(), false, Vec::new());
    assert_eq!(*new, [between, ("new".to_owned(), true, unread("b"))]);
    let mut all = told.lock().unwrap().clone();
    all.sort();
    let mut expected = [unread("a"), unread("b")].concat();
    expected.sort();
    assert_eq!(all, expected);
}
