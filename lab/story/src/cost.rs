//! What a restore costs, in figures that a busy machine does not change: processor time and requests.

use anyhow::{Context, Result};
use leeward_lab::{Cluster, Lab, Place, Site};
use std::time::Duration;

/// Ticks of a second in `/proc` (`USER_HZ`); the same on every Linux that Debian runs on.
const TICKS: u64 = 100;

/// What was used up to a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// By Velero and its plug-ins, those that have ended included.
    pub cpu: Duration,
    /// That the API server has answered about PersistentVolumes; watches count when they end.
    pub requests: u64,
}

impl Cost {
    /// What a site's Velero has used.
    ///
    /// # Errors
    /// Velero does not run, or the API server does not show its metrics.
    pub async fn of(lab: &Lab, site: Site) -> Result<Self> {
        let velero = lab.status().into_iter().find(|p| p.place == Place::Site(site) && p.name == "velero");
        let pid = velero.and_then(|process| process.pid).with_context(|| format!("Velero does not run at {site}"))?;
        let mut ticks = Stat::of(pid).with_context(|| format!("/proc/{pid}/stat"))?.ticks();
        for entry in fs_err::read_dir("/proc")? {
            let Ok(other) = entry?.file_name().to_string_lossy().parse() else { continue };
            // It may have ended meanwhile; then its parent has its time.
            ticks += Stat::of(other).filter(|stat| stat.parent == pid).map_or(0, |stat| stat.ticks());
        }
        Ok(Self {
            cpu: Duration::from_millis(ticks * 1000 / TICKS),
            requests: requests(&lab.cluster(site).await?).await?,
        })
    }

    /// What was used since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self { cpu: self.cpu.saturating_sub(before.cpu), requests: self.requests.saturating_sub(before.requests) }
    }
}

/// What `/proc/PID/stat` says of a process.
struct Stat {
    parent: i32,
    /// Of its own and of children that have ended, each in user mode and in the kernel.
    times: [u64; 4],
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        Self::read(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn read(text: &str) -> Option<Self> {
        // The name, in parentheses, may hold anything. After it come state, parent and so on: proc_pid_stat(5).
        let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let time = |at: usize| fields.get(at)?.parse().ok();
        Some(Self { parent: fields.get(1)?.parse().ok()?, times: [time(11)?, time(12)?, time(13)?, time(14)?] })
    }

    fn ticks(&self) -> u64 {
        self.times.iter().sum()
    }
}

async fn requests(cluster: &Cluster) -> Result<u64> {
    Ok(counted(&cluster.read("/metrics").await?))
}

/// Answers about PersistentVolumes in the API server's metrics.
fn counted(metrics: &str) -> u64 {
    let of_volumes =
        |line: &&str| line.starts_with("apiserver_request_total{") && line.contains("resource=\"persistentvolumes\"");
    let number = |line: &str| line.rsplit_once(' ')?.1.parse::<f64>().ok();
    let numbers = metrics.lines().filter(of_volumes).filter_map(number);
    // Counters are whole numbers, which the form writes as it likes: 1e+06.
    numbers.map(|number| Duration::from_secs_f64(number).as_secs()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_s_times_are_found_behind_any_name() {
        let stat = Stat::read("7 (a) b (c) S 5 7 7 0 -1 4194304 1 2 3 4 10 20 30 40 20 0 1 0 99").unwrap();
        assert_eq!((stat.parent, stat.ticks()), (5, 100));
        assert!(Stat::read("").is_none());
        assert!(Stat::of(std::process::id().try_into().unwrap()).unwrap().parent > 0);
    }

    #[test]
    fn only_answers_about_volumes_count() {
        let metrics = "# HELP apiserver_request_total x\n\
            apiserver_request_total{code=\"200\",resource=\"persistentvolumes\",verb=\"GET\"} 12\n\
            apiserver_request_total{code=\"201\",resource=\"persistentvolumes\",verb=\"POST\"} 1e+03\n\
            apiserver_request_total{code=\"201\",resource=\"persistentvolumeclaims\",verb=\"POST\"} 5\n\
            apiserver_request_duration_seconds_count{resource=\"persistentvolumes\"} 7\n";
        assert_eq!(counted(metrics), 1012);
    }
}
