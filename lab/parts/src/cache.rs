//! [`Cache`]: the folder where everything the lab builds is kept between runs.
//!
//! ```text
//! $LEEWARD_CACHE or ~/.cache/leeward
//!   parts/NAME-KEY/   one finished part; it appears by a rename, so what is there is whole
//!   parts/.new/NAME/  a build under way, or one that was interrupted: never looked at, removed by the next build
//!   locks/NAME        held while NAME is being made; the kernel lets go of it when the holder dies
//!   logs/NAME.log     what the last build of NAME printed
//!   timings.json      seconds that each part took at most: later builds find most of it in Go's own cache
//! ```

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, io};

use serde_json::{Map, Value};
use thiserror::Error;

/// The lab's cache folder.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// The cache folder cannot be used.
#[derive(Debug, Error)]
pub enum CacheError {
    /// Neither of the two variables that say where it is.
    #[error("no place for the lab's cache: set HOME, or LEEWARD_CACHE to a folder with 12 GiB free [LW-0966]")]
    NoPlace,
    /// An operation on a file of the cache failed.
    #[error("cannot {doing} {} in the lab's cache; check its owner and free space, or set LEEWARD_CACHE [LW-0966]", path.display())]
    File {
        /// What was being done, as a verb.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl CacheError {
    pub(crate) fn of<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::File { doing, path: path.to_owned(), source }
    }
}

impl Cache {
    /// The cache that `LEEWARD_CACHE` or `HOME` names. Makes nothing yet.
    pub fn from_env() -> Result<Self, CacheError> {
        let named = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        named("LEEWARD_CACHE")
            .or_else(|| named("HOME").map(|home| home.join(".cache/leeward")))
            .map(Self::at)
            .ok_or(CacheError::NoPlace)
    }

    /// The cache in this folder. Makes nothing yet.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the finished part `name` with this key is, or will be.
    pub fn part(&self, name: &str, key: &str) -> PathBuf {
        self.root.join("parts").join(format!("{name}-{key}"))
    }

    /// The log of the last build of `name`.
    pub fn log(&self, name: &str) -> PathBuf {
        self.root.join("logs").join(format!("{name}.log"))
    }

    /// Finished parts whose folder is called `prefix` and something more.
    pub(crate) fn parts_called(&self, prefix: &str) -> Vec<PathBuf> {
        let entries = fs_err::read_dir(self.root.join("parts")).into_iter().flatten().flatten();
        entries.filter(|e| e.file_name().to_string_lossy().starts_with(prefix)).map(|e| e.path()).collect()
    }

    /// Waits until no other process makes `name`; `waiting` is called once if it has to wait.
    pub(crate) fn lock(&self, name: &str, waiting: impl FnOnce()) -> Result<Lock, CacheError> {
        let path = self.root.join("locks").join(name);
        let file = create(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                waiting();
                file.lock().map_err(CacheError::of("lock", &path))?;
            }
            Err(TryLockError::Error(source)) => return Err(CacheError::of("lock", &path)(source)),
        }
        Ok(Lock { _file: file })
    }

    /// An empty folder to build `name` in. Call it with the lock of `name` held: an interrupted build's remains go away.
    pub(crate) fn scratch(&self, name: &str, key: &str) -> Result<Scratch, CacheError> {
        let remains = self.root.join("parts/.new").join(name);
        if remains.exists() {
            fs_err::remove_dir_all(&remains).map_err(CacheError::of("remove", &remains))?;
        }
        // Own to this process: a compiler that outlived its killed parent must not write into the next build.
        let dir = remains.join(std::process::id().to_string());
        fs_err::create_dir_all(&dir).map_err(CacheError::of("create", &dir))?;
        Ok(Scratch { dir, whole: self.part(name, key) })
    }

    /// Opens the log of `name`, empty.
    pub(crate) fn new_log(&self, name: &str) -> Result<File, CacheError> {
        let path = self.log(name);
        let file = create(&path)?;
        file.set_len(0).map_err(CacheError::of("empty", &path))?;
        Ok(file)
    }

    /// How long `name` took here at most.
    pub(crate) fn measured(&self, name: &str) -> Option<Duration> {
        self.timings().get(name)?.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }

    /// Remembers how long `name` took.
    pub(crate) fn record(&self, name: &str, took: Duration) -> Result<(), CacheError> {
        let _lock = self.lock("timings", || ())?;
        if self.measured(name).is_some_and(|longest| longest >= took) {
            return Ok(());
        }
        let mut timings = self.timings();
        timings.insert(name.to_owned(), Value::from((took.as_secs_f64() * 10.0).round() / 10.0));
        let path = self.root.join("timings.json");
        let fresh = self.root.join("timings.json.new");
        fs_err::write(&fresh, format!("{:#}\n", Value::Object(timings))).map_err(CacheError::of("write", &fresh))?;
        fs_err::rename(&fresh, &path).map_err(CacheError::of("write", &path))
    }

    /// Timings are advice: a file that cannot be read counts as empty.
    fn timings(&self) -> Map<String, Value> {
        let text = fs_err::read_to_string(self.root.join("timings.json")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }
}

/// Held while a part is being made.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// A folder in which a part is made. Only [`Scratch::finish`] makes it visible.
#[derive(Debug)]
pub(crate) struct Scratch {
    dir: PathBuf,
    whole: PathBuf,
}

impl Scratch {
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Puts the finished part in its place, in place of a damaged one if there is one.
    pub(crate) fn finish(self) -> Result<PathBuf, CacheError> {
        // The rename may reach the disk before the data does; a power cut must not leave empty programs in a whole part.
        sync(&self.dir)?;
        if self.whole.exists() {
            fs_err::remove_dir_all(&self.whole).map_err(CacheError::of("remove", &self.whole))?;
        }
        fs_err::rename(&self.dir, &self.whole).map_err(CacheError::of("put in place", &self.whole))?;
        Ok(self.whole)
    }
}

fn sync(path: &Path) -> Result<(), CacheError> {
    if path.is_dir() {
        for entry in fs_err::read_dir(path).map_err(CacheError::of("read", path))? {
            sync(&entry.map_err(CacheError::of("read", path))?.path())?;
        }
    }
    File::open(path).and_then(|file| file.sync_all()).map_err(CacheError::of("sync", path))
}

fn create(path: &Path) -> Result<File, CacheError> {
    if let Some(parent) = path.parent() {
        fs_err::create_dir_all(parent).map_err(CacheError::of("create", parent))?;
    }
    File::options().create(true).append(true).open(path).map_err(CacheError::of("open", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_is_invisible_until_finished_and_never_inherits_from_an_interrupted_one() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let interrupted = cache.scratch("velero", "k").unwrap();
        fs_err::write(interrupted.dir().join("half"), "x").unwrap();
        assert!(!cache.part("velero", "k").exists());
        assert!(cache.parts_called("velero-").is_empty());

        let scratch = cache.scratch("velero", "k").unwrap();
        assert!(!scratch.dir().join("half").exists());
        fs_err::write(scratch.dir().join("all"), "x").unwrap();
        let whole = scratch.finish().unwrap();
        assert_eq!(whole, cache.part("velero", "k"));
        assert!(whole.join("all").exists());
        assert_eq!(cache.parts_called("velero-"), [whole]);
    }

    #[test]
    fn a_second_caller_waits_for_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let first = cache.lock("kube", || panic!("nobody holds it")).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let other = cache.clone();
        let thread = std::thread::spawn(move || {
            let waits = tell.clone();
            let _lock = other.lock("kube", move || waits.send("waits").unwrap()).unwrap();
            tell.send("has it").unwrap();
        });
        assert_eq!(told.recv().unwrap(), "waits");
        assert!(told.try_recv().is_err());
        drop(first);
        assert_eq!(told.recv().unwrap(), "has it");
        thread.join().unwrap();
    }

    #[test]
    fn timings_survive_and_damage_to_them_is_harmless() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        assert_eq!(cache.measured("kube"), None);
        cache.record("kube", Duration::from_millis(244_310)).unwrap();
        cache.record("csi", Duration::from_secs(57)).unwrap();
        cache.record("kube", Duration::from_secs(20)).unwrap();
        assert_eq!(cache.measured("kube"), Some(Duration::from_secs_f64(244.3)), "a warm build says little");
        fs_err::write(dir.path().join("timings.json"), "{").unwrap();
        assert_eq!(cache.measured("kube"), None);
        cache.record("csi", Duration::from_secs(1)).unwrap();
        assert_eq!(cache.measured("csi"), Some(Duration::from_secs(1)));
    }
}
