//! Plans over made-up trees: carried out on a model, they make the destination equal to the source.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use statline_pipeline::testing::Collected;
use statline_pipeline::{Builder, ErrorRecord, Outcome, RunReport, Scope};

use super::*;
use crate::fixtures::{Given, Place, path_of, problems, time, tree_records};
use crate::{
    Enumerate, EnumerateConfig, Filter, FilterConfig, Rows, Sort, SortConfig, Stat, StatConfig,
};

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    kind: EntryKind,
    size: u64,
    seconds: i64,
    target: Option<Vec<u8>>,
}

type Tree = BTreeMap<Place, Entry>;

fn rows(root: &str, tree: &Tree) -> RecordBatch {
    let entries = tree.iter().map(|(place, entry)| {
        let mut metadata = Metadata::with_kind(entry.kind);
        metadata
            .set_size(entry.size)
            .set_modified(time(entry.seconds, 0))
            .set_mode(0o600)
            .set_uid(0)
            .set_gid(0);
        (place, metadata, entry.target.as_deref())
    });
    tree_records(root, entries)
}

/// What the plan says of each place, in its order.
fn plan(
    source: (&Tree, Vec<ErrorRecord>),
    destination: (&Tree, Vec<ErrorRecord>),
) -> (Vec<(Change, Place)>, RunReport) {
    let mut builder = Builder::new("test");
    let mut side = |root, (tree, errors)| {
        let given = Given::new(rows(root, tree));
        let given = given.ordered_by("path").with_errors(errors);
        builder.stage(root, given, ()).done()
    };
    let (source, destination) = (side("from", source), side("to", destination));
    let plan = builder.stage("plan", Plan, PlanConfig::default());
    let plan = plan.reads_on(SOURCE, &source);
    let plan = plan.reads_on(DESTINATION, &destination).done();
    let sink = Collected::new();
    let _ = builder.sink("out", sink.clone()).reads(&plan);
    let report = builder.build().unwrap().run();
    let batches: Vec<RecordBatch> = sink.items();
    let planned = batches.iter().flat_map(Rows::rows).map(|row| {
        let change = row.change.unwrap();
        let path = row.path_bytes();
        let mut components = path.split(|&byte| byte == b'/').map(<[u8]>::to_vec);
        let root = components.next().unwrap();
        let on_source = matches!(change, Change::Copy | Change::Update);
        assert_eq!(root == b"from", on_source, "{change:?}");
        (change, components.collect())
    });
    (planned.collect(), report)
}

fn lost(root: &str, place: &Place, scope: Scope) -> ErrorRecord {
    ErrorRecord::new("open", path_of(root, place), "EACCES", "no", scope)
}

/// Does what a plan says as `rmdir` and rsync would: removing needs an empty directory, and making or removing an entry
/// changes the time of the directory that it is in.
fn carry_out(planned: &[(Change, Place)], source: &Tree, destination: &mut Tree) {
    let touch = |destination: &mut Tree, place: &Place| {
        if let Some((_, parent)) = place.split_last()
            && let Some(entry) = destination.get_mut(parent)
        {
            entry.seconds = 1_000;
        }
    };
    for (_, place) in planned
        .iter()
        .filter(|(change, _)| *change == Change::Delete)
    {
        let inside = |other: &&Place| other.len() > place.len() && other.starts_with(place);
        assert_eq!(
            destination.keys().find(inside),
            None,
            "{place:?} is not empty"
        );
        assert!(
            destination.remove(place).is_some(),
            "{place:?} is not there"
        );
        touch(destination, place);
    }
    let copied = |change: Change| matches!(change, Change::Copy | Change::Update);
    let mut copies: Vec<&Place> = planned
        .iter()
        .filter(|(change, _)| copied(*change))
        .map(|(_, place)| place)
        .collect();
    copies.sort();
    for place in &copies {
        destination.insert((*place).clone(), source[*place].clone());
        if source[*place].kind != EntryKind::Directory {
            touch(destination, place);
        }
    }
    // Of the directories in its list rsync sets the times at the end.
    for place in copies {
        destination.insert(place.clone(), source[place].clone());
    }
}

/// A tree in which every entry is in a directory.
fn tree() -> impl Strategy<Value = Tree> {
    let component = prop::sample::select(vec![b"a".to_vec(), b"a.".to_vec(), b"b".to_vec()]);
    let place = prop::collection::vec(component, 1..4);
    let entry = (0..4_u8, 0..2_u64, 0..2_i64).prop_map(|(kind, size, seconds)| Entry {
        kind: match kind {
            0 | 1 => EntryKind::File,
            2 => EntryKind::Symlink,
            _ => EntryKind::Directory,
        },
        size,
        seconds,
        target: (kind == 2).then(|| vec![b'x' + size as u8]),
    });
    prop::collection::btree_map(place, entry, 0..8).prop_map(|entries| {
        let mut tree = Tree::new();
        let directory = |seconds| Entry {
            kind: EntryKind::Directory,
            size: 0,
            seconds,
            target: None,
        };
        tree.insert(Place::new(), directory(7));
        for (place, entry) in entries {
            for depth in 1..place.len() {
                tree.insert(place[..depth].to_vec(), directory(entry.seconds));
            }
            tree.entry(place).or_insert(entry);
        }
        tree
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn a_plan_that_was_carried_out_leaves_nothing_to_do(source in tree(), mut destination in tree()) {
        let (planned, report) = plan((&source, vec![]), (&destination, vec![]));
        prop_assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
        carry_out(&planned, &source, &mut destination);
        prop_assert_eq!(&destination.keys().collect::<Vec<_>>(), &source.keys().collect::<Vec<_>>());
        let (again, _) = plan((&source, vec![]), (&destination, vec![]));
        prop_assert_eq!(again, vec![]);
    }

    #[test]
    fn nothing_is_deleted_that_the_source_may_have_or_that_hides_something(
        whole_source in tree(), whole_destination in tree(),
        lost_source in any::<prop::sample::Index>(), lost_destination in any::<prop::sample::Index>(),
        below in any::<bool>(),
    ) {
        // What one side could not read: with all below it, or an entry alone.
        let scope = if below { Scope::Subtree } else { Scope::Entry };
        let unread = |tree: &Tree, index: prop::sample::Index| {
            let place = index.get(&tree.keys().collect::<Vec<_>>()).to_vec();
            let seen = tree.iter().filter(|(other, _)| match scope {
                Scope::Entry => **other != place,
                Scope::Subtree => !(other.len() > place.len() && other.starts_with(&place)),
            });
            // A directory of which nothing is known has its contents all the same; the model keeps it simple.
            let rest: Tree = seen.map(|(place, entry)| (place.clone(), entry.clone())).collect();
            let has_parents = rest.keys().all(|place| place.is_empty() || rest.contains_key(&place[..place.len() - 1]));
            has_parents.then_some((rest, place))
        };
        let (Some((source, lost_there)), Some((mut destination, hidden))) =
            (unread(&whole_source, lost_source), unread(&whole_destination, lost_destination))
        else {
            return Ok(());
        };
        let errors = |root, place: &Place| vec![lost(root, place, scope)];
        let (planned, _) = plan(
            (&source, errors("from", &lost_there)),
            (&destination, errors("to", &hidden)),
        );
        let covers = |place: &Place| match scope {
            Scope::Entry => *place == lost_there,
            Scope::Subtree => place.starts_with(&lost_there),
        };
        for (change, place) in &planned {
            if *change == Change::Delete {
                prop_assert!(source.contains_key(place) || !covers(place), "{:?} may be on the source", place);
                prop_assert!(!hidden.starts_with(place) , "{:?} may hide something", place);
                destination.remove(place);
            }
        }
        let orphan = destination.keys().find(|place| {
            !place.is_empty() && !destination.contains_key(&place[..place.len() - 1])
        });
        prop_assert_eq!(orphan, None);
    }
}

fn file(seconds: i64) -> Entry {
    Entry {
        kind: EntryKind::File,
        size: 1,
        seconds,
        target: None,
    }
}

#[test]
fn times_within_the_window_are_equal() {
    let one = |seconds| Tree::from([(vec![b"a".to_vec()], file(seconds))]);
    for (window, apart, equal) in [(0, 0, true), (0, 1, false), (2, 2, true), (2, -3, false)] {
        let mut builder = Builder::new("test");
        let mut side = |root, tree| {
            let given = Given::new(rows(root, &tree)).ordered_by("path");
            builder.stage(root, given, ()).done()
        };
        let (source, destination) = (side("from", one(5)), side("to", one(5 + apart)));
        let config = PlanConfig {
            modify_window: Period::new(std::time::Duration::from_secs(window)),
            ..PlanConfig::default()
        };
        let plan = builder.stage("plan", Plan, config);
        let plan = plan.reads_on(SOURCE, &source);
        let plan = plan.reads_on(DESTINATION, &destination).done();
        let sink = Collected::<RecordBatch>::new();
        let _ = builder.sink("out", sink.clone()).reads(&plan);
        let report = builder.build().unwrap().run();
        assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.cause);
        assert_eq!(sink.items().is_empty(), equal, "{window} {apart}");
    }
}

#[test]
fn a_filter_before_the_plan_is_refused() {
    let mut builder = Builder::new("test");
    let tree = Tree::from([(vec![b"a".to_vec()], file(0))]);
    let mut side = |root| {
        let given = Given::new(rows(root, &tree)).ordered_by("path");
        builder.stage(root, given, ()).done()
    };
    let (source, destination) = (side("from"), side("to"));
    let few = builder.stage("few", Filter, FilterConfig::default());
    let few = few.threads(1).reads(&source).done();
    let plan = builder.stage("plan", Plan, PlanConfig::default());
    let plan = plan.reads_on(SOURCE, &few);
    let plan = plan.reads_on(DESTINATION, &destination).done();
    let _ = builder
        .sink("out", Collected::<RecordBatch>::new())
        .reads(&plan);
    let cause = builder.build().unwrap().run().cause.unwrap();
    assert!(
        cause.contains("leaves entries out of the input \"source\""),
        "{cause}"
    );
}

/// Two scans of an empty directory, one of which leaves names out, and a plan.
fn scans(builder: &mut Builder, home: &Path, targets: bool) {
    let mut side = |name: &str, exclude: &[&str]| {
        let mut config = EnumerateConfig::new([home]);
        config.exclude = exclude.iter().map(|&pattern| pattern.to_owned()).collect();
        let walk = builder.stage(&format!("{name}_walk"), Enumerate, config);
        let walk = walk.done();
        let stat = StatConfig {
            targets,
            ..StatConfig::default()
        };
        let meta = builder.stage(&format!("{name}_meta"), Stat, stat);
        let meta = meta.reads(&walk).done();
        let sort = builder.stage(name, Sort, SortConfig::default());
        sort.reads(&meta).done()
    };
    let (source, destination) = (side("a", &["*.o"]), side("b", &[]));
    let plan = builder.stage("plan", Plan, PlanConfig::default());
    let plan = plan.reads_on(SOURCE, &source);
    let plan = plan.reads_on(DESTINATION, &destination).done();
    let _ = builder
        .sink("out", Collected::<RecordBatch>::new())
        .reads(&plan);
}

#[test]
fn sides_that_leave_out_different_names_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let mut builder = Builder::new("test");
    scans(&mut builder, home.path(), true);
    let cause = builder.build().unwrap().run().cause.unwrap();
    let expected = "left out different things: source enumerate with {\"exclude\":[\"*.o\"]}, and destination nothing";
    assert!(cause.contains(expected), "{cause}");
}

#[test]
fn what_the_quick_check_needs_must_come_in() {
    let home = tempfile::tempdir().unwrap();
    let mut builder = Builder::new("test");
    scans(&mut builder, home.path(), false);
    let found = problems(builder);
    let lacks: Vec<&str> = found.iter().map(|problem| problem.1.as_str()).collect();
    assert_eq!(
        lacks,
        [
            "the records of the input \"source\" have no \"target\"",
            "the records of the input \"destination\" have no \"target\"",
        ]
    );
}
