use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use super::*;
use crate::nt::fixtures::{Row, buffer as records};

/// A directory that answers by a script. Each step is what comes of one query.
#[derive(Default)]
struct Scripted {
    steps: RefCell<VecDeque<Step>>,
    /// What was asked: the class, whether to restart, for how many bytes.
    asked: RefCell<Vec<(DirectoryClass, bool, usize)>>,
    forced: Option<DirectoryClass>,
    noted: Cell<Option<DirectoryClass>>,
}

enum Step {
    Names(&'static [&'static str]),
    /// A status, and how many bytes it says were filled.
    Says(Status, usize),
}
use Step::{Names, Says};

const KIB_64: usize = 64 * 1024;

impl Scripted {
    fn new(steps: impl IntoIterator<Item = Step>) -> Scripted {
        Scripted {
            steps: RefCell::new(steps.into_iter().collect()),
            ..Scripted::default()
        }
    }

    /// Lists to the end.
    fn list(&self) -> (Vec<String>, Result<(), io::Error>) {
        let (mut entries, mut cursor) = (Entries::default(), Cursor::default());
        let mut buffer = Vec::new();
        let result = loop {
            match cursor.read(self, &mut buffer, &mut entries) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let names = (0..entries.len())
            .map(|index| String::from_utf8(entries.name(index).as_bytes().to_vec()).unwrap());
        (names.collect(), result)
    }

    fn asked(&self) -> Vec<(i32, bool, usize)> {
        let asked = self.asked.borrow();
        asked
            .iter()
            .map(|(class, restart, bytes)| (class.number(), *restart, *bytes))
            .collect()
    }
}

impl Query for Scripted {
    fn query(&self, class: DirectoryClass, restart: bool, buffer: &mut [u64]) -> (Status, usize) {
        self.asked
            .borrow_mut()
            .push((class, restart, size_of_val(buffer)));
        match self.steps.borrow_mut().pop_front() {
            Some(Names(names)) => {
                let rows: Vec<Row> = names.iter().copied().map(Row::named).collect();
                let mut bytes = records(class, &rows);
                let filled = bytes.len();
                bytes.resize(filled.next_multiple_of(8), 0xEE);
                for (word, bytes) in buffer.iter_mut().zip(bytes.chunks_exact(8)) {
                    *word = u64::from_ne_bytes(bytes.try_into().unwrap());
                }
                (Status::SUCCESS, filled)
            }
            Some(Says(status, filled)) => (status, filled),
            None => (Status::NO_MORE_FILES, 0),
        }
    }

    fn error(&self, status: Status) -> io::Error {
        io::Error::other(format!("{status:?}"))
    }

    fn first_class(&self) -> DirectoryClass {
        self.forced.unwrap_or(DirectoryClass::IdExtd)
    }

    fn class_after(&self, class: DirectoryClass) -> Option<DirectoryClass> {
        class.next().filter(|_| self.forced.is_none())
    }

    fn note_class(&self, class: DirectoryClass) {
        self.noted.set(Some(class));
    }

    fn volume(&self) -> u64 {
        9
    }
}

fn fault(result: Result<(), io::Error>) -> Option<Fault> {
    Fault::of(&result.unwrap_err())
}

#[test]
fn a_directory_is_listed_with_one_query_a_buffer_and_one_for_the_end() {
    let directory = Scripted::new([Names(&[".", "..", "a"]), Names(&["b", "c"])]);
    let (names, result) = directory.list();
    result.unwrap();
    assert_eq!(names, ["a", "b", "c"]);
    let asked = [(60, true, KIB_64), (60, false, KIB_64), (60, false, KIB_64)];
    assert_eq!(directory.asked(), asked);
    assert_eq!(directory.noted.get(), Some(DirectoryClass::IdExtd));
}

#[test]
fn a_directory_without_even_itself_is_empty() {
    for ending in [Status::NO_SUCH_FILE, Status::NO_MORE_FILES] {
        let (names, result) = Scripted::new([Says(ending, 0)]).list();
        result.unwrap();
        assert!(names.is_empty());
    }
}

#[test]
fn each_class_that_is_denied_makes_way_for_the_next_and_the_first_that_works_is_kept() {
    let denials = [
        Status::INVALID_INFO_CLASS,
        Status::INVALID_PARAMETER,
        Status::NOT_SUPPORTED,
        Status::NOT_IMPLEMENTED,
        Status::INVALID_LEVEL,
        Status::INVALID_DEVICE_REQUEST,
    ];
    for denial in denials {
        let steps = [
            Says(denial, 0),
            Says(denial, 0),
            Names(&["a"]),
            Names(&["b"]),
        ];
        let directory = Scripted::new(steps);
        let (names, result) = directory.list();
        result.unwrap();
        assert_eq!(names, ["a", "b"], "{denial:?}");
        let classes: Vec<_> = directory
            .asked()
            .iter()
            .map(|(class, restart, _)| (*class, *restart))
            .collect();
        assert_eq!(
            classes,
            [(60, true), (38, true), (2, true), (2, false), (2, false)]
        );
        assert_eq!(directory.noted.get(), Some(DirectoryClass::Full));
    }
}

#[test]
fn a_file_system_that_has_no_class_at_all_is_an_error() {
    let denial = || Says(Status::INVALID_PARAMETER, 0);
    let directory = Scripted::new([denial(), denial(), denial(), denial()]);
    let (_, result) = directory.list();
    assert_eq!(result.unwrap_err().to_string(), "Status(0xc000000d)");
    assert_eq!(directory.asked().len(), 4);
    assert_eq!(directory.noted.get(), None);
}

#[test]
fn a_class_that_is_forced_is_the_only_one_that_is_tried() {
    let directory = Scripted {
        forced: Some(DirectoryClass::IdBoth),
        ..Scripted::new([Says(Status::INVALID_INFO_CLASS, 0)])
    };
    directory.list().1.unwrap_err();
    assert_eq!(directory.asked(), [(37, true, KIB_64)]);
}

#[test]
fn what_looks_like_a_denial_later_is_an_error_and_keeps_what_was_read() {
    let directory = Scripted::new([Names(&["a"]), Says(Status::INVALID_PARAMETER, 0)]);
    let (names, result) = directory.list();
    assert_eq!(names, ["a"]);
    assert_eq!(result.unwrap_err().to_string(), "Status(0xc000000d)");
}

#[test]
fn an_entry_that_does_not_fit_is_read_with_a_larger_buffer_and_nothing_twice() {
    let too_small = [
        // What Windows documents for a later call.
        (Status::SUCCESS, 0),
        // The beginning of the entry, which is consumed with it.
        (Status::BUFFER_OVERFLOW, 90),
        (Status::BUFFER_TOO_SMALL, 0),
        (Status::INFO_LENGTH_MISMATCH, 0),
    ];
    for (status, filled) in too_small {
        let steps = [
            Names(&[".", "..", "a"]),
            Names(&["b"]),
            Says(status, filled),
            Names(&[".", "..", "a", "b", "long"]),
            Names(&["z"]),
        ];
        let directory = Scripted::new(steps);
        let (names, result) = directory.list();
        result.unwrap();
        assert_eq!(names, ["a", "b", "long", "z"], "{status:?}");
        let asked = directory.asked();
        assert_eq!(
            asked[2..5],
            [
                (60, false, KIB_64),
                (60, true, 2 * KIB_64),
                (60, false, 2 * KIB_64),
            ]
        );
    }
}

#[test]
fn entries_are_skipped_over_several_buffers_and_larger_ones_still() {
    let steps = [
        Names(&["a", "b", "c"]),
        Says(Status::SUCCESS, 0),
        Names(&["a", "b"]),
        Says(Status::SUCCESS, 0),
        Names(&["a", "b"]),
        Names(&["c", "d"]),
    ];
    let directory = Scripted::new(steps);
    let (names, result) = directory.list();
    result.unwrap();
    assert_eq!(names, ["a", "b", "c", "d"]);
    assert_eq!(directory.asked()[4], (60, true, 4 * KIB_64));
}

#[test]
fn a_directory_that_changed_before_it_was_read_again_is_no_whole_one() {
    let changed: [&[Step]; 3] = [
        // An entry went, so the next one would be skipped.
        &[Names(&["b", "c"])],
        // One came, so one would be handed on twice.
        &[Names(&["0", "a", "b", "c"])],
        &[Names(&["a"])],
    ];
    for steps in changed {
        let before = [Names(&["a", "b"]), Says(Status::SUCCESS, 0)];
        let after = steps.iter().map(|step| match step {
            Names(names) => Names(names),
            Says(status, filled) => Says(*status, *filled),
        });
        let (names, result) = Scripted::new(before.into_iter().chain(after)).list();
        assert_eq!(fault(result), Some(Fault::ReaddirLoop));
        assert_eq!(names, ["a", "b"]);
    }
}

#[test]
fn an_entry_that_never_fits_is_an_error_in_the_end() {
    let too_small = || Says(Status::BUFFER_OVERFLOW, KIB_64);
    let directory = Scripted::new([too_small(), too_small(), too_small()]);
    assert_eq!(
        directory.list().1.unwrap_err().to_string(),
        "Status(0x80000005)"
    );
    let bytes: Vec<_> = directory.asked().iter().map(|asked| asked.2).collect();
    assert_eq!(bytes, [KIB_64, 2 * KIB_64, 4 * KIB_64]);
}

#[test]
fn a_directory_that_goes_on_without_entries_is_malformed() {
    let nothing = || Says(Status::SUCCESS, 0);
    let directory = Scripted::new([Names(&["a"]), nothing(), nothing(), nothing()]);
    let (names, result) = directory.list();
    assert_eq!(fault(result), Some(Fault::Malformed));
    assert_eq!(names, ["a"]);
}

#[test]
fn a_system_that_says_it_filled_more_than_there_is_is_not_believed() {
    let directory = Scripted::new([Says(Status::SUCCESS, KIB_64 + 1)]);
    assert_eq!(fault(directory.list().1), Some(Fault::Malformed));
}

#[test]
fn malformed_records_keep_what_came_before_them() {
    let directory = Scripted::new([Names(&["a"]), Names(&["b", "c/d", "e"])]);
    let (names, result) = directory.list();
    assert_eq!(fault(result), Some(Fault::Malformed));
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn a_directory_that_goes_in_a_circle_is_noticed() {
    let circle = || [Names(&["a", "b"]), Names(&["c", "d"])];
    let directory = Scripted::new((0..8).flat_map(|_| circle()));
    let (names, result) = directory.list();
    assert_eq!(fault(result), Some(Fault::ReaddirLoop));
    assert!(names.len() <= 16);
}

#[test]
fn a_listing_that_is_rewound_starts_anew_and_keeps_its_class() {
    let steps = [
        Says(Status::INVALID_INFO_CLASS, 0),
        Names(&["a"]),
        Names(&["a"]),
    ];
    let directory = Scripted::new(steps);
    let (mut entries, mut cursor) = (Entries::default(), Cursor::default());
    let mut buffer = Vec::new();
    assert!(cursor.read(&directory, &mut buffer, &mut entries).unwrap());
    cursor.rewind();
    assert!(cursor.read(&directory, &mut buffer, &mut entries).unwrap());
    assert_eq!(entries.len(), 2);
    assert_eq!(directory.asked()[2], (38, true, KIB_64));
}
