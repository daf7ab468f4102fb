//! The order of paths is that of `sort` from coreutils, component by component, also where it took several runs.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use statline_pipeline::testing::Items;
use statline_pipeline::{Builder, ByteSize, Outcome};
use statline_platform::{DirNode, Metadata, NameBuf};
use statline_stages::{Paths, PathsConfig, RecordBatch, Row, Separator, Sort, SortConfig};

/// Numbers that look random and are the same each time.
struct Lots(u64);

impl Lots {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % bound
    }

    /// Bytes on both sides of the slash, some of them no text, in names that begin alike.
    fn name(&mut self) -> Vec<u8> {
        let bytes = b"ab-. \x02\x7f\xff0Z~\xc3\xa9";
        let length = 1 + self.below(12);
        let mut name = [&b""[..], b"common", b"common-and-longer"][self.below(3)].to_vec();
        name.extend((0..length).map(|_| bytes[self.below(bytes.len())]));
        name
    }
}

fn child(directory: &Arc<DirNode>, name: &[u8]) -> Arc<DirNode> {
    DirNode::child(directory, NameBuf::new(name).unwrap().as_name())
}

fn rows(count: usize) -> Vec<RecordBatch> {
    let mut lots = Lots(7);
    let mut directories = vec![DirNode::root(Path::new("/r"))];
    let mut batches = vec![RecordBatch::default()];
    for _ in 0..count {
        let directory = Arc::clone(&directories[lots.below(directories.len())]);
        let name = lots.name();
        if lots.below(10) == 0 {
            directories.push(child(&directory, &name));
        }
        let last = batches.last_mut().unwrap();
        last.push_row(&Row {
            directory: &directory,
            name: NameBuf::new(&name).unwrap().as_name(),
            kind: None,
            metadata: Some(&Metadata::default()),
            target: None,
            change: None,
            remembered: false,
            hash: None,
            former: statline_stages::Former::default(),
        });
        if last.len() == 700 {
            batches.push(RecordBatch::default());
        }
    }
    batches
}

/// The paths as `sort` puts them. A byte that is in no name stands for the slash, smaller than all that are.
fn by_coreutils(paths: &[u8]) -> Vec<u8> {
    let swap = |from: u8, to: u8, bytes: &[u8]| -> Vec<u8> {
        let swapped = bytes
            .iter()
            .map(|&byte| if byte == from { to } else { byte });
        swapped.collect()
    };
    let mut sort = Command::new("sort")
        .arg("-z")
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = sort.stdin.take().unwrap();
    let swapped = swap(b'/', 1, paths);
    let writer = std::thread::spawn(move || input.write_all(&swapped));
    let output = sort.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    swap(1, b'/', &output.stdout)
}

#[test]
fn fifty_thousand_paths_are_in_the_order_of_coreutils() {
    let directory = tempfile::tempdir().unwrap();
    let batches = rows(60_000);
    let mut unsorted = Vec::new();
    for batch in &batches {
        for row in statline_stages::Rows::rows(batch) {
            row.write_path(&mut unsorted);
            unsorted.push(0);
        }
    }
    let expected = by_coreutils(&unsorted);
    for limit in [8, 256] {
        let mut job = Builder::new("test");
        let given = job.source("given", Items(batches.clone())).done();
        let config = SortConfig {
            memory_limit: ByteSize::from_mib(limit),
            spill_dir: Some(directory.path().to_owned()),
            ..SortConfig::default()
        };
        let sort = job.stage("sort", Sort, config).reads(&given).done();
        let written = directory.path().join("paths.nul");
        let config = PathsConfig {
            separator: Separator::Nul,
            ..PathsConfig::new(written.to_str().unwrap())
        };
        let _ = job.stage("out", Paths, config).reads(&sort).done();
        let report = job.build().unwrap().run();
        assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.fault);
        let runs = report.stage("sort").unwrap().counters["runs"];
        assert_eq!(runs > 1, limit == 8, "{runs} runs in {limit} MiB");
        let found = std::fs::read(&written).unwrap();
        assert!(found == expected, "in {limit} MiB the order is another");
    }
}
