//! Names as they are found in the wild: words, numbers, extensions, other scripts, bytes that are no UTF-8.
//!
//! What must stay true: two entries of one directory never get the same name. Each name carries its number; a file's follows
//! an underscore and a directory's a hyphen, and neither occurs elsewhere in it.

use crate::random::Random;

const WORDS: [&str; 40] = [
    "src", "lib", "test", "data", "report", "image", "backup", "module", "index", "config", "main",
    "draft", "final", "notes", "build", "cache", "user", "photo", "invoice", "schema", "session",
    "object", "README", "Makefile", "IMG", "DSC", "thumb", "chunk", "layer", "part", "old", "new",
    "tmp", "log", "core", "vendor", "assets", "docs", "export", "x",
];

const FOREIGN_WORDS: [&str; 12] = [
    "résumé",
    "Übersicht",
    "señal",
    "naïve",
    "отчёт",
    "資料",
    "写真",
    "보고서",
    "ملف",
    "नमूना",
    "e\u{301}te\u{301}",
    "📷",
];

/// Bytes that no UTF-8 decoder accepts: Latin-1, a continuation alone, a surrogate, an overlong slash.
const BROKEN: [&[u8]; 4] = [b"\xe9t\xe9", b"\x80", b"\xed\xa0\x80", b"\xc0\xaf"];

/// Common ones are listed more than once.
const EXTENSIONS: [&str; 32] = [
    "", "", "", "c", "h", "rs", "py", "py", "js", "js", "json", "json", "txt", "txt", "md", "html",
    "xml", "png", "png", "jpg", "jpg", "JPG", "pdf", "o", "so", "log", "log.gz", "tar.gz",
    "parquet", "db", "min.js", "bak~",
];

/// The name of the file, or of the link, that is the `number`th of its directory.
#[must_use]
pub fn file(random: &mut Random, number: u64) -> Vec<u8> {
    let mut name = stem(random);
    name.push(b'_');
    push_number(&mut name, number);
    let extension = *random.pick(&EXTENSIONS);
    if !extension.is_empty() {
        name.push(b'.');
        name.extend_from_slice(extension.as_bytes());
    }
    name
}

/// The name of the directory that is the `number`th of the tree.
#[must_use]
pub fn directory(random: &mut Random, number: u64) -> Vec<u8> {
    let mut name = stem(random);
    name.push(b'-');
    push_number(&mut name, number);
    name
}

fn stem(random: &mut Random) -> Vec<u8> {
    let mut stem = Vec::new();
    if random.chance(1, 50) {
        stem.push(b'.');
    }
    // Names of more than 100 bytes exist, and are rare.
    let words = if random.chance(1, 200) {
        12 + random.below(12)
    } else {
        1 + u64::from(random.exponent(3))
    };
    for word in 0..words {
        if word > 0 {
            stem.push(b' ');
        }
        match random.below(1_000) {
            0..3 => stem.extend_from_slice(random.pick::<&[u8]>(&BROKEN)),
            3..20 => stem.extend_from_slice(random.pick(&FOREIGN_WORDS).as_bytes()),
            _ => stem.extend_from_slice(random.pick(&WORDS).as_bytes()),
        }
    }
    stem
}

fn push_number(name: &mut Vec<u8>, number: u64) {
    name.extend_from_slice(format!("{number:x}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_into_any_file_system() {
        let mut random = Random::new(1, 0);
        for number in 0..100_000 {
            let name = file(&mut random, number);
            assert!((1..=255).contains(&name.len()));
            assert!(!name.contains(&b'/') && !name.contains(&0) && !name.contains(&b'\n'));
        }
    }

    #[test]
    fn some_names_are_not_ascii_and_some_are_not_utf8() {
        let mut random = Random::new(1, 0);
        let names: Vec<Vec<u8>> = (0..10_000)
            .map(|number| file(&mut random, number))
            .collect();
        let foreign = names
            .iter()
            .filter(|name| std::str::from_utf8(name).is_ok_and(|name| !name.is_ascii()))
            .count();
        let broken = names
            .iter()
            .filter(|name| std::str::from_utf8(name).is_err())
            .count();
        assert!((100..1_000).contains(&foreign), "{foreign}");
        assert!((20..200).contains(&broken), "{broken}");
    }
}
