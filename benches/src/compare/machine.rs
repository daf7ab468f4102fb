//! On what a measurement was made: a number without its machine means nothing.
//!
//! Everything here is read from /proc, and what cannot be read is said to be unknown: a table without a CPU model is better
//! than none.

use std::fs;
use std::path::Path;
use std::thread;

/// The machine and its state.
#[derive(Debug, Clone)]
pub struct Machine {
    pub(super) cpu: String,
    pub(super) cores: usize,
    pub(super) memory_bytes: Option<u64>,
    pub(super) kernel: String,
    /// Running processes, averaged over the last minute: others disturb.
    pub(super) load: String,
}

impl Machine {
    /// Looks around.
    #[must_use]
    pub fn look() -> Self {
        let read = |path: &str| fs::read_to_string(path).ok();
        let unknown = || "unknown".to_owned();
        Self {
            cpu: read("/proc/cpuinfo")
                .and_then(|text| field(&text, "model name"))
                .unwrap_or_else(unknown),
            cores: thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: read("/proc/meminfo")
                .and_then(|text| kibibytes(&field(&text, "MemTotal")?)),
            kernel: read("/proc/sys/kernel/osrelease")
                .map_or_else(unknown, |text| text.trim().to_owned()),
            load: read("/proc/loadavg")
                .and_then(|text| text.split_whitespace().next().map(str::to_owned))
                .unwrap_or_else(unknown),
        }
    }
}

/// The largest resident set of this process so far.
#[must_use]
pub(super) fn own_peak_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    kibibytes(&field(&status, "VmHWM")?)
}

/// The type of the file system that holds `path`.
pub(super) fn file_system(path: &Path) -> String {
    let found = fs::canonicalize(path).ok().and_then(|path| {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        file_system_in(&mounts, &path)
    });
    found.unwrap_or_else(|| "unknown file system".to_owned())
}

/// Of `/proc/self/mountinfo`: the fifth field is the mount point, the type follows a lone hyphen.
fn file_system_in(mounts: &str, path: &Path) -> Option<String> {
    mounts
        .lines()
        .filter_map(|line| {
            let (mount, source) = line.split_once(" - ")?;
            let point = unescape(mount.split(' ').nth(4)?);
            path.starts_with(&point)
                .then_some((point.len(), source.split(' ').next()?))
        })
        // Of equals the last one: it was mounted over the others.
        .max_by_key(|(length, _)| *length)
        .map(|(_, kind)| kind.to_owned())
}

/// mountinfo writes these four as octal numbers.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

fn kibibytes(value: &str) -> Option<u64> {
    value
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|number| number * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 27 0:40 / /srv/with\\040space rw - xfs /dev/vdb rw
31 27 0:41 / /srv/over rw - nfs4 host:/a rw
32 27 0:42 / /srv/over rw - tmpfs tmpfs rw
";

    #[test]
    fn the_longest_mount_point_decides() {
        let kind = |path: &str| file_system_in(MOUNTS, Path::new(path));
        assert_eq!(kind("/home/x").as_deref(), Some("ext4"));
        assert_eq!(kind("/proc/1").as_deref(), Some("proc"));
        assert_eq!(
            kind("/process").as_deref(),
            Some("ext4"),
            "whole components only"
        );
        assert_eq!(kind("/srv/with space/tree").as_deref(), Some("xfs"));
    }

    #[test]
    fn of_two_mounts_on_one_point_the_later_one_is_seen() {
        assert_eq!(
            file_system_in(MOUNTS, Path::new("/srv/over/a")).as_deref(),
            Some("tmpfs")
        );
    }

    #[test]
    fn sizes_of_proc_are_kibibytes() {
        assert_eq!(kibibytes("24684084 kB"), Some(24_684_084 * 1024));
        assert_eq!(kibibytes("many"), None);
    }
}
