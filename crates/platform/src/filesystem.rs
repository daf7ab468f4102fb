//! The kind of a mount, and how such mounts like to be read.
//!
//! A profile holds start values, nothing more: they are proposals from what is known of each file
//! system, and whoever measures may overrule them.

use std::fmt;
use std::io;
use std::path::Path;

use crate::Handle;

/// The file system that a directory is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Filesystem {
    kind: FilesystemKind,
    magic: u32,
}

/// How many threads should stat on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// This many for each processor.
    PerCore(u8),
    /// As many as pay, between these.
    Range {
        /// To start with.
        min: u8,
        /// Not more.
        max: u8,
    },
    /// Exactly this many.
    Fixed(u8),
}

/// How a kind of file system likes to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Profile {
    /// How many threads to stat with.
    pub stat_threads: Concurrency,
    /// Whether to stat in the order of inode numbers within a chunk, because directories give names
    /// in another order than inodes lie on the disk.
    pub inode_order: bool,
    /// How many entries to stat in one go.
    pub chunk: usize,
    /// Whether stats should follow the listing at once, while the directory is open: the server
    /// then sends attributes along with the names.
    pub interleave: bool,
    /// Whether the kernel makes the contents up, as for `/proc`.
    pub pseudo: bool,
    /// Whether a call may cross a network, or wait for a daemon that does.
    pub network: bool,
    /// Whether the system dates each change of a file when it comes, so that a file with the same
    /// times has the same contents. Not where images are dated by whoever made them, to the same
    /// second as a rule, nor where there is no time of change.
    pub dates_changes: bool,
}

const LOCAL: Profile = Profile {
    stat_threads: Concurrency::PerCore(1),
    inode_order: false,
    chunk: 512,
    interleave: false,
    pseudo: false,
    network: false,
    dates_changes: true,
};

/// Tree order of names differs from the order of inodes on the disk.
const DISK: Profile = Profile {
    inode_order: true,
    chunk: 1024,
    ..LOCAL
};

const PSEUDO: Profile = Profile {
    stat_threads: Concurrency::Fixed(1),
    chunk: 64,
    pseudo: true,
    dates_changes: false,
    ..LOCAL
};

/// Made once, and dated as its maker likes.
const IMAGE: Profile = Profile {
    inode_order: true,
    dates_changes: false,
    ..LOCAL
};

/// No time of change, and dates to two seconds.
const FAT: Profile = Profile {
    stat_threads: Concurrency::Fixed(2),
    dates_changes: false,
    ..LOCAL
};

/// The client fetches attributes with the names as long as somebody stats what it lists.
const INTERLEAVED: Profile = Profile {
    interleave: true,
    network: true,
    ..LOCAL
};

const EIGHT_TO_SIXTEEN: Concurrency = Concurrency::Range { min: 8, max: 16 };

macro_rules! filesystems {
    ($($(#[$doc:meta])* $kind:ident $name:literal [$($magic:literal)*] [$($type_name:literal)*] $profile:expr;)*) => {
        /// The file systems that have a [`Profile`] of their own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum FilesystemKind {
            $($(#[$doc])* $kind,)*
            /// Any other.
            Unknown,
        }

        impl FilesystemKind {
            /// The kind for the `f_type` of `statfs(2)` on Linux.
            #[must_use]
            pub fn from_magic(magic: u32) -> FilesystemKind {
                const MAGICS: &[(u32, FilesystemKind)] = &[$($(($magic, FilesystemKind::$kind),)*)*];
                let known = MAGICS.iter().find(|(known, _)| *known == magic);
                known.map_or(FilesystemKind::Unknown, |(_, kind)| *kind)
            }

            /// The kind for the `f_fstypename` of `statfs(2)` on macOS and FreeBSD, and for the name of a
            /// file system on Windows in small letters.
            #[must_use]
            pub fn from_type_name(name: &str) -> FilesystemKind {
                const NAMES: &[(&str, FilesystemKind)] = &[$($(($type_name, FilesystemKind::$kind),)*)*];
                let known = NAMES.iter().find(|(known, _)| *known == name);
                known.map_or(FilesystemKind::Unknown, |(_, kind)| *kind)
            }

            /// The name that people know it by.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(FilesystemKind::$kind => $name,)*
                    FilesystemKind::Unknown => "unknown",
                }
            }

            /// How to read it.
            #[must_use]
            pub const fn profile(self) -> &'static Profile {
                match self {
                    $(FilesystemKind::$kind => &const { $profile },)*
                    FilesystemKind::Unknown => &const { Profile { chunk: 256, ..DISK } },
                }
            }
        }

        #[cfg(all(test, target_os = "linux"))]
        const KINDS: &[FilesystemKind] = &[$(FilesystemKind::$kind),*];
    };
}

// Magic numbers: include/uapi/linux/magic.h, and the file systems' own headers for those that are
// maintained outside of it.
filesystems! {
    /// ext2, ext3 and ext4. Directories are in the order of a hash of the names.
    Ext "ext2/3/4" [0xEF53] ["ext2fs"] DISK;
    /// XFS. An inode number is a place on the disk.
    Xfs "xfs" [0x5846_5342] ["xfs"] DISK;
    /// btrfs. Each subvolume has a device number of its own.
    Btrfs "btrfs" [0x9123_683E] [] DISK;
    /// ZFS. It reads inodes ahead once somebody looks one up.
    Zfs "zfs" [0x2FC1_2FC1] ["zfs"] LOCAL;
    /// F2FS. It reads inodes ahead while listing.
    F2fs "f2fs" [0xF2F5_2010] [] Profile { chunk: 1024, ..LOCAL };
    /// tmpfs.
    Tmpfs "tmpfs" [0x0102_1994] ["tmpfs"] LOCAL;
    /// ramfs.
    Ramfs "ramfs" [0x8584_58F6] [] LOCAL;
    /// overlayfs. The first chunk of a merged directory reads all of it.
    Overlay "overlay" [0x794C_7630] [] LOCAL;
    /// NFS of any version. Attributes come with the names while stats interleave with the listing.
    Nfs "nfs" [0x6969] ["nfs"] Profile { stat_threads: EIGHT_TO_SIXTEEN, chunk: 128, ..INTERLEAVED };
    /// The CIFS client of Linux.
    Cifs "cifs" [0xFF53_4D42] ["smbfs"]
        Profile { stat_threads: Concurrency::Range { min: 4, max: 8 }, chunk: 128, ..INTERLEAVED };
    /// SMB 2 and later.
    Smb2 "smb2" [0xFE53_4D42] []
        Profile { stat_threads: Concurrency::Range { min: 4, max: 8 }, chunk: 128, ..INTERLEAVED };
    /// The old SMB client of Linux.
    Smb "smb" [0x517B] []
        Profile { stat_threads: Concurrency::Range { min: 4, max: 8 }, chunk: 128, ..INTERLEAVED };
    /// FUSE. The daemon may do anything: answer from memory in one thread, or wait for a far
    /// server.
    Fuse "fuse" [0x6573_5546] ["fusefs" "macfuse" "osxfuse"]
        Profile { stat_threads: Concurrency::Range { min: 4, max: 64 }, chunk: 64, ..INTERLEAVED };
    /// 9P. Each stat is a walk and a getattr.
    NineP "9p" [0x0102_1997] ["p9fs"] Profile { stat_threads: Concurrency::Fixed(8), chunk: 64, ..INTERLEAVED };
    /// Ceph. Listing a directory brings the capabilities that stats need.
    Ceph "ceph" [0x00C3_6400] [] Profile { stat_threads: EIGHT_TO_SIXTEEN, chunk: 256, ..INTERLEAVED };
    /// Lustre. It fetches ahead when stats come in the order of the listing.
    Lustre "lustre" [0x0BD0_0BD0] [] Profile { stat_threads: EIGHT_TO_SIXTEEN, chunk: 256, ..INTERLEAVED };
    /// GPFS, also called Storage Scale. It fetches ahead like Lustre.
    Gpfs "gpfs" [0x4750_4653] [] Profile { stat_threads: Concurrency::Fixed(8), chunk: 256, ..INTERLEAVED };
    /// BeeGFS.
    BeeGfs "beegfs" [0x1983_0326] [] Profile { stat_threads: EIGHT_TO_SIXTEEN, chunk: 128, ..INTERLEAVED };
    /// EROFS. Inodes are in compressed tables.
    Erofs "erofs" [0xE0F5_E1E2] [] IMAGE;
    /// SquashFS. Inodes are in compressed tables.
    Squashfs "squashfs" [0x7371_7368] [] IMAGE;
    /// exFAT. Attributes are in the directory.
    Exfat "exfat" [0x2011_BAB0] ["exfat"] FAT;
    /// FAT. Attributes are in the directory.
    Vfat "vfat" [0x4D44] ["msdosfs" "msdos" "fat" "fat32"] FAT;
    /// ISO 9660, of optical discs.
    Iso9660 "iso9660" [0x9660] ["cd9660" "cdfs"] IMAGE;
    /// NTFS. Directories hold what their files' metadata was a moment ago.
    Ntfs "ntfs" [0x5346_544E 0x7366_746E] ["ntfs"] LOCAL;
    /// ReFS. File ids have 128 bits.
    Refs "refs" [] ["refs"] LOCAL;
    /// APFS.
    Apfs "apfs" [] ["apfs"] LOCAL;
    /// HFS+.
    Hfs "hfs" [] ["hfs"] LOCAL;
    /// UFS.
    Ufs "ufs" [] ["ufs"] DISK;
    /// `/proc`.
    Proc "proc" [0x9FA0] ["procfs" "linprocfs"] PSEUDO;
    /// `/sys`.
    Sysfs "sysfs" [0x6265_6572] ["linsysfs"] PSEUDO;
    /// Control groups.
    Cgroup "cgroup" [0x0027_E0EB] [] PSEUDO;
    /// Control groups of version 2.
    Cgroup2 "cgroup2" [0x6367_7270] [] PSEUDO;
    /// devpts, the pseudo-terminals.
    Devpts "devpts" [0x1CD1] ["devfs" "fdescfs"] PSEUDO;
    /// debugfs.
    Debugfs "debugfs" [0x6462_6720] [] PSEUDO;
    /// tracefs.
    Tracefs "tracefs" [0x7472_6163] [] PSEUDO;
    /// securityfs.
    Securityfs "securityfs" [0x7363_6673] [] PSEUDO;
    /// pstore.
    Pstore "pstore" [0x6165_676C] [] PSEUDO;
    /// The BPF file system.
    Bpf "bpf" [0xCAFE_4A11] [] PSEUDO;
    /// configfs.
    Configfs "configfs" [0x6265_6570] [] PSEUDO;
    /// The control file system of FUSE.
    Fusectl "fusectl" [0x6573_5543] [] PSEUDO;
    /// autofs, whose entries are mounted when they are entered.
    Autofs "autofs" [0x0187] ["autofs"] PSEUDO;
}

impl Filesystem {
    /// The file system of an open directory.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(directory: &Handle) -> io::Result<Filesystem> {
        os::of(directory)
    }

    /// The file system that `path` is on.
    ///
    /// # Errors
    /// What the system says; `InvalidInput` if the path holds a NUL byte.
    pub fn of_path(path: &Path) -> io::Result<Filesystem> {
        os::of_path(path)
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> FilesystemKind {
        self.kind
    }

    /// The `f_type` that Linux gave; 0 on other systems.
    #[must_use]
    pub fn magic(&self) -> u32 {
        self.magic
    }

    /// The kind's name, `"unknown"` if it has none. `Display` also shows the number of an unknown
    /// kind.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.kind.as_str()
    }

    /// How to read it.
    #[must_use]
    pub fn profile(&self) -> &'static Profile {
        self.kind.profile()
    }
}

impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            FilesystemKind::Unknown => write!(f, "unknown(0x{:x})", self.magic),
            kind => f.pad(kind.as_str()),
        }
    }
}

#[cfg(target_os = "linux")]
mod os {
    use std::io;
    use std::mem::MaybeUninit;
    use std::path::Path;

    use super::{Filesystem, FilesystemKind};
    use crate::Handle;
    use crate::relative::c_path;
    use crate::sys::retry;

    pub(super) fn of(directory: &Handle) -> io::Result<Filesystem> {
        let mut buffer = MaybeUninit::uninit();
        // SAFETY: the buffer is of the type that the call fills.
        retry(|| unsafe { libc::fstatfs64(directory.raw(), buffer.as_mut_ptr()) as isize })?;
        // SAFETY: the call succeeded, so it has filled the buffer.
        Ok(from_statfs(unsafe { buffer.assume_init_ref() }))
    }

    pub(super) fn of_path(path: &Path) -> io::Result<Filesystem> {
        let path = c_path(path)?;
        let mut buffer = MaybeUninit::uninit();
        // SAFETY: the path is a C string, and the buffer is of the type that the call fills.
        retry(|| unsafe { libc::statfs64(path.as_ptr(), buffer.as_mut_ptr()) as isize })?;
        // SAFETY: the call succeeded, so it has filled the buffer.
        Ok(from_statfs(unsafe { buffer.assume_init_ref() }))
    }

    fn from_statfs(statfs: &libc::statfs64) -> Filesystem {
        // Signed on some systems, and of 32 or 64 bits: the lower 32 are what is meant.
        let magic = statfs.f_type as u32;
        Filesystem {
            kind: FilesystemKind::from_magic(magic),
            magic,
        }
    }
}

#[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
mod os {
    use std::ffi::CStr;
    use std::io;
    use std::mem::MaybeUninit;
    use std::path::Path;

    use super::{Filesystem, FilesystemKind};
    use crate::Handle;
    use crate::relative::c_path;
    use crate::sys::retry;

    pub(super) fn of(directory: &Handle) -> io::Result<Filesystem> {
        let mut buffer = MaybeUninit::uninit();
        // SAFETY: the buffer is of the type that the call fills.
        retry(|| unsafe { libc::fstatfs(directory.raw(), buffer.as_mut_ptr()) as isize })?;
        // SAFETY: the call succeeded, so it has filled the buffer.
        Ok(from_statfs(unsafe { buffer.assume_init_ref() }))
    }

    pub(super) fn of_path(path: &Path) -> io::Result<Filesystem> {
        let path = c_path(path)?;
        let mut buffer = MaybeUninit::uninit();
        // SAFETY: the path is a C string, and the buffer is of the type that the call fills.
        retry(|| unsafe { libc::statfs(path.as_ptr(), buffer.as_mut_ptr()) as isize })?;
        // SAFETY: the call succeeded, so it has filled the buffer.
        Ok(from_statfs(unsafe { buffer.assume_init_ref() }))
    }

    fn from_statfs(statfs: &libc::statfs) -> Filesystem {
        // SAFETY: the system ends the name with a NUL within the array.
        let name = unsafe { CStr::from_ptr(statfs.f_fstypename.as_ptr()) };
        let kind = name
            .to_str()
            .map_or(FilesystemKind::Unknown, FilesystemKind::from_type_name);
        Filesystem { kind, magic: 0 }
    }
}

#[cfg(windows)]
mod os {
    use std::io;
    use std::path::Path;

    use super::{Filesystem, FilesystemKind};
    use crate::nt::Volume;
    use crate::{Backend, Handle, Nt};

    pub(super) fn of(directory: &Handle) -> io::Result<Filesystem> {
        let volume = Volume::of(directory)?;
        // Servers name the file system that they have; what counts is the way there.
        let kind = match volume.is_remote {
            true => FilesystemKind::Smb2,
            false => FilesystemKind::from_type_name(&volume.file_system.to_ascii_lowercase()),
        };
        Ok(Filesystem { kind, magic: 0 })
    }

    pub(super) fn of_path(path: &Path) -> io::Result<Filesystem> {
        of(&Nt::new().open_root(path)?)
    }
}

#[cfg(not(any(
    target_os = "linux",
    target_vendor = "apple",
    target_os = "freebsd",
    windows
)))]
mod os {
    use std::io;
    use std::path::Path;

    use super::{Filesystem, FilesystemKind};
    use crate::Handle;

    const UNKNOWN: Filesystem = Filesystem {
        kind: FilesystemKind::Unknown,
        magic: 0,
    };

    pub(super) fn of(_directory: &Handle) -> io::Result<Filesystem> {
        Ok(UNKNOWN)
    }

    pub(super) fn of_path(_path: &Path) -> io::Result<Filesystem> {
        Ok(UNKNOWN)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::{BackendChoice, select};

    #[test]
    fn mounts_are_told_by_path_and_by_handle() {
        let backend = select(BackendChoice::Auto).unwrap();
        for (path, kind, pseudo) in [
            ("/proc", FilesystemKind::Proc, true),
            ("/sys", FilesystemKind::Sysfs, true),
            ("/dev/shm", FilesystemKind::Tmpfs, false),
        ] {
            let filesystem = Filesystem::of_path(Path::new(path)).unwrap();
            assert_eq!(filesystem.kind(), kind, "{path}");
            assert_eq!(filesystem.profile().pseudo, pseudo, "{path}");
            let handle = backend.open_root(Path::new(path)).unwrap();
            assert_eq!(Filesystem::of(&handle).unwrap(), filesystem);
        }
        assert!(Filesystem::of_path(Path::new("/proc/nothing here")).is_err());
    }

    #[test]
    fn an_unknown_kind_shows_its_number_and_reads_like_a_disk() {
        let unknown = Filesystem {
            kind: FilesystemKind::from_magic(0xDEAD),
            magic: 0xDEAD,
        };
        assert_eq!(unknown.to_string(), "unknown(0xdead)");
        assert_eq!(unknown.profile().chunk, 256);
        assert!(unknown.profile().inode_order);
    }

    #[test]
    fn what_waits_for_others_is_never_sorted_and_always_interleaved() {
        for kind in KINDS {
            let profile = kind.profile();
            assert_eq!(profile.network, profile.interleave, "{}", kind.as_str());
            assert!(
                !(profile.network && profile.inode_order),
                "{}",
                kind.as_str()
            );
        }
    }
}
