//! Finds what still names the old file server after a rewriting: a mount option `addr=10.0.0.1`, an attribute that no
//! driver profile knows. Such a volume would mount the wrong disk at the new site, or none.

use crate::address::VolumeAddress;
use crate::json;
use crate::profile::{Maps, Profile};
use crate::server::Server;
use serde_json::Value;

/// What in `pv` still names the storage `before`, though it is now at `after`: the pointer and what it names.
pub(crate) fn of(
    pv: &Value,
    before: &VolumeAddress,
    after: &VolumeAddress,
    profile: Option<&Profile>,
) -> Option<(String, String)> {
    let by_server = |text: &str| Some((find(pv, &Server::parse(text).ok()?)?, text.to_owned()));
    if let (Some(old), Some(new)) = (before.nfs(), after.nfs()) {
        return if old.server == new.server { None } else { by_server(&old.server) };
    }
    let (VolumeAddress::Driver { parts: old, .. }, VolumeAddress::Driver { parts: new, .. }, Some(profile)) =
        (before, after, profile)
    else {
        return None;
    };
    // What the profile wrote is right whatever it says: a remote half that became local stands there by its rule.
    let own = profile.pointers(pv);
    let stays = |text: &String| new.values().any(|value| value.texts().contains(text));
    for (part, value) in old {
        for text in value.texts().iter().filter(|text| !stays(text)) {
            let found = match profile.kind(part).maps {
                Maps::Host => find(pv, &Server::parse(text).ok()?),
                // Short texts and numbers occur by chance.
                _ if text.len() < 4 || text.chars().all(|c| c.is_ascii_digit()) => None,
                _ => attributes(pv).find(|(_, v)| v.as_str() == Some(text)).map(|(key, _)| attribute_pointer(key)),
            };
            if let Some(pointer) = found.filter(|pointer| !own.contains(pointer)) {
                return Some((pointer, text.clone()));
            }
        }
    }
    None
}

/// The CSI attributes that a driver wrote; those under `csi.storage.k8s.io/` are Kubernetes' own.
fn attributes(pv: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let attributes = pv.pointer("/spec/csi/volumeAttributes").and_then(Value::as_object).into_iter().flatten();
    attributes.filter(|(key, _)| !key.starts_with("csi.storage.k8s.io/"))
}

fn attribute_pointer(key: &str) -> String {
    format!("/spec/csi/volumeAttributes/{}", json::escape(key))
}

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
    attributes(pv)
        .find(|(_, value)| value.as_str().is_some_and(|v| mentions(v, server)))
        .map(|(key, _)| attribute_pointer(key))
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
