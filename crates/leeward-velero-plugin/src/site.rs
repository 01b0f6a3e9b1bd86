//! What a site's ConfigMap says: which site this is, and the site mapping.

use crate::view;
use leeward_model::keys::{CONFIG_MAP, CONFIG_MAP_MAPPING, CONFIG_MAP_SITE};
use leeward_model::mapping::{Mapping, MappingErrors};
use leeward_model::name::{InvalidName, SiteName};
use serde_json::Value;

/// A site as its plug-in knows it.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) name: SiteName,
    pub(crate) mapping: Mapping,
}

/// The ConfigMap cannot be used. Each says what to write into it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SiteError {
    #[error(
        "ConfigMap {namespace}/{CONFIG_MAP} does not exist, so the plug-in does not know which site this is; create it \
         with the keys `{CONFIG_MAP_SITE}` and `{CONFIG_MAP_MAPPING}` [LW-0601]"
    )]
    Missing { namespace: String },
    #[error("ConfigMap {namespace}/{CONFIG_MAP} has no key `{key}`; add it: {what} [LW-0602]")]
    Key { namespace: String, key: &'static str, what: &'static str },
    #[error("ConfigMap {namespace}/{CONFIG_MAP}, key `{CONFIG_MAP_SITE}`: correct the name [LW-0602]")]
    Name { namespace: String, source: InvalidName },
    #[error("ConfigMap {namespace}/{CONFIG_MAP}, key `{CONFIG_MAP_MAPPING}`: correct the site mapping [LW-0603]")]
    Mapping { namespace: String, source: MappingErrors },
    #[error(
        "ConfigMap {namespace}/{CONFIG_MAP} says that this is site {site}, but its mapping is of {}; correct the key \
         `{CONFIG_MAP_SITE}` or the mapping's `sites` [LW-0604]",
        .sites.iter().map(SiteName::as_str).collect::<Vec<_>>().join(" and ")
    )]
    NotInMapping { namespace: String, site: SiteName, sites: Vec<SiteName> },
}

impl Site {
    /// Reads the ConfigMap of Velero's `namespace`; `None` if there is none.
    pub(crate) fn read(namespace: &str, config_map: Option<&Value>) -> Result<Self, SiteError> {
        let namespace = || namespace.to_owned();
        let config_map = config_map.ok_or_else(|| SiteError::Missing { namespace: namespace() })?;
        let key = |key: &'static str, what| {
            let found = config_map["data"][key].as_str().map(str::trim).filter(|t| !t.is_empty());
            found.ok_or_else(|| SiteError::Key { namespace: namespace(), key, what })
        };
        let name = key(CONFIG_MAP_SITE, "the name of this site, as in the site mapping")?;
        let name = SiteName::parse(name).map_err(|source| SiteError::Name { namespace: namespace(), source })?;
        // Not trimmed: faults are told by line and column.
        key(CONFIG_MAP_MAPPING, "the site mapping, the same at both sites")?;
        let text = config_map["data"][CONFIG_MAP_MAPPING].as_str().unwrap_or_default();
        // Tables may stand in keys of their own.
        let keys = config_map["data"].as_object().into_iter().flatten();
        let tables = keys.filter_map(|(key, text)| Some((key.clone(), text.as_str()?.to_owned()))).collect();
        let mapping = Mapping::parse_with(text, &tables)
            .map_err(|source| SiteError::Mapping { namespace: namespace(), source })?;
        if !mapping.has(&name) {
            let sites = mapping.sites().to_vec();
            return Err(SiteError::NotInMapping { namespace: namespace(), site: name, sites });
        }
        tracing::debug!(site = %name, config_map = view::name(config_map), "read the site's configuration");
        Ok(Self { name, mapping })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) const MAPPING: &str = "apiVersion: leeward.io/v1alpha1
kind: SiteMapping
sites: [east, west]
rules:
  - name: nas
    east: { nfs: { server: 10.77.0.1, path: /export } }
    west: { nfs: { server: 10.77.0.2, path: /vault } }
storageClasses:
  - { east: gold, west: silver }
";

    pub(crate) fn config_map(site: &str) -> Value {
        json!({"metadata": {"name": CONFIG_MAP}, "data": {"site": site, "mapping.yaml": MAPPING}})
    }

    pub(crate) fn site(name: &str) -> Site {
        Site::read("velero", Some(&config_map(name))).unwrap()
    }

    #[test]
    fn every_fault_of_the_config_map_is_told_with_what_to_do() {
        let fault = |config_map: Option<Value>| Site::read("oadp", config_map.as_ref()).unwrap_err().to_string();
        let cases = [
            (None, "LW-0601", "oadp/leeward-site"),
            (Some(json!({})), "LW-0602", "`site`"),
            (Some(json!({"data": {"site": "East", "mapping.yaml": MAPPING}})), "LW-0602", "`site`"),
            (Some(json!({"data": {"site": "east"}})), "LW-0602", "`mapping.yaml`"),
            (Some(json!({"data": {"site": "east", "mapping.yaml": "kind: X"}})), "LW-0603", "mapping"),
            (Some(config_map("north")), "LW-0604", "east and west"),
        ];
        for (config_map, code, part) in cases {
            let text = fault(config_map);
            assert!(text.contains(code) && text.contains(part) && text.contains("oadp/leeward-site"), "{text}");
        }
        assert_eq!(site("west").name.as_str(), "west");
    }
}
