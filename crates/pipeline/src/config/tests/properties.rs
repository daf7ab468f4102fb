//! What holds for any text.

use std::fmt::Write as _;
use std::io::Write as _;

use proptest::prelude::*;

use super::{environment, load};
use crate::config::{Problems, describe, read_limited};

proptest! {
    #[test]
    fn no_text_panics(text in r"\PC{0,80}") {
        let _ = load(&text, &[]).1.render(true);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(&bytes).expect("room for it");
        match read_limited(file.path()) {
            Ok(text) => drop(load(&text, &[]).1.render(true)),
            Err(error) => prop_assert!(error.to_string().ends_with("not UTF-8 text")),
        }
        let _ = load(&String::from_utf8_lossy(&bytes), &[]).1.render(true);
    }

    #[test]
    fn no_text_of_the_right_alphabet_panics(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "[stages.", "walk", "]", "[", "{", "}", "=", ".", ",", "\n", "\r\n", "\"", "'", "\"\"\"", "#", " ", "\t", "type",
                "\"demo\"", "inputs", "path", "limits", "compression", "window", "1", "-1", "1.5", "true", "\"64MiB\"", "64", "\\",
                "${", "}", "$$", ":-", "é", "漢", "[[", "]]", "stages", "pipeline", "capacity", "2026-01-01", "\u{feff}", "\0",
            ]),
            0..60,
        )
    ) {
        let _ = load(&parts.concat(), &[]).1.render(true);
    }

    #[test]
    fn no_options_panic(
        entries in prop::collection::vec(
            (
                prop::sample::select(vec![
                    "path", "roots", "max_entries", "workers", "ratio", "limit", "compression", "window", "limits", "report",
                    "report.title", "nothing", "inputs", "threads", "accept", "capacity",
                ]),
                prop::sample::select(vec![
                    "1", "-1", "0.5", "\"\"", "\"${ROOT}\"", "\"${COUNT}\"", "[]", "[1, 2]", "[\"a\", 1]", "{}", "{ zstd = 1 }",
                    "{ zstd = { level = \"x\" } }", "[{}, { name = 1, size = 2 }]", "true", "\"64MiB\"", "2026-01-01",
                    "{ title = 1, other = 2 }",
                ]),
            ),
            0..12,
        )
    ) {
        let mut text = "[stages.x]\ntype = \"demo\"\n".to_owned();
        for (key, value) in entries {
            let _ = writeln!(text, "{key} = {value}");
        }
        let _ = load(&text, &[]).1.render(true);
    }

    #[test]
    fn no_override_panics(set in r#"([a-z."=\[{$}0-9-]|\PC){0,24}"#) {
        let mut problems = Problems::in_file("job.toml", "[stages.walk]\ntype = \"x\"\n");
        let _ = describe(&mut problems, &environment, &[set]);
        let _ = problems.render(false);
    }
}
