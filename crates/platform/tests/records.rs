//! The seeds of the fuzz target `records`, and mutations of them. They are for every system: the parser is pure.
#![expect(clippy::unwrap_used, reason = "test code")]

#[path = "../../../fuzz/checks/records.rs"]
mod check;
#[path = "../../../fuzz/checks/replay.rs"]
mod replay;

#[test]
fn any_buffer_is_parsed_as_a_second_parser_parses_it() {
    replay::replay("records", 1_000, check::records);
}
