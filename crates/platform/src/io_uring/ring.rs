//! One ring: calls of `statx` that are under way, and the memory that the kernel reads and writes for them.
//!
//! One thing must stay true: that memory outlives every call that may still write to it. A call cannot be called back: one
//! to a server that is gone ends when it ends, minutes after whoever asked has left, or never. So the memory is freed only
//! by a ring of which every answer was read; one that is dropped earlier, because a caller panicked or the ring failed,
//! leaves it behind for good (32 KiB).
//!
//! The kernel has no descriptor of the directory but looks its number up when it begins a call. What a call that outlives
//! its caller asks about may thus be another directory by then. Nobody reads that answer.

use std::cell::UnsafeCell;
use std::fmt;
use std::io;
use std::mem::{self, MaybeUninit};
use std::sync::Arc;

use ::io_uring::{IoUring, opcode, types};

use crate::{Fields, Handle, Metadata, Name, errno_name, statx};

/// How many calls are under way at a time.
pub(super) const DEPTH: usize = 64;

/// The longest name that fits into a slot with its NUL: longer than any file system has, but for FUSE.
const LONGEST: usize = 255;

/// How many threads of the kernel work for one thread that asks. A call occupies one of them until it is done; more than
/// there are calls would be of no use.
const WORKERS: u32 = DEPTH as u32;

/// How often a wait may end without an answer, for no reason that is known, before the ring counts as broken.
const FRUITLESS: u32 = 1_000;

/// What is asked about several names.
pub(super) struct Question<'a> {
    pub(super) directory: &'a Handle,
    pub(super) fields: Fields,
    pub(super) follow: bool,
}

/// What the kernel reads and writes for one call.
struct Slot {
    result: MaybeUninit<libc::statx>,
    name: [u8; LONGEST + 1],
}

/// Cells, because the kernel writes to them while there are references to the whole.
pub(super) struct Slots([UnsafeCell<Slot>; DEPTH]);

// SAFETY: a slot is touched by the one ring that it belongs to, which takes `&mut` for that, and by the kernel.
unsafe impl Sync for Slots {}

/// Where the call of a slot is.
#[derive(Clone, Copy)]
enum State {
    /// There is none.
    Free,
    /// The kernel has it, or gets it with the next submission.
    UnderWay,
    /// Answered: 0, or an error number.
    Done(i32),
}

/// One ring. See the head of this file.
pub(super) struct Ring {
    uring: IoUring,
    /// Shared with nobody, but left behind if need be.
    slots: Arc<Slots>,
    states: [State; DEPTH],
    /// How many slots are under way.
    under_way: usize,
}

impl Ring {
    /// Makes a ring.
    ///
    /// # Errors
    /// What the system says, with the step that failed.
    pub(super) fn new() -> Result<Ring, String> {
        let uring = IoUring::new(DEPTH as u32).map_err(|error| {
            let hint = match error.raw_os_error() {
                Some(libc::ENOSYS) => "the kernel is older than 5.1, or built without it",
                Some(libc::EPERM) => {
                    "a filter of system calls or /proc/sys/kernel/io_uring_disabled forbids it"
                }
                Some(libc::ENOMEM) => "too little memory that may be locked (ulimit -l)",
                _ => "no ring can be made",
            };
            failed(hint, "io_uring_setup", &error)
        })?;
        // A kernel without the first loses answers when it is short of room for them; one without the second may read a
        // name after the submission.
        let parameters = uring.params();
        if !(parameters.is_feature_nodrop() && parameters.is_feature_submit_stable()) {
            return Err("the kernel is older than 5.6".to_owned());
        }
        // Without a limit there are four for each core. Kernels before 5.15 know no limit, and keep that one.
        let _ = uring
            .submitter()
            .register_iowq_max_workers(&mut [WORKERS, 0]);
        Ok(Ring {
            uring,
            slots: Arc::new(Slots(std::array::from_fn(|_| {
                UnsafeCell::new(Slot {
                    result: MaybeUninit::zeroed(),
                    name: [0; LONGEST + 1],
                })
            }))),
            states: [State::Free; DEPTH],
            under_way: 0,
        })
    }

    /// Makes a ring and finds out whether it serves.
    ///
    /// # Errors
    /// What does not work, and why.
    pub(super) fn probe() -> Result<Ring, String> {
        let mut ring = Ring::new()?;
        let mut known = ::io_uring::Probe::new();
        ring.uring
            .submitter()
            .register_probe(&mut known)
            .map_err(|error| {
                failed(
                    "the kernel does not tell its operations",
                    "io_uring_register",
                    &error,
                )
            })?;
        if !known.is_supported(opcode::Statx::CODE) {
            return Err("the kernel has no statx by io_uring (it came with 5.6)".to_owned());
        }
        // Always there, and on no server.
        let root = crate::relative::open_root("/".as_ref()).map_err(|error| error.to_string())?;
        let question = Question {
            directory: &root,
            fields: Fields::KIND,
            follow: false,
        };
        ring.ask(0, &question, Name::EMPTY);
        let answer = loop {
            match ring.take(0, question.fields) {
                Some(answer) => break answer,
                None => ring.wait().map_err(|error| {
                    failed("a call made to find out failed", "io_uring_enter", &error)
                })?,
            }
        };
        answer.map_err(|errno| {
            let error = io::Error::from_raw_os_error(errno);
            failed(
                "a call made to find out failed",
                "statx by io_uring",
                &error,
            )
        })?;
        Ok(ring)
    }

    /// Forgets answers that nobody took, and says whether no call is under way any more: then the ring is as new.
    pub(super) fn is_clear(&mut self) -> bool {
        self.reap();
        if self.under_way == 0 {
            self.states = [State::Free; DEPTH];
        }
        self.under_way == 0
    }

    /// Puts the call for `name` in line, for the next [`Ring::wait`] to submit. Where a name does not fit, the answer is
    /// `EAGAIN`: to be asked in the ordinary way.
    ///
    /// # Panics
    /// If the slot is taken.
    pub(super) fn ask(&mut self, slot: usize, question: &Question<'_>, name: Name<'_>) {
        assert!(
            matches!(self.states[slot], State::Free),
            "slot {slot} is taken"
        );
        let name = name.as_c_str();
        let bytes = name.to_bytes_with_nul();
        if bytes.len() > LONGEST + 1 {
            self.states[slot] = State::Done(libc::EAGAIN);
            return;
        }
        let place = self.slots.0[slot].get();
        // SAFETY: the slot is free, so the kernel does not touch it, and `self` is borrowed mutably, so nobody else does.
        // The name is no longer than the room for it.
        unsafe {
            let room = (&raw mut (*place).name).cast::<u8>();
            room.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        // SAFETY: as above; this only computes addresses.
        let (name_place, result) = unsafe { (&raw const (*place).name, &raw mut (*place).result) };
        let call = opcode::Statx::new(
            types::Fd(question.directory.raw()),
            name_place.cast(),
            result.cast(),
        )
        .flags(statx::flags(name, question.follow))
        .mask(statx::mask(question.fields))
        .build()
        .user_data(slot as u64);
        // SAFETY: name and result lie in `slots`, which is freed only when all answers were read, and the slot is not
        // used otherwise before its own was.
        let pushed = unsafe { self.uring.submission().push(&call) };
        self.states[slot] = match pushed {
            Ok(()) => {
                self.under_way += 1;
                State::UnderWay
            }
            // There is room for each slot, unless the kernel did not take what it was given before.
            Err(_) => State::Done(libc::EAGAIN),
        };
    }

    /// The answer of a slot, if it has come: metadata or an error number. The slot is free then.
    pub(super) fn take(&mut self, slot: usize, fields: Fields) -> Option<Result<Metadata, i32>> {
        let State::Done(errno) = self.states[slot] else {
            return None;
        };
        self.states[slot] = State::Free;
        if errno != 0 {
            return Some(Err(errno));
        }
        let place = self.slots.0[slot].get();
        // SAFETY: the call succeeded, so the kernel has filled all of the result; it is done with it, and reading its
        // answer has put what it wrote before what is read here.
        let result = unsafe { (*place).result.assume_init_ref() };
        Some(Ok(statx::to_metadata(result, fields)))
    }

    /// Submits what is in line, and waits until a call is answered unless none is under way.
    ///
    /// # Errors
    /// If the ring is of no use any more. Calls may still be under way.
    pub(super) fn wait(&mut self) -> io::Result<()> {
        let mut fruitless = 0;
        while self.under_way > 0 {
            let entered = self.uring.submit_and_wait(1);
            if self.reap() {
                return Ok(());
            }
            match entered {
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                Err(error) => return Err(error),
                // A signal ended the wait, or the kernel took only some of the calls.
                Ok(_) if fruitless < FRUITLESS => fruitless += 1,
                Ok(_) => return Err(io::ErrorKind::ResourceBusy.into()),
            }
        }
        Ok(())
    }

    /// Notes the answers that have come, and says whether there were any.
    fn reap(&mut self) -> bool {
        let before = self.under_way;
        for answer in self.uring.completion() {
            let state = usize::try_from(answer.user_data())
                .ok()
                .and_then(|slot| self.states.get_mut(slot));
            if let Some(state @ State::UnderWay) = state {
                *state = State::Done(-answer.result().min(0));
                self.under_way -= 1;
            }
        }
        self.under_way < before
    }
}

#[cfg(test)]
impl Slots {
    /// What the kernel has written to a slot says that it filled: nothing, if it has written nothing.
    pub(super) fn filled(&self, slot: usize) -> u32 {
        // SAFETY: zeroed when it was made, so initialised; the kernel may write to it meanwhile, hence volatile.
        unsafe {
            let result = (&raw const (*self.0[slot].get()).result).cast::<libc::statx>();
            (&raw const (*result).stx_mask).read_volatile()
        }
    }
}

#[cfg(test)]
impl Ring {
    pub(super) fn slots(&self) -> std::sync::Weak<Slots> {
        Arc::downgrade(&self.slots)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.reap();
        // What the kernel has not taken by now it never will.
        let untouched = self.uring.submission().len();
        if self.under_way > untouched {
            mem::forget(Arc::clone(&self.slots));
        }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("under_way", &self.under_way)
            .finish_non_exhaustive()
    }
}

/// Why there is no ring, for a person to read.
fn failed(what: &str, call: &str, error: &io::Error) -> String {
    let code = error.raw_os_error().and_then(errno_name);
    match code {
        Some(code) => format!("{what} ({call}: {code})"),
        None => format!("{what} ({call}: {error})"),
    }
}
