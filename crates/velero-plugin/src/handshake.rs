//! The handshake: how a host and a plug-in find out that they are meant for each other.
//!
//! The host sets a cookie in the environment and waits for one line on stdout,
//! `<core protocol>|<app protocol>|unix|<socket>|grpc|`. Nothing else may ever be written to stdout.

use std::path::PathBuf;
use std::{env, path::Path};

pub(crate) const COOKIE_NAME: &str = "VELERO_PLUGIN";
pub(crate) const COOKIE_VALUE: &str = "hello";
pub(crate) const PROTOCOLS: &str = "PLUGIN_PROTOCOL_VERSIONS";
pub(crate) const CLIENT_CERT: &str = "PLUGIN_CLIENT_CERT";
const SOCKET_DIR: &str = "PLUGIN_UNIX_SOCKET_DIR";
const CORE_PROTOCOL: u32 = 1;
/// Velero's own protocol; the only one there has been since 2020.
pub(crate) const APP_PROTOCOL: u32 = 2;

/// Why this process does not serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("this program is a plug-in of Velero; the Velero server starts it, it is not meant to be run by hand")]
    NotStartedByVelero,
    #[error(
        "the host asked for mutual TLS ({CLIENT_CERT} is set), which this plug-in does not speak; Velero never asks for \
         it, so something else has set the variable: remove it from the environment"
    )]
    MutualTls,
    #[error(
        "the host speaks plug-in protocol {offered}, this plug-in {APP_PROTOCOL}; Velero 1.4 and later speak {APP_PROTOCOL}"
    )]
    Protocol { offered: String },
}

/// Whether the host is a Velero that this crate can serve.
///
/// # Errors
/// [`Refusal`] if not.
pub(crate) fn accept(variable: impl Fn(&str) -> Option<String>) -> Result<(), Refusal> {
    if variable(COOKIE_NAME).as_deref() != Some(COOKIE_VALUE) {
        return Err(Refusal::NotStartedByVelero);
    }
    if variable(CLIENT_CERT).is_some_and(|cert| !cert.is_empty()) {
        return Err(Refusal::MutualTls);
    }
    match variable(PROTOCOLS) {
        Some(offered) if !offered.split(',').any(|v| v.trim() == APP_PROTOCOL.to_string()) => {
            Err(Refusal::Protocol { offered })
        }
        _ => Ok(()),
    }
}

/// The line that says where this plug-in listens.
pub(crate) fn line(socket: &Path) -> String {
    // The empty last field is where a certificate would be.
    format!("{CORE_PROTOCOL}|{APP_PROTOCOL}|unix|{}|grpc|\n", socket.display())
}

/// The socket named by a handshake line.
#[cfg(feature = "harness")]
pub(crate) fn parse(line: &str) -> Option<PathBuf> {
    let mut fields = line.trim_end_matches('\n').split('|');
    let versions = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    if versions != (CORE_PROTOCOL, APP_PROTOCOL) || fields.next()? != "unix" {
        return None;
    }
    let socket = PathBuf::from(fields.next()?);
    (fields.next()? == "grpc").then_some(socket)
}

/// Where sockets go: the host's choice, else the temporary directory (the one place a Velero container can write to).
pub(crate) fn socket_dir() -> PathBuf {
    env::var_os(SOCKET_DIR).filter(|dir| !dir.is_empty()).map_or_else(env::temp_dir, PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(set: &[(&str, &str)]) -> Result<(), Refusal> {
        accept(|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn only_velero_s_cookie_opens() {
        assert_eq!(accepts(&[]), Err(Refusal::NotStartedByVelero));
        assert_eq!(accepts(&[(COOKIE_NAME, "hallo")]), Err(Refusal::NotStartedByVelero));
        assert_eq!(accepts(&[(COOKIE_NAME, "hello")]), Ok(()));
        assert_eq!(accepts(&[(COOKIE_NAME, "hello"), (PROTOCOLS, "1,2")]), Ok(()));
    }

    #[test]
    fn what_cannot_be_spoken_is_refused_with_its_reason() {
        assert_eq!(accepts(&[(COOKIE_NAME, "hello"), (CLIENT_CERT, "-----BEGIN")]), Err(Refusal::MutualTls));
        let offered = "3".to_owned();
        assert_eq!(accepts(&[(COOKIE_NAME, "hello"), (PROTOCOLS, "3")]), Err(Refusal::Protocol { offered }));
    }

    #[test]
    fn the_line_is_byte_for_byte_what_a_go_plug_in_prints() {
        assert_eq!(line(Path::new("/tmp/plugin1")), "1|2|unix|/tmp/plugin1|grpc|\n");
    }
}
