//! placeholder until the controller lands
use std::time::Duration;
pub(crate) struct Bounds {
    pub(crate) min: usize,
    pub(crate) max: usize,
}
#[allow(dead_code)]
pub(crate) struct Interval {
    pub(crate) elapsed: Duration,
    pub(crate) calls: u64,
    pub(crate) busy: Duration,
    pub(crate) active: f64,
    pub(crate) starved: bool,
}
pub(crate) struct Decision {
    pub(crate) limit: usize,
    pub(crate) reason: Reason,
}
pub(crate) struct Reason;
impl Reason {
    pub(crate) fn as_str(self) -> &'static str {
        "climb"
    }
}
pub(crate) struct Controller {
    limit: usize,
    bounds: Bounds,
}
impl Controller {
    pub(crate) fn new(bounds: Bounds, start: usize, _cores: usize) -> Self {
        Controller {
            limit: start,
            bounds,
        }
    }
    pub(crate) fn observe(&mut self, i: &Interval) -> Decision {
        if !i.starved && i.calls > 0 && i.busy.as_secs_f64() / i.calls as f64 > 20e-6 {
            self.limit = (self.limit * 2).min(self.bounds.max).max(self.bounds.min);
        }
        Decision {
            limit: self.limit,
            reason: Reason,
        }
    }
}
