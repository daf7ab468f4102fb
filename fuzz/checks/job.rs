//! What must hold of the loader of jobs for any text: it ends soon and without a panic, what it refuses it gives a reason
//! for, and nothing of the text reaches a terminal as a control character.
//!
//! Shared by the fuzz target and the test that replays its seeds.

#[cfg(unix)]
use std::os::unix::ffi::OsStrExt;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use statline_pipeline::{Job, Registry};

/// A text takes milliseconds. This is long enough for a busy machine and an unoptimised build, and short enough for
/// whatever grows faster than the text.
const LONGEST: Duration = Duration::from_secs(5);

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let mut registry = Registry::new();
    statline_stages::register(&mut registry);
    registry
});

/// Checks the loader on the text up to the first NUL; what follows are `--set` assignments, each up to the next NUL.
pub(crate) fn job(bytes: &[u8]) {
    let Ok(input) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut parts = input.split('\0');
    let text = parts.next().unwrap_or_default();
    let overrides: Vec<String> = parts.map(str::to_owned).collect();
    let environment = |name: &str| match name {
        "ROOT" => Some("/data".into()),
        "HOSTILE" => Some("\"\u{1b}]0;\u{202e}\n[x]".into()),
        #[cfg(unix)]
        "BYTES" => Some(std::ffi::OsStr::from_bytes(b"l\xfe\xff").to_owned()),
        _ => None,
    };
    let began = Instant::now();
    let rendered = match Job::parse(&REGISTRY, "job.toml", text, &environment, &overrides) {
        Ok(job) => {
            assert!(!job.warnings().has_errors());
            assert!(job.stages().count() <= 256);
            let _ = (job.mermaid(), job.dot(), job.queue_bytes());
            job.warnings().render(false)
        }
        Err(problems) => {
            assert!(problems.has_errors(), "refused without a reason");
            let _ = problems.render(true);
            problems.render(false)
        }
    };
    assert!(began.elapsed() < LONGEST, "it took {:?}", began.elapsed());
    let control = rendered.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(control, None, "{rendered:?}");
}
