//! What the calling thread has used of the machine.

use std::time::Duration;

/// What a thread has used since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadUsage {
    /// Processor time, in user and kernel mode.
    pub cpu: Duration,
    /// How often it gave its processor up because it had to wait: for a disk, a server, a lock. That somebody else was to
    /// have the processor does not count.
    pub waits: u64,
}

/// What the calling thread has used: `getrusage(2)` with `RUSAGE_THREAD`. `None` where the system does not tell of single
/// threads: that is all but Linux and FreeBSD.
#[must_use]
pub fn thread_usage() -> Option<ThreadUsage> {
    os::thread_usage()
}

#[cfg(any(target_os = "linux", target_os = "freebsd"))]
mod os {
    use std::mem::MaybeUninit;
    use std::time::Duration;

    use super::ThreadUsage;

    pub(super) fn thread_usage() -> Option<ThreadUsage> {
        let mut usage = MaybeUninit::<libc::rusage>::uninit();
        // SAFETY: the buffer is of the type that the call fills.
        if unsafe { libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) } != 0 {
            return None;
        }
        // SAFETY: the call succeeded, so it has filled the buffer.
        let usage = unsafe { usage.assume_init() };
        let time = |time: libc::timeval| {
            let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
            let microseconds = u64::try_from(time.tv_usec).unwrap_or(0);
            Duration::from_secs(seconds) + Duration::from_micros(microseconds)
        };
        Some(ThreadUsage {
            cpu: time(usage.ru_utime) + time(usage.ru_stime),
            waits: u64::try_from(usage.ru_nvcsw).unwrap_or(0),
        })
    }
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
mod os {
    use super::ThreadUsage;

    pub(super) fn thread_usage() -> Option<ThreadUsage> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn a_thread_that_waits_for_another_is_seen_to_wait() {
        let (question, questions) = mpsc::channel::<()>();
        let (answer, answers) = mpsc::channel();
        let other = thread::spawn(move || questions.iter().for_each(|()| answer.send(()).unwrap()));
        let before = thread_usage().unwrap();
        for _ in 0..1000 {
            question.send(()).unwrap();
            answers.recv().unwrap();
        }
        let after = thread_usage().unwrap();
        drop(question);
        other.join().unwrap();
        // One whose answer was there at once did not wait.
        assert!(after.waits > before.waits, "{before:?} {after:?}");
    }

    #[test]
    fn a_thread_that_computes_uses_its_processor() {
        let before = thread_usage().unwrap();
        let mut sum = 0u64;
        while thread_usage().unwrap().cpu == before.cpu {
            sum = (0..100_000).fold(sum, |sum, number| sum.rotate_left(1) ^ number);
        }
        assert_ne!(sum, 1);
    }
}
