//! The name or address of a file server.
//!
//! Laws: IP addresses compare as addresses (`[FD00:0::1]` is `fd00::1`), host names without regard to case or a final
//! dot. A name is never resolved: `nas` and its address are two servers.

use serde::Serialize;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A file server in canonical spelling: an IP address without brackets, or a host name in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Server(String);

/// A text that is neither an IP address nor a host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an IP address nor a host name")]
pub struct InvalidServer(String);

impl Server {
    /// Brings `text` into canonical spelling.
    ///
    /// # Errors
    /// [`InvalidServer`] if it is neither an IP address nor a host name.
    pub fn parse(text: &str) -> Result<Self, InvalidServer> {
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        if let Ok(v4) = bare.parse::<Ipv4Addr>() {
            return Ok(Self(v4.to_string()));
        }
        let (address, zone) = bare.split_once('%').map_or((bare, None), |(a, z)| (a, Some(z)));
        if let Ok(v6) = address.parse::<Ipv6Addr>() {
            return match (v6.to_ipv4_mapped(), zone) {
                (Some(v4), None) => Ok(Self(v4.to_string())),
                (_, None) => Ok(Self(v6.to_string())),
                (_, Some(zone)) if zone.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) => {
                    Ok(Self(format!("{v6}%{zone}")))
                }
                _ => Err(InvalidServer(text.to_owned())),
            };
        }
        let host = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
        let label = |l: &str| {
            !l.is_empty()
                && l.len() <= 63
                && !l.starts_with('-')
                && !l.ends_with('-')
                && l.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        };
        // A last label of digits only is a mistyped IPv4 address (10.0.0.01, 10.0.0), which resolvers read in their own ways.
        let digits = host.rsplit('.').next().is_some_and(|l| l.chars().all(|c| c.is_ascii_digit()));
        if bare.len() == text.len() && host.len() <= 253 && host.split('.').all(label) && !digits {
            Ok(Self(host))
        } else {
            Err(InvalidServer(text.to_owned()))
        }
    }

    /// The server as mount programs and Kubernetes take it: an IPv6 address has no brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is an IP address and no host name.
    #[must_use]
    pub fn is_address(&self) -> bool {
        self.0.contains(':') || self.0.parse::<Ipv4Addr>().is_ok()
    }

    /// As it stands in a URL or before `:path`: an IPv6 address in brackets.
    #[must_use]
    pub fn bracketed(&self) -> String {
        if self.0.contains(':') { format!("[{}]", self.0) } else { self.0.clone() }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canon(text: &str) -> String {
        Server::parse(text).unwrap().to_string()
    }

    #[test]
    fn addresses_compare_as_addresses() {
        assert_eq!(canon("[FD00:0:0::1]"), "fd00::1");
        assert_eq!(canon("fd00::0001"), "fd00::1");
        assert_eq!(canon("::ffff:10.0.0.1"), "10.0.0.1");
        assert_eq!(canon("fe80::1%eth0"), "fe80::1%eth0");
        assert_ne!(canon("10.0.0.1"), canon("10.0.0.10"));
        assert_eq!(canon("NAS.Corp.example."), "nas.corp.example");
    }

    #[test]
    fn refuses_the_rest() {
        for bad in
            ["", "[nas]", "10.0.0.01", "10.0.0", "a b", "a/b", "a#b", "-a", "nas..corp", "fe80::1%e/0", "nas:2049"]
        {
            assert!(Server::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn brackets_only_in_urls() {
        assert_eq!(Server::parse("fd00::1").unwrap().bracketed(), "[fd00::1]");
        assert_eq!(Server::parse("nas").unwrap().bracketed(), "nas");
    }
}
