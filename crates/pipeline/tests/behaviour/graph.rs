//! What a job is refused for before anything runs.

use statline_pipeline::testing::{Collected, Items};
use statline_pipeline::{
    Builder, CancelHandle, Declare, InputPort, Kind, NewStage, Opening, Order, Outlet, OutputPort,
    Properties, StageError, StageRef, Threading,
};

use crate::support::*;

/// A kind that is only declared: its ports by name, and what it states.
#[derive(Clone, Default)]
struct Shape {
    inputs: Vec<&'static str>,
    outputs: Vec<&'static str>,
    order: Order,
    holds_everything: bool,
    needs_order: Option<(&'static str, &'static [&'static str])>,
    threading: Option<Threading>,
    passes_order: bool,
}

impl Kind for Shape {
    type Config = ();
    type Ports = (Vec<InputPort<u64>>, Vec<OutputPort<u64>>);

    fn threading(&self) -> Threading {
        self.threading.unwrap_or(Threading::Single)
    }

    fn declare(&self, _: Option<&()>, ports: &mut Declare<'_>) -> Self::Ports {
        if self.holds_everything {
            ports.holds_everything();
        }
        if let Some((port, keys)) = self.needs_order {
            ports.needs_order(port, keys);
        }
        let mut properties = Properties {
            order: self.order.clone(),
            ..Properties::default()
        };
        if let (true, Some(stream)) = (self.passes_order, ports.incoming("in")) {
            properties.order = stream.properties.order.clone();
        }
        let inputs = self.inputs.iter().map(|name| ports.input(name)).collect();
        let outputs = self.outputs.iter();
        let outputs = outputs.map(|name| ports.output(name, properties.clone()));
        (inputs, outputs.collect())
    }

    fn open(&self, (): (), _: Self::Ports, _: &mut Opening<'_>) -> Result<(), StageError> {
        Err(StageError::failed("only declared"))
    }
}

fn shape(inputs: &[&'static str], outputs: &[&'static str]) -> Shape {
    Shape {
        inputs: inputs.to_vec(),
        outputs: outputs.to_vec(),
        ..Shape::default()
    }
}

fn sorter() -> Shape {
    Shape {
        holds_everything: true,
        order: Order::By(vec!["path".into()]),
        ..shape(&["in"], &["out"])
    }
}

fn numbers(builder: &mut Builder, name: &str) -> StageRef {
    builder.source(name, Items(vec![1u64])).done()
}

fn sink(builder: &mut Builder, name: &str, reads: &StageRef) {
    let _ = builder.sink(name, Collected::<u64>::new()).reads(reads);
}

/// A reference to a stage that the builder does not have.
fn elsewhere(name: &str) -> StageRef {
    numbers(&mut Builder::new("elsewhere"), name)
}

#[test]
fn a_sound_graph_is_accepted_and_keeps_its_name() {
    let mut builder = Builder::new("nightly");
    let source = numbers(&mut builder, "source");
    sink(&mut builder, "sink", &source);
    let job = build(builder);
    assert_eq!(job.name(), "nightly");
    assert_eq!(job.queue_bytes(), 8 << 20);
    assert_eq!(job.warnings().iter().count(), 0);
}

#[test]
fn an_unknown_stage_is_refused_and_hides_no_consequence_of_its_own() {
    let mut builder = Builder::new("test");
    numbers(&mut builder, "source");
    sink(&mut builder, "sink", &elsewhere("sauce"));
    assert_eq!(problems(builder), ["no stage is called \"sauce\""]);
}

#[test]
fn unknown_ports_are_refused() {
    let mut builder = Builder::new("test");
    let source = numbers(&mut builder, "source");
    let _ = builder
        .sink("sink", Collected::<u64>::new())
        .reads(source.port("erors"));
    sink(&mut builder, "reader", &source);
    assert_eq!(
        problems(builder),
        ["stage \"source\" has no output called \"erors\""]
    );

    let mut builder = Builder::new("test");
    let source = numbers(&mut builder, "source");
    let _ = builder
        .stage("join", shape(&["old", "new"], &[]), ())
        .reads_on("old", &source)
        .reads_on("newer", &source);
    assert_eq!(
        problems(builder),
        ["a stage of type join has no input called \"newer\""]
    );

    let mut builder = Builder::new("test");
    let source = numbers(&mut builder, "source");
    let _ = builder
        .stage("join", shape(&["old", "new"], &[]), ())
        .reads(&source);
    assert_eq!(
        problems(builder),
        ["a stage of type join has more than one input, so each needs its name"]
    );

    let mut builder = Builder::new("test");
    let source = numbers(&mut builder, "source");
    let other = builder
        .source("other", Items(vec![1u64]))
        .reads(&source)
        .done();
    sink(&mut builder, "sink", &other);
    assert_eq!(problems(builder), ["a stage of type other takes no input"]);
}

#[test]
fn a_stage_without_output_has_only_errors_to_read() {
    let mut builder = Builder::new("test");
    let source = numbers(&mut builder, "source");
    let first = builder
        .sink("first", Collected::<u64>::new())
        .reads(&source)
        .done();
    sink(&mut builder, "second", &first);
    assert_eq!(
        problems(builder),
        ["stage \"first\" has no output but its errors"]
    );
}

#[test]
fn a_message_of_another_type_is_refused_by_both_names() {
    let mut builder = Builder::new("test");
    let source = numbers(&mut builder, "source");
    let heavy = consume(|_: Heavy, _| Ok(()));
    let _ = builder.sink("heavy", heavy).reads(&source);
    let _ = builder
        .sink("errors", Collected::<u64>::new())
        .reads(source.port("errors"));
    assert_eq!(
        problems(builder),
        [
            "\"source\" sends u64, but a stage of type heavy takes Heavy",
            "\"source.errors\" sends ErrorRecord, but a stage of type errors takes u64"
        ]
    );
}

#[test]
fn missing_inputs_are_refused() {
    let mut builder = Builder::new("test");
    let _ = builder.sink("sink", Collected::<u64>::new());
    let source = numbers(&mut builder, "source");
    let _ = builder
        .stage("join", shape(&["old", "new"], &[]), ())
        .reads_on("old", &source);
    let mut found = problems(builder);
    found.sort();
    assert_eq!(
        found,
        [
            "a stage of type join needs its input \"new\"",
            "a stage of type sink needs an input"
        ]
    );
}

#[test]
fn cycles_are_refused_by_their_stages_each_once() {
    let mut builder = Builder::new("test");
    let pass = || shape(&["in"], &["out"]);
    let names = ["a", "b", "c"];
    for (at, name) in names.iter().enumerate() {
        let before = elsewhere(names[(at + 2) % 3]);
        let _ = builder.stage(name, pass(), ()).reads(&before);
    }
    let _ = builder.stage("self", pass(), ()).reads(&elsewhere("self"));
    // Behind a cycle, not on it.
    sink(&mut builder, "sink", &elsewhere("c"));
    assert_eq!(
        problems(builder),
        [
            "stages feed each other: a → b → c → a",
            "a stage feeds itself: self → self"
        ]
    );
}

#[test]
fn a_cycle_through_errors_is_a_cycle() {
    let mut builder = Builder::new("test");
    let later = elsewhere("later");
    let kind = custom(
        |ports: &mut Declare<'_>| {
            (
                ports.input::<statline_pipeline::ErrorRecord>("in"),
                ports.output::<u64>("out", Properties::default()),
            )
        },
        |_, _: &mut Opening<'_>| Ok(()),
    );
    let first = builder
        .stage("first", kind, ())
        .reads(later.port("errors"))
        .done();
    let _ = builder.sink("later", Collected::<u64>::new()).reads(&first);
    assert_eq!(
        problems(builder),
        ["stages feed each other: first → later → first"]
    );
}

#[test]
fn an_output_that_nobody_reads_is_refused_but_errors_may_go_unread() {
    let mut builder = Builder::new("test");
    let source = numbers(&mut builder, "source");
    let split = builder
        .stage("split", shape(&["in"], &["out", "deleted"]), ())
        .reads(&source)
        .done();
    let _ = numbers(&mut builder, "alone");
    sink(&mut builder, "sink", &split);
    assert_eq!(
        problems(builder),
        [
            "no stage reads the output \"deleted\" of \"split\"",
            "no stage reads what \"alone\" sends"
        ]
    );
}

#[test]
fn a_name_twice_and_an_input_twice_are_refused() {
    let mut builder = Builder::new("test");
    let source = numbers(&mut builder, "source");
    let _ = numbers(&mut builder, "source");
    sink(&mut builder, "sink", &source);
    assert!(problems(builder).contains(&"a stage called \"source\" exists already".to_owned()));

    let mut builder = Builder::new("test");
    let source = numbers(&mut builder, "source");
    let _ = builder
        .sink("sink", Collected::<u64>::new())
        .reads(&source)
        .reads_on("in", &source);
    assert_eq!(problems(builder), ["\"source\" is listed twice"]);
}

#[test]
fn names_that_no_file_could_hold_are_refused() {
    for name in ["", "a.b", "a b", "nul\0", "ü"] {
        let mut builder = Builder::new("test");
        let source = numbers(&mut builder, name);
        sink(&mut builder, "sink", &source);
        let found = problems(builder);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("is no name for a stage"), "{found:?}");
    }
}

fn join(builder: &mut Builder, name: &str, old: &StageRef, new: &StageRef) {
    let _ = builder
        .stage(name, shape(&["old", "new"], &[]), ())
        .reads_on("old", old)
        .reads_on("new", new);
}

fn stage(builder: &mut Builder, name: &str, kind: Shape, reads: &StageRef) -> StageRef {
    builder.stage(name, kind, ()).reads(reads).done()
}

#[test]
fn two_inputs_from_one_ancestor_are_refused_by_the_nearest() {
    let mut builder = Builder::new("test");
    let source = numbers(&mut builder, "source");
    let near = stage(&mut builder, "near", shape(&["in"], &["out"]), &source);
    let left = stage(&mut builder, "left", shape(&["in"], &["out"]), &near);
    join(&mut builder, "join", &left, &near);
    assert_eq!(
        problems(builder),
        [
            "the inputs \"old\" and \"new\" both come from \"near\", and would wait for each other for ever"
        ]
    );
}

#[test]
fn two_inputs_from_one_ancestor_are_allowed_when_both_ways_hold_everything() {
    for (left_holds, right_holds) in [(true, true), (true, false), (false, true)] {
        let mut builder = Builder::new("test");
        let source = numbers(&mut builder, "source");
        let kind = |holds| match holds {
            true => sorter(),
            false => shape(&["in"], &["out"]),
        };
        let left = stage(&mut builder, "left", kind(left_holds), &source);
        let right = stage(&mut builder, "right", kind(right_holds), &source);
        // What comes after it does not matter.
        let right = stage(&mut builder, "after", shape(&["in"], &["out"]), &right);
        join(&mut builder, "join", &left, &right);
        match left_holds && right_holds {
            true => drop(build(builder)),
            false => assert_eq!(problems(builder).len(), 1),
        }
    }
}

#[test]
fn two_inputs_from_two_sources_are_allowed_as_is_one_port_with_a_shared_ancestor() {
    let mut builder = Builder::new("test");
    let (one, two) = (numbers(&mut builder, "one"), numbers(&mut builder, "two"));
    join(&mut builder, "join", &one, &two);
    // Both ways end in one queue.
    let pass = stage(&mut builder, "pass", shape(&["in"], &["out"]), &one);
    let _ = builder
        .sink("sink", Collected::<u64>::new())
        .reads(&one)
        .reads(&pass);
    drop(build(builder));
}

#[test]
fn errors_pass_by_a_stage_that_holds_everything() {
    // The join may wait for `right`, that for all of `source`, that for `left`, and that to hand over its errors.
    let mut builder = Builder::new("test");
    let source = numbers(&mut builder, "source");
    let left = stage(&mut builder, "left", sorter(), &source);
    let right = stage(&mut builder, "right", sorter(), &source);
    sink(&mut builder, "sink", &left);
    let kind = custom(
        |ports: &mut Declare<'_>| {
            (
                ports.input::<statline_pipeline::ErrorRecord>("errors"),
                ports.input::<u64>("data"),
            )
        },
        |_, _: &mut Opening<'_>| Ok(()),
    );
    let _ = builder
        .stage("join", kind, ())
        .reads_on("errors", left.port("errors"))
        .reads_on("data", &right);
    assert_eq!(
        problems(builder),
        [
            "the inputs \"errors\" and \"data\" both come from \"source\", and would wait for each other for ever"
        ]
    );
}

#[test]
fn two_stages_that_draw_crosswise_on_two_sources_are_refused() {
    // `p` waits for the end of `a`, that for `q` to read it, that for the end of `b`, and that for `p` to read it.
    let mut builder = Builder::new("test");
    let (a, b) = (numbers(&mut builder, "a"), numbers(&mut builder, "b"));
    join(&mut builder, "p", &a, &b);
    join(&mut builder, "q", &b, &a);
    assert_eq!(
        problems(builder),
        ["the inputs of p and q come from the same stages, and would wait for each other for ever"]
    );
    // Sorted before each input, neither source ever waits.
    let mut builder = Builder::new("test");
    let (a, b) = (numbers(&mut builder, "a"), numbers(&mut builder, "b"));
    let mut sorted = |name: &str, from: &StageRef| stage(&mut builder, name, sorter(), from);
    let (pa, pb) = (sorted("pa", &a), sorted("pb", &b));
    let (qa, qb) = (sorted("qa", &a), sorted("qb", &b));
    join(&mut builder, "p", &pa, &pb);
    join(&mut builder, "q", &qb, &qa);
    drop(build(builder));
    // In a row, each with a source of its own, nothing crosses.
    let mut builder = Builder::new("test");
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| numbers(&mut builder, name));
    let p = builder
        .stage("p", shape(&["old", "new"], &["out"]), ())
        .reads_on("old", &a)
        .reads_on("new", &b)
        .done();
    join(&mut builder, "q", &p, &c);
    sink(&mut builder, "sink", &d);
    sink(&mut builder, "sink2", &a);
    drop(build(builder));
}

#[test]
fn three_stages_that_wait_in_a_circle_are_refused() {
    let mut builder = Builder::new("test");
    let [a, b, c] = ["a", "b", "c"].map(|name| numbers(&mut builder, name));
    join(&mut builder, "p", &a, &b);
    join(&mut builder, "q", &b, &c);
    join(&mut builder, "r", &c, &a);
    assert_eq!(
        problems(builder),
        [
            "the inputs of p and q and r come from the same stages, and would wait for each other for ever"
        ]
    );
}

fn ordered_reader(keys: &'static [&'static str]) -> Shape {
    Shape {
        needs_order: Some(("in", keys)),
        ..shape(&["in"], &[])
    }
}

#[test]
fn a_stage_that_needs_an_order_gets_it_or_is_refused_with_the_reason() {
    let found = |lay_out: &dyn Fn(&mut Builder, &StageRef) -> StageRef| {
        let mut builder = Builder::new("test");
        let source = numbers(&mut builder, "source");
        let before = lay_out(&mut builder, &source);
        let _ = stage(&mut builder, "reader", ordered_reader(&["path"]), &before);
        builder.build().map_or_else(
            |problems| problems.iter().map(|p| p.message.clone()).collect(),
            |_| Vec::<String>::new(),
        )
    };
    assert!(found(&|builder, source| stage(builder, "sort", sorter(), source)).is_empty());
    assert!(
        found(&|builder, source| {
            let sorted = stage(builder, "sort", sorter(), source);
            builder.transform("keep", pass_on()).reads(&sorted).done()
        })
        .is_empty(),
        "a transform of one thread keeps the order"
    );
    assert_eq!(
        found(&|_, source| source.clone()),
        ["needs its input ordered by path, but nothing orders it"]
    );
    assert_eq!(
        found(&|builder, source| {
            let by_size = Shape {
                order: Order::By(vec!["size".into()]),
                ..sorter()
            };
            stage(builder, "sort", by_size, source)
        }),
        ["needs its input ordered by path, but it is ordered by size"]
    );
    let filter = || Shape {
        threading: Some(Threading::Adaptive),
        passes_order: true,
        ..shape(&["in"], &["out"])
    };
    assert_eq!(
        found(&|builder, source| {
            let sorted = stage(builder, "sort", sorter(), source);
            let filtered = builder.stage("keep", filter(), ()).reads(&sorted);
            filtered.threads(4).done()
        }),
        [
            "needs its input ordered by path, but the order by path is lost: stage \"keep\" runs on 4 threads"
        ]
    );
    assert_eq!(
        found(&|builder, source| {
            let sorted = stage(builder, "sort", sorter(), source);
            let filtered = builder.stage("keep", filter(), ()).reads(&sorted);
            filtered.threads_between(1, 4).done()
        }),
        [
            "needs its input ordered by path, but the order by path is lost: stage \"keep\" runs on up to 4 threads"
        ]
    );
    let on_one = |give: fn(NewStage<'_>) -> NewStage<'_>| {
        let found = found(&|builder, source| {
            let sorted = stage(builder, "sort", sorter(), source);
            give(builder.stage("keep", filter(), ()).reads(&sorted)).done()
        });
        assert!(found.is_empty(), "{found:?}");
    };
    on_one(|keep| keep.threads(1));
    on_one(|keep| keep.threads_between(1, 1));
}

#[test]
fn streams_that_flow_together_lose_their_order() {
    let mut builder = Builder::new("test");
    let source = numbers(&mut builder, "source");
    let one = stage(&mut builder, "one", sorter(), &source);
    let two = stage(&mut builder, "two", sorter(), &source);
    let _ = builder
        .stage("reader", ordered_reader(&["path"]), ())
        .reads(&one)
        .reads(&two);
    assert_eq!(
        problems(builder),
        [
            "needs its input ordered by path, but the order by path is lost: \"one\" and \"two\" flow together in \"reader\""
        ]
    );
}

#[test]
fn an_order_serves_those_who_need_its_first_keys() {
    let accepts = |have: &[&str], need| {
        let mut builder = Builder::new("test");
        let source = numbers(&mut builder, "source");
        let kind = Shape {
            order: Order::By(have.iter().map(|key| (*key).to_owned()).collect()),
            ..sorter()
        };
        let sorted = stage(&mut builder, "sort", kind, &source);
        let _ = stage(&mut builder, "reader", ordered_reader(need), &sorted);
        builder.build().is_ok()
    };
    assert!(accepts(&["size", "path"], &["size"]));
    assert!(accepts(&["size", "path"], &["size", "path"]));
    assert!(!accepts(&["size", "path"], &["path"]));
    assert!(!accepts(&["size"], &["size", "path"]));
}

#[test]
fn a_job_draws_itself() {
    let mut builder = Builder::new("say \"hi\"");
    let source = numbers(&mut builder, "walk");
    let pass = builder.transform("meta", pass_on()).reads(&source).done();
    sink(&mut builder, "out", &pass);
    let problems = consume(|_: statline_pipeline::ErrorRecord, _| Ok(()));
    let _ = builder
        .sink("problems", problems)
        .reads(source.port("errors"))
        .reads(pass.port("errors"));
    let batches = builder
        .source("batches", Items(vec![Batch::<u8>(vec![])]))
        .done();
    let _ = builder
        .sink("batch-sink", consume(|_: Batch<u8>, _| Ok(())))
        .reads(&batches);
    let job = build(builder);
    insta::assert_snapshot!("mermaid", job.mermaid());
    insta::assert_snapshot!("dot", job.dot());
}

/// A message type whose name has something to escape.
#[derive(Clone)]
struct Batch<T>(#[expect(dead_code, reason = "only its type is of interest")] Vec<T>);

impl<T: Clone + Send + 'static> statline_pipeline::Message for Batch<T> {
    fn weight(&self) -> usize {
        1
    }
}

#[test]
#[should_panic(expected = "stage runs on one thread")]
fn a_stage_of_one_thread_cannot_be_given_more() {
    let mut builder = Builder::new("test");
    let _ = builder.stage("stage", shape(&[], &["out"]), ()).threads(2);
}

#[test]
#[should_panic(expected = "stage does not vary its number of threads")]
fn a_stage_that_does_not_vary_its_threads_cannot_be_given_bounds() {
    let mut builder = Builder::new("test");
    let fixed = Shape {
        threading: Some(Threading::Parallel),
        ..shape(&[], &["out"])
    };
    let _ = builder.stage("stage", fixed, ()).threads_between(2, 64);
}

#[test]
#[should_panic(expected = "between 3 and 2 there is no number")]
fn bounds_without_a_number_between_them_are_refused() {
    let mut builder = Builder::new("test");
    let varies = Shape {
        threading: Some(Threading::Adaptive),
        ..shape(&[], &["out"])
    };
    let _ = builder.stage("stage", varies, ()).threads_between(3, 2);
}

#[test]
fn a_sound_graph_that_crosses_runs() {
    // The check allows what this runs: two sources, two stages that each read both by way of stages that hold all.
    struct Hold(Vec<u64>);
    impl statline_pipeline::Transform for Hold {
        type In = u64;
        type Out = u64;
        fn apply(&mut self, message: u64, _: &mut Outlet<u64>) -> Result<(), StageError> {
            self.0.push(message);
            Ok(())
        }
        fn finish(&mut self, out: &mut Outlet<u64>) -> Result<(), StageError> {
            self.0.drain(..).try_for_each(|message| out.send(message))
        }
    }
    let hold = || {
        custom(
            |ports: &mut Declare<'_>| {
                ports.holds_everything();
                (
                    ports.input::<u64>("in"),
                    ports.output::<u64>("out", Properties::default()),
                )
            },
            |(input, out), stage: &mut Opening<'_>| {
                stage.transform(&input, &out, |_| Ok(Hold(Vec::new())))
            },
        )
    };
    let in_turn = || {
        custom(
            |ports: &mut Declare<'_>| (ports.input::<u64>("old"), ports.input::<u64>("new")),
            |(old, new), stage: &mut Opening<'_>| {
                stage.worker(|ends: &mut statline_pipeline::Endpoints<'_>| {
                    type Two = (statline_pipeline::Inlet<u64>, statline_pipeline::Inlet<u64>);
                    Ok(Play {
                        ports: (ends.input::<u64>(&old), ends.input::<u64>(&new)),
                        run: |(old, new): &mut Two| {
                            while old.recv()?.is_some() {}
                            while new.recv()?.is_some() {}
                            Ok(())
                        },
                    })
                })
            },
        )
    };
    let mut builder = Builder::new("test");
    let [a, b] = ["a", "b"].map(|name| {
        let items = Items((0..100u64).collect());
        builder.source(name, items).done()
    });
    let held: Vec<StageRef> = [("pa", &a), ("pb", &b), ("qa", &a), ("qb", &b)]
        .into_iter()
        .map(|(name, from)| {
            let stage = builder.stage(name, hold(), ()).reads(from);
            stage.capacity(1).done()
        })
        .collect();
    for (name, old, new) in [("p", 0, 1), ("q", 3, 2)] {
        let _ = builder
            .stage(name, in_turn(), ())
            .reads_on("old", &held[old])
            .reads_on("new", &held[new])
            .capacity(1);
    }
    let report = run_with(build(builder), &CancelHandle::new());
    assert_eq!(report.outcome, statline_pipeline::Outcome::Complete);
}
