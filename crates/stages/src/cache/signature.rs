//! What tells whether an entry has changed, and when that proves nothing.

use statline_pipeline::Declare;
use statline_platform::{Metadata, Timestamp};

use crate::Field;
use crate::field::{carries, come_as_records, need_each, report_missing};

/// How coarse the clock of a file system may be: two seconds, as on FAT.
const TICK_NS: i128 = 2_000_000_000;

/// The signature where a job does not say another.
pub(crate) const DEFAULT_SIGNATURE: [Field; 4] =
    [Field::Size, Field::Mtime, Field::Ctime, Field::Inode];

/// Whether metadata have the same signature. What one of them lacks is not the same.
#[inline]
pub(crate) fn is_same(signature: &[Field], before: &Metadata, now: &Metadata) -> bool {
    signature.iter().all(|field| {
        let now = field.number(now);
        now.is_some() && now == field.number(before)
    })
}

/// Whether a change after the look would show in the times. `looked_at` is not later than the look.
pub(crate) fn is_settled(metadata: &Metadata, looked_at: Timestamp) -> bool {
    let edge = looked_at.as_nanoseconds() - TICK_NS;
    [metadata.modified(), metadata.changed()]
        .into_iter()
        .flatten()
        .all(|time| time.as_nanoseconds() < edge)
}

/// The fields to compare. Reports a signature that cannot be served.
pub(super) fn check_signature(signature: &[Field], ports: &mut Declare<'_>) -> Vec<Field> {
    for (place, field) in signature.iter().enumerate() {
        let tells_nothing = [
            Field::Path,
            Field::Target,
            Field::Change,
            Field::Remembered,
            Field::Hash,
            Field::Depth,
        ];
        if tells_nothing.contains(field) {
            ports.problem(
                &format!("signature[{place}]"),
                format!("\"{field}\" does not tell whether an entry has changed"),
                Some("name fields of the metadata, such as \"size\" and \"mtime\"".to_owned()),
            );
        }
    }
    if signature.is_empty() {
        let help = "take `signature` out to compare size, mtime, ctime and inode";
        ports.problem(
            "signature",
            "there is no field to compare",
            Some(help.to_owned()),
        );
    }
    if !come_as_records(ports) {
        // That is a problem of its own.
        return signature.to_vec();
    }
    if signature != DEFAULT_SIGNATURE {
        need_each(ports, "signature", signature);
        return signature.to_vec();
    }
    let carried: Vec<Field> = DEFAULT_SIGNATURE
        .into_iter()
        .filter(|&field| carries(ports, field))
        .collect();
    if carried.is_empty() {
        report_missing(ports, "signature", signature);
    }
    carried
}
