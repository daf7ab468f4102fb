//! Two scans side by side, entry by entry, in path order.
//!
//! Entries of two scans of one root each belong together if their paths below the roots are equal; where a scan has
//! several roots, if their whole paths are. One thing must stay true: an entry that is missing on one side is called
//! missing only where that side has looked.

use std::cmp::Ordering;

use statline_pipeline::{Context, StageError};
use statline_platform::{compare_paths, compare_relative_paths};

use crate::Row;
use crate::omissions::{self, Omission};
use crate::side::Side;

/// Two sides in step.
pub(crate) struct Merge {
    pub(crate) left: Side,
    pub(crate) right: Side,
    /// Whether entries are compared by what of their paths is below the roots.
    below_roots: bool,
}

/// Which side has the next entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Left,
    Right,
    Both,
}

impl Merge {
    /// Waits until both sides have begun.
    pub(crate) fn begin(mut left: Side, mut right: Side) -> Result<Merge, StageError> {
        left.begin()?;
        right.begin()?;
        Ok(Merge {
            below_roots: left.roots() <= 1 && right.roots() <= 1,
            left,
            right,
        })
    }

    /// What of the two sides was left out on purpose, if it is not the same: a sentence.
    pub(crate) fn unlike(&self) -> Option<String> {
        let (left, right) = (self.left.left_out(), self.right.left_out());
        (left != right).then(|| {
            format!(
                "the two sides left out different things: {} {}, and {} {}",
                self.left.port(),
                omissions::describe(&left),
                self.right.port(),
                omissions::describe(&right),
            )
        })
    }

    /// What was left out of either side by their stages behind `enumerate`.
    pub(crate) fn filtered(&self) -> Option<(&'static str, Omission)> {
        let sides = [&self.left, &self.right];
        sides.into_iter().find_map(|side| {
            let mut left_out = side.left_out().into_iter();
            let filter = left_out.find(|left_out| left_out.kind != "enumerate")?;
            Some((side.port(), filter))
        })
    }

    /// Which side has the next entry; `None` when both have ended.
    pub(crate) fn next(&self) -> Option<Step> {
        match (self.left.row(), self.right.row()) {
            (None, None) => None,
            (Some(_), None) => Some(Step::Left),
            (None, Some(_)) => Some(Step::Right),
            (Some(left), Some(right)) => Some(match self.compare(&left, &right) {
                Ordering::Less => Step::Left,
                Ordering::Greater => Step::Right,
                Ordering::Equal => Step::Both,
            }),
        }
    }

    fn compare(&self, left: &Row<'_>, right: &Row<'_>) -> Ordering {
        let left = (&**left.directory, left.name.as_bytes());
        let right = (&**right.directory, right.name.as_bytes());
        match self.below_roots {
            true => compare_relative_paths(left, right),
            false => compare_paths(left, right),
        }
    }

    /// Goes on behind the next entry.
    pub(crate) fn advance(&mut self, step: Step) -> Result<(), StageError> {
        if step != Step::Right {
            self.left.advance()?;
        }
        if step != Step::Left {
            self.right.advance()?;
        }
        Ok(())
    }

    /// Whether an entry that one side has may be on the other as well, unseen.
    pub(crate) fn may_be_on(&self, other: &Side, row: &Row<'_>) -> bool {
        !other.unread().is_empty() && other.unread().covers(&self.path_on(other, row))
    }

    /// The path that an entry has, or would have, on a side.
    fn path_on(&self, side: &Side, row: &Row<'_>) -> Vec<u8> {
        let Some(root) = side.root().filter(|_| self.below_roots) else {
            return row.path_bytes();
        };
        let mut path = root.to_vec();
        let mut below = Vec::new();
        row.directory.write_relative_path(row.name, &mut below);
        if !below.is_empty() && !path.is_empty() && !path.ends_with(b"/") {
            path.push(b'/');
        }
        path.extend_from_slice(&below);
        path
    }
}

/// Tells that a stage with two sides is alive, now and then.
pub(crate) struct Pace<'c> {
    context: &'c Context,
    steps: u32,
}

impl<'c> Pace<'c> {
    const STEPS: u32 = 4096;

    pub(crate) fn new(context: &'c Context) -> Pace<'c> {
        Pace { context, steps: 0 }
    }

    /// After each entry: two equal trees send nothing, which must not pass for hanging.
    pub(crate) fn step(&mut self) -> Result<(), StageError> {
        self.steps += 1;
        match self.steps % Self::STEPS {
            0 => self.context.checkpoint(),
            _ => Ok(()),
        }
    }
}
