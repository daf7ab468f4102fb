//! `stat`: fetches the metadata of names.
//!
//! A worker takes a batch, pins each directory in it for as long as it asks for the entries there, and hands on what it
//! got. One thing must stay true: of each name that comes in, exactly one of three goes out: a record, an error record,
//! or one more on the `vanished` count.

mod fetching;
mod work;
mod worker;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statline_pipeline::{
    DEFAULT_INPUT, DEFAULT_OUTPUT, Declare, InputPort, Kind, Opening, Order, OutputPort, Period,
    Properties, StageError, Threading,
};

use self::fetching::Fetching;
use self::worker::StatWorker;
use crate::concurrency::{Governor, Threads};
use crate::directories::{BackendSetting, Directories, Wish, backend};
use crate::error_codes;
use crate::field::Field;
use crate::fields::StatFields;
use crate::mount::Mounts;
use crate::mount_report::MountReport;
use crate::recall::Recall;
use crate::store::Store;
use crate::{EntryBatch, RecordBatch};

/// Options of `stat`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StatConfig {
    /// What to fetch; the less, the cheaper on network file systems.
    pub fields: StatFields,
    /// Whether to read where symbolic links lead, as the field `target`.
    pub targets: bool,
    /// How many calls may be under way on one mount at a time, together with those of `enumerate`.
    pub max_concurrency: Option<NonZeroU32>,
    /// How many calls may be made to one mount in a second, together with those of `enumerate`.
    pub max_ops_per_second: Option<NonZeroU32>,
    /// The system calls to use.
    pub backend: BackendSetting,
    /// How old metadata may be, such as "1h", that an earlier run saw and that stand for a look; needs `cache`.
    ///
    /// It saves calls on slow mounts. Names are always listed. What is taken from memory has the field `remembered`,
    /// does not grow younger by it, and is looked at again when it is older than this, when its times were too fresh to
    /// trust, when something asked for is missing, or when the listing shows another kind or inode.
    pub max_age: Option<Period>,
    /// The file in which a stage of type cache remembers, its `path`; roots have the ids that it gives them.
    pub cache: Option<PathBuf>,
}

/// The kind `stat`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stat;

impl Kind for Stat {
    type Config = StatConfig;
    type Ports = (InputPort<EntryBatch>, OutputPort<RecordBatch>);

    fn about(&self) -> &'static str {
        "fetches the metadata of names"
    }

    fn threading(&self) -> Threading {
        Threading::Adaptive
    }

    fn declare(&self, config: Option<&StatConfig>, ports: &mut Declare<'_>) -> Self::Ports {
        error_codes::declare(ports);
        let order = ports
            .incoming(DEFAULT_INPUT)
            .map_or(Order::Unknown, |stream| stream.properties.order.clone());
        let mut fields: std::collections::BTreeSet<String> = std::collections::BTreeSet::new();
        if let Some(config) = config {
            fields.extend(config.fields.to_fields().names().map(str::to_owned));
            fields.extend(config.targets.then(|| "target".to_owned()));
            fields.extend((config.max_age.is_some()).then(|| Field::Remembered.to_string()));
            check_memory(config, ports);
        }
        (
            ports.input(DEFAULT_INPUT),
            ports.output(DEFAULT_OUTPUT, Properties { order, fields }),
        )
    }

    fn open(
        &self,
        config: StatConfig,
        (input, output): Self::Ports,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        let backend = backend(config.backend)?;
        let directories = Directories::of_run(stage, &backend)?;
        directories
            .politeness
            .restrict(config.max_concurrency, config.max_ops_per_second);
        let fields = config.fields.to_fields();
        let recall = match (config.max_age, &config.cache) {
            (Some(max_age), Some(cache)) => {
                directories.note_picking();
                let remembered = stage.context().counter("remembered");
                let store = Store::of_run(stage, cache)?;
                Some(Recall::new(store, max_age.duration(), fields, remembered))
            }
            _ => {
                directories.note_wish(Wish {
                    fields,
                    backend: Arc::clone(&backend),
                });
                None
            }
        };
        let governor = stage.resource(|| Ok(Governor::new()))?;
        governor.start()?;
        let report = MountReport::new(stage.context(), || ());
        let most = Threads::most(stage.threads(), config.max_concurrency);
        let threads = Threads::new(stage.threads(), most, &governor, move |mount, history| {
            report.decided(mount, history);
        });
        let started = threads.start(None);
        let shared = Arc::new(Fetching {
            fields,
            targets: config.targets,
            vanished: stage.context().counter("vanished"),
            context: stage.context().clone(),
            backend,
            mounts: Mounts::new(threads, &directories.politeness),
            directories,
            _governor: governor,
        });
        let recall = Arc::new(recall);
        for _ in 0..started {
            stage.watched(|ends| {
                let (input, out) = (ends.input(&input), ends.output(&output));
                Ok(StatWorker::new(&shared, input, out, &recall))
            })?;
        }
        for _ in started..most {
            let (shared, recall) = (Arc::clone(&shared), Arc::clone(&recall));
            stage.watched_in_reserve(move |ends| {
                let (input, out) = (ends.input(&input), ends.output(&output));
                Ok(StatWorker::new(&shared, input, out, &recall))
            });
        }
        Ok(())
    }
}

/// Reports options that need each other.
fn check_memory(config: &StatConfig, ports: &mut Declare<'_>) {
    let (option, message, help) = match (config.max_age, &config.cache) {
        (Some(_), None) => (
            "max_age",
            "nothing is remembered without a cache",
            "add the `path` of the stage of type cache, as `cache`",
        ),
        (None, Some(_)) => (
            "cache",
            "nothing is taken from the cache",
            "say how old it may be, as in max_age = \"1h\", or take `cache` out",
        ),
        _ => return,
    };
    ports.problem(option, message, Some(help.to_owned()));
}
