//! Runs, merging, and sorting beyond memory, on plain bytes.

use proptest::prelude::*;

use super::*;

fn options(memory: usize) -> SpillOptions {
    SpillOptions {
        directory: std::env::temp_dir(),
        memory,
        context: None,
    }
}

type Owned = (Vec<u8>, Vec<u8>);

fn entries() -> impl Strategy<Value = Vec<Owned>> {
    let bytes = |most| prop::collection::vec(prop::sample::select(vec![0, 1, b'a', 0xff]), 0..most);
    prop::collection::vec((bytes(12), bytes(40)), 0..150)
}

fn sorted(entries: &[Owned]) -> Vec<Owned> {
    let mut sorted = entries.to_vec();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    sorted
}

fn read(mut next: impl FnMut() -> Option<Owned>) -> Vec<Owned> {
    std::iter::from_fn(&mut next).collect()
}

fn owned((key, payload): Entry<'_>) -> Owned {
    (key.to_vec(), payload.to_vec())
}

proptest! {
    #[test]
    fn entries_come_out_by_key_and_equal_ones_as_they_came(
        entries in entries(), memory in 2_048usize..8_192,
    ) {
        let mut sort = ExternalSort::new(options(memory));
        prop_assert!(sort.is_empty());
        for (key, payload) in &entries {
            sort.push(key, payload).unwrap();
        }
        let mut all = sort.finish().unwrap();
        prop_assert_eq!(read(|| all.next().unwrap().map(owned)), sorted(&entries));
    }

    #[test]
    fn runs_are_merged_in_as_many_passes_as_memory_asks_for(
        entries in entries(), run in 1usize..30, memory in 0usize..8_192,
    ) {
        let mut spill = Spill::create(options(memory)).unwrap();
        for chunk in entries.chunks(run) {
            let mut writer = spill.run();
            for (number, (key, payload)) in sorted(chunk).iter().enumerate() {
                // Blocks that come finished, between entries that do not.
                if number % 5 == 4 {
                    let mut blocks = Blocks::new(8);
                    blocks.push(key, payload);
                    blocks.seal();
                    writer.append(&blocks).unwrap();
                } else {
                    writer.push(key, payload).unwrap();
                }
            }
            writer.finish().unwrap();
        }
        let mut merge = spill.merge().unwrap();
        prop_assert_eq!(read(|| merge.next().unwrap().map(owned)), sorted(&entries));
    }
}

#[test]
fn many_runs_in_little_memory_take_several_passes() {
    let mut spill = Spill::create(options(4_096)).unwrap();
    let passes = spill.watch.passes.clone();
    for number in (0..100_u8).rev() {
        let mut run = spill.run();
        run.push(&[number], b"payload").unwrap();
        run.finish().unwrap();
    }
    assert_eq!(spill.watch.runs.get(), 100);
    let mut merge = spill.merge().unwrap();
    let keys: Vec<u8> = read(|| merge.next().unwrap().map(owned))
        .into_iter()
        .map(|(key, _)| key[0])
        .collect();
    assert!(keys.iter().copied().eq(0..100));
    assert!(passes.get() >= 2, "{} passes", passes.get());
}

#[test]
fn nothing_has_a_name_while_it_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let mut sort = ExternalSort::new(SpillOptions {
        directory: directory.path().to_owned(),
        ..options(4_096)
    });
    for number in 0..2_000_u32 {
        sort.push(&number.to_be_bytes(), b"payload").unwrap();
    }
    assert!(sort.has_spilled(), "it all fits");
    // Elsewhere it has one until it is closed.
    if cfg!(unix) {
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
    drop(sort);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_directory_that_takes_no_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let created = Spill::create(SpillOptions {
        directory: missing.clone(),
        ..options(4_096)
    });
    let message = created.err().unwrap().to_string();
    let expected = format!("cannot create a temporary file in {missing:?} for what does not fit");
    assert!(message.starts_with(&expected), "{message}");
    let why = match cfg!(windows) {
        true => "os error 3",
        false => "No such file",
    };
    assert!(message.contains(why), "{message}");
}

/// A device that takes nothing, in place of a full disk.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_that_names_the_directory() {
    let mut spill = Spill::create(options(4_096)).unwrap();
    spill.file.replace(
        std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap(),
    );
    let mut run = spill.run();
    let full = (0..10_000_u32).find_map(|number| run.push(&number.to_be_bytes(), b"x").err());
    let message = full.unwrap().to_string();
    let directory = std::env::temp_dir();
    let expected = format!("cannot write to a temporary file in {directory:?}");
    assert!(message.starts_with(&expected), "{message}");
    assert!(message.contains("No space left on device"), "{message}");
}
