//! The interface for programs that list directories themselves.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;

use statline_platform::{DirectoryStatBatch, error_code, has_statx_support, statx};

#[test]
fn a_batch_gives_what_single_calls_give_in_the_same_order() {
    let directory = tempfile::tempdir().unwrap();
    let mut names: Vec<OsString> = (0..500)
        .map(|index| format!("file-{index}").into())
        .collect();
    names.push(OsString::from_vec(b"l\xfe".to_vec()));
    names.push(OsString::from_vec(b"l\xff".to_vec()));
    for (size, name) in names.iter().enumerate() {
        fs::write(directory.path().join(name), vec![b'x'; size]).unwrap();
    }
    symlink("file-3", directory.path().join("link")).unwrap();
    names.extend(["link", "vanished", "", "a/b"].map(OsString::from));

    let batch = DirectoryStatBatch::open(directory.path()).unwrap();
    for follow in [false, true] {
        let together = batch.stat_batch_relative(&names, follow);
        assert_eq!(together.len(), names.len());
        for (name, together) in names.iter().zip(together) {
            let alone = batch.stat_relative(name, follow);
            match (together, alone) {
                (Ok(together), Ok(alone)) => assert_eq!(together, alone),
                (Err(together), Err(alone)) => {
                    assert_eq!(error_code(&together), error_code(&alone));
                }
                (together, alone) => panic!("{name:?}: {together:?} against {alone:?}"),
            }
        }
    }
    for (size, name) in names[..500].iter().enumerate() {
        assert_eq!(
            batch.stat_relative(name, false).unwrap().size(),
            Some(size as u64)
        );
    }
    let error = |name: &str| error_code(&batch.stat_relative(OsStr::new(name), false).unwrap_err());
    assert_eq!(
        (error("vanished"), error("a/b")),
        ("ENOENT".into(), "INVALID_INPUT".into())
    );
}

#[test]
fn paths_are_statted_as_the_standard_library_does() {
    let directory = tempfile::tempdir().unwrap();
    let (file, link) = (directory.path().join("file"), directory.path().join("link"));
    fs::write(&file, b"contents").unwrap();
    symlink("file", &link).unwrap();
    crate::common::assert_same(
        &statx(&link, false).unwrap(),
        &link.symlink_metadata().unwrap(),
        b"link",
    );
    crate::common::assert_same(
        &statx(&link, true).unwrap(),
        &file.metadata().unwrap(),
        b"file",
    );
    assert_eq!(error_code(&statx("".as_ref(), true).unwrap_err()), "ENOENT");
}

#[cfg(target_os = "linux")]
#[test]
fn support_is_what_the_choice_of_backends_says() {
    use statline_platform::{BackendChoice, select};
    assert_eq!(has_statx_support(), select(BackendChoice::Statx).is_ok());
}
