//! Directories that are computed, not stored: any entry's name, number and place follow from each
//! other, so that ten million entries take no memory.
//!
//! A shape is a complete tree. Its directories are numbered level by level as in a heap: those in
//! directory `d` are `d * fan_out + 1` to `d * fan_out + fan_out`. Its files are numbered after all
//! directories, those of directory 0 first. This numbering is all that must stay true here; names
//! are made from it and read back to it.

/// Numbers of a shape's entries are below this.
const LIMIT: u64 = 1 << 47;

/// An odd factor that scatters numbers over [`LIMIT`], and its inverse, for [`Names::Bytes`].
const SCATTER: u64 = 0x5851_F42D_4C95_7F2D;
const GATHER: u64 = inverse(SCATTER);

/// How many bytes can be in a name: all but NUL and `/`.
const ALPHABET: u64 = 254;

/// Digits to base [`ALPHABET`] that hold any number below [`LIMIT`].
const DIGITS: usize = 6;

/// How the entries of a [`Shape`] are called.
///
/// All names begin with `d` for a directory and `f` for a file, and no two in a shape are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// A decimal number: `d12`, `f7`.
    Plain,
    /// A decimal number with zeros in front that make it so many bytes long, at most 255.
    Padded(usize),
    /// Six bytes that may be any but NUL and `/`: control characters, invalid UTF-8.
    Bytes,
}

impl Names {
    fn encode(self, kind: u8, number: u64) -> Vec<u8> {
        match self {
            Self::Plain => format!("{}{number}", char::from(kind)).into_bytes(),
            Self::Padded(length) => {
                format!("{}{number:0width$}", char::from(kind), width = length - 1).into_bytes()
            }
            Self::Bytes => {
                let mut rest = number.wrapping_mul(SCATTER) % LIMIT;
                let mut name = vec![kind];
                for _ in 0..DIGITS {
                    // NUL is left out by adding one, the slash by one more from there on.
                    let byte = (rest % ALPHABET) as u8 + 1;
                    name.push(if byte >= b'/' { byte + 1 } else { byte });
                    rest /= ALPHABET;
                }
                name
            }
        }
    }

    /// The number in a name that [`Names::encode`] made. What it makes of other names is not said.
    fn decode(self, name: &[u8]) -> Option<u64> {
        let digits = name.get(1..)?;
        if self == Self::Bytes {
            let scattered = digits.iter().rev().fold(0_u64, |value, &byte| {
                let digit = if byte > b'/' {
                    byte - 2
                } else {
                    byte.wrapping_sub(1)
                };
                value.wrapping_mul(ALPHABET).wrapping_add(u64::from(digit))
            });
            return Some(scattered.wrapping_mul(GATHER) % LIMIT);
        }
        std::str::from_utf8(digits).ok()?.parse().ok()
    }
}

/// What a directory holds, computed rather than stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    fan_out: u64,
    depth: u64,
    files: u64,
    /// All directories, the one that the shape fills among them.
    directories: u64,
    names: Names,
    file_size: u64,
}

impl Shape {
    /// `fan_out` directories in each directory, `depth` levels of them, and `files` files in each,
    /// also in the directory that the shape fills.
    ///
    /// # Panics
    /// If that makes 2^47 entries or more.
    #[must_use]
    pub fn balanced(fan_out: u64, depth: u64, files: u64) -> Self {
        let directories = if fan_out <= 1 {
            fan_out
                .checked_mul(depth)
                .and_then(|below| below.checked_add(1))
        } else {
            (0..depth).try_fold(1_u64, |all, _| {
                all.checked_mul(fan_out)?
                    .checked_add(1)
                    .filter(|&all| all < LIMIT)
            })
        };
        let shape = directories.and_then(|directories| {
            let entries = directories.checked_mul(files)?.checked_add(directories)?;
            (entries < LIMIT).then_some(Self {
                fan_out,
                depth,
                files,
                directories,
                names: Names::Plain,
                file_size: 0,
            })
        });
        shape.expect("a shape of fewer than 2^47 entries")
    }

    /// `count` files.
    ///
    /// # Panics
    /// If `count` is 2^47 - 1 or more.
    #[must_use]
    pub fn files(count: u64) -> Self {
        Self::balanced(0, 0, count)
    }

    /// `count` empty directories.
    ///
    /// # Panics
    /// If `count` is 2^47 - 1 or more.
    #[must_use]
    pub fn directories(count: u64) -> Self {
        Self::balanced(count, 1, 0)
    }

    /// `levels` directories, one in the other, each with a name of `name_length` bytes.
    ///
    /// # Panics
    /// If the names are too short for the number of levels, or longer than 255 bytes.
    #[must_use]
    pub fn chain(levels: u64, name_length: usize) -> Self {
        Self::balanced(1, levels, 0).names(Names::Padded(name_length))
    }

    /// Files without end: 2^46 of them, which nobody lists in a year.
    #[must_use]
    pub fn endless() -> Self {
        Self::files(1 << 46)
    }

    /// Gives the entries other names; they are [`Names::Plain`] otherwise.
    ///
    /// # Panics
    /// If a length is more than 255 bytes, or not enough for the largest number.
    #[must_use]
    pub fn names(mut self, names: Names) -> Self {
        if let Names::Padded(length) = names {
            let largest = Names::Plain.encode(b'd', self.entries()).len();
            assert!(
                (largest..=255).contains(&length),
                "names of {largest} to 255 bytes"
            );
        }
        self.names = names;
        self
    }

    /// Gives the files a size in bytes; they are empty otherwise. Their content is zeros.
    #[must_use]
    pub fn file_size(mut self, bytes: u64) -> Self {
        self.file_size = bytes;
        self
    }

    /// How many bytes each file holds.
    pub(crate) fn size_of_files(&self) -> u64 {
        self.file_size
    }

    /// Whether a name could be one of this shape's. Errs on the side of yes.
    pub(crate) fn claims(&self, name: &[u8]) -> bool {
        matches!(name.first(), Some(b'd' | b'f'))
    }

    /// All directories but the one that the shape fills.
    pub(crate) fn directories_below(&self) -> u64 {
        self.directories - 1
    }

    /// All files.
    pub(crate) fn files_below(&self) -> u64 {
        self.directories * self.files
    }

    /// Numbers run from 0, the directory that the shape fills, to below this.
    fn entries(&self) -> u64 {
        self.directories + self.files_below()
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        number < self.entries()
    }

    pub(crate) fn is_directory(&self, number: u64) -> bool {
        number < self.directories
    }

    /// How many directories are right in `directory`.
    pub(crate) fn subdirectories(&self, directory: u64) -> u64 {
        // Below the root are `fan_out` directories for each directory that has any.
        let inner = self
            .directories_below()
            .checked_div(self.fan_out)
            .unwrap_or(0);
        if directory < inner { self.fan_out } else { 0 }
    }

    /// The entry at `position` of `directory`: directories first.
    pub(crate) fn at(&self, directory: u64, position: u64) -> Option<u64> {
        let subdirectories = self.subdirectories(directory);
        if position < subdirectories {
            return Some(directory * self.fan_out + 1 + position);
        }
        let file = position - subdirectories;
        (file < self.files).then(|| self.directories + directory * self.files + file)
    }

    /// The directory that `number` is in; `number` is not 0.
    pub(crate) fn parent(&self, number: u64) -> u64 {
        if self.is_directory(number) {
            (number - 1) / self.fan_out
        } else {
            (number - self.directories) / self.files
        }
    }

    /// The name of `number`, which is not 0.
    pub(crate) fn name(&self, number: u64) -> Vec<u8> {
        if self.is_directory(number) {
            self.names.encode(b'd', number)
        } else {
            self.names.encode(b'f', number - self.directories)
        }
    }

    /// The entry called `name` in `directory`.
    pub(crate) fn find(&self, directory: u64, name: &[u8]) -> Option<u64> {
        let decoded = self.names.decode(name)?;
        let number = match name.first()? {
            b'd' if decoded != 0 && self.is_directory(decoded) => decoded,
            b'f' => self.directories.checked_add(decoded)?,
            _ => return None,
        };
        // A number in another directory, or one written in another way (`d007`), is no entry here.
        let here =
            self.contains(number) && self.parent(number) == directory && self.name(number) == name;
        here.then_some(number)
    }
}

/// The inverse of an odd number modulo 2^64, thus modulo any smaller power of two.
const fn inverse(odd: u64) -> u64 {
    // Newton's iteration doubles the number of right bits, from three.
    let mut inverse = odd;
    let mut round = 0;
    while round < 5 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
        round += 1;
    }
    inverse
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Walks a whole shape and checks that every way back leads to where it came from.
    fn walk(shape: &Shape) -> (u64, u64) {
        let (mut directories, mut files) = (0, 0);
        let mut names = HashSet::new();
        let mut pending = vec![0];
        while let Some(directory) = pending.pop() {
            let entries: Vec<u64> = (0..)
                .map_while(|position| shape.at(directory, position))
                .collect();
            for number in entries {
                let name = shape.name(number);
                assert!(!name.contains(&0) && !name.contains(&b'/'), "{name:?}");
                assert_eq!(shape.find(directory, &name), Some(number), "{name:?}");
                assert_eq!(shape.parent(number), directory);
                assert!(shape.claims(&name));
                if shape.is_directory(number) {
                    directories += 1;
                    pending.push(number);
                } else {
                    files += 1;
                }
                assert!(names.insert(name));
            }
        }
        (directories, files)
    }

    #[test]
    fn every_entry_is_found_by_the_name_that_it_is_listed_under() {
        for (fan_out, depth, files) in [
            (0, 0, 9),
            (1, 40, 2),
            (2, 5, 3),
            (7, 3, 1),
            (9, 1, 0),
            (3, 0, 2),
            (0, 4, 1),
        ] {
            for names in [Names::Plain, Names::Padded(30), Names::Bytes] {
                let shape = Shape::balanced(fan_out, depth, files).names(names);
                let counted = walk(&shape);
                assert_eq!(
                    counted,
                    (shape.directories_below(), shape.files_below()),
                    "{shape:?}"
                );
            }
        }
        assert_eq!(walk(&Shape::balanced(2, 5, 3)), (62, 63 * 3));
    }

    #[test]
    fn names_that_are_not_listed_are_not_found() {
        let shape = Shape::balanced(2, 2, 1);
        // The second is in directory 1, not in 0.
        for name in [
            "d0",
            "d3",
            "d01",
            "d+1",
            "f7",
            "f1",
            "",
            "d",
            "x1",
            "d99999999999999999999",
        ] {
            assert_eq!(shape.find(0, name.as_bytes()), None, "{name:?}");
        }
        let shape = Shape::files(100).names(Names::Bytes);
        assert_eq!(shape.find(0, b"f"), None);
        assert_eq!(
            shape.find(0, b"f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
            None
        );
    }
}
