//! The lab's network: a network namespace for each place, joined by a bridge in the host.
//!
//! Laws:
//! - The bridge carries the lab's root as its alias; a bridge or namespace of ours by name but of another lab, or of
//!   nobody known, is refused and never removed.
//! - Nothing of the host is changed beyond these links: no forwarding, no firewall, no route.

use std::path::Path;

use anyhow::Result;
use serde::Deserialize;

use crate::error::LabError;
use crate::place::{BRIDGE, HOST_ADDRESS, PREFIX_LENGTH, Place};
use crate::root::Root;

/// What of the lab's network exists, by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The bridge, with its alias.
    pub bridge: Option<String>,
    /// Namespaces.
    pub namespaces: Vec<Place>,
    /// The host's ends of cables.
    pub links: Vec<Place>,
}

#[derive(Deserialize)]
struct Link {
    ifname: String,
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Deserialize)]
struct Address {
    #[serde(default)]
    local: String,
}

#[derive(Deserialize)]
struct Route {
    dst: String,
    #[serde(default)]
    dev: String,
}

async fn links(root: &Root) -> Result<Vec<Link>> {
    Ok(serde_json::from_str(&root.run("ip", ["-json", "address", "show"]).await?)?)
}

fn alias(root: &Root) -> String {
    // The kernel keeps 255 bytes.
    let mut alias = format!("leeward-lab {}", root.path().display());
    while alias.len() > 255 {
        alias.pop();
    }
    alias
}

/// Looks for everything that bears one of the lab's names.
pub(crate) fn find() -> Found {
    let link = |name: &str| Path::new("/sys/class/net").join(name);
    Found {
        bridge: std::fs::read_to_string(link(BRIDGE).join("ifalias")).ok().map(|alias| alias.trim_end().to_owned()),
        namespaces: Place::ALL
            .into_iter()
            .filter(|place| Path::new("/run/netns").join(place.netns()).exists())
            .collect(),
        links: Place::ALL.into_iter().filter(|place| link(&place.link()).exists()).collect(),
    }
}

impl Found {
    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether all of it is there.
    pub(crate) fn is_whole(&self) -> bool {
        self.bridge.is_some() && self.namespaces.len() == Place::ALL.len() && self.links.len() == Place::ALL.len()
    }

    /// Refuses what is not of the lab at `root`. A lab's root is claimed before its network is made, so where there is
    /// no lab at `root`, nothing with these names can be its own; and a bridge without an alias was made by one that was
    /// killed between the two.
    pub(crate) fn check_owner(&self, root: &Root) -> Result<(), LabError> {
        let foreign = |object: String, owner: String, remedy: String| {
            Err(LabError::ForeignNetwork { object, root: root.path().to_owned(), owner, remedy })
        };
        if let Some(found) = &self.bridge {
            if *found == alias(root) && root.is_lab() || found.is_empty() && root.is_lab() {
                return Ok(());
            }
            let object = format!("bridge {BRIDGE}");
            return match found.strip_prefix("leeward-lab ").filter(|other| Path::new(other) != root.path()) {
                Some(other) => foreign(
                    object,
                    format!("it is of the lab at {other}"),
                    format!("run `LEEWARD_LAB={other} cargo xtask lab down`"),
                ),
                None => foreign(object, "its owner is unknown".into(), format!("run `ip link delete {BRIDGE}`")),
            };
        }
        if root.is_lab() {
            return Ok(());
        }
        if let Some(place) = self.namespaces.first() {
            let name = place.netns();
            return foreign(
                format!("network namespace {name}"),
                "its owner is unknown".into(),
                format!("run `ip netns delete {name}`"),
            );
        }
        if let Some(place) = self.links.first() {
            let name = place.link();
            return foreign(
                format!("link {name}"),
                "its owner is unknown".into(),
                format!("run `ip link delete {name}`"),
            );
        }
        Ok(())
    }
}

/// Refuses when the host has an address or a route in the lab's network.
pub(crate) async fn check_free(root: &Root) -> Result<()> {
    let [a, b, c, _] = HOST_ADDRESS.octets();
    let prefix = format!("{a}.{b}.{c}.");
    for link in links(root).await? {
        if let Some(address) = link.addr_info.iter().find(|address| address.local.starts_with(&prefix)) {
            return Err(LabError::AddressInUse { user: format!("{} ({})", link.ifname, address.local) }.into());
        }
    }
    let routes: Vec<Route> =
        serde_json::from_str(&root.run("ip", ["-json", "-4", "route", "show", "table", "all"]).await?)?;
    if let Some(route) = routes.iter().find(|route| route.dst.starts_with(&prefix)) {
        return Err(LabError::AddressInUse { user: format!("the route to {} over {}", route.dst, route.dev) }.into());
    }
    Ok(())
}

/// Makes bridge, namespaces and cables. Nothing of them may exist.
pub(crate) async fn create(root: &Root) -> Result<()> {
    root.run("ip", ["link", "add", BRIDGE, "type", "bridge"]).await?;
    root.run("ip", ["link", "set", "dev", BRIDGE, "alias", &alias(root)]).await?;
    // A bridge without a fixed MAC takes over that of its ports, so the host's neighbours would change with each cut.
    let mut host = format!(
        "link set dev {BRIDGE} address 0a:4d:00:00:00:fe\nlink set dev {BRIDGE} up\n\
         address add {HOST_ADDRESS}/{PREFIX_LENGTH} dev {BRIDGE}\n"
    );
    for place in Place::ALL {
        let (netns, link) = (place.netns(), place.link());
        host.push_str(&format!(
            "netns add {netns}\nlink add {link} type veth peer name eth0 netns {netns}\n\
             link set dev {link} master {BRIDGE} up\n"
        ));
    }
    root.run_with("ip", ["-batch", "-"], &host).await?;
    for place in Place::ALL {
        let inside = format!(
            "link set dev lo up\naddress add {}/{PREFIX_LENGTH} dev eth0\nlink set dev eth0 up\n",
            place.address()
        );
        root.run_with("ip", ["-n", &place.netns(), "-batch", "-"], &inside).await?;
    }
    Ok(())
}

/// Removes whatever of the network exists. Its processes must have ended.
pub(crate) async fn remove(root: &Root, found: &Found) -> Result<()> {
    // Links before namespaces: a namespace takes its end of a cable along only after a while.
    for place in &found.links {
        root.run("ip", ["link", "delete", &place.link()]).await?;
    }
    for place in &found.namespaces {
        root.run("ip", ["netns", "delete", &place.netns()]).await?;
    }
    if found.bridge.is_some() {
        root.run("ip", ["link", "delete", BRIDGE]).await?;
    }
    Ok(())
}

/// Pulls or plugs the cable of a place.
pub(crate) async fn set_link(root: &Root, place: Place, up: bool) -> Result<()> {
    root.run("ip", ["link", "set", "dev", &place.link(), if up { "up" } else { "down" }]).await?;
    Ok(())
}

/// Whether the cable of a place is plugged in.
pub(crate) fn link_is_up(place: Place) -> bool {
    // Bit 0 of the flags is IFF_UP: what an administrator set, not what the other end does.
    std::fs::read_to_string(format!("/sys/class/net/{}/flags", place.link()))
        .ok()
        .and_then(|flags| u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).ok())
        .is_some_and(|flags| flags & 1 == 1)
}

/// The processes in the network namespace of a place, whoever started them.
pub(crate) async fn pids(root: &Root, place: Place) -> Result<Vec<i32>> {
    let text = root.run("ip", ["netns", "pids", &place.netns()]).await?;
    Ok(text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(bridge: &str) -> Found {
        Found { bridge: Some(bridge.to_owned()), ..Found::default() }
    }

    #[test]
    fn only_what_is_known_to_be_ours_is_ours() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let namespace = Found { namespaces: vec![Place::Object], ..Found::default() };
        let refused = |found: &Found| found.check_owner(&root).map_err(|error| error.to_string());

        // No lab at the root: nothing can be ours, not even by our own alias.
        assert!(refused(&found(&alias(&root))).is_err());
        assert!(refused(&namespace).unwrap_err().contains("ip netns delete lw-object"));
        assert!(refused(&Found::default()).is_ok());

        std::fs::write(folder.path().join("lab.json"), "{}").unwrap();
        assert!(refused(&found(&alias(&root))).is_ok());
        assert!(refused(&found("")).is_ok(), "killed between making the bridge and naming it");
        assert!(refused(&namespace).is_ok());
        let other = refused(&found("leeward-lab /srv/other")).unwrap_err();
        assert!(other.contains("LEEWARD_LAB=/srv/other") && other.ends_with("[LW-0903]"), "{other}");
        assert!(refused(&found("a bridge of the guest-house")).unwrap_err().contains("ip link delete lwbr0"));
    }
}
