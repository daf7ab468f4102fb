//! Replays the seeds of a fuzz target, and mutations of them, in an ordinary test: no fuzzer, no nightly compiler.
//!
//! Mutations come from a fixed seed, so that every machine tests the same inputs; a failure prints the input.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

/// Mutations go on growing for this many steps, then start again from the seed.
const STEPS: usize = 8;

/// Checks all seeds of the target, and so many mutations of each.
pub(crate) fn replay(target: &str, mutations: usize, check: impl Fn(&[u8])) {
    let seeds = seeds(target);
    assert!(!seeds.is_empty(), "no seeds of {target}");
    let mut random = Random(0x5EED);
    for (path, seed) in &seeds {
        checked(path, seed, &check);
        let mut input = seed.clone();
        for step in 0..mutations {
            if step % STEPS == 0 {
                input.clone_from(seed);
            }
            let other = &seeds[random.below(seeds.len())].1;
            mutate(&mut input, other, &mut random);
            checked(path, &input, &check);
        }
    }
}

fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    let files = std::fs::read_dir(directory.join(target)).unwrap();
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).unwrap();
        (path, bytes)
    };
    paths.into_iter().map(read).collect()
}

fn checked(seed: &Path, input: &[u8], check: impl Fn(&[u8])) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(input))) {
        eprintln!("made of {}: b\"{}\"", seed.display(), input.escape_ascii());
        resume_unwind(panic);
    }
}

/// Changes a few bytes of the input, or moves, doubles or takes in a piece.
fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let length = 1 + random.below(16);
    let end = (at + length).min(input.len());
    match random.below(6) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => {
            input[at] = [0, 1, 0x7F, 0x80, 0xFF, b'"', b'[', b'.'][random.below(8)]
        }
        2 => drop(input.drain(at..end)),
        3 => {
            let piece = input[at..end].to_vec();
            let to = random.below(input.len() + 1);
            input.splice(to..to, piece);
        }
        4 => {
            let from = random.below(other.len() + 1);
            let piece = &other[from..(from + 4 * length).min(other.len())];
            input.splice(at..end, piece.iter().copied());
        }
        _ => input.truncate(at),
    }
}

/// Small, fast and the same everywhere: xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        (number % limit as u64) as usize
    }
}
