//! The seeds of the fuzz target `dirents`, and mutations of them.

#[path = "../../../../fuzz/checks/dirents.rs"]
mod check;
#[path = "../../../../fuzz/checks/replay.rs"]
mod replay;

#[test]
fn any_buffer_is_parsed_as_a_second_parser_parses_it() {
    replay::replay("dirents", 1_000, check::dirents);
}
