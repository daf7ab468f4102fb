//! Every message about the options of the kinds as a user sees it: a table of all sorts of mistakes for each kind.

use insta::assert_snapshot;
use statline_pipeline::{Job, Registry};
use statline_stages::register;

/// What a user sees of the job `text`; nothing if it is right.
fn report(text: &str) -> String {
    let mut registry = Registry::new();
    register(&mut registry);
    match Job::parse(&registry, "job.toml", text.trim_start(), &|_| None, &[]) {
        Ok(job) => job.warnings().to_string(),
        Err(problems) => problems.to_string(),
    }
}

/// What a user sees of a stage behind one that sends names.
fn report_behind_names(stage: &str) -> String {
    let walk = "[stages.walk]\ntype = \"enumerate\"\nroots = [\".\"]\n";
    report(&format!("{walk}[stages.x]\ninputs = [\"walk\"]\n{stage}"))
}

/// What a user sees of a stage behind one that sends records with the kind, the size and the link count.
fn report_behind_records(stage: &str) -> String {
    let scan = "[stages.walk]\ntype = \"enumerate\"\nroots = [\".\"]\n\
                [stages.meta]\ntype = \"stat\"\ninputs = [\"walk\"]\nfields = [\"size\", \"nlink\"]\n";
    report(&format!("{scan}[stages.x]\ninputs = [\"meta\"]\n{stage}"))
}

const END: &str = "[stages.end]\ntype = \"null\"\ninputs = [\"x\"]\n";

#[test]
fn jobs_that_are_right_give_no_message() {
    assert_eq!(report_behind_names("type = \"null\"\n"), "");
    assert_eq!(
        report_behind_records("type = \"summary\"\nlargest = 10\nby = [\"extension\", \"size\"]\n"),
        ""
    );
}

#[test]
fn enumerate() {
    let walk = |options: &str| report(&format!("[stages.x]\ntype = \"enumerate\"\n{options}{END}"));
    assert_snapshot!(walk(""), @r#"
    error: job.toml:1:1: stages.x: missing key "roots"
        1 | [stages.x]
          | ^^^^^^^^^^
    1 error in job.toml
    "#);
    assert_snapshot!(walk("roots = []\n"), @r#"
    error: job.toml:3:9: stages.x.roots: no root
        3 | roots = []
          |         ^^ add a path, such as roots = ["."]
    1 error in job.toml
    "#);
    assert_snapshot!(
        walk(
            r#"
roots = [".", "", 7, "a\u0000b", { base64 = "Zm9v!" }, { base64 = "AA==" }, { base46 = "Zm9v" }, {}, { base64 = 1 }]
follow_symlink = true
one_file_system = "yes"
max_depth = -1
exclude = ["*.o", "[a", 3]
skip_pseudo = 1
backend = "statz"
capacity = 0
"#
        ),
        @r#"
    error: job.toml:4:15: stages.x.roots[1]: an empty path names nothing; write "." for the current directory
        4 | roots = [".", "", 7, "a\u0000b", { base64 = "Zm9v!" }, { base64 = "AA==" }, { base46 = "Zm9v" }, {}, { base64 = 1 }]
          |               ^^
    error: job.toml:4:19: stages.x.roots[2]: expected a path such as "/data", or { base64 = "…" } for one that is not UTF-8, found integer 7
        4 | roots = [".", "", 7, "a\u0000b", { base64 = "Zm9v!" }, { base64 = "AA==" }, { base46 = "Zm9v" }, {}, { base64 = 1 }]
          |                   ^
    error: job.toml:4:22: stages.x.roots[3]: a path cannot hold a NUL character
        4 | roots = [".", "", 7, "a\u0000b", { base64 = "Zm9v!" }, { base64 = "AA==" }, { base46 = "Zm9v" }, {}, { base64 = 1 }]
          |                      ^^^^^^^^^^
    error: job.toml:4:45: stages.x.roots[4].base64: "Zm9v!" is not base64
        4 | roots = [".", "", 7, "a\u0000b", { base64 = "Zm9v!" }, { base64 = "AA==" }, { base46 = "Zm9v" }, {}, { base64 = 1 }]
          |                                             ^^^^^^^
    error: job.toml:4:67: stages.x.roots[5].base64: a path is not empty and holds no NUL byte
        4 | roots = [".", "", 7, "a\u0000b", { base64 = "Zm9v!" }, { base64 = "AA==" }, { base46 = "Zm9v" }, {}, { base64 = 1 }]
          |                                                                   ^^^^^^
    error: job.toml:4:79: stages.x.roots[6].base46: unknown key "base46"
        4 | roots = [".", "", 7, "a\u0000b", { base64 = "Zm9v!" }, { base64 = "AA==" }, { base46 = "Zm9v" }, {}, { base64 = 1 }]
          |                                                                               ^^^^^^ did you mean "base64"?
    error: job.toml:4:98: stages.x.roots[7]: missing key "base64"
        4 | roots = [".", "", 7, "a\u0000b", { base64 = "Zm9v!" }, { base64 = "AA==" }, { base46 = "Zm9v" }, {}, { base64 = 1 }]
          |                                                                                                  ^^
    error: job.toml:4:113: stages.x.roots[8].base64: expected a string, found integer 1
        4 | roots = [".", "", 7, "a\u0000b", { base64 = "Zm9v!" }, { base64 = "AA==" }, { base46 = "Zm9v" }, {}, { base64 = 1 }]
          |                                                                                                                 ^ write "1"
    error: job.toml:5:1: stages.x.follow_symlink: unknown key "follow_symlink"
        5 | follow_symlink = true
          | ^^^^^^^^^^^^^^ did you mean "follow_symlinks"?
    error: job.toml:6:19: stages.x.one_file_system: expected true or false, found string "yes"
        6 | one_file_system = "yes"
          |                   ^^^^^
    error: job.toml:7:13: stages.x.max_depth: expected a whole number from 0 to 4294967295, found integer -1
        7 | max_depth = -1
          |             ^^
    error: job.toml:8:25: stages.x.exclude[2]: expected a string, found integer 3
        8 | exclude = ["*.o", "[a", 3]
          |                         ^ write "3"
    error: job.toml:9:15: stages.x.skip_pseudo: expected true or false, found integer 1
        9 | skip_pseudo = 1
          |               ^
    error: job.toml:10:11: stages.x.backend: expected one of "auto", "statx", "fstatat", "io_uring", "nt", "nt-exact", found string "statz"
       10 | backend = "statz"
          |           ^^^^^^^ did you mean "statx"?
    error: job.toml:11:12: stages.x.capacity: expected a number of messages from 1 to 65536, found integer 0
       11 | capacity = 0
          |            ^
    15 errors in job.toml
    "#
    );
    assert_snapshot!(walk("roots = [\".\"]\nexclude = [\n  \"*.o\",\n  \"[a-\",\n  \"\",\n  \"{a,b\",\n]\n"), @r#"
    error: job.toml:6:3: stages.x.exclude[1]: unclosed character class; missing ']'
        6 |   "[a-",
          |   ^^^^^
    error: job.toml:7:3: stages.x.exclude[2]: an empty pattern matches nothing
        7 |   "",
          |   ^^
    error: job.toml:8:3: stages.x.exclude[3]: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)
        8 |   "{a,b",
          |   ^^^^^^
    3 errors in job.toml
    "#);
    assert_snapshot!(walk("roots = \"/data\"\nexclude = \"*.o\"\nbackend = [\"statx\"]\nmax_depth = 1.5\n"), @r#"
    error: job.toml:3:9: stages.x.roots: expected an array, found string "/data"
        3 | roots = "/data"
          |         ^^^^^^^ write ["/data"]
    error: job.toml:4:11: stages.x.exclude: expected an array, found string "*.o"
        4 | exclude = "*.o"
          |           ^^^^^ write ["*.o"]
    error: job.toml:5:11: stages.x.backend: expected one of "auto", "statx", "fstatat", "io_uring", "nt", "nt-exact", found an array
        5 | backend = ["statx"]
          |           ^^^^^^^^^
    error: job.toml:6:13: stages.x.max_depth: expected a whole number, found float 1.5
        6 | max_depth = 1.5
          |             ^^^
    4 errors in job.toml
    "#);
}

#[test]
fn batch() {
    assert_snapshot!(
        report_behind_names(&format!(
            "type = \"batch\"\nthreads = 2\nmax_entries = 1.0\nmax_delay = 5\nmax_size = \"1MiB\"\n{END}"
        )),
        @r#"
    error: job.toml:7:11: stages.x.threads: a stage of type batch runs on one thread
        7 | threads = 2
          |           ^ take `threads` out
    error: job.toml:8:15: stages.x.max_entries: expected a whole number, found float 1.0
        8 | max_entries = 1.0
          |               ^^^ write 1
    error: job.toml:9:13: stages.x.max_delay: expected a time such as "30s" or "2h30m", found integer 5
        9 | max_delay = 5
          |             ^ write the unit, as in "5s" or "5ms"
    error: job.toml:10:1: stages.x.max_size: unknown key "max_size"
       10 | max_size = "1MiB"
          | ^^^^^^^^ known keys: max_entries, max_delay, inputs, threads, capacity, capacity_bytes, accept
    4 errors in job.toml
    "#
    );
    assert_snapshot!(report_behind_names(&format!("type = \"batch\"\nmax_entries = 0\n{END}")), @r"
    error: job.toml:7:15: stages.x.max_entries: expected a number of entries from 1 to 65536, found integer 0
        7 | max_entries = 0
          |               ^
    1 error in job.toml
    ");
    assert_snapshot!(report_behind_names(&format!("type = \"batch\"\nmax_entries = 65537\nmax_delay = \"5 sec\"\n{END}")), @r#"
    error: job.toml:7:15: stages.x.max_entries: expected a number of entries from 1 to 65536, found integer 65537
        7 | max_entries = 65537
          |               ^^^^^
    error: job.toml:8:13: stages.x.max_delay: "5 sec" has the unknown unit "sec", known units: w, d, h, m, s, ms, us, ns
        8 | max_delay = "5 sec"
          |             ^^^^^^^
    2 errors in job.toml
    "#);
    assert_snapshot!(report_behind_records(&format!("type = \"batch\"\n{END}")), @r#"
    error: job.toml:9:11: stages.x.inputs: "meta" sends RecordBatch, but a stage of type batch takes EntryBatch
        9 | inputs = ["meta"]
          |           ^^^^^^
    1 error in job.toml
    "#);
}

#[test]
fn stat() {
    assert_snapshot!(
        report_behind_names(&format!(
            "type = \"stat\"\nfields = [\"size\", \"sise\", \"mtime_ns\", \"target\", 3]\ntargets = \"yes\"\nbackend = \"uring\"\nthreads = 0\n{END}"
        )),
        @r#"
    error: job.toml:7:19: stages.x.fields[1]: unknown value "sise"
        7 | fields = ["size", "sise", "mtime_ns", "target", 3]
          |                   ^^^^^^ did you mean "size"?
    error: job.toml:7:27: stages.x.fields[2]: unknown value "mtime_ns"
        7 | fields = ["size", "sise", "mtime_ns", "target", 3]
          |                           ^^^^^^^^^^ did you mean "mtime"?
    error: job.toml:7:39: stages.x.fields[3]: targets are no metadata; to read them, set targets = true
        7 | fields = ["size", "sise", "mtime_ns", "target", 3]
          |                                       ^^^^^^^^
    error: job.toml:7:49: stages.x.fields[4]: expected a string, found integer 3
        7 | fields = ["size", "sise", "mtime_ns", "target", 3]
          |                                                 ^ write "3"
    error: job.toml:8:11: stages.x.targets: expected true or false, found string "yes"
        8 | targets = "yes"
          |           ^^^^^
    error: job.toml:9:11: stages.x.backend: expected one of "auto", "statx", "fstatat", "io_uring", "nt", "nt-exact", found string "uring"
        9 | backend = "uring"
          |           ^^^^^^^ did you mean "io_uring"?
    error: job.toml:10:11: stages.x.threads: expected "auto" or a number of threads from 1 to 512, found integer 0
       10 | threads = 0
          |           ^
    7 errors in job.toml
    "#
    );
    assert_snapshot!(report_behind_names(&format!("type = \"stat\"\nfields = \"all\"\nbackend = true\n{END}")), @r#"
    error: job.toml:7:10: stages.x.fields: expected an array, found string "all"
        7 | fields = "all"
          |          ^^^^^ write ["all"]
    error: job.toml:8:11: stages.x.backend: expected one of "auto", "statx", "fstatat", "io_uring", "nt", "nt-exact", found boolean true
        8 | backend = true
          |           ^^^^
    2 errors in job.toml
    "#);
    assert_snapshot!(report_behind_records(&format!("type = \"stat\"\n{END}")), @r#"
    error: job.toml:9:11: stages.x.inputs: "meta" sends RecordBatch, but a stage of type stat takes EntryBatch
        9 | inputs = ["meta"]
          |           ^^^^^^
    1 error in job.toml
    "#);
}

#[test]
fn cache() {
    assert_snapshot!(
        report_behind_records(&format!(
            "type = \"cache\"\nsignature = [\"size\", \"mtim\", 1]\nmax_entries = 0\nmax_entires = 5\nthreads = 4\n{END}"
        )),
        @r#"
    error: job.toml:11:22: stages.x.signature[1]: unknown value "mtim"
       11 | signature = ["size", "mtim", 1]
          |                      ^^^^^^ did you mean "mtime"?
    error: job.toml:11:30: stages.x.signature[2]: expected a name such as "path", found integer 1
       11 | signature = ["size", "mtim", 1]
          |                              ^
    error: job.toml:12:15: stages.x.max_entries: expected a whole number of at least 1, found integer 0
       12 | max_entries = 0
          |               ^
    error: job.toml:13:1: stages.x.max_entires: unknown key "max_entires"
       13 | max_entires = 5
          | ^^^^^^^^^^^ did you mean "max_entries"?
    error: job.toml:14:11: stages.x.threads: a stage of type cache runs on one thread
       14 | threads = 4
          |           ^ take `threads` out
    5 errors in job.toml
    "#
    );
    assert_snapshot!(
        report_behind_records(&format!("type = \"cache\"\nsignature = [\"size\", \"mtime\", \"path\", \"ctime\"]\n{END}")),
        @r#"
    error: job.toml:11:22: stages.x.signature[1]: the records that come in have no "mtime", "ctime"
       11 | signature = ["size", "mtime", "path", "ctime"]
          |                      ^^^^^^^ add "mtime", "ctime" to the `fields` of the stage of type stat
    error: job.toml:11:31: stages.x.signature[2]: "path" does not tell whether an entry has changed
       11 | signature = ["size", "mtime", "path", "ctime"]
          |                               ^^^^^^ name fields of the metadata, such as "size" and "mtime"
    2 errors in job.toml
    "#
    );
    assert_snapshot!(report_behind_records(&format!("type = \"cache\"\nsignature = []\n{END}")), @r"
    error: job.toml:11:13: stages.x.signature: there is no field to compare
       11 | signature = []
          |             ^^ take `signature` out to compare size, mtime, ctime and inode
    1 error in job.toml
    ");
    assert_snapshot!(report_behind_names(&format!("type = \"cache\"\n{END}")), @r#"
    error: job.toml:5:11: stages.x.inputs: "walk" sends EntryBatch, but a stage of type cache takes RecordBatch
        5 | inputs = ["walk"]
          |           ^^^^^^ put a stage of type stat in between
    1 error in job.toml
    "#);
    // Nothing to compare comes in, and no signature was written.
    assert_snapshot!(
        report(&format!(
            "[stages.walk]\ntype = \"enumerate\"\nroots = [\".\"]\n\
             [stages.meta]\ntype = \"stat\"\ninputs = [\"walk\"]\nfields = [\"mode\"]\n\
             [stages.x]\ntype = \"cache\"\ninputs = [\"meta\"]\n{END}"
        )),
        @r#"
    error: job.toml:8:1: stages.x.signature: the records that come in have no "size", "mtime", "ctime", "inode"
        8 | [stages.x]
          | ^^^^^^^^^^ add "size", "mtime", "ctime", "inode" to the `fields` of the stage of type stat
    1 error in job.toml
    "#
    );
}

#[test]
fn sort() {
    assert_snapshot!(
        report_behind_records(&format!(
            "type = \"sort\"\nby = [\"-sise\", \"pathh\", \"+size\", \"name\", \"\", 3]\nlimit = 0\nmemory_limit = \"1GiBB\"\nspill = \"/tmp\"\n{END}"
        )),
        @r#"
    error: job.toml:11:7: stages.x.by[0]: unknown value "-sise"
       11 | by = ["-sise", "pathh", "+size", "name", "", 3]
          |       ^^^^^^^ did you mean "-size"?
    error: job.toml:11:16: stages.x.by[1]: unknown value "pathh"
       11 | by = ["-sise", "pathh", "+size", "name", "", 3]
          |                ^^^^^^^ did you mean "path"?
    error: job.toml:11:25: stages.x.by[2]: unknown value "+size"
       11 | by = ["-sise", "pathh", "+size", "name", "", 3]
          |                         ^^^^^^^ did you mean "size"?
    error: job.toml:11:34: stages.x.by[3]: expected one of "path", "kind", "mode", "uid", "gid", "size", "allocated", "nlink", "inode", "device", "rdev", "atime", "mtime", "ctime", "btime", "attributes", "mount_id", "target", "change", "remembered", "hash", "differs", "former_size", "former_path", "depth", found string "name"
       11 | by = ["-sise", "pathh", "+size", "name", "", 3]
          |                                  ^^^^^^
    error: job.toml:11:42: stages.x.by[4]: expected one of "path", "kind", "mode", "uid", "gid", "size", "allocated", "nlink", "inode", "device", "rdev", "atime", "mtime", "ctime", "btime", "attributes", "mount_id", "target", "change", "remembered", "hash", "differs", "former_size", "former_path", "depth", found string ""
       11 | by = ["-sise", "pathh", "+size", "name", "", 3]
          |                                          ^^
    error: job.toml:11:46: stages.x.by[5]: expected a string, found integer 3
       11 | by = ["-sise", "pathh", "+size", "name", "", 3]
          |                                              ^ write "3"
    error: job.toml:12:9: stages.x.limit: expected a whole number of at least 1, found integer 0
       12 | limit = 0
          |         ^
    error: job.toml:13:16: stages.x.memory_limit: "1GiBB" has the unknown unit "GiBB", known units: B, kB, MB, GB, TB, KiB, MiB, GiB, TiB
       13 | memory_limit = "1GiBB"
          |                ^^^^^^^
    error: job.toml:14:1: stages.x.spill: unknown key "spill"
       14 | spill = "/tmp"
          | ^^^^^ known keys: by, limit, memory_limit, spill_dir, inputs, threads, capacity, capacity_bytes, accept
    9 errors in job.toml
    "#
    );
    assert_snapshot!(
        report_behind_records(&format!("type = \"sort\"\nby = [\"size\", \"-mtime\", \"-size\", \"path\", \"uid\"]\n{END}")),
        @r#"
    error: job.toml:11:15: stages.x.by[1]: the records that come in have no "mtime", "uid"
       11 | by = ["size", "-mtime", "-size", "path", "uid"]
          |               ^^^^^^^^ add "mtime", "uid" to the `fields` of the stage of type stat
    error: job.toml:11:25: stages.x.by[2]: "size" is listed twice
       11 | by = ["size", "-mtime", "-size", "path", "uid"]
          |                         ^^^^^^^
    2 errors in job.toml
    "#
    );
    assert_snapshot!(report_behind_records(&format!("type = \"sort\"\nby = \"size\"\nlimit = \"10\"\n{END}")), @r#"
    error: job.toml:11:6: stages.x.by: expected an array, found string "size"
       11 | by = "size"
          |      ^^^^^^ write ["size"]
    error: job.toml:12:9: stages.x.limit: expected a whole number, found string "10"
       12 | limit = "10"
          |         ^^^^ write it without quotes
    2 errors in job.toml
    "#);
    assert_snapshot!(report_behind_records(&format!("type = \"sort\"\nmemory_limit = \"64KiB\"\n{END}")), @r#"
    error: job.toml:11:16: stages.x.memory_limit: 64KiB is too little to sort in
       11 | memory_limit = "64KiB"
          |                ^^^^^^^ allow at least 8MiB
    1 error in job.toml
    "#);
    assert_snapshot!(report_behind_records(&format!("type = \"sort\"\nby = []\n{END}")), @r"
    error: job.toml:11:6: stages.x.by: there is no field to sort by
       11 | by = []
          |      ^^ name a field, or take `by` out to sort by path
    1 error in job.toml
    ");
    assert_snapshot!(report_behind_names(&format!("type = \"sort\"\n{END}")), @r#"
    error: job.toml:5:11: stages.x.inputs: "walk" sends EntryBatch, but a stage of type sort takes RecordBatch
        5 | inputs = ["walk"]
          |           ^^^^^^ put a stage of type stat in between
    1 error in job.toml
    "#);
}

#[test]
fn filter() {
    assert_snapshot!(
        report_behind_records(&format!(
            r#"type = "filter"
kind = ["file", "dir", "symlnk"]
name = ["*.log", 3]
min_size = 5
max_size = "10 mb"
older_than = "30"
newer_than = 7
change = ["news"]
invert = "no"
size = "1MiB"
{END}"#
        )),
        @r#"
    error: job.toml:11:17: stages.x.kind[1]: expected one of "file", "directory", "symlink", "fifo", "socket", "block_device", "char_device", "other", found string "dir"
       11 | kind = ["file", "dir", "symlnk"]
          |                 ^^^^^
    error: job.toml:11:24: stages.x.kind[2]: unknown value "symlnk"
       11 | kind = ["file", "dir", "symlnk"]
          |                        ^^^^^^^^ did you mean "symlink"?
    error: job.toml:12:18: stages.x.name[1]: expected a string, found integer 3
       12 | name = ["*.log", 3]
          |                  ^ write "3"
    error: job.toml:13:12: stages.x.min_size: expected a size such as "64MiB", found integer 5
       13 | min_size = 5
          |            ^ write the unit, as in "5MiB", or "5B" for bytes
    error: job.toml:14:12: stages.x.max_size: "10 mb" has the unknown unit "mb", write "MB"
       14 | max_size = "10 mb"
          |            ^^^^^^^
    error: job.toml:15:14: stages.x.older_than: "30" is no point in time, as in "30d" (before the run), "2026-01-31", "2026-01-31T08:00:00Z" or "@1767225600"
       15 | older_than = "30"
          |              ^^^^
    error: job.toml:16:14: stages.x.newer_than: expected a point in time such as "30d" (before the run) or "2026-01-31", found integer 7
       16 | newer_than = 7
          |              ^
    error: job.toml:17:11: stages.x.change[0]: unknown value "news"
       17 | change = ["news"]
          |           ^^^^^^ did you mean "new"?
    error: job.toml:18:10: stages.x.invert: expected true or false, found string "no"
       18 | invert = "no"
          |          ^^^^
    error: job.toml:19:1: stages.x.size: unknown key "size"
       19 | size = "1MiB"
          | ^^^^
    10 errors in job.toml
    "#
    );
    assert_snapshot!(
        report_behind_records(&format!(
            r#"type = "filter"
name = [
  "*.log",
  "[a",
]
min_size = "2MiB"
max_size = "1MiB"
older_than = "30d"
newer_than = "2026-02-30"
change = ["new"]
{END}"#
        )),
        @r#"
    error: job.toml:18:14: stages.x.newer_than: "2026-02-30" is no point in time, as in "30d" (before the run), "2026-01-31", "2026-01-31T08:00:00Z" or "@1767225600"
       18 | newer_than = "2026-02-30"
          |              ^^^^^^^^^^^^
    1 error in job.toml
    "#
    );
    assert_snapshot!(
        report_behind_records(&format!(
            "type = \"filter\"\nname = [\n  \"*.log\",\n  \"[a\",\n]\nmin_size = \"2MiB\"\nmax_size = \"1MiB\"\nolder_than = \"30d\"\nchange = [\"new\"]\n{END}"
        )),
        @r#"
    error: job.toml:13:3: stages.x.name[1]: unclosed character class; missing ']'
       13 |   "[a",
          |   ^^^^
    error: job.toml:16:12: stages.x.max_size: 1MiB is less than min_size, so nothing would pass
       16 | max_size = "1MiB"
          |            ^^^^^^
    error: job.toml:17:14: stages.x.older_than: the records that come in have no "mtime"
       17 | older_than = "30d"
          |              ^^^^^ add "mtime" to the `fields` of the stage of type stat
    error: job.toml:18:10: stages.x.change: the records that come in have no "change"
       18 | change = ["new"]
          |          ^^^^^^^ put a stage of type cache or diff in between
    4 errors in job.toml
    "#
    );
    assert_snapshot!(report_behind_names(&format!("type = \"filter\"\n{END}")), @r#"
    error: job.toml:5:11: stages.x.inputs: "walk" sends EntryBatch, but a stage of type filter takes RecordBatch
        5 | inputs = ["walk"]
          |           ^^^^^^ put a stage of type stat in between
    1 error in job.toml
    "#);
}

#[test]
fn summary() {
    assert_snapshot!(
        report_behind_records("type = \"summary\"\nlargest = -1\nby = [\"extension\", \"user\", \"ages\"]\ntop = 3\nthreads = 2\n"),
        @r#"
    error: job.toml:11:11: stages.x.largest: expected a whole number of at least 0, found integer -1
       11 | largest = -1
          |           ^^
    error: job.toml:12:20: stages.x.by[1]: expected one of "extension", "owner", "age", "size", found string "user"
       12 | by = ["extension", "user", "ages"]
          |                    ^^^^^^
    error: job.toml:12:28: stages.x.by[2]: expected one of "extension", "owner", "age", "size", found string "ages"
       12 | by = ["extension", "user", "ages"]
          |                            ^^^^^^ did you mean "age"?
    error: job.toml:13:1: stages.x.top: unknown key "top"
       13 | top = 3
          | ^^^ known keys: largest, by, inputs, threads, capacity, capacity_bytes, accept
    error: job.toml:14:11: stages.x.threads: a stage of type summary runs on one thread
       14 | threads = 2
          |           ^ take `threads` out
    5 errors in job.toml
    "#
    );
    assert_snapshot!(report_behind_records("type = \"summary\"\nby = [\"size\", \"owner\", \"size\", \"age\"]\n"), @r#"
    error: job.toml:11:15: stages.x.by[1]: the records that come in have no "uid", "mtime"
       11 | by = ["size", "owner", "size", "age"]
          |               ^^^^^^^ add "uid", "mtime" to the `fields` of the stage of type stat
    error: job.toml:11:24: stages.x.by[2]: "size" is listed twice
       11 | by = ["size", "owner", "size", "age"]
          |                        ^^^^^^
    2 errors in job.toml
    "#);
    assert_snapshot!(report_behind_records("type = \"summary\"\nlargest = 1001\n"), @r"
    error: job.toml:11:11: stages.x.largest: expected a number of files from 0 to 1000, found integer 1001
       11 | largest = 1001
          |           ^^^^
    1 error in job.toml
    ");
    assert_snapshot!(report_behind_names("type = \"summary\"\nlargest = 3\nby = [\"owner\"]\n"), @r#"
    error: job.toml:7:11: stages.x.largest: the names that come in have no "size"
        7 | largest = 3
          |           ^ put a stage of type stat in between
    error: job.toml:8:7: stages.x.by[0]: the names that come in have no "uid"
        8 | by = ["owner"]
          |       ^^^^^^^ put a stage of type stat in between
    2 errors in job.toml
    "#);
}

#[test]
fn jsonl() {
    assert_snapshot!(report_behind_records("type = \"jsonl\"\n"), @r#"
    error: job.toml:8:1: stages.x: missing key "path"
        8 | [stages.x]
          | ^^^^^^^^^^
    1 error in job.toml
    "#);
    assert_snapshot!(
        report_behind_records("type = \"jsonl\"\nfile = \"out.jsonl\"\nfields = [\"path\", \"sise\", \"mtime_ns\", 3]\n"),
        @r#"
    error: job.toml:8:1: stages.x: missing key "path"
        8 | [stages.x]
          | ^^^^^^^^^^
    error: job.toml:11:1: stages.x.file: unknown key "file"
       11 | file = "out.jsonl"
          | ^^^^ known keys: path, fields, inputs, threads, capacity, capacity_bytes, accept
    error: job.toml:12:19: stages.x.fields[1]: unknown value "sise"
       12 | fields = ["path", "sise", "mtime_ns", 3]
          |                   ^^^^^^ did you mean "size"?
    error: job.toml:12:27: stages.x.fields[2]: unknown value "mtime_ns"
       12 | fields = ["path", "sise", "mtime_ns", 3]
          |                           ^^^^^^^^^^ did you mean "mtime"?
    error: job.toml:12:39: stages.x.fields[3]: expected a name such as "path", found integer 3
       12 | fields = ["path", "sise", "mtime_ns", 3]
          |                                       ^
    5 errors in job.toml
    "#
    );
    assert_snapshot!(report_behind_records("type = \"jsonl\"\npath = 3\nfields = \"path\"\n"), @r#"
    error: job.toml:11:8: stages.x.path: expected a string, found integer 3
       11 | path = 3
          |        ^ write "3"
    error: job.toml:12:10: stages.x.fields: expected an array, found string "path"
       12 | fields = "path"
          |          ^^^^^^ write ["path"]
    2 errors in job.toml
    "#);
    assert_snapshot!(
        report_behind_records(
            "type = \"jsonl\"\npath = \"out/\"\nfields = [\"path\", \"size\", \"mtime\", \"path\", \"target\", \"change\"]\n"
        ),
        @r#"
    error: job.toml:11:8: stages.x.path: "out/" names no file
       11 | path = "out/"
          |        ^^^^^^ write the path of a file, or "-" for standard output
    error: job.toml:12:27: stages.x.fields[2]: the records that come in have no "mtime", "target", "change"
       12 | fields = ["path", "size", "mtime", "path", "target", "change"]
          |                           ^^^^^^^ add "mtime" to the `fields` of the stage of type stat; set `targets = true` on the stage of type stat; put a stage of type cache or diff in between
    error: job.toml:12:36: stages.x.fields[3]: "path" is listed twice
       12 | fields = ["path", "size", "mtime", "path", "target", "change"]
          |                                    ^^^^^^
    3 errors in job.toml
    "#
    );
    assert_snapshot!(report_behind_records("type = \"jsonl\"\npath = \"%Y-%!.jsonl\"\nfields = []\n"), @r#"
    error: job.toml:11:8: stages.x.path: "%Y-%!.jsonl" is no pattern of a path: strftime formatting failed: found unrecognized specifier directive `!`
       11 | path = "%Y-%!.jsonl"
          |        ^^^^^^^^^^^^^ write %% for a percent sign
    error: job.toml:12:10: stages.x.fields: no field is named
       12 | fields = []
          |          ^^ leave `fields` out to get all that is there
    2 errors in job.toml
    "#);
    assert_snapshot!(report_behind_names("type = \"jsonl\"\npath = \"\"\nfields = [\"path\", \"size\"]\n"), @r#"
    error: job.toml:7:8: stages.x.path: "" names no file
        7 | path = ""
          |        ^^ write the path of a file, or "-" for standard output
    error: job.toml:8:19: stages.x.fields[1]: the names that come in have no "size"
        8 | fields = ["path", "size"]
          |                   ^^^^^^ put a stage of type stat in between
    2 errors in job.toml
    "#);
    assert_snapshot!(
        report_behind_names(
            "type = \"null\"\n[stages.log]\ntype = \"jsonl\"\ninputs = [\"walk.errors\"]\npath = \"-\"\nfields = [\"path\", \"path\"]\n"
        ),
        @r#"
    error: job.toml:11:10: stages.log.fields: error records have columns of their own
       11 | fields = ["path", "path"]
          |          ^^^^^^^^^^^^^^^^ take `fields` out
    1 error in job.toml
    "#
    );
    assert_snapshot!(
        report_behind_names("type = \"jsonl\"\npath = \"-\"\n[stages.y]\ntype = \"jsonl\"\ninputs = [\"walk.errors\", \"x\"]\npath = \"y\"\n"),
        @r#"
    error: job.toml:10:26: stages.y.inputs: stage "x" has no output but its errors
       10 | inputs = ["walk.errors", "x"]
          |                          ^^^ to read those, write "x.errors"
    1 error in job.toml
    "#
    );
}

#[test]
fn csv() {
    assert_snapshot!(
        report_behind_records("type = \"csv\"\npaht = \"out.csv\"\nfields = [\"path\", \"Size\", true]\ndelimiter = \";\"\n"),
        @r#"
    error: job.toml:11:1: stages.x.paht: unknown key "paht"
       11 | paht = "out.csv"
          | ^^^^ did you mean "path"?
    error: job.toml:12:19: stages.x.fields[1]: unknown value "Size"
       12 | fields = ["path", "Size", true]
          |                   ^^^^^^ did you mean "size"?
    error: job.toml:12:27: stages.x.fields[2]: expected a name such as "path", found boolean true
       12 | fields = ["path", "Size", true]
          |                           ^^^^
    error: job.toml:13:1: stages.x.delimiter: unknown key "delimiter"
       13 | delimiter = ";"
          | ^^^^^^^^^ known keys: path, fields, inputs, threads, capacity, capacity_bytes, accept
    4 errors in job.toml
    "#
    );
    assert_snapshot!(report_behind_records("type = \"csv\"\npath = \"/\"\nfields = [\"path\", \"uid\"]\n"), @r#"
    error: job.toml:11:8: stages.x.path: "/" names no file
       11 | path = "/"
          |        ^^^ write the path of a file, or "-" for standard output
    error: job.toml:12:19: stages.x.fields[1]: the records that come in have no "uid"
       12 | fields = ["path", "uid"]
          |                   ^^^^^ add "uid" to the `fields` of the stage of type stat
    2 errors in job.toml
    "#);
}

#[test]
fn paths() {
    assert_snapshot!(
        report_behind_records("type = \"paths\"\npath = \"..\"\nseparator = \"null\"\nfields = [\"path\"]\n"),
        @r#"
    error: job.toml:12:13: stages.x.separator: expected "newline" or "nul", found string "null"
       12 | separator = "null"
          |             ^^^^^^ did you mean "nul"?
    error: job.toml:13:1: stages.x.fields: unknown key "fields"
       13 | fields = ["path"]
          | ^^^^^^ known keys: path, separator, relative, inputs, threads, capacity, capacity_bytes, accept
    2 errors in job.toml
    "#
    );
    assert_snapshot!(report_behind_records("type = \"paths\"\npath = \"..\"\n"), @r#"
    error: job.toml:11:8: stages.x.path: ".." names no file
       11 | path = ".."
          |        ^^^^ write the path of a file, or "-" for standard output
    1 error in job.toml
    "#);
    assert_snapshot!(
        report_behind_names("type = \"null\"\n[stages.y]\ntype = \"paths\"\ninputs = [\"walk.errors\"]\npath = \"-\"\n"),
        @r#"
    error: job.toml:9:11: stages.y.inputs: "walk.errors" sends ErrorRecord, but a stage of type paths takes RecordBatch or EntryBatch
        9 | inputs = ["walk.errors"]
          |           ^^^^^^^^^^^^^ what takes ErrorRecord: stages of type csv, jsonl, null
    1 error in job.toml
    "#
    );
}

#[test]
fn null() {
    assert_snapshot!(report_behind_records("type = \"null\"\npath = \"-\"\nthreads = 2\ninput = [\"walk\"]\n"), @r#"
    error: job.toml:11:1: stages.x.path: unknown key "path"
       11 | path = "-"
          | ^^^^ known keys: inputs, threads, capacity, capacity_bytes, accept
    error: job.toml:12:11: stages.x.threads: a stage of type null runs on one thread
       12 | threads = 2
          |           ^ take `threads` out
    error: job.toml:13:1: stages.x.input: unknown key "input"
       13 | input = ["walk"]
          | ^^^^^ did you mean "inputs"?
    3 errors in job.toml
    "#);
    assert_snapshot!(
        report("[stages.walk]\ntype = \"enumerate\"\nroots = [\".\"]\n[stages.x]\ntype = \"null\"\ninput = [\"walk\"]\n"),
        @r#"
    error: job.toml:6:1: stages.x.input: unknown key "input"
        6 | input = ["walk"]
          | ^^^^^ did you mean "inputs"?
    1 error in job.toml
    "#
    );
}

#[test]
fn hash() {
    assert_snapshot!(report_behind_names(&format!("type = \"hash\"\n{END}")), @r#"
    error: job.toml:5:11: stages.x.inputs: "walk" sends EntryBatch, but a stage of type hash takes RecordBatch
        5 | inputs = ["walk"]
          |           ^^^^^^ put a stage of type stat in between
    1 error in job.toml
    "#);
    assert_snapshot!(report_behind_records(&format!("type = \"hash\"\ncache = \"\"\n{END}")), @r#"
    error: job.toml:8:1: stages.x: the records that come in have no "inode", "device", "mtime"
        8 | [stages.x]
          | ^^^^^^^^^^ add "inode", "device", "mtime" to the `fields` of the stage of type stat
    error: job.toml:11:9: stages.x.cache: an empty path names no file
       11 | cache = ""
          |         ^^
    error: job.toml:11:9: stages.x.cache: the records that come in have no "ctime"
       11 | cache = ""
          |         ^^ add "ctime" to the `fields` of the stage of type stat
    3 errors in job.toml
    "#);
}

#[test]
fn repeated() {
    let by = |by: &str| report_behind_records(&format!("type = \"repeated\"\nby = [{by}]\n{END}"));
    assert_snapshot!(by(""), @r#"
    error: job.toml:11:6: stages.x.by: there is nothing to have in common
       11 | by = []
          |      ^^ name a field, such as by = ["size"]
    1 error in job.toml
    "#);
    assert_snapshot!(by(r#""sise", "path""#), @r#"
    error: job.toml:11:7: stages.x.by[0]: unknown value "sise"
       11 | by = ["sise", "path"]
          |       ^^^^^^ did you mean "size"?
    1 error in job.toml
    "#);
    assert_snapshot!(by(r#""size", "hash""#), @r#"
    error: job.toml:8:1: stages.x: the records that come in have no "device", "inode", "allocated"
        8 | [stages.x]
          | ^^^^^^^^^^ add "device", "inode", "allocated" to the `fields` of the stage of type stat
    error: job.toml:9:10: stages.x.inputs: needs its input ordered by size, hash, device, inode, but nothing orders it
        9 | inputs = ["meta"]
          |          ^^^^^^^^ put a sort by size, hash, device, inode right before it
    error: job.toml:11:15: stages.x.by[1]: the records that come in have no "hash"
       11 | by = ["size", "hash"]
          |               ^^^^^^ put a stage of type hash in between
    3 errors in job.toml
    "#);
}

#[test]
fn codes_that_no_error_has_are_not_accepted() {
    let accept = |code: &str| {
        report_behind_names(&format!(
            "type = \"stat\"\naccept = [\"EIO\", {code:?}]\n{END}"
        ))
    };
    assert_snapshot!(accept("EACESS"), @r#"
    error: job.toml:7:18: stages.x.accept[1]: no error of this stage has the code "EACESS"
        7 | accept = ["EIO", "EACESS"]
          |                  ^^^^^^^^ did you mean "EACCES"?
    1 error in job.toml
    "#);
    assert_snapshot!(accept("EWOULDBLOCK"), @r#"
    error: job.toml:7:18: stages.x.accept[1]: no error of this stage has the code "EWOULDBLOCK"
        7 | accept = ["EIO", "EWOULDBLOCK"]
          |                  ^^^^^^^^^^^^^ errors are told by their codes, such as "EACCES"
    1 error in job.toml
    "#);
    assert_snapshot!(accept("REPLACE"), @r#"
    error: job.toml:7:18: stages.x.accept[1]: no error of this stage has the code "REPLACE"
        7 | accept = ["EIO", "REPLACE"]
          |                  ^^^^^^^^^ did you mean "REPLACED"?
    1 error in job.toml
    "#);
    assert_snapshot!(accept("permission denied"), @r#"
    error: job.toml:7:18: stages.x.accept[1]: no error of this stage has the code "permission denied"
        7 | accept = ["EIO", "permission denied"]
          |                  ^^^^^^^^^^^^^^^^^^^ errors are told by their codes, such as "EACCES"
    1 error in job.toml
    "#);
    assert_eq!(accept("E524"), "");
}
