//! `cargo xtask lab …`: the two sites, to try things out by hand.

use crate::binaries::{self, Ready};
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use leeward_lab::{Lab, Lines, Place, PluginSet, Root, Site, VeleroBuild};
use leeward_lab_parts::{Progress, VeleroVersion, ensure_velero};
use leeward_lab_story::files;
use std::os::unix::process::CommandExt;

#[derive(Debug, Subcommand)]
pub(crate) enum LabCommand {
    /// Bring both sites up, with the shop at east.
    Up {
        /// Leave the sites empty.
        #[arg(long)]
        empty: bool,
        /// With another Velero at both sites: 1.14.1, 1.16.2 or 1.18.2. A lab with the default one is taken down first.
        #[arg(long, value_name = "VERSION")]
        velero: Option<VeleroVersion>,
    },
    /// Take everything down. Nothing is left over.
    Down,
    /// Show every process, and which links are up.
    Status,
    /// Run kubectl at a site.
    Kubectl {
        /// east or west.
        site: Site,
        /// Its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run velero's command line at a site.
    Velero {
        /// east or west.
        site: Site,
        /// Its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Put another version of Velero in the place of a site's; what it stored stays.
    SwapVelero {
        /// east or west.
        site: Site,
        /// 1.14.1, 1.16.2 or 1.18.2.
        version: VeleroVersion,
    },
    /// Take a site's link down: the disaster. The site goes on by itself.
    KillSite {
        /// east or west.
        site: Site,
    },
    /// Bring a site's link up again.
    HealSite {
        /// east or west.
        site: Site,
    },
    /// Print a process's log.
    Logs {
        /// east, west or object.
        place: Place,
        /// Its name, as `status` shows it.
        process: String,
    },
}

/// Brings a fresh lab up; takes it down again if that fails or is interrupted.
pub(crate) async fn fresh(ready: &Ready) -> Result<Lab> {
    let (root, progress) = (Root::from_env(), Lines::default());
    Lab::down(&root, &progress).await?;
    bring_up(&root, ready, &progress).await
}

/// Does `work` on a fresh lab and takes the lab down, however the work ends.
pub(crate) async fn on_fresh<T>(ready: &Ready, work: impl AsyncFnOnce(&Lab) -> Result<T>) -> Result<T> {
    let lab = fresh(ready).await?;
    let done = interruptible(work(&lab)).await;
    Lab::down(&Root::from_env(), &Lines::default()).await?;
    done
}

/// Ctrl-C ends the work, not the program: what was begun is still tidied up.
pub(crate) async fn interruptible<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        // First, so that the signal's handler is there before anything is.
        biased;
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Into::into).and_then(|()| bail!("interrupted")),
        done = work => done,
    }
}

async fn bring_up(root: &Root, ready: &Ready, progress: &Lines) -> Result<Lab> {
    Lab::up(root, &ready.inputs, progress, tokio::signal::ctrl_c()).await
}

pub(crate) async fn run(command: LabCommand) -> Result<()> {
    let root = Root::from_env();
    match command {
        LabCommand::Up { empty, velero } => {
            let mut ready = binaries::ready()?;
            if let Some(version) = velero {
                ready.inputs = ready.inputs.with_velero(velero_build(version)?);
            }
            let lab = bring_up(&root, &ready, &Lines::default()).await?;
            let config = files::write(&lab)?;
            // A shop that is there may have moved since: opening it again at east would start its VMs beside themselves.
            let namespaces = lab.cluster(Site::East).await?.api("v1", "Namespace", None);
            if !empty && namespaces.get_opt(leeward_lab_story::guests::NAMESPACE).await?.is_none() {
                leeward_lab::seed_shop(&lab, Site::East).await?;
            }
            hints(&ready, &config);
            Ok(())
        }
        LabCommand::Down => Lab::down(&root, &Lines::default()).await,
        LabCommand::Status => {
            status(&Lab::attach(&root)?);
            Ok(())
        }
        LabCommand::Kubectl { site, args } => become_command(Lab::attach(&root)?.kubectl(site).args(args)),
        LabCommand::Velero { site, args } => become_command(Lab::attach(&root)?.velero(site).args(args)),
        LabCommand::SwapVelero { site, version } => {
            let lab = Lab::attach(&root)?;
            let plugins = lab.plugins()?.remove(&site).unwrap_or(PluginSet::Leeward);
            lab.swap_velero(site, &velero_build(version)?, plugins).await?;
            eprintln!("{site} runs Velero {}", lab.velero_version(site).await?);
            Ok(())
        }
        LabCommand::KillSite { site } => Lab::attach(&root)?.kill_site(site).await,
        LabCommand::HealSite { site } => Lab::attach(&root)?.heal_site(site).await,
        LabCommand::Logs { place, process } => {
            let path = Lab::attach(&root)?.log_path(place, &process);
            let text = fs_err::read(&path)
                .with_context(|| format!("{place} has no process {process}; `cargo xtask lab status` names them"))?;
            std::io::Write::write_all(&mut std::io::stdout(), &text)?;
            Ok(())
        }
    }
}

/// A Velero to put into a lab; built if it is not there.
///
/// # Errors
/// The build fails.
pub(crate) fn velero_build(version: VeleroVersion) -> Result<VeleroBuild> {
    let parts = ensure_velero(version, &Progress::stderr())?;
    Ok(VeleroBuild { velero: parts.velero, velero_plugin_for_aws: parts.velero_plugin_for_aws, crds: parts.crds })
}

fn status(lab: &Lab) {
    println!("{:<7} {:<24} {:>8} {:>9}  LOG", "PLACE", "PROCESS", "PID", "MEMORY");
    for process in lab.status() {
        let pid = process.pid.map_or_else(|| "dead".to_owned(), |pid| pid.to_string());
        let memory = format!("{} MiB", process.resident_bytes >> 20);
        println!("{:<7} {:<24} {pid:>8} {memory:>9}  {}", process.place.name(), process.name, process.log.display());
    }
    for place in Place::ALL {
        println!("{:<7} link {}", place.name(), if lab.is_plugged(place) { "up" } else { "down" });
    }
}

fn become_command(command: &mut std::process::Command) -> Result<()> {
    Err(command.exec()).with_context(|| format!("{:?} cannot be started", command.get_program()))
}

/// What one can do with a lab that is up.
pub(crate) fn hints(ready: &Ready, config: &std::path::Path) {
    eprintln!(
        "\nThe lab is up. Try:\n  export LEEWARD_CONFIG={}\n  {leeward} status\n  {leeward} plan migrate\n  {leeward} migrate\n  \
         cargo xtask lab kubectl east get vm,pvc -n shop\n  cargo xtask lab kill-site east\n  \
         {leeward} failover --reason \"trying it out\"\n  cargo xtask lab heal-site east\n  {leeward} failback\n  cargo xtask lab down",
        config.display(),
        leeward = ready.leeward.display(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use leeward_lab::{Secrets, Topology};
    use std::process::Command;

    #[test]
    #[ignore = "builds three Veleros; by hand: cargo test -p xtask -- --ignored"]
    fn each_velero_knows_every_flag_that_the_lab_gives_it_and_prints_its_crds() {
        let mut names = Vec::new();
        for version in VeleroVersion::ALL {
            let build = velero_build(version).unwrap();
            let says = |args: &[&str]| {
                let output = Command::new(&build.velero).args(args).env("HOME", "/nonexistent").output().unwrap();
                String::from_utf8_lossy(&output.stdout).into_owned()
            };
            assert!(says(&["version", "--client-only"]).contains(&format!("Version: v{version}\n")));
            let help = says(&["server", "--help"]);
            for flag in flags() {
                assert!(help.contains(&format!(" {flag} ")), "Velero {version} has no flag {flag}");
            }
            // What `Lab::swap_velero` relies on: applying a version's CRDs leaves none of another's behind.
            let crds = fs_err::read_to_string(&build.crds).unwrap();
            let crds = crds.split("---\n").filter(|document| !document.is_empty());
            let name = |document| {
                let crd: serde_json::Value = serde_json::from_str(document).unwrap();
                let versions =
                    crd["spec"]["versions"].as_array().unwrap().iter().map(|version| version["name"].clone());
                (crd["metadata"]["name"].clone(), versions.collect::<Vec<_>>())
            };
            names.push(crds.map(name).collect::<Vec<_>>());
        }
        assert_eq!(names[0].len(), 13);
        assert!(names.iter().all(|of_one| *of_one == names[0]), "{names:?}");
    }

    /// The flags of a site's Velero, without values.
    fn flags() -> Vec<String> {
        let path = || "/part".into();
        let inputs = leeward_lab::Inputs {
            kube: path(),
            velero: path(),
            velero_plugin_for_aws: path(),
            virt_controller: path(),
            snapshot_controller: path(),
            csi_snapshotter: path(),
            csi_provisioner: path(),
            crds: Vec::new(),
            lab_csi: path(),
            lab_node: path(),
            lab_s3: path(),
            plugin: path(),
            mover: path(),
            guest_kernel: path(),
            guest_initrd: path(),
            without_reflinks: false,
        };
        let secrets = Secrets { s3_access_key: "k".into(), s3_secret_key: "s".into(), admin_token: "t".into() };
        let topology = Topology::new(&Root::at("/lab"), &inputs, &secrets);
        let argv = topology.find(Site::East, "velero").unwrap().argv.iter();
        let flags: Vec<_> =
            argv.filter(|word| word.starts_with("--")).map(|w| w.split('=').next().unwrap().to_owned()).collect();
        assert!(flags.len() > 10, "{flags:?}");
        flags
    }
}
