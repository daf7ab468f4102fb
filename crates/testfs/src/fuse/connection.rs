//! The mount as the kernel sees it: made on `/dev/fuse` without any helper program, and taken down
//! whatever state it is in.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

const DEVICE: &str = "/dev/fuse";

/// Shows in `/proc/mounts` whose mount it is.
const TYPE: &str = "fuse.statline-testfs";

/// Where the kernel lets mounts be aborted, when `fusectl` is mounted there.
const CONTROL: &str = "/sys/fs/fuse/connections";

/// Others may mount and unmount `fusectl` at the same time.
const CONTROL_ATTEMPTS: usize = 10;

/// A mount. Dropping it aborts what is under way and unmounts.
#[derive(Debug)]
pub(crate) struct Connection {
    point: PathBuf,
    /// The number that the kernel gave to the connection.
    number: u32,
}

impl Connection {
    /// Mounts on `point`, an empty directory. Calls arrive at the descriptor that comes with it.
    pub(crate) fn mount(point: &Path) -> io::Result<(Self, OwnedFd)> {
        let explain =
            |what: &str, error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"));
        let device: File = OpenOptions::new()
            .read(true)
            .write(true)
            .open(DEVICE)
            .map_err(|error| explain(DEVICE, error))?;
        // Whoever comes may use it: a test may run the program under test as another user.
        let options = format!(
            "fd={},rootmode=40000,user_id={},group_id={},allow_other",
            device.as_raw_fd(),
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw(),
        );
        let options = CString::new(options)?;
        let flags =
            MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOATIME;
        mount("statline-testfs", point, TYPE, flags, options.as_c_str())
            .map_err(|error| explain("mount", error.into()))?;
        let mut connection = Self {
            point: point.to_owned(),
            number: 0,
        };
        // Asks the kernel for what it has anyway: there is nobody yet to answer a call.
        let stat = rustix::fs::statx(CWD, point, AtFlags::STATX_DONT_SYNC, StatxFlags::empty())?;
        connection.number = stat.stx_dev_minor;
        Ok((connection, device.into()))
    }

    /// The name of the connection below `/sys/fs/fuse/connections`.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Ends all calls under way, and all to come, with an error.
    pub(crate) fn abort(&self) -> io::Result<()> {
        let control = Path::new(CONTROL);
        let abort = control.join(self.number.to_string()).join("abort");
        let mut failed = io::Error::from(io::ErrorKind::NotFound);
        for _ in 0..CONTROL_ATTEMPTS {
            match fs::write(&abort, "1") {
                Err(error) if error.kind() == io::ErrorKind::NotFound => failed = error,
                done => return done,
            }
            match mount("none", control, "fusectl", MountFlags::empty(), None) {
                Ok(()) => {
                    let aborted = fs::write(&abort, "1");
                    unmount(control, UnmountFlags::DETACH)?;
                    return aborted;
                }
                // Somebody else was faster.
                Err(Errno::BUSY) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(failed)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // With FORCE the kernel first aborts the connection, so nothing can be in the way.
        let flags = UnmountFlags::FORCE | UnmountFlags::DETACH;
        if let Err(error) = unmount(&self.point, flags) {
            // Nobody can handle it here. Somebody may have unmounted it already.
            eprintln!("cannot unmount {}: {error}", self.point.display());
        }
    }
}
