//! T1, what heals: the first calls fail with an error that says "try again", then all is well.
//!
//! Nothing may be missing then, and the run must be complete.

use statline_testfs::fuse::{Operation, can_mount};

use crate::errors::Field;
use crate::oracle::{Findings, Oracle};
use crate::scan::BACKENDS;
use crate::suite::{Broken, FAMILY, Part, Suite};
use crate::truth::Allowance;

/// The numbers of these cases begin here.
const FIRST: u64 = FAMILY;

/// `EINTR`, `EAGAIN`, `ESTALE`.
const TRANSIENT: [i32; 3] = [4, 11, 116];

const ESTALE: i32 = 116;

pub(crate) fn run(suite: &Suite) -> Result<(), Broken> {
    // What cannot be mounted was said by the errors that stay.
    if can_mount().is_err() {
        return Ok(());
    }
    suite.share(3, |thread, threads| {
        // Only where every call arrives does a rule count calls as the scan makes them.
        let field = match Field::new(suite, 0) {
            Ok(field) => field,
            Err(error) => return suite.broken(Part::Errors, error.to_string()),
        };
        let cases = field.targets.len() * TRANSIENT.len() * 3 * BACKENDS.len();
        for case in (0..cases).filter(|case| *case as u64 % threads == thread) {
            let number = FIRST + case as u64;
            suite.case(Part::Errors, number, Oracle::RECORDS, |findings| {
                one(&field, case, findings)
            });
        }
    });
    Ok(())
}

fn one(field: &Field, case: usize, findings: &mut Findings) -> Result<(), Broken> {
    let backend = BACKENDS[case % BACKENDS.len()];
    let case = case / BACKENDS.len();
    let times = 1 + case as u64 % 3;
    let case = case / 3;
    let number = TRANSIENT[case % TRANSIENT.len()];
    let target = &field.targets[case / TRANSIENT.len()];
    let rule = target.rule().errno(number).times(times);
    // A directory that is forgotten while it is being listed is not begun anew: its first entries were handed on, and
    // where the listing was, a directory opened anew may not know.
    let half_read = number == ESTALE
        && target.operations == Operation::Readdir.into()
        && target.offset.is_some_and(|offset| offset > 0);
    let allowed = if half_read {
        target.allowance()
    } else {
        Allowance {
            heals: true,
            ..Allowance::default()
        }
    };
    field.scan(backend, vec![rule], |_| allowed, findings)
}
