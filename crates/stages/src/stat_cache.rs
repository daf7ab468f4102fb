//! Metadata in memory by path, bounded, shared by threads: what the stage kind [`Cache`](crate::Cache) remembers with,
//! and a cache of its own for programs that stat paths.
//!
//! What must stay true: it never holds more than its capacity, and threads that want the same path at the same time
//! cost one system call.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, Equivalent, OptionsBuilder, Weighter};
use statline_platform::{Kind, Metadata, statx};

/// Entries that a cache holds unless its maker says otherwise.
const DEFAULT_CAPACITY: usize = 1_000_000;

/// Parts that are locked on their own, at most. Each gets its share of the capacity.
const MAX_SHARDS: usize = 64;

/// Smaller parts than this would throw out entries while others have room.
const MIN_SHARD: usize = 1024;

/// A path of up to so many bytes counts as one entry, a longer one as several: so the capacity bounds the memory also
/// of a tree whose paths have megabytes.
const PATH_UNIT: usize = 256;

/// Metadata by path, as paths were given: `a/b` and `./a/b` are two, and relative ones mean the working directory of
/// the time.
///
/// Clones share their contents. Nothing grows old here: an entry is what it was when it came in, until somebody
/// inserts another, or [clears](BatchedStatCache::clear), or the capacity is reached and others are used more.
///
/// An entry takes about 200 bytes and the bytes of its path: 320 MB for a million paths of 117 bytes, measured. The
/// tables grow by doubling, so it may be 380 and the path just after they did.
// Metadata are kept by value: behind an `Arc` each would take an allocation of its own, only to save copying 136 bytes
// under a lock that readers share.
#[derive(Clone)]
pub struct BatchedStatCache {
    inner: Arc<Inner>,
}

struct Inner {
    cache: Cache<Key, Known, PathWeight>,
    capacity: usize,
}

/// What is known of a path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Known {
    pub(crate) metadata: Metadata,
    /// Whether metadata that are found equal later prove that nothing has changed since.
    pub(crate) is_proof: bool,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    path: Box<[u8]>,
    /// Whether the metadata are of what a symbolic link leads to.
    followed: bool,
}

/// A [`Key`] that owns nothing. Its fields are those of the key, so that it hashes alike.
#[derive(Hash)]
struct Lookup<'a> {
    path: &'a [u8],
    followed: bool,
}

impl Equivalent<Key> for Lookup<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.followed == key.followed && *self.path == *key.path
    }
}

#[derive(Clone)]
struct PathWeight;

impl Weighter<Key, Known> for PathWeight {
    fn weight(&self, key: &Key, _: &Known) -> u64 {
        key.path.len().div_ceil(PATH_UNIT).max(1) as u64
    }
}

impl BatchedStatCache {
    /// A cache of 1,000,000 entries.
    pub fn new() -> BatchedStatCache {
        BatchedStatCache::with_capacity(DEFAULT_CAPACITY)
    }

    /// A cache of so many entries; none are kept if it is 0. A path of more than 256 bytes counts as several.
    ///
    /// It is divided into parts that fill up each by itself, so it may throw out an entry a few hundredths before it
    /// is full.
    pub fn with_capacity(entries: usize) -> BatchedStatCache {
        let shards = (entries / MIN_SHARD).clamp(1, MAX_SHARDS);
        // The next lower power of two: what the cache would round it up to could come above the capacity.
        let shards = 1 << shards.ilog2();
        // The cache gives each part the same, rounded up.
        let even = entries / shards * shards;
        let options = OptionsBuilder::new()
            .shards(shards)
            .estimated_items_capacity(even)
            .weight_capacity(even as u64)
            // Ghosts, the keys of entries that were thrown out, take as much memory as entries here. What they are
            // for, letting a new favourite in, matters less to scans, which ask for everything once a run.
            .ghost_allocation(0.0)
            .build()
            .expect("both capacities are set");
        let cache = Cache::with_options(
            options,
            PathWeight,
            DefaultHashBuilder::default(),
            DefaultLifecycle::default(),
        );
        BatchedStatCache {
            inner: Arc::new(Inner {
                cache,
                capacity: entries,
            }),
        }
    }

    /// How many entries it holds at the most.
    pub fn capacity(&self) -> usize {
        self.inner.capacity
    }

    /// How many entries it holds.
    pub fn len(&self) -> usize {
        self.inner.cache.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.inner.cache.is_empty()
    }

    /// Forgets everything. What is being fetched meanwhile is not kept either.
    pub fn clear(&self) {
        self.inner.cache.clear();
    }

    /// What is known of the entry at `path` itself: a symbolic link is not followed.
    pub fn get(&self, path: &Path) -> Option<Metadata> {
        self.look_up(bytes(path), false).map(|known| known.metadata)
    }

    /// Keeps the metadata of the entry at `path` itself.
    pub fn insert(&self, path: impl Into<PathBuf>, metadata: Metadata) {
        let path = path.into().into_os_string().into_encoded_bytes();
        let known = Known {
            metadata,
            is_proof: false,
        };
        self.remember(path.into_boxed_slice(), known);
    }

    /// What is known of `path`, fetched if nothing is.
    ///
    /// Threads that ask for the same path at the same time wait for one of them to fetch. An error is not kept: whoever
    /// asks next tries again.
    ///
    /// # Errors
    /// What the system says of the path.
    pub fn get_or_fetch(&self, path: &Path, follow_symlinks: bool) -> io::Result<Metadata> {
        self.get_or_fetch_with(path, follow_symlinks, || statx(path, follow_symlinks))
    }

    fn get_or_fetch_with(
        &self,
        path: &Path,
        follow_symlinks: bool,
        fetch: impl FnOnce() -> io::Result<Metadata>,
    ) -> io::Result<Metadata> {
        let path = bytes(path);
        if let Some(Known { metadata, .. }) = self.look_up(path, false)
            // What is no link is the same whether links are followed or not.
            && (!follow_symlinks || metadata.kind().is_some_and(|kind| kind != Kind::Symlink))
        {
            return Ok(metadata);
        }
        if follow_symlinks && let Some(known) = self.look_up(path, true) {
            return Ok(known.metadata);
        }
        let key = Key {
            path: path.into(),
            followed: follow_symlinks,
        };
        let known = self.inner.cache.get_or_insert_with(&key, || {
            fetch().map(|metadata| Known {
                metadata,
                is_proof: false,
            })
        })?;
        Ok(known.metadata)
    }

    /// What [`get_or_fetch`](BatchedStatCache::get_or_fetch) gives for each of `paths`, in their order.
    ///
    /// With the feature `parallel` this runs on the current rayon pool.
    pub fn stat_batch(
        &self,
        paths: &[PathBuf],
        follow_symlinks: bool,
    ) -> Vec<io::Result<Metadata>> {
        map(paths, |path| self.get_or_fetch(path, follow_symlinks))
    }

    /// What is known of a path, given as bytes.
    pub(crate) fn look_up(&self, path: &[u8], followed: bool) -> Option<Known> {
        self.inner.cache.get(&Lookup { path, followed })
    }

    /// Keeps what is known of the entry at a path itself.
    pub(crate) fn remember(&self, path: Box<[u8]>, known: Known) {
        let key = Key {
            path,
            followed: false,
        };
        self.inner.cache.insert(key, known);
    }

    /// A cache of another capacity with what fits of the contents.
    pub(crate) fn resized(&self, entries: usize) -> BatchedStatCache {
        let resized = BatchedStatCache::with_capacity(entries);
        for (key, known) in self.inner.cache.iter() {
            resized.inner.cache.insert(key, known);
        }
        resized
    }
}

impl Default for BatchedStatCache {
    fn default() -> BatchedStatCache {
        BatchedStatCache::new()
    }
}

impl fmt::Debug for BatchedStatCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchedStatCache")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

#[cfg(feature = "parallel")]
fn map<R: Send>(paths: &[PathBuf], stat: impl Fn(&PathBuf) -> R + Send + Sync) -> Vec<R> {
    use rayon::prelude::*;

    // A microsecond each in a hot cache: handing over fewer at a time would cost more than it saves.
    const SHARE: usize = 32;

    // No task waits for another in here: whoever fetches a path makes a system call and nothing else.
    paths.par_iter().with_min_len(SHARE).map(stat).collect()
}

#[cfg(not(feature = "parallel"))]
fn map<R: Send>(paths: &[PathBuf], stat: impl Fn(&PathBuf) -> R + Send + Sync) -> Vec<R> {
    paths.iter().map(stat).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn of_size(size: u64) -> Metadata {
        let mut metadata = Metadata::with_kind(Kind::File);
        metadata.set_size(size);
        metadata
    }

    #[derive(Clone, Debug)]
    enum Step {
        Get(u8),
        Insert(u8, u64),
        Fetch(u8, Option<u64>),
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => any::<u8>().prop_map(Step::Get),
            8 => any::<(u8, u64)>().prop_map(|(path, size)| Step::Insert(path, size)),
            8 => any::<(u8, Option<u64>)>().prop_map(|(path, size)| Step::Fetch(path, size)),
            1 => Just(Step::Clear),
        ]
    }

    proptest! {
        #[test]
        fn it_gives_what_came_in_last_and_never_holds_more_than_its_capacity(
            steps in prop::collection::vec(step(), 0..400),
            capacity in prop_oneof![0usize..40, Just(5000)],
        ) {
            let cache = BatchedStatCache::with_capacity(capacity);
            let mut model: HashMap<PathBuf, u64> = HashMap::new();
            // Some paths are so long that they count as several.
            let path = |number: u8| PathBuf::from(format!("{number}{}", "x".repeat(usize::from(number))));
            let size = |metadata: Metadata| metadata.size().unwrap();
            for step in steps {
                match step {
                    Step::Get(number) => match cache.get(&path(number)).map(size) {
                        Some(found) => prop_assert_eq!(Some(&found), model.get(&path(number))),
                        // Only for lack of room.
                        None => prop_assert!(capacity < 5000 || !model.contains_key(&path(number))),
                    },
                    Step::Insert(number, size) => {
                        cache.insert(path(number), of_size(size));
                        model.insert(path(number), size);
                    }
                    Step::Fetch(number, outcome) => {
                        let known = model.get(&path(number)).copied();
                        let mut fetched = false;
                        let result = cache.get_or_fetch_with(&path(number), false, || {
                            fetched = true;
                            outcome.map(of_size).ok_or_else(|| io::ErrorKind::NotFound.into())
                        });
                        // A fetch means that it was not there: only for lack of room, if it ever was.
                        prop_assert!(!fetched || capacity < 5000 || known.is_none());
                        let expected = if fetched { outcome } else { known };
                        prop_assert_eq!(result.ok().map(size), expected);
                        expected.map(|size| model.insert(path(number), size));
                    }
                    Step::Clear => {
                        cache.clear();
                        model.clear();
                        prop_assert!(cache.is_empty());
                    }
                }
                prop_assert!(cache.len() <= capacity);
            }
        }
    }

    #[test]
    fn threads_that_want_the_same_at_once_cost_one_fetch() {
        const THREADS: usize = 8;
        let cache = BatchedStatCache::with_capacity(10);
        let (fetches, start) = (AtomicUsize::new(0), Barrier::new(THREADS));
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    let metadata = cache.get_or_fetch_with(Path::new("a"), false, || {
                        fetches.fetch_add(1, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(30));
                        Ok(of_size(7))
                    });
                    assert_eq!(metadata.unwrap().size(), Some(7));
                });
            }
        });
        assert_eq!(fetches.into_inner(), 1);
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn an_error_is_not_kept() {
        let cache = BatchedStatCache::new();
        let path = Path::new("a");
        let failed = cache.get_or_fetch_with(path, false, || Err(io::ErrorKind::NotFound.into()));
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::NotFound);
        let fetched = cache.get_or_fetch_with(path, false, || Ok(of_size(1)));
        assert_eq!(fetched.unwrap().size(), Some(1));
    }

    #[test]
    fn a_link_and_what_it_leads_to_are_two_things() {
        let cache = BatchedStatCache::new();
        let fetch = |path: &str, follow, kind| {
            let fetch = || Ok(Metadata::with_kind(kind));
            let metadata = cache.get_or_fetch_with(Path::new(path), follow, fetch);
            metadata.unwrap().kind().unwrap()
        };
        assert_eq!(fetch("link", true, Kind::File), Kind::File);
        assert_eq!(cache.get(Path::new("link")), None);
        assert_eq!(fetch("link", false, Kind::Symlink), Kind::Symlink);
        assert_eq!(fetch("link", true, Kind::Other), Kind::File);
        // Where there is no link, nothing is fetched twice.
        assert_eq!(fetch("file", false, Kind::File), Kind::File);
        assert_eq!(fetch("file", true, Kind::Other), Kind::File);
    }

    #[test]
    fn many_threads_never_push_it_above_its_capacity() {
        const CAPACITY: usize = 5000;
        let cache = BatchedStatCache::with_capacity(CAPACITY);
        assert!(cache.inner.cache.num_shards() > 1);
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let cache = &cache;
                scope.spawn(move || {
                    for number in 0..10_000u64 {
                        let name = format!("{}", number * (thread + 1) % 7919);
                        let path = Path::new(&name);
                        match number % 3 {
                            0 => cache.insert(path, of_size(number)),
                            _ => {
                                let fetched =
                                    cache.get_or_fetch_with(path, false, || Ok(of_size(number)));
                                assert!(fetched.is_ok());
                            }
                        }
                        if number % 64 == 0 {
                            assert!(cache.len() <= CAPACITY);
                        }
                    }
                });
            }
        });
        assert!(cache.len() > CAPACITY * 9 / 10, "{} entries", cache.len());
    }

    #[cfg(unix)]
    #[test]
    fn a_batch_is_answered_in_its_order() {
        let directory = tempfile::tempdir().unwrap();
        let mut paths: Vec<PathBuf> = (0..100)
            .map(|n| directory.path().join(format!("{n}")))
            .collect();
        for (length, path) in paths.iter().enumerate() {
            std::fs::write(path, vec![0; length]).unwrap();
        }
        paths.insert(50, directory.path().join("missing"));
        let cache = BatchedStatCache::new();
        let mut results = cache.stat_batch(&paths, false);
        let missing = results.remove(50).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        let sizes: Vec<_> = results
            .into_iter()
            .map(|result| result.unwrap().size().unwrap())
            .collect();
        assert_eq!(sizes, (0..100).collect::<Vec<u64>>());

        // From now on the file system is not asked.
        std::fs::write(&paths[3], "longer").unwrap();
        assert_eq!(
            cache.stat_batch(&paths[3..4], true)[0]
                .as_ref()
                .unwrap()
                .size(),
            Some(3)
        );
        cache.clear();
        assert_eq!(
            cache.get_or_fetch(&paths[3], false).unwrap().size(),
            Some(6)
        );
    }
}
