//! `batch` regroups and loses nothing.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use statline_pipeline::testing::{Collected, Items};
use statline_pipeline::{Builder, Outcome};
use statline_platform::DirNode;
use statline_stages::{Batch, BatchConfig, DirectoryEnd, DirectoryStatus, EntryBatch, Rows};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn regrouping_keeps_every_entry_and_end_in_order_and_no_batch_is_too_large(
        // Each inner list is a message, each number in it how many entries of the next directory it has.
        messages in prop::collection::vec(prop::collection::vec(0usize..40, 0..6), 0..12),
        max_entries in 1usize..50,
    ) {
        let root = DirNode::root(Path::new("/r"));
        let mut serial = 0u32;
        let mut expected = Vec::new();
        let mut ends = 0;
        let batches: Vec<EntryBatch> = messages.iter().map(|directories| {
            let mut batch = EntryBatch::default();
            for &count in directories {
                let name = statline_platform::NameBuf::new(format!("d{serial}").as_bytes()).unwrap();
                let node = DirNode::child(&root, name.as_name());
                batch.extend(&node, |entries| for _ in 0..count {
                    serial += 1;
                    entries.push(format!("{serial}").as_bytes(), None, 0);
                });
                serial += 1;
                let status = DirectoryStatus::Complete;
                batch.push_end(DirectoryEnd { directory: Arc::clone(&node), entries: count as u64, directories: 0, status });
                ends += 1;
            }
            expected.extend(batch.rows().map(|row| row.path_bytes()));
            batch
        }).collect();

        let collected = Collected::<EntryBatch>::new();
        let mut job = Builder::new("batch");
        let source = job.source("source", Items(batches)).done();
        let config = BatchConfig { max_entries, ..BatchConfig::default() };
        let batch = job.stage("batch", Batch, config).reads(&source).done();
        let _ = job.sink("sink", collected.clone()).reads(&batch);
        prop_assert_eq!(job.build().unwrap().run().outcome, Outcome::Complete);

        let out = collected.items();
        prop_assert!(out.iter().all(|batch| batch.len() <= max_entries));
        let paths: Vec<Vec<u8>> = out.iter().flat_map(Rows::rows).map(|row| row.path_bytes()).collect();
        prop_assert_eq!(paths, expected);
        prop_assert_eq!(out.iter().map(|batch| batch.ends().len()).sum::<usize>(), ends);
    }
}
