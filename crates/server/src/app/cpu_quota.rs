//! The CPU quota of the control group of this process, if there is one.

use std::fs;
use std::path::Path;

/// The mount point of control groups on Linux.
const MOUNT: &str = "/sys/fs/cgroup";

/// The share of a CPU quota that hashing may use: requests and the database need the rest.
const SHARE_OF_QUOTA: f64 = 0.8;

/// How many CPUs all hashing threads may use together; None without a quota.
pub(crate) fn hashing_share() -> Option<f64> {
    cpu_quota().map(|quota| quota * SHARE_OF_QUOTA)
}

/// The number of CPUs that this process may use: the smallest quota of its control group and the groups above
/// it (cgroup v2 `cpu.max`, v1 `cpu.cfs_quota_us`); None without a quota.
fn cpu_quota() -> Option<f64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    least_quota(&groups, &|path| fs::read_to_string(Path::new(MOUNT).join(path)).ok())
}

fn least_quota(groups: &str, read: &dyn Fn(&str) -> Option<String>) -> Option<f64> {
    let quotas = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        parts.next()?;
        let controllers = parts.next()?;
        let group = parts.next()?;
        let group = group.trim_start_matches('/');
        match controllers {
            "" => ancestors(group).filter_map(|at| cpu_max(&read(&join(at, "cpu.max"))?)).reduce(f64::min),
            _ if controllers.split(',').any(|name| name == "cpu") => {
                let cfs = |at: &str| {
                    let number = |file| read(&join(&format!("cpu/{at}"), file))?.trim().parse::<f64>().ok();
                    quota(number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)
                };
                ancestors(group).filter_map(cfs).reduce(f64::min)
            }
            _ => None,
        }
    });
    quotas.reduce(f64::min)
}

/// A group, and every group above it up to the mount.
fn ancestors(group: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(group), |at| {
        (!at.is_empty()).then(|| at.rsplit_once('/').map_or("", |(above, _)| above))
    })
}

fn join(group: &str, file: &str) -> String {
    let group = group.trim_matches('/');
    if group.is_empty() { file.to_owned() } else { format!("{group}/{file}") }
}

/// `max 100000`, or `50000 100000`.
fn cpu_max(text: &str) -> Option<f64> {
    let (most, period) = text.trim().split_once(' ')?;
    quota(most.parse().ok()?, period.parse().ok()?)
}

fn quota(most: f64, period: f64) -> Option<f64> {
    (most > 0.0 && period > 0.0).then(|| most / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn least(groups: &str, files: &[(&str, &str)]) -> Option<f64> {
        let read =
            |path: &str| files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned());
        least_quota(groups, &read)
    }

    #[test]
    fn the_lowest_quota_of_all_parent_groups_applies() {
        let files = [
            ("cpu.max", "max 100000\n"),
            ("pods/cpu.max", "50000 100000\n"),
            ("pods/gatewright/cpu.max", "200000 100000\n"),
        ];
        assert_eq!(least("0::/pods/gatewright\n", &files), Some(0.5));
        assert_eq!(least("0::/other\n", &files), None);
        assert_eq!(least("0::/\n", &[("cpu.max", "150000 100000")]), Some(1.5));
        assert_eq!(least("", &files), None);
        assert_eq!(least("nonsense\n0::/x\n", &[("x/cpu.max", "much")]), None);
    }

    #[test]
    fn the_older_layout_is_read_as_well() {
        let files =
            [("cpu/docker/1/cpu.cfs_quota_us", "25000\n"), ("cpu/docker/1/cpu.cfs_period_us", "100000\n")];
        assert_eq!(least("4:cpu,cpuacct:/docker/1\n2:memory:/docker/1\n", &files), Some(0.25));
        let unlimited = [("cpu/cpu.cfs_quota_us", "-1\n"), ("cpu/cpu.cfs_period_us", "100000\n")];
        assert_eq!(least("4:cpu:/\n", &unlimited), None);
    }
}
