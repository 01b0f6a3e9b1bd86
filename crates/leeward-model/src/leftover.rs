//! Finds what still names the old file server after a rewriting: a mount option `addr=10.0.0.1`, an attribute that no
//! driver profile knows. Such a volume would mount the wrong disk at the new site, or none.

use crate::json;
use crate::server::Server;
use serde_json::Value;

/// Whether `text` contains `server` as a word of its own: `10.0.0.1` is not in `10.0.0.10`.
pub(crate) fn mentions(text: &str, server: &Server) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || "._-:%[]".contains(c);
    let as_word = text.split(|c: char| !word(c)).filter(|w| !w.is_empty()).any(|w| {
        let host = |w: &str| Server::parse(w).is_ok_and(|s| s == *server);
        // `server:/path` and `server:port` besides the bare server; IPv6 has colons of its own.
        host(w) || w.rsplit_once(':').is_some_and(|(h, _)| host(h))
    });
    // `pv-10.0.0.1-a` names the address too; in host names a hyphen is a letter like any other.
    let border = |c: Option<char>| !c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '.' || c == ':');
    let address = server.as_str();
    let inside = || {
        text.match_indices(address)
            .any(|(at, _)| border(text[..at].chars().next_back()) && border(text[at + address.len()..].chars().next()))
    };
    as_word || (server.is_address() && inside())
}

/// The JSON pointer of the first place in `pv`'s spec that still names `server`.
///
/// Looked at are mount options of the form `name=value` and the CSI attributes. A server whose name is one plain word is
/// looked for in mount options only: an attribute `protocol: nfs` does not name the server `nfs`.
pub(crate) fn find(pv: &Value, server: &Server) -> Option<String> {
    let options = pv.pointer("/spec/mountOptions").and_then(Value::as_array).into_iter().flatten();
    for (at, option) in options.enumerate() {
        let mut values = option.as_str().into_iter().flat_map(|o| o.split(',')).filter_map(|o| o.split_once('='));
        if values.any(|(_, value)| mentions(value, server)) {
            return Some(format!("/spec/mountOptions/{at}"));
        }
    }
    if !server.as_str().contains(['.', ':']) {
        return None;
    }
    let attributes = pv.pointer("/spec/csi/volumeAttributes").and_then(Value::as_object)?;
    attributes
        .iter()
        .filter(|(key, _)| !key.starts_with("csi.storage.k8s.io/"))
        .find(|(_, value)| value.as_str().is_some_and(|v| mentions(v, server)))
        .map(|(key, _)| format!("/spec/csi/volumeAttributes/{}", json::escape(key)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn server(text: &str) -> Server {
        Server::parse(text).unwrap()
    }

    #[test]
    fn words_not_substrings() {
        let nas = server("10.0.0.1");
        for text in ["10.0.0.1", "x 10.0.0.1:/a", "10.0.0.1:2049", "a,10.0.0.1,b", "nfs://10.0.0.1/a", "pv-10.0.0.1-a"]
        {
            assert!(mentions(text, &nas), "{text}");
        }
        for text in ["10.0.0.10", "110.0.0.1", "a10.0.0.1", ""] {
            assert!(!mentions(text, &nas), "{text}");
        }
        assert!(mentions("[FD00::1]:/a", &server("fd00::1")));
        assert!(!mentions("old-nas.corp", &server("nas.corp")));
    }

    #[test]
    fn finds_options_and_attributes() {
        let pv = json!({"spec": {"mountOptions": ["nfsvers=4.1", "hard,addr=10.0.0.1"]}});
        assert_eq!(find(&pv, &server("10.0.0.1")).as_deref(), Some("/spec/mountOptions/1"));
        let pv = json!({"spec": {"csi": {"volumeAttributes": {"a/b": "10.0.0.1", "csi.storage.k8s.io/pvc/name": "10.0.0.1"}}}});
        assert_eq!(find(&pv, &server("10.0.0.1")).as_deref(), Some("/spec/csi/volumeAttributes/a~1b"));
        let pv = json!({"spec": {"csi": {"volumeAttributes": {"csi.storage.k8s.io/pvc/name": "10.0.0.1", "protocol": "nfs"}}}});
        assert_eq!(find(&pv, &server("10.0.0.1")), None);
        assert_eq!(find(&pv, &server("nfs")), None);
    }
}
