//! [`Builder`]: makes a part by its [`Recipe`], once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs::File, io};

use thiserror::Error;

use crate::cache::{Cache, CacheError};
use crate::key::{KeyError, PartKey};
use crate::progress::{Forecast, Progress};
use crate::recipe::Recipe;
use crate::{crds, run};

/// Builds Go parts into the cache.
#[derive(Debug)]
pub(crate) struct Builder<'a> {
    cache: &'a Cache,
    /// The folder with the lab's Go modules.
    go: PathBuf,
    /// What `go env GOVERSION` says, such as `go1.26.8`.
    go_version: String,
    progress: &'a Progress,
}

/// A part of the lab could not be made.
#[derive(Debug, Error)]
pub enum BuildError {
    /// Go is not there.
    #[error("cannot ask `go` for its version; install Go 1.26 or newer and put it on PATH [LW-0954]")]
    Go(#[source] io::Error),
    /// The sources cannot be read.
    #[error(transparent)]
    Sources(#[from] KeyError),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The compiler could not be run.
    #[error("cannot run the build of {part}; its log is {} [LW-0964]", log.display())]
    Run {
        /// Which part.
        part: &'static str,
        /// Full path of the log.
        log: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The compiler refused.
    #[error("building {part} failed; read {}, and run this again (what is done is kept) [LW-0964]", log.display())]
    Failed {
        /// Which part.
        part: &'static str,
        /// Full path of the log.
        log: PathBuf,
    },
    /// A part came out without one of its programs.
    #[error("building {part} gave no program {program}; read {} [LW-0964]", log.display())]
    Incomplete {
        /// Which part.
        part: &'static str,
        /// What is missing.
        program: &'static str,
        /// Full path of the log.
        log: PathBuf,
    },
    /// The CRDs that belong to a part could not be had from it.
    #[error("cannot get the CRDs out of {part}; remove the lab's cache folder and run this again [LW-0965]")]
    Crds {
        /// Which part.
        part: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl<'a> Builder<'a> {
    pub(crate) fn new(cache: &'a Cache, go: PathBuf, progress: &'a Progress) -> Result<Self, BuildError> {
        let version = run::output(command(&go).args(["env", "GOVERSION"])).map_err(BuildError::Go)?;
        let go_version = String::from_utf8_lossy(&version).trim().to_owned();
        Ok(Self { cache, go, go_version, progress })
    }

    /// How long the part takes, or that it is there.
    pub(crate) fn forecast(&self, recipe: &Recipe) -> Result<Forecast, BuildError> {
        let ready = whole(&self.folder(recipe)?, recipe);
        let takes = (!ready).then(|| self.takes(recipe));
        Ok(Forecast { name: recipe.name.to_owned(), takes })
    }

    /// The part's folder; builds the part if it is not there. Any number of callers may ask at the same time.
    pub(crate) fn ensure(&self, recipe: &Recipe) -> Result<PathBuf, BuildError> {
        let folder = self.folder(recipe)?;
        if whole(&folder, recipe) {
            return Ok(folder);
        }
        let name = recipe.name;
        let waiting = || self.progress.note(&format!("{name}: another process is building it, waiting"));
        let _lock = self.cache.lock(name, waiting)?;
        if whole(&folder, recipe) {
            return Ok(folder);
        }
        let log_path = self.cache.log(name);
        let log = self.cache.new_log(name)?;
        let activity = self.progress.start(name, Some(self.takes(recipe)));
        let started = Instant::now();
        let made = self.make(recipe, &log, &log_path);
        match made {
            Ok(made) => {
                activity.done();
                self.cache.record(name, started.elapsed())?;
                Ok(made)
            }
            Err(error) => {
                drop(activity);
                for line in run::tail(&log_path) {
                    self.progress.note(&format!("  | {line}"));
                }
                self.progress.note(&format!("  whole log: {}", log_path.display()));
                Err(error)
            }
        }
    }

    fn make(&self, recipe: &Recipe, log: &File, log_path: &Path) -> Result<PathBuf, BuildError> {
        let part = recipe.name;
        let scratch = self.cache.scratch(part, self.key(recipe)?.as_str())?;
        let bin = scratch.dir().join("bin");
        fs_err::create_dir_all(&bin).map_err(CacheError::of("create", &bin))?;

        let mut build = match recipe.module(&self.go) {
            Some(module) => {
                let mut build = command(&module);
                // The slash makes it a folder even for a single program.
                build.arg("build").args(recipe.arguments()).arg("-o").arg(bin.join(""));
                build
            }
            None => {
                // Outside any module, so that the program is built from exactly the versions its authors name.
                let mut install = command(scratch.dir());
                install.arg("install").args(recipe.arguments()).env("GOBIN", &bin);
                install
            }
        };
        build.args(recipe.targets());
        let run_error = |source| BuildError::Run { part, log: log_path.to_owned(), source };
        if !run::logged(&mut build, log).map_err(run_error)? {
            return Err(BuildError::Failed { part, log: log_path.to_owned() });
        }
        for program in recipe.programs {
            if !bin.join(program).is_file() {
                return Err(BuildError::Incomplete { part, program, log: log_path.to_owned() });
            }
        }
        if let Some(kind) = recipe.crds {
            let text = crds::print(kind, &bin, &command(&self.go.join(part)))
                .map_err(|source| BuildError::Crds { part, source })?;
            let folder = scratch.dir().join("crds");
            fs_err::create_dir_all(&folder)
                .and_then(|()| fs_err::write(folder.join(kind.file()), text))
                .map_err(CacheError::of("write", &folder))?;
        }
        Ok(scratch.finish()?)
    }

    fn key(&self, recipe: &Recipe) -> Result<PartKey, BuildError> {
        let mut flags = vec!["CGO_ENABLED=0".to_owned()];
        flags.extend(recipe.arguments());
        flags.extend(recipe.targets().iter().map(|&target| target.to_owned()));
        Ok(PartKey::of(recipe.module(&self.go).as_deref(), &self.go_version, &flags)?)
    }

    fn folder(&self, recipe: &Recipe) -> Result<PathBuf, BuildError> {
        Ok(self.cache.part(recipe.name, self.key(recipe)?.as_str()))
    }

    fn takes(&self, recipe: &Recipe) -> Duration {
        self.cache.measured(recipe.name).unwrap_or(Duration::from_secs(recipe.seconds))
    }
}

/// Everything the part consists of is there.
fn whole(folder: &Path, recipe: &Recipe) -> bool {
    recipe.programs.iter().all(|program| folder.join("bin").join(program).is_file())
        && recipe.crds.is_none_or(|crds| folder.join("crds").join(crds.file()).is_file())
}

/// A `go` command in this folder that the caller's own settings of Go cannot bend.
fn command(folder: &Path) -> Command {
    let mut go = Command::new("go");
    go.current_dir(folder)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        // An empty GOFLAGS would let the one of `go env -w` through.
        .env("GOFLAGS", "-buildvcs=false")
        .env_remove("GOOS")
        .env_remove("GOARCH")
        .env_remove("GOBIN");
    go
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Source;

    const TINY: Recipe = Recipe {
        name: "tiny",
        source: Source::Module(&["."]),
        settings: &["main.text=lee"],
        programs: &["tiny"],
        crds: None,
        seconds: 1,
        mebibytes: 1,
    };

    struct Lab {
        dir: tempfile::TempDir,
        cache: Cache,
        progress: Progress,
    }

    impl Lab {
        fn new(source: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let module = dir.path().join("go/tiny");
            fs_err::create_dir_all(&module).unwrap();
            fs_err::write(module.join("go.mod"), "module leeward.io/lab/tiny\n\ngo 1.26\n").unwrap();
            fs_err::write(module.join("main.go"), source).unwrap();
            let cache = Cache::at(dir.path().join("cache"));
            Self { dir, cache, progress: Progress::memory() }
        }

        fn ensure(&self) -> Result<PathBuf, BuildError> {
            Builder::new(&self.cache, self.dir.path().join("go"), &self.progress)?.ensure(&TINY)
        }
    }

    const SOURCE: &str = "package main\n\nvar text string\n\nfunc main() { println(text) }\n";

    #[test]
    fn builds_once_and_then_only_what_is_missing() {
        let lab = Lab::new(SOURCE);
        let part = lab.ensure().unwrap();
        let said = Command::new(part.join("bin/tiny")).output().unwrap();
        assert_eq!(said.stderr, b"lee\n");
        assert!(lab.cache.measured("tiny").is_some());

        let lines = lab.progress.lines().len();
        assert_eq!(lab.ensure().unwrap(), part);
        assert_eq!(lab.progress.lines().len(), lines, "the second call did something");

        fs_err::remove_file(part.join("bin/tiny")).unwrap();
        assert_eq!(lab.ensure().unwrap(), part);
        assert!(part.join("bin/tiny").is_file());
    }

    #[test]
    fn an_interrupted_build_is_not_taken_for_whole() {
        let lab = Lab::new(SOURCE);
        let builder = Builder::new(&lab.cache, lab.dir.path().join("go"), &lab.progress).unwrap();
        // What a build killed half-way leaves: a program in the scratch folder, cut off.
        let scratch = lab.cache.scratch("tiny", builder.key(&TINY).unwrap().as_str()).unwrap();
        fs_err::create_dir_all(scratch.dir().join("bin")).unwrap();
        fs_err::write(scratch.dir().join("bin/tiny"), "cut off").unwrap();
        assert!(builder.forecast(&TINY).unwrap().takes.is_some());
        let part = lab.ensure().unwrap();
        assert_eq!(Command::new(part.join("bin/tiny")).output().unwrap().stderr, b"lee\n");
        assert!(builder.forecast(&TINY).unwrap().takes.is_none());
    }

    #[test]
    fn a_failed_build_shows_its_log_and_leaves_nothing() {
        let lab = Lab::new("package main\n\nfunc main() { println(undefinedThing) }\n");
        let error = lab.ensure().unwrap_err();
        let lines = lab.progress.lines().join("\n");
        assert!(lines.contains("undefinedThing"), "{lines}");
        assert!(lines.contains(&lab.cache.log("tiny").display().to_string()), "{lines}");
        assert!(error.to_string().contains("LW-0964"), "{error}");
        assert!(lab.cache.parts_called("tiny-").is_empty());
    }
}
