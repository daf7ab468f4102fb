//! The test of conduct that hosts get for their stages, tried on good stages and on bad ones.

use statline_pipeline::testing::{Trial, conformance};
use statline_pipeline::{
    Declare, Endpoints, ErrorRecord, Errors, Inlet, Opening, Outlet, Properties, Scope, StageError,
    Stop, Transform,
};

use crate::support::*;

fn around(trial: &mut Trial, subject: impl Transform<In = u64, Out = u64>) {
    let numbers = trial.feed("numbers", (0..20).collect::<Vec<u64>>());
    let subject = trial
        .builder()
        .transform("subject", subject)
        .reads(&numbers)
        .done();
    trial.drain::<u64>("out", &subject);
    trial.drain::<ErrorRecord>("problems", subject.port("errors"));
}

#[test]
fn sources_transforms_and_sinks_that_pass_on_what_ports_return_conform() {
    conformance(|trial| around(trial, pass_on()));
    conformance(|trial| {
        let source = produce(|out: &mut Outlet<u64>| (0..20).try_for_each(|n| out.send(n)));
        let source = trial.builder().source("subject", source).done();
        trial.drain::<u64>("out", &source);
    });
    conformance(|trial| {
        let numbers = trial.feed("numbers", (0..20).collect::<Vec<u64>>());
        let sink = consume(|_: u64, errors: &Errors| {
            errors.report(ErrorRecord::new("x", Vec::new(), "X", "", Scope::Entry))
        });
        let subject = trial.builder().sink("subject", sink).reads(&numbers).done();
        trial.drain::<ErrorRecord>("problems", subject.port("errors"));
    });
}

#[test]
fn an_actor_with_two_inputs_and_two_outputs_conforms() {
    type Ports = (Inlet<u64>, Inlet<u64>, Outlet<u64>, Outlet<u64>);
    conformance(|trial| {
        let kind = custom(
            |ports: &mut Declare<'_>| {
                (
                    ports.input::<u64>("old"),
                    ports.input::<u64>("new"),
                    ports.output::<u64>("out", Properties::default()),
                    ports.output::<u64>("rest", Properties::default()),
                )
            },
            |(old, new, out, rest), stage: &mut Opening<'_>| {
                stage.worker(|ends: &mut Endpoints<'_>| {
                    Ok(Play {
                        ports: (
                            ends.input::<u64>(&old),
                            ends.input::<u64>(&new),
                            ends.output::<u64>(&out),
                            ends.output::<u64>(&rest),
                        ),
                        run: |(old, new, out, rest): &mut Ports| {
                            while let Some(message) = old.recv()? {
                                out.send(message)?;
                            }
                            while let Some(message) = new.recv()? {
                                rest.send(message)?;
                            }
                            Ok(())
                        },
                    })
                })
            },
        );
        let old = trial.feed("a", (0..5).collect::<Vec<u64>>());
        let new = trial.feed("b", (0..5).collect::<Vec<u64>>());
        let subject = trial
            .builder()
            .stage("subject", kind, ())
            .reads_on("old", &old)
            .reads_on("new", &new)
            .done();
        trial.drain::<u64>("out", &subject);
        trial.drain::<u64>("rest", subject.port("rest"));
    });
}

#[test]
#[should_panic(expected = "empty input: the run ended failed")]
fn a_stage_that_cannot_take_an_empty_input_does_not_conform() {
    #[derive(Default)]
    struct NeedsOne(bool);
    impl Transform for NeedsOne {
        type In = u64;
        type Out = u64;
        fn apply(&mut self, message: u64, out: &mut Outlet<u64>) -> Result<(), StageError> {
            self.0 = true;
            out.send(message)
        }
        fn finish(&mut self, _: &mut Outlet<u64>) -> Result<(), StageError> {
            assert!(self.0, "no input");
            Ok(())
        }
    }
    conformance(|trial| around(trial, NeedsOne::default()));
}

#[test]
#[should_panic(expected = "the run ended failed: stage subject failed: nobody listens")]
fn a_stage_that_takes_enough_for_a_failure_does_not_conform() {
    // Between two messages the framework asks whether anybody listens. So each message makes three: one that is taken, one
    // that fills the channel, and one that can only wait for the consumer's end.
    let subject = || {
        change(|message: u64, out: &mut Outlet<u64>| {
            (0..3).try_for_each(|_| {
                out.send(message).map_err(|error| match error {
                    StageError::Stopped(Stop::Enough) => StageError::failed("nobody listens"),
                    error => error,
                })
            })
        })
    };
    conformance(|trial| {
        let numbers = trial.feed("numbers", vec![1_u64, 2, 3]);
        let subject = trial.builder().transform("subject", subject());
        let subject = subject.reads(&numbers).done();
        trial.drain::<u64>("out", &subject);
    });
}
