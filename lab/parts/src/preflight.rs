//! [`preflight`]: can the lab run on this machine? All that is wrong is said at once, before minutes go into a build.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use thiserror::Error;

use crate::cache::Cache;
use crate::parts;
use crate::progress::Progress;
use crate::run;

/// The oldest Go that builds all parts: Kubernetes 1.36 asks for it.
const GO: (u32, u32) = (1, 26);

/// Free memory two sites need with four guests (3.5 GiB, measured), and the linker of the largest part beside them.
const MEMORY_MIB: u64 = 6 * 1024;

/// Free disk a running lab needs, over and above what its parts take to build.
const LAB_DISK_MIB: u64 = 3 * 1024;

/// What cargo writes for `cargo xtask test` (9.4 GiB, measured).
const TARGET_DISK_MIB: u64 = 10 * 1024;

/// The lab's bridge, the only interface of the machine's own namespace that may be in the lab's range.
const BRIDGE: &str = "lwbr0";

/// First address and prefix length of the lab's network.
const RANGE: (Ipv4Addr, u32) = (Ipv4Addr::new(10, 77, 0, 0), 24);

/// One thing that keeps the lab from running here, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Failure {
    /// The caller is not root.
    #[error("not root: the lab makes network namespaces and mounts; run it as root in a throw-away machine [LW-0951]")]
    NotRoot,
    /// The system has no Debian packages.
    #[error("{found} is not Debian 12 or a system with its packages; run the lab on Debian 12 [LW-0952]")]
    System {
        /// What it calls itself.
        found: String,
    },
    /// Another processor.
    #[error("the lab's programs and guests are for x86-64, this machine is {found}; use an x86-64 machine [LW-0953]")]
    Processor {
        /// What it is.
        found: String,
    },
    /// Go is missing or old.
    #[error(
        "Go 1.26 or newer is needed to build the servers, found {found}; put one on PATH (https://go.dev/dl) [LW-0954]"
    )]
    Go {
        /// `none`, or its version.
        found: String,
    },
    /// Cargo is missing.
    #[error(
        "cargo is needed to build Leeward and is not on PATH; install it with rustup (https://rustup.rs) [LW-0955]"
    )]
    Cargo,
    /// Too little memory.
    #[error("{free} MiB of memory are free, two sites need {MEMORY_MIB}; stop other programs or add memory [LW-0956]")]
    Memory {
        /// MiB.
        free: u64,
    },
    /// Too little disk space.
    #[error(
        "{free} MiB are free on the disk of {}, the lab needs {needed} there; free some, or point {variable} at another disk [LW-0957]",
        path.display()
    )]
    Disk {
        /// A folder on that disk.
        path: PathBuf,
        /// MiB.
        free: u64,
        /// MiB.
        needed: u64,
        /// The environment variable that moves that folder.
        variable: &'static str,
    },
    /// No network namespaces.
    #[error(
        "no network namespace with bridge and veth can be made ({reason}); load bridge and veth, or leave the container [LW-0958]"
    )]
    Network {
        /// What the tool said.
        reason: String,
    },
    /// No loop devices.
    #[error("no loop device is to be had ({reason}); `modprobe loop`, or leave the container [LW-0959]")]
    Loop {
        /// What the tool said.
        reason: String,
    },
    /// No XFS.
    #[error(
        "this kernel has no XFS, on which the sites' exports lie; `modprobe xfs` or boot Debian's own kernel [LW-0960]"
    )]
    Xfs,
    /// The lab's addresses are taken.
    #[error("interface {interface} uses {network}, but 10.77.0.0/24 is the lab's; take that interface down [LW-0961]")]
    Range {
        /// Its name.
        interface: String,
        /// Its network.
        network: String,
    },
}

/// All that keeps the lab from running here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct PreflightError {
    /// At least one.
    pub failures: Vec<Failure>,
}

impl fmt::Display for PreflightError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the lab cannot run on this machine:")?;
        self.failures.iter().try_for_each(|failure| write!(f, "\n  {failure}"))
    }
}

/// Checks the machine. Changes nothing, takes well under a second.
pub fn preflight(progress: &Progress) -> Result<(), PreflightError> {
    let mut failures = Vec::new();
    if !rustix::process::geteuid().is_root() {
        failures.push(Failure::NotRoot);
    }
    let text = |path: &str| fs_err::read_to_string(path).unwrap_or_default();
    failures.extend(system(&text("/etc/os-release"), on_path("apt-get") && on_path("dpkg-query")));
    failures.extend(processor(std::env::consts::ARCH));
    failures.extend(go(run::output(Command::new("go").args(["env", "GOVERSION"]))));
    if !on_path("cargo") {
        failures.push(Failure::Cargo);
    }
    failures.extend(memory(&text("/proc/meminfo")));
    failures.extend(disks());
    failures.extend(network());
    failures.extend(loop_device());
    if !text("/proc/filesystems").lines().any(|line| line.trim() == "xfs") && !modprobe("xfs") {
        failures.push(Failure::Xfs);
    }
    failures.extend(range(&text("/proc/net/route")));
    if failures.is_empty() {
        progress.note("preflight: this machine can run the lab");
        return Ok(());
    }
    Err(PreflightError { failures })
}

fn on_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

fn modprobe(module: &str) -> bool {
    run::output(Command::new("modprobe").args(["-q", module])).is_ok()
}

fn system(os_release: &str, apt: bool) -> Option<Failure> {
    let field = |name: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    let kin = field("ID") == "debian" || field("ID_LIKE").split(' ').any(|kin| kin == "debian");
    let name = field("PRETTY_NAME");
    let found = if name.is_empty() { "this system".to_owned() } else { name };
    (!kin || !apt).then_some(Failure::System { found })
}

fn processor(found: &str) -> Option<Failure> {
    (found != "x86_64").then(|| Failure::Processor { found: found.to_owned() })
}

fn go(version: io::Result<Vec<u8>>) -> Option<Failure> {
    let Ok(version) = version else { return Some(Failure::Go { found: "none".to_owned() }) };
    let version = String::from_utf8_lossy(&version).trim().to_owned();
    let mut numbers = version.trim_start_matches("go").split(['.', 'r', 'b', '-', ' ']).map(|n| n.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) if (major, minor) >= GO => None,
        _ => Some(Failure::Go { found: version }),
    }
}

fn memory(meminfo: &str) -> Option<Failure> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    let free = kib / 1024;
    (free < MEMORY_MIB).then_some(Failure::Memory { free })
}

/// A folder that something needs room in.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    path: PathBuf,
    variable: &'static str,
    what: What,
}

/// What takes the room. Several folders of one purpose on one disk share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Lab,
    Parts,
    Target,
}

fn disks() -> Vec<Failure> {
    let Ok(cache) = Cache::from_env() else { return Vec::new() };
    let building = parts::missing_mebibytes(&cache);
    let lab = std::env::var_os("LEEWARD_LAB").map_or_else(|| PathBuf::from("/var/lib/leeward-lab"), PathBuf::from);
    let mut places = vec![
        Place { path: lab, variable: "LEEWARD_LAB", what: What::Lab },
        Place { path: cache.root().to_owned(), variable: "LEEWARD_CACHE", what: What::Parts },
    ];
    if building > 0 {
        for variable in ["GOCACHE", "GOMODCACHE"] {
            if let Ok(path) = run::output(Command::new("go").args(["env", variable])) {
                let path = PathBuf::from(String::from_utf8_lossy(&path).trim());
                places.push(Place { path, variable, what: What::Parts });
            }
        }
    }
    // Cargo has put this program beside those that it is about to build.
    let target = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.to_owned()));
    if let Some(path) = target.filter(|folder| !folder.join("leeward").exists()) {
        places.push(Place { path, variable: "CARGO_TARGET_DIR", what: What::Target });
    }
    let needed = |what| match what {
        What::Lab => LAB_DISK_MIB,
        What::Parts => building,
        What::Target => TARGET_DISK_MIB,
    };
    shortages(&places, free_mebibytes, needed)
}

/// Compares what is needed on each disk with what is free there.
fn shortages(
    places: &[Place],
    free_on: impl Fn(&Path) -> Option<(u64, u64)>,
    needed: impl Fn(What) -> u64,
) -> Vec<Failure> {
    let mut disks: Vec<(u64, u64, Vec<&Place>)> = Vec::new();
    for place in places {
        let Some((disk, free)) = free_on(&place.path) else { continue };
        match disks.iter_mut().find(|(known, ..)| *known == disk) {
            Some((.., on_it)) if on_it.iter().any(|other| other.what == place.what) => {}
            Some((.., on_it)) => on_it.push(place),
            None => disks.push((disk, free, vec![place])),
        }
    }
    let short = disks.iter().filter_map(|(_, free, on_it)| {
        let sum = on_it.iter().map(|place| needed(place.what)).sum();
        // The one that takes most is the one to move.
        let largest = on_it.iter().max_by_key(|place| needed(place.what))?;
        space(&largest.path, *free, sum, largest.variable)
    });
    short.collect()
}

fn space(path: &Path, free: u64, needed: u64, variable: &'static str) -> Option<Failure> {
    (free < needed).then(|| Failure::Disk { path: path.to_owned(), free, needed, variable })
}

/// Which disk a folder is on, or would be, and what is free there.
fn free_mebibytes(path: &Path) -> Option<(u64, u64)> {
    let existing = path.ancestors().find(|path| path.exists())?;
    let disk = rustix::fs::stat(existing).ok()?.st_dev;
    let stat = rustix::fs::statvfs(existing).ok()?;
    Some((disk, stat.f_bavail * stat.f_frsize / (1024 * 1024)))
}

/// Makes what the lab will make, in a namespace that dies with the command.
fn network() -> Option<Failure> {
    if !rustix::process::geteuid().is_root() || !on_path("ip") {
        // Without root it is said already; `ip` is among the packages that come next.
        return None;
    }
    let script = "ip link add lwbr type bridge && ip link add lwv0 type veth peer name lwv1";
    let tried = run::output(Command::new("unshare").args(["--net", "--mount", "sh", "-c", script]));
    tried.err().map(|error| Failure::Network { reason: one_line(&error) })
}

fn loop_device() -> Option<Failure> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let free = || run::output(Command::new("losetup").arg("-f"));
    let tried = free().or_else(|error| if modprobe("loop") { free() } else { Err(error) });
    tried.err().map(|error| Failure::Loop { reason: one_line(&error) })
}

fn one_line(error: &io::Error) -> String {
    error.to_string().replace('\n', "; ")
}

/// Routes of other interfaces that the lab's network would take traffic from. A wide network around it, as 10.0.0.0/8 of
/// some clouds, goes on working: the lab's more specific route covers 254 of its addresses only.
fn range(routes: &str) -> Vec<Failure> {
    let mut failures = Vec::new();
    for line in routes.lines().skip(1) {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (Some(&interface), Some(address), Some(mask)) =
            (fields.first(), fields.get(1).and_then(|f| number(f)), fields.get(7).and_then(|f| number(f)))
        else {
            continue;
        };
        let prefix = mask.count_ones();
        let both = mask & (u32::MAX << (32 - RANGE.1));
        if interface != BRIDGE && prefix >= 16 && address & both == RANGE.0.to_bits() & both {
            let network = format!("{}/{prefix}", Ipv4Addr::from_bits(address));
            failures.push(Failure::Range { interface: interface.to_owned(), network });
        }
    }
    failures
}

/// The kernel prints addresses as it holds them in memory: network byte order, read by a little-endian machine.
fn number(hex: &str) -> Option<u32> {
    u32::from_str_radix(hex, 16).ok().map(u32::swap_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOKWORM: &str = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n";

    #[test]
    fn systems() {
        assert_eq!(system(BOOKWORM, true), None);
        assert_eq!(system("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", true), None);
        assert!(system(BOOKWORM, false).is_some());
        let fedora = system("PRETTY_NAME=\"Fedora Linux 44\"\nID=fedora\n", true).unwrap();
        assert_eq!(
            fedora.to_string(),
            "Fedora Linux 44 is not Debian 12 or a system with its packages; run the lab on Debian 12 [LW-0952]"
        );
        assert!(processor("aarch64").unwrap().to_string().contains("aarch64"));
    }

    #[test]
    fn go_versions() {
        let said = |text: &str| go(Ok(text.as_bytes().to_vec()));
        for good in ["go1.26\n", "go1.26.8", "go1.27rc1", "go2.0"] {
            assert_eq!(said(good), None, "{good}");
        }
        for bad in ["go1.25.9", "go1.9", "devel +abc", ""] {
            assert!(said(bad).is_some(), "{bad}");
        }
        let none = go(Err(io::Error::other("no such file"))).unwrap().to_string();
        assert!(none.contains("found none") && none.contains("LW-0954"), "{none}");
    }

    #[test]
    fn memory_and_disk_name_both_numbers() {
        assert_eq!(memory("MemAvailable:   24012680 kB\n"), None);
        let little = memory("MemTotal: 9 kB\nMemAvailable:    4194304 kB\n").unwrap().to_string();
        assert!(little.contains("4096 MiB") && little.contains("6144"), "{little}");
        assert_eq!(space(Path::new("/c"), 4000, 4000, "LEEWARD_CACHE"), None);
        let full = space(Path::new("/c"), 3999, 4000, "LEEWARD_CACHE").unwrap().to_string();
        assert!(full.contains("3999") && full.contains("/c") && full.contains("LEEWARD_CACHE"), "{full}");
    }

    #[test]
    fn what_lies_on_one_disk_is_added_up() {
        let place = |path: &str, variable, what| Place { path: path.into(), variable, what };
        let places = [
            place("/a/lab", "LEEWARD_LAB", What::Lab),
            place("/a/cache", "LEEWARD_CACHE", What::Parts),
            place("/a/go", "GOCACHE", What::Parts),
            place("/b/target", "CARGO_TARGET_DIR", What::Target),
            place("/c/nowhere", "GOMODCACHE", What::Parts),
        ];
        let free = |on_a, on_b| {
            move |path: &Path| match path.to_str()?.get(..2)? {
                "/a" => Some((1, on_a)),
                "/b" => Some((2, on_b)),
                _ => None,
            }
        };
        let needed = |what| match what {
            What::Lab => 3,
            What::Parts => 12,
            What::Target => 10,
        };
        assert_eq!(shortages(&places, free(15, 10), needed), []);
        let short = |path: &str, free, needed, variable| Failure::Disk { path: path.into(), free, needed, variable };
        assert_eq!(
            shortages(&places, free(14, 9), needed),
            [short("/a/cache", 14, 15, "LEEWARD_CACHE"), short("/b/target", 9, 10, "CARGO_TARGET_DIR")]
        );
    }

    #[test]
    fn addresses_in_the_labs_range() {
        let table =
            |lines: &str| range(&format!("Iface Destination Gateway Flags RefCnt Use Metric Mask MTU\n{lines}"));
        assert!(table("eth0 00000000 010200C0 0003 0 0 0 00000000 0\n").is_empty(), "default route");
        assert!(table("eth0 000200C0 00000000 0001 0 0 0 00FFFFFF 0\n").is_empty(), "192.0.2.0/24");
        assert!(table("lwbr0 00004D0A 00000000 0001 0 0 0 00FFFFFF 0\n").is_empty(), "the lab itself");
        assert!(table("eth0 0000000A 00000000 0001 0 0 0 000000FF 0\n").is_empty(), "10.0.0.0/8");
        for (line, network) in [
            ("wg0 00004D0A 00000000 0001 0 0 0 00FFFFFF 0\n", "10.77.0.0/24"),
            ("wg0 00004D0A 00000000 0001 0 0 0 0000FFFF 0\n", "10.77.0.0/16"),
            ("wg0 05004D0A 00000000 0001 0 0 0 FFFFFFFF 0\n", "10.77.0.5/32"),
        ] {
            let found = table(line);
            assert_eq!(found, [Failure::Range { interface: "wg0".into(), network: network.into() }]);
        }
    }

    #[test]
    fn all_failures_are_listed_one_line_each() {
        let error = PreflightError { failures: vec![Failure::NotRoot, Failure::Cargo, Failure::Xfs] };
        let text = error.to_string();
        assert_eq!(text.lines().count(), 4);
        for code in ["[LW-0951]", "[LW-0955]", "[LW-0960]"] {
            assert_eq!(text.lines().filter(|line| line.ends_with(code)).count(), 1, "{code}");
        }
    }
}
