//! [`Site`] and [`Place`]: the three places of the lab and their fixed names and addresses.
//!
//! They are fixed, so there is one lab on a machine at a time: names of network namespaces and links are the machine's.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The bridge in the host that joins the places.
pub const BRIDGE: &str = "lwbr0";
/// The host's own address on [`BRIDGE`]: programs of the host reach every place.
pub const HOST_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);
/// Length of the network's prefix, in bits.
pub(crate) const PREFIX_LENGTH: u8 = 24;

/// One of the two sites: a cluster with its storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Site {
    /// `east`, 10.77.0.1, exports `/export`.
    East,
    /// `west`, 10.77.0.2, exports `/vault`.
    West,
}

impl Site {
    /// Both sites.
    pub const ALL: [Self; 2] = [Self::East, Self::West];

    /// The site's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::East => "east",
            Self::West => "west",
        }
    }

    /// The site's only address.
    pub const fn address(self) -> Ipv4Addr {
        match self {
            Self::East => Ipv4Addr::new(10, 77, 0, 1),
            Self::West => Ipv4Addr::new(10, 77, 0, 2),
        }
    }

    /// The path under which the site's NFS server shows its export. The sites differ, so that a path that was not
    /// rewritten is found out.
    pub const fn share(self) -> &'static str {
        match self {
            Self::East => "/export",
            Self::West => "/vault",
        }
    }

    /// The other site.
    pub const fn other(self) -> Self {
        match self {
            Self::East => Self::West,
            Self::West => Self::East,
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Site {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|site| site.name() == text)
            .ok_or_else(|| format!("the lab has no site \"{text}\"; its sites are east and west"))
    }
}

/// Where a process runs: a site, or the third place that holds the object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// One of the sites.
    Site(Site),
    /// The third place: S3, and so the witness.
    Object,
}

impl Place {
    /// All places.
    pub const ALL: [Self; 3] = [Self::Object, Self::Site(Site::East), Self::Site(Site::West)];

    /// The place's name; its folder under the lab's root is called so too.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Site(site) => site.name(),
            Self::Object => "object",
        }
    }

    /// The place's only address.
    pub const fn address(self) -> Ipv4Addr {
        match self {
            Self::Site(site) => site.address(),
            Self::Object => Ipv4Addr::new(10, 77, 0, 3),
        }
    }

    /// The place's network namespace.
    pub fn netns(self) -> String {
        format!("lw-{}", self.name())
    }

    /// The host's end of the place's cable; set down, the place is cut off.
    pub fn link(self) -> String {
        format!("lw-{}-v", self.name())
    }
}

impl From<Site> for Place {
    fn from(site: Site) -> Self {
        Self::Site(site)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|place| place.name() == text)
            .ok_or_else(|| format!("the lab has no place \"{text}\"; its places are east, west and object"))
    }
}

impl Serialize for Place {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for place in Place::ALL {
            assert_eq!(place.name().parse::<Place>(), Ok(place));
            assert!(place.link().len() <= 15, "the kernel's limit for a link's name");
        }
        assert!("south".parse::<Site>().is_err());
    }
}
