//! [`GuestKernel`]: Debian's own cloud kernel for the lab's guests, taken out of its package and never installed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs::File, io};

use serde::Serialize;
use thiserror::Error;

use crate::cache::{Cache, CacheError};
use crate::debian;
use crate::progress::{Forecast, Progress};
use crate::run;

/// Name of this work in plans, logs and timings.
pub(crate) const NAME: &str = "guest-kernel";

const SECONDS: u64 = 5;

/// Always depends on the newest kernel for virtual machines.
const META_PACKAGE: &str = "linux-image-cloud-amd64";

/// A disk on virtio over PCI; all else a guest needs is built in. Nothing depends on `virtio_pci`, so it is named.
const WANTED: [&str; 2] = ["virtio_pci", "virtio_blk"];

/// In the cache, the file that names the modules in the order of loading.
const ORDER: &str = "modules.order";

/// A kernel that QEMU can boot directly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GuestKernel {
    /// The kernel image.
    pub vmlinuz: PathBuf,
    /// Modules for a virtio disk, in the order in which `insmod` must load them.
    pub modules: Vec<PathBuf>,
}

/// The guest's kernel could not be had.
#[derive(Debug, Error)]
pub enum KernelError {
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// apt does not know it or cannot download it.
    #[error("cannot get the guest's kernel from Debian ({META_PACKAGE}); check apt's sources; log: {} [LW-0967]", log.display())]
    Package {
        /// Full path of the log.
        log: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The package is not built as expected.
    #[error("kernel package {package} has no {missing}; report this with the package's version [LW-0968]")]
    Content {
        /// Which package.
        package: String,
        /// What is not in it.
        missing: String,
    },
    /// Its files could not be taken out.
    #[error("cannot take the modules out of kernel package {package}; check free space, run this again [LW-0968]")]
    Unpack {
        /// Which package.
        package: String,
        /// Why.
        source: io::Error,
    },
}

/// The kernel of the lab's guests; downloads it if the cache has none.
pub fn ensure_guest_kernel(progress: &Progress) -> Result<GuestKernel, KernelError> {
    ensure(&Cache::from_env()?, progress)
}

pub(crate) fn ensure(cache: &Cache, progress: &Progress) -> Result<GuestKernel, KernelError> {
    if let Some(kernel) = cached(cache) {
        return Ok(kernel);
    }
    let _lock = cache.lock(NAME, || progress.note("another process is getting the guest's kernel, waiting"))?;
    if let Some(kernel) = cached(cache) {
        return Ok(kernel);
    }
    let log_path = cache.log(NAME);
    let log = cache.new_log(NAME)?;
    let activity = progress.start(NAME, Some(takes(cache)));
    let started = Instant::now();

    let failed = |source| KernelError::Package { log: log_path.clone(), source };
    let package = newest_package(&log).map_err(failed)?;
    let version = package.trim_start_matches("linux-image-").to_owned();
    let scratch = cache.scratch(NAME, &version)?;
    let unpacked = scratch.dir().join("package");
    download(&package, scratch.dir(), &unpacked, &log).map_err(failed)?;
    take(&package, &version, &unpacked, scratch.dir())?;
    fs_err::remove_dir_all(&unpacked).map_err(CacheError::of("remove", &unpacked))?;
    let folder = scratch.finish()?;

    let kernel = read(&folder).ok_or(KernelError::Content { package, missing: "usable module".to_owned() })?;
    activity.done();
    cache.record(NAME, started.elapsed())?;
    Ok(kernel)
}

/// How long it takes, or that it is there.
pub(crate) fn forecast(cache: &Cache) -> Forecast {
    Forecast { name: NAME.to_owned(), takes: cached(cache).is_none().then(|| takes(cache)) }
}

fn takes(cache: &Cache) -> Duration {
    cache.measured(NAME).unwrap_or(Duration::from_secs(SECONDS))
}

/// Any kernel of the cache does; the last one by name if there are more.
fn cached(cache: &Cache) -> Option<GuestKernel> {
    let mut folders = cache.parts_called(&format!("{NAME}-"));
    folders.sort();
    folders.iter().rev().find_map(|folder| read(folder))
}

fn read(folder: &Path) -> Option<GuestKernel> {
    let order = fs_err::read_to_string(folder.join(ORDER)).ok()?;
    let modules: Vec<_> = order.lines().map(|name| folder.join("modules").join(name)).collect();
    let vmlinuz = folder.join("vmlinuz");
    let whole = vmlinuz.is_file() && !modules.is_empty() && modules.iter().all(|module| module.is_file());
    whole.then_some(GuestKernel { vmlinuz, modules })
}

/// What the meta package depends on now, such as `linux-image-6.1.0-56-cloud-amd64`.
fn newest_package(log: &File) -> io::Result<String> {
    let depends = || run::output(Command::new("apt-cache").args(["depends", META_PACKAGE]).env("LC_ALL", "C.UTF-8"));
    let found = |text: Vec<u8>| kernel_of(&String::from_utf8_lossy(&text));
    if let Some(package) = depends().ok().and_then(found) {
        return Ok(package);
    }
    // A machine whose package lists were never fetched, as most container images are.
    run::logged(&mut debian::apt(&["update"]), log)?;
    found(depends()?).ok_or_else(|| io::Error::other("it depends on no kernel"))
}

fn kernel_of(depends: &str) -> Option<String> {
    let dependencies = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    dependencies.filter(|name| name.starts_with("linux-image-")).max().map(str::to_owned)
}

fn download(package: &str, folder: &Path, unpacked: &Path, log: &File) -> io::Result<()> {
    let mut fetched = run::logged(debian::apt(&["download", package]).current_dir(folder), log)?;
    if !fetched {
        // The lists may name a build that Debian has replaced since.
        run::logged(&mut debian::apt(&["update"]), log)?;
        fetched = run::logged(debian::apt(&["download", package]).current_dir(folder), log)?;
    }
    if !fetched {
        return Err(io::Error::other(format!("apt-get download {package} failed")));
    }
    for entry in fs_err::read_dir(folder)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            run::output(Command::new("dpkg").arg("-x").arg(&file).arg(unpacked))?;
            fs_err::remove_file(&file)?;
        }
    }
    Ok(())
}

/// Takes the image and the wanted modules out of the unpacked package.
fn take(package: &str, version: &str, unpacked: &Path, into: &Path) -> Result<(), KernelError> {
    let unpack = |source| KernelError::Unpack { package: package.to_owned(), source };
    let content = |missing: String| KernelError::Content { package: package.to_owned(), missing };
    let image = unpacked.join(format!("boot/vmlinuz-{version}"));
    if !image.is_file() {
        return Err(content(format!("boot/vmlinuz-{version}")));
    }
    fs_err::copy(&image, into.join("vmlinuz")).map_err(unpack)?;

    // Debian 13 has /usr/lib/modules.
    let tree = ["lib/modules", "usr/lib/modules"].map(|dir| unpacked.join(dir).join(version));
    let tree = tree.into_iter().find(|tree| tree.is_dir()).ok_or_else(|| content("lib/modules".to_owned()))?;
    let mut files = BTreeMap::new();
    find_modules(&tree, &mut files).map_err(unpack)?;
    let built_in = fs_err::read_to_string(tree.join("modules.builtin")).unwrap_or_default();
    let built_in: BTreeSet<_> = built_in.lines().filter_map(|line| module_name(Path::new(line))).collect();

    let modules = into.join("modules");
    fs_err::create_dir_all(&modules).map_err(unpack)?;
    let mut load = |name: &str| -> Result<Option<Vec<String>>, KernelError> {
        let Some(file) = files.get(name) else {
            return if built_in.contains(name) { Ok(None) } else { Err(content(format!("module {name}"))) };
        };
        let bytes = plain(file).map_err(unpack)?;
        fs_err::write(modules.join(format!("{name}.ko")), &bytes).map_err(unpack)?;
        Ok(Some(depends(&bytes)))
    };
    let mut order = Vec::new();
    for name in WANTED {
        visit(name, &mut load, &mut BTreeSet::new(), &mut order)?;
    }
    let order: String = order.iter().map(|name| format!("{name}.ko\n")).collect();
    fs_err::write(into.join(ORDER), order).map_err(unpack)
}

/// Appends `name` to `order`, after everything it depends on. `load` gives a module's dependencies, or nothing for what
/// is built into the kernel.
fn visit<E>(
    name: &str,
    load: &mut impl FnMut(&str) -> Result<Option<Vec<String>>, E>,
    seen: &mut BTreeSet<String>,
    order: &mut Vec<String>,
) -> Result<(), E> {
    if order.iter().any(|done| done == name) || !seen.insert(name.to_owned()) {
        return Ok(());
    }
    if let Some(dependencies) = load(name)? {
        for dependency in dependencies {
            visit(&dependency, load, seen, order)?;
        }
        order.push(name.to_owned());
    }
    Ok(())
}

fn find_modules(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> io::Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            find_modules(&entry.path(), files)?;
        } else if let Some(name) = module_name(&entry.path()) {
            files.insert(name, entry.path());
        }
    }
    Ok(())
}

/// `virtio_rng` of `…/virtio-rng.ko.xz`: file names and dependencies disagree about dashes.
fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let stem = [".ko", ".ko.xz", ".ko.zst", ".ko.gz"].iter().find_map(|end| file.strip_suffix(end))?;
    Some(stem.replace('-', "_"))
}

/// The module's bytes, decompressed by the tool that its name calls for.
fn plain(file: &Path) -> io::Result<Vec<u8>> {
    let tool = match file.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return fs_err::read(file),
    };
    run::output(Command::new(tool).arg("-dc").arg(file))
}

/// The names in a module's `depends=` entry, which is a NUL-terminated string in its `.modinfo` section.
fn depends(module: &[u8]) -> Vec<String> {
    let entry = module.split(|&byte| byte == 0).find_map(|entry| entry.strip_prefix(b"depends="));
    let names = String::from_utf8_lossy(entry.unwrap_or_default());
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_kernel_of_the_meta_package() {
        let text = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n  Suggests: x\n";
        assert_eq!(kernel_of(text).as_deref(), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(kernel_of("linux-image-cloud-amd64\n"), None);
    }

    #[test]
    fn depends_is_read_from_modinfo() {
        assert_eq!(
            depends(b"\x7fELF\0license=GPL\0depends=virtio_ring,virtio-pci\0name=x\0"),
            ["virtio_ring", "virtio_pci"]
        );
        assert!(depends(b"a\0depends=\0").is_empty());
    }

    #[test]
    fn modules_come_after_what_they_depend_on_and_once() {
        let mut load = |name: &str| -> Result<Option<Vec<String>>, String> {
            let of = |names: &[&str]| Ok(Some(names.iter().map(|&n| n.to_owned()).collect()));
            match name {
                "virtio_pci" => of(&["virtio_ring", "virtio_pci_modern_dev", "virtio"]),
                "virtio_blk" => of(&["virtio", "virtio_ring", "block"]),
                "virtio" => of(&["virtio_ring"]),
                "virtio_ring" | "virtio_pci_modern_dev" => of(&[]),
                "block" => Ok(None),
                other => Err(other.to_owned()),
            }
        };
        let mut order = Vec::new();
        for name in WANTED {
            visit(name, &mut load, &mut BTreeSet::new(), &mut order).unwrap();
        }
        assert_eq!(order, ["virtio_ring", "virtio_pci_modern_dev", "virtio", "virtio_pci", "virtio_blk"]);
        assert_eq!(visit("nfs", &mut load, &mut BTreeSet::new(), &mut order), Err("nfs".to_owned()));
    }

    #[test]
    fn a_kernel_without_all_its_modules_is_not_whole() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let folder = cache.part(NAME, "6.1.0-56");
        fs_err::create_dir_all(folder.join("modules")).unwrap();
        fs_err::write(folder.join("vmlinuz"), "x").unwrap();
        fs_err::write(folder.join(ORDER), "virtio.ko\n").unwrap();
        assert_eq!(cached(&cache), None);
        fs_err::write(folder.join("modules/virtio.ko"), "x").unwrap();
        assert!(cached(&cache).is_some());
    }
}
