//! Why an entry is marked as it is, or looked at again: what a cache remembers of it beside what it is now.
//!
//! One thing must stay true: nothing is decided here. What a run would say is asked of the code that a run goes through.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;
use statline_platform::{Kind, Metadata, NameBuf, Timestamp, statx, with_slashes};

use crate::cache::{DEFAULT_SIGNATURE, Judge};
use crate::exclude::Excludes;
use crate::recall::{Refusal, Terms};
use crate::store::directory::{Directory, Remembered, milliseconds};
use crate::store::{Access, Key, Root, Store};
use crate::{CacheConfig, Change, EnumerateConfig, Field, LastRun, StatConfig, StoreError};

/// What is asked: of which entry, and what the job says of it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The entry.
    pub path: &'a Path,
    /// The stages that list.
    pub walks: &'a [EnumerateConfig],
    /// The stage that fetches metadata, if the job has one.
    pub stat: Option<&'a StatConfig>,
    /// The stage that remembers.
    pub cache: &'a CacheConfig,
}

/// What there is to say of an entry.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The root that it is below, as the job names it.
    pub root: PathBuf,
    /// The pattern that leaves it out, and what that pattern matches: the entry or a directory above it.
    pub excluded: Option<(String, PathBuf)>,
    /// The run that wrote to the store last.
    pub last_run: Option<LastRun>,
    /// What is remembered.
    pub memory: Recollection,
    /// What the entry is now; an error if it cannot be looked at.
    pub now: Result<Metadata, String>,
    /// The mark that a run would give it. `None` where it would have no record.
    pub mark: Option<Change>,
    /// The values that are compared, and others that differ, if the entry is remembered.
    pub fields: Vec<FieldValues>,
    /// Whether `stat` would take it from memory, and if not, why.
    pub reuse: Option<Result<(), &'static str>>,
}

/// What a store remembers of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recollection {
    /// There is no store yet.
    NoStore,
    /// The store cannot be used; a run would put it aside.
    Unusable(String),
    /// Nothing is known of the root.
    NoRoot,
    /// Nothing is known of the directory that the entry is in.
    NoDirectory,
    /// The directory is known, and the entry is not.
    NoEntry,
    /// It was seen.
    Seen {
        /// When it was looked at, at the earliest.
        looked_at: Timestamp,
        /// Whether a later change would show in its times.
        is_settled: bool,
    },
}

/// One field, remembered and now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FieldValues {
    /// The field.
    pub field: Field,
    /// Whether it is compared.
    pub in_signature: bool,
    /// What is remembered.
    pub before: Option<String>,
    /// What is there.
    pub now: Option<String>,
}

/// Looks at an entry and at what is remembered of it. Alters nothing.
///
/// # Errors
/// If the store cannot be read, or a run uses it. `None` if the entry is below no root of the job.
pub fn explain(question: &Question<'_>) -> Result<Option<Explanation>, StoreError> {
    let absolute = tidy(question.path);
    let roots = question.walks.iter().flat_map(|walk| {
        let roots = walk.roots.iter();
        roots.map(move |root| (walk, root.as_path()))
    });
    let above = roots.filter_map(|(walk, root)| {
        let below = absolute.strip_prefix(tidy(root)).ok()?;
        Some((walk, root, below.to_owned()))
    });
    let Some((walk, root, below)) = above.min_by_key(|(.., below)| below.components().count())
    else {
        return Ok(None);
    };
    let now = statx(question.path, walk.follow_symlinks);
    let is_directory = now
        .as_ref()
        .is_ok_and(|now| now.kind() == Some(Kind::Directory));
    let mut explanation = Explanation {
        root: root.to_owned(),
        excluded: excluding(walk, &below, is_directory),
        last_run: None,
        memory: Recollection::NoStore,
        now: now.map_err(|error| error.to_string()),
        mark: None,
        fields: Vec::new(),
        reuse: None,
    };
    let remembered = match recollect(question.cache, walk, root, &below, &mut explanation) {
        Ok(remembered) => remembered,
        Err(error) if error.is_missing() => None,
        Err(error) if error.is_no_good() => {
            explanation.memory = Recollection::Unusable(error.to_string());
            None
        }
        Err(error) => return Err(error),
    };
    explanation.compare(question, remembered.as_ref());
    Ok(Some(explanation))
}

/// Reads what is remembered of an entry.
fn recollect(
    cache: &CacheConfig,
    walk: &EnumerateConfig,
    root: &Path,
    below: &Path,
    explanation: &mut Explanation,
) -> Result<Option<Remembered>, StoreError> {
    let Some(path) = &cache.path else {
        return Ok(None);
    };
    let store = Store::open(path, Access::Read, &|| true)?;
    if let Some(ids) = &cache.id {
        store.set_ids(ids);
    }
    explanation.last_run = store.last_run()?;
    explanation.memory = Recollection::NoRoot;
    let Some(number) = store.root_before(&store.id_of(root, walk.follow_symlinks))? else {
        return Ok(None);
    };
    explanation.memory = Recollection::NoDirectory;
    let (key, name) = place_of(number, below);
    let mut value = Vec::new();
    if !store.directory_before(&key, &mut value)? {
        return Ok(None);
    }
    explanation.memory = Recollection::NoEntry;
    let directory = Directory::read(&value).unwrap_or_default();
    let found = directory.find(&name).and_then(|at| directory.get(at));
    if let Some(found) = &found {
        explanation.memory = Recollection::Seen {
            looked_at: Timestamp {
                seconds: found.looked_at.div_euclid(1000),
                nanoseconds: found.looked_at.rem_euclid(1000) as u32 * 1_000_000,
            },
            is_settled: found.is_settled,
        };
    }
    Ok(found)
}

/// Where a store keeps an entry: the key of its directory, and its name there.
fn place_of(root: Root, below: &Path) -> (Key, Vec<u8>) {
    let Some(name) = below.file_name() else {
        return (Key::top(root), Vec::new());
    };
    let parent = below.parent().unwrap_or(Path::new(""));
    let parent = with_slashes(parent);
    let key = Key::of_path(root, parent.as_os_str().as_encoded_bytes());
    (key, name.as_encoded_bytes().to_vec())
}

impl Explanation {
    /// Puts both side by side.
    fn compare(&mut self, question: &Question<'_>, before: Option<&Remembered>) {
        let fetched = question.stat.map(|stat| stat.fields.to_fields());
        let names: Option<Vec<&str>> = fetched.map(|fields| fields.names().collect());
        let is_fetched = |field: &Field| {
            names
                .as_ref()
                .is_none_or(|names| names.contains(&field.as_str()))
        };
        let mut signature = question.cache.signature.clone();
        if signature == DEFAULT_SIGNATURE {
            signature.retain(is_fetched);
        }
        let now = self.now.as_ref().ok();
        for field in Field::ALL.into_iter().filter(|_| before.is_some()) {
            let value = |metadata: Option<&Metadata>| text_of(field, metadata?);
            let (was, is) = (value(before.map(|before| &before.metadata)), value(now));
            let in_signature = signature.contains(&field);
            let differs = was.is_some() && was != is;
            if in_signature || (differs && is_fetched(&field)) {
                self.fields.push(FieldValues {
                    field,
                    in_signature,
                    before: was,
                    now: is,
                });
            }
        }
        let looked_at: Timestamp = SystemTime::now().into();
        let is_listed = self.excluded.is_none();
        self.mark = now.filter(|_| is_listed).map(|now| {
            let judge = Judge {
                signature: &signature,
                looked_at,
                ages_count: false,
            };
            judge.judge(before, now, false).0
        });
        if let Some(max_age) = question.stat.and_then(|stat| stat.max_age) {
            let terms = Terms {
                now: milliseconds(looked_at),
                max_age: i64::try_from(max_age.duration().as_millis()).unwrap_or(i64::MAX),
                fields: fetched.unwrap_or_default(),
            };
            self.reuse = Some(match before.map(|before| terms.refuse(before)) {
                None => Err("nothing is remembered of it"),
                Some(None) => Ok(()),
                Some(Some(Refusal::TooOld)) => Err("what is remembered is older than `max_age`"),
                Some(Some(Refusal::NotSettled)) => {
                    Err("it was looked at within two seconds of its last change")
                }
                Some(Some(Refusal::LacksFields)) => {
                    Err("not every field that is wanted is remembered")
                }
            });
        }
    }

    /// Whether the values that are compared are the same.
    pub fn has_same_signature(&self) -> bool {
        let mut compared = self.fields.iter().filter(|values| values.in_signature);
        compared.all(|values| values.now.is_some() && values.now == values.before)
    }
}

/// The value of a field as people read it.
fn text_of(field: Field, metadata: &Metadata) -> Option<String> {
    let time = |time: Timestamp| format!("{}.{:09}", time.seconds, time.nanoseconds);
    match field {
        Field::Atime => metadata.accessed().map(time),
        Field::Mtime => metadata.modified().map(time),
        Field::Ctime => metadata.changed().map(time),
        Field::Btime => metadata.born().map(time),
        Field::Mode => metadata.mode().map(|mode| format!("{mode:04o}")),
        Field::Kind => metadata.kind().map(|kind| kind.as_str().to_owned()),
        other => other.number(metadata).map(|number| number.to_string()),
    }
}

/// The pattern that leaves out a path below a root, or a directory above it.
fn excluding(
    walk: &EnumerateConfig,
    below: &Path,
    is_directory: bool,
) -> Option<(String, PathBuf)> {
    let count = below.components().count();
    let mut prefix = Vec::new();
    let mut here = PathBuf::new();
    for (depth, component) in below.components().enumerate() {
        here.push(component);
        let name = NameBuf::new(component.as_os_str().as_encoded_bytes()).ok()?;
        let directory = depth + 1 < count || is_directory;
        for pattern in &walk.exclude {
            let excludes = Excludes::compile(std::slice::from_ref(pattern), |_, _| {});
            if excludes.matches(&mut prefix, name.as_name(), directory) {
                return Some((pattern.clone(), here));
            }
        }
        prefix.extend_from_slice(name.as_name().as_bytes());
        prefix.push(b'/');
    }
    None
}

/// A path from the file system's own root on, without what means nothing.
fn tidy(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.components().collect()
}
