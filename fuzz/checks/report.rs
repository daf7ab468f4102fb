//! What must hold of the readers of reports and marks for any bytes: they do not panic, and what they take they write as
//! something that they read as the same.
//!
//! Shared by the fuzz target and the test that replays its seeds.

use statline_pipeline::{RunReport, Snapshot};
use statline_stages::OutputMark;

/// Checks the readers on `bytes`.
pub(crate) fn report(bytes: &[u8]) {
    if let Ok(report) = serde_json::from_slice::<RunReport>(bytes) {
        let text = serde_json::to_string(&report).expect("a report can be written");
        let again: RunReport = serde_json::from_str(&text).expect("what was written can be read");
        assert_eq!(serde_json::to_string(&again).ok(), Some(text));
    }
    if let Ok(snapshot) = serde_json::from_slice::<Snapshot>(bytes) {
        let _ = snapshot.stage("walk");
    }
    if let Ok(mark) = serde_json::from_slice::<OutputMark>(bytes) {
        let text = serde_json::to_string(&mark).expect("a mark can be written");
        let again: OutputMark = serde_json::from_str(&text).expect("what was written can be read");
        assert_eq!(again, mark);
    }
}
