//! What must hold of the readers of reports and marks for any bytes: they do not panic, and what they take they write as
//! something that they read as the same, but for the last digit of extreme fractions, which `serde_json` does not keep.
//!
//! Shared by the fuzz target and the test that replays its seeds.

use serde_json::Value;
use statline_pipeline::{RunReport, Snapshot};
use statline_stages::OutputMark;

/// Checks the readers on `bytes`.
pub(crate) fn report(bytes: &[u8]) {
    if let Ok(report) = serde_json::from_slice::<RunReport>(bytes) {
        let text = serde_json::to_string(&report).expect("a report can be written");
        let again: RunReport = serde_json::from_str(&text).expect("what was written can be read");
        assert_eq!(without_fractions(&again), without_fractions(&report));
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

fn without_fractions(report: &RunReport) -> Value {
    fn clear(value: &mut Value) {
        match value {
            Value::Number(number) if number.is_f64() => *value = Value::Null,
            Value::Array(elements) => elements.iter_mut().for_each(clear),
            Value::Object(fields) => fields.values_mut().for_each(clear),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(report).expect("a report can be written");
    clear(&mut value);
    value
}
