//! Symbolic names of error numbers.
//!
//! Configurations (`accept = ["EACCES"]`) and error records name errors; numbers differ from system
//! to system.

use std::borrow::Cow;
use std::io;

use crate::Fault;

/// The symbolic name of an error: `"EACCES"`, or `"REPLACED"` for a [`Fault`].
///
/// A number without a name gives `"E9999"`, an error without a number the name of its
/// [`io::ErrorKind`] in the same manner (`"UNEXPECTED_EOF"`).
#[must_use]
pub fn error_code(error: &io::Error) -> Cow<'static, str> {
    if let Some(fault) = Fault::of(error) {
        return fault.code().into();
    }
    match error.raw_os_error() {
        Some(errno) => errno_name(errno).map_or_else(|| format!("E{errno}").into(), Cow::from),
        None => screaming(&format!("{:?}", error.kind())).into(),
    }
}

/// The symbolic name of an error number of this system.
#[must_use]
pub fn errno_name(errno: i32) -> Option<&'static str> {
    ERRNOS
        .iter()
        .find(|(number, _)| *number == errno)
        .map(|(_, name)| *name)
}

/// The symbolic names of all error numbers of this system, each as [`error_code`] tells it: without second names.
pub fn errno_names() -> impl Iterator<Item = &'static str> {
    // A number may have two names, and on Windows a name several numbers.
    let is_first = |(place, (number, name)): &(usize, &(i32, &str))| {
        let before = &ERRNOS[..*place];
        !before
            .iter()
            .any(|(known, other)| known == number || other == name)
    };
    let first = ERRNOS.iter().enumerate().filter(is_first);
    first.map(|(_, (_, name))| *name)
}

/// The error number of this system for a symbolic name. Second names (`EWOULDBLOCK`) are known too.
#[must_use]
pub fn errno_from_name(name: &str) -> Option<i32> {
    ERRNOS
        .iter()
        .find(|(_, known)| *known == name)
        .map(|(number, _)| *number)
}

/// `UnexpectedEof` → `UNEXPECTED_EOF`.
fn screaming(camel: &str) -> String {
    let mut name = String::with_capacity(camel.len() + 4);
    for (index, letter) in camel.chars().enumerate() {
        if letter.is_uppercase() && index > 0 {
            name.push('_');
        }
        name.extend(letter.to_uppercase());
    }
    name
}

#[cfg(unix)]
macro_rules! errnos {
    ($($name:ident)*) => { &[$((libc::$name, stringify!($name))),*] };
}

/// In the order of the numbers; a second name for a number comes last.
#[cfg(target_os = "linux")]
static ERRNOS: &[(i32, &str)] = errnos! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK
    EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE
    EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP ENOMSG EIDRM
    ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EL2HLT EBADE EBADR EXFULL ENOANO EBADRQC
    EBADSLT EBFONT ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG EREMOTE ENOLINK EADV ESRMNT ECOMM EPROTO
    EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD EREMCHG ELIBACC ELIBBAD ELIBSCN ELIBMAX
    ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT
    EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL
    ENETDOWN ENETUNREACH ENETRESET ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN
    ETOOMANYREFS ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN
    ENOTNAM ENAVAIL EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED
    EKEYREVOKED EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE ERFKILL EHWPOISON
    EWOULDBLOCK EDEADLOCK ENOTSUP
};

/// What POSIX has: other systems' extras are rare and appear by their number.
#[cfg(all(unix, not(target_os = "linux")))]
static ERRNOS: &[(i32, &str)] = errnos! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EDEADLK ENOMEM EACCES EFAULT EBUSY
    EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS
    EMLINK EPIPE EDOM ERANGE EAGAIN EINPROGRESS EALREADY ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE
    ENOPROTOOPT EPROTONOSUPPORT EOPNOTSUPP EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH
    ENETRESET ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ETIMEDOUT ECONNREFUSED ELOOP
    ENAMETOOLONG EHOSTDOWN EHOSTUNREACH ENOTEMPTY EDQUOT ESTALE ENOLCK ENOSYS EOVERFLOW EILSEQ
    ECANCELED EIDRM ENOMSG EBADMSG EPROTO EWOULDBLOCK ENOTSUP
};

#[cfg(windows)]
macro_rules! win32_errors {
    ($($name:ident $number:literal)*) => { &[$(($number, stringify!($name))),*] };
}

/// Windows numbers its errors otherwise. Those that mean what a number of POSIX means have the name of that, so that a
/// job says the same on both; the others have the names of Windows. Source: winerror.h.
#[cfg(windows)]
static ERRNOS: &[(i32, &str)] = win32_errors! {
    EACCES 5
    ENOENT 2 ENOENT 3 ENOENT 18 ENOENT 53 ENOENT 67
    EMFILE 4
    EBADF 6
    ENOMEM 8 ENOMEM 14 ENOMEM 1450
    EXDEV 17
    EROFS 19
    ENODEV 15 ENODEV 20 ENODEV 55
    EAGAIN 21
    EIO 23 EIO 30 EIO 1117 EIO 1392
    EBUSY 32 EBUSY 33 EBUSY 170
    ENOTSUP 50
    EEXIST 80 EEXIST 183
    EINVAL 87 EINVAL 4390
    EPIPE 109
    ENOSPC 112 ENOSPC 39
    ENOSYS 1
    ETIMEDOUT 121 ETIMEDOUT 1460
    ENAMETOOLONG 206 ENAMETOOLONG 111
    ENOTEMPTY 145
    ENOTDIR 267
    EILSEQ 123 EILSEQ 1113
    ELOOP 681 ELOOP 1921
    EMLINK 1142
    EDQUOT 1816
    ECANCELED 995
    ESTALE 64
    EHOSTUNREACH 1232
    ENETUNREACH 1231
    ECONNREFUSED 1225
    EPERM 1314
    ERROR_UNEXP_NET_ERR 59
    ERROR_NETWORK_ACCESS_DENIED 65
    ERROR_CLOUD_FILE_PROVIDER_NOT_RUNNING 362
    ERROR_CLOUD_FILE_NETWORK_UNAVAILABLE 388
    ERROR_CLOUD_FILE_ACCESS_DENIED 395
    ERROR_CANT_ACCESS_FILE 1920
    ERROR_REPARSE_TAG_INVALID 4393
    ERROR_VIRUS_INFECTED 225
    ERROR_FILE_ENCRYPTED 6002
};

/// Nothing is known of the numbers of other systems.
#[cfg(not(any(unix, windows)))]
static ERRNOS: &[(i32, &str)] = &[];

#[cfg(all(test, windows))]
mod windows_tests {
    use super::*;

    #[test]
    fn what_means_the_same_has_the_same_name_as_elsewhere() {
        let code = |number| error_code(&io::Error::from_raw_os_error(number)).into_owned();
        assert_eq!(
            [2, 3, 5, 32, 267].map(code),
            ["ENOENT", "ENOENT", "EACCES", "EBUSY", "ENOTDIR"]
        );
        assert_eq!(code(99_999), "E99999");
        for name in errno_names() {
            assert_eq!(errno_from_name(name).and_then(errno_name), Some(name));
            assert_eq!(errno_names().filter(|other| *other == name).count(), 1);
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_stable_name() {
        let code = |error: io::Error| error_code(&error).into_owned();
        assert_eq!(code(io::Error::from_raw_os_error(libc::EACCES)), "EACCES");
        assert_eq!(code(io::Error::from_raw_os_error(libc::EAGAIN)), "EAGAIN");
        assert_eq!(code(io::Error::from_raw_os_error(9999)), "E9999");
        assert_eq!(code(Fault::Replaced.into()), "REPLACED");
        assert_eq!(code(io::ErrorKind::UnexpectedEof.into()), "UNEXPECTED_EOF");
    }

    #[test]
    fn names_lead_back_to_their_numbers() {
        for (number, name) in ERRNOS {
            assert_eq!(errno_from_name(name), Some(*number));
            assert_eq!(errno_from_name(errno_name(*number).unwrap()), Some(*number));
        }
        assert_eq!(errno_from_name("EWHATEVER"), None);
    }

    #[test]
    fn every_number_is_listed_by_its_first_name() {
        let names: Vec<&str> = errno_names().collect();
        assert!(names.contains(&"EAGAIN") && !names.contains(&"EWOULDBLOCK"));
        for name in names {
            assert_eq!(errno_from_name(name).and_then(errno_name), Some(name));
        }
    }

    /// The C library knows a message for every number that the kernel may return.
    #[cfg(target_os = "linux")]
    #[test]
    fn no_number_of_the_system_is_missing() {
        for number in 1..200 {
            let known = !io::Error::from_raw_os_error(number)
                .to_string()
                .starts_with("Unknown error");
            assert_eq!(errno_name(number).is_some(), known, "{number}");
        }
    }
}
