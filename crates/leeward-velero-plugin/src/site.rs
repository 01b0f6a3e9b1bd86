//! What a site's ConfigMap says: which site this is, and the site mapping.

use crate::view;
use leeward_model::keys::{CONFIG_MAP, CONFIG_MAP_MAPPING, CONFIG_MAP_OTHER_SITE, CONFIG_MAP_SITE};
use leeward_model::mapping::{Mapping, MappingErrors, import};
use leeward_model::name::{InvalidName, SiteName};
use serde_json::Value;
use std::error::Error;

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
    #[error("ConfigMap {namespace}/{CONFIG_MAP}, key `{key}`: correct the name [LW-0602]")]
    Name { namespace: String, key: &'static str, source: InvalidName },
    #[error("ConfigMap {namespace}/{CONFIG_MAP}, key `{CONFIG_MAP_MAPPING}`: correct the site mapping [LW-0603]")]
    Mapping { namespace: String, source: MappingErrors },
    #[error(
        "ConfigMap {namespace}/{} cannot be used, and {namespace}/{CONFIG_MAP} has no key `{CONFIG_MAP_MAPPING}`; correct \
         its rules, or write a site mapping (`leeward mapping import` begins one) [LW-0643]",
        import::CONFIG_MAP
    )]
    Published { namespace: String, source: Box<dyn Error + Send + Sync> },
    #[error(
        "ConfigMap {namespace}/{CONFIG_MAP} says that this is site {site}, but its mapping is of {}; correct the key \
         `{CONFIG_MAP_SITE}` or the mapping's `sites` [LW-0604]",
        .sites.iter().map(SiteName::as_str).collect::<Vec<_>>().join(" and ")
    )]
    NotInMapping { namespace: String, site: SiteName, sites: Vec<SiteName> },
}

/// What other ConfigMaps of Velero's namespace say.
#[derive(Debug, Default)]
pub(crate) struct Others {
    /// Those with the label `leeward.io/mapping-table`.
    pub(crate) tables: Vec<Value>,
    /// The published Go plug-in's.
    pub(crate) published: Option<Value>,
}

/// The texts of a ConfigMap.
fn texts(config_map: &Value) -> impl Iterator<Item = (&String, &str)> {
    let keys = config_map["data"].as_object().into_iter().flatten();
    keys.filter_map(|(key, text)| Some((key, text.as_str()?)))
}

/// The text of a key; `None` if there is none or it is blank.
fn text<'a>(config_map: &'a Value, key: &str) -> Option<&'a str> {
    config_map["data"][key].as_str().filter(|text| !text.trim().is_empty())
}

/// The published ConfigMap as the mapping of volumes from `other` to `this`.
fn imported(published: &Value, other: &SiteName, this: &SiteName) -> Result<Mapping, Box<dyn Error + Send + Sync>> {
    let data = texts(published).map(|(key, text)| (key.clone(), text.to_owned())).collect();
    let proposal = import::import(&data, other, this)?;
    let mapping = Mapping::parse(&proposal.text)?;
    tracing::warn!(
        "the rules of ConfigMap {} are used from {other} to {this}, for {CONFIG_MAP} has no `{CONFIG_MAP_MAPPING}`; \
         `leeward mapping import` turns them into one",
        view::name(published)
    );
    proposal.notes.iter().for_each(|note| tracing::info!("ConfigMap {}: {note}", view::name(published)));
    Ok(mapping)
}

impl Site {
    /// Whether the ConfigMap holds a site mapping.
    pub(crate) fn has_mapping(config_map: &Value) -> bool {
        text(config_map, CONFIG_MAP_MAPPING).is_some()
    }

    /// Whether the mapping takes tables from documents that are no keys of its own ConfigMap.
    pub(crate) fn lacks_tables(config_map: &Value) -> bool {
        let mapping = text(config_map, CONFIG_MAP_MAPPING).unwrap_or_default();
        // Nearly every mapping has none, and then is not read twice.
        let may = mapping.contains("from");
        may && Mapping::documents(mapping).iter().any(|name| !config_map["data"][name].is_string())
    }

    /// Reads the ConfigMap of Velero's `namespace` (`None` if there is none), and those that it refers to.
    pub(crate) fn read(namespace: &str, config_map: Option<&Value>, others: &Others) -> Result<Self, SiteError> {
        let namespace = || namespace.to_owned();
        let config_map = config_map.ok_or_else(|| SiteError::Missing { namespace: namespace() })?;
        let name = |key: &'static str, what| {
            let missing = || SiteError::Key { namespace: namespace(), key, what };
            let name = text(config_map, key).ok_or_else(missing)?.trim();
            SiteName::parse(name).map_err(|source| SiteError::Name { namespace: namespace(), key, source })
        };
        let site = name(CONFIG_MAP_SITE, "the name of this site, as in the site mapping")?;
        let mapping = match (text(config_map, CONFIG_MAP_MAPPING), &others.published) {
            (Some(mapping), published) => {
                if let Some(published) = published {
                    tracing::info!(
                        "{CONFIG_MAP} has a site mapping, so ConfigMap {} is not used",
                        view::name(published)
                    );
                }
                // Tables may stand in keys of their own, and in ConfigMaps of their own. No name has a `/`.
                let own = texts(config_map).map(|(key, text)| (key.clone(), text.to_owned()));
                let all = others.tables.iter().flat_map(|table| {
                    texts(table).map(|(key, text)| (format!("{}/{key}", view::name(table)), text.to_owned()))
                });
                Mapping::parse_with(mapping, &own.chain(all).collect())
                    .map_err(|source| SiteError::Mapping { namespace: namespace(), source })?
            }
            (None, Some(published)) => {
                let other = name(
                    CONFIG_MAP_OTHER_SITE,
                    "the name of the site that the backups are from, for the rules of ConfigMap velero-plugin-regex-map; \
                     or add `mapping.yaml`",
                )?;
                imported(published, &other, &site)
                    .map_err(|source| SiteError::Published { namespace: namespace(), source })?
            }
            (None, None) => {
                let what = "the site mapping, the same at both sites";
                return Err(SiteError::Key { namespace: namespace(), key: CONFIG_MAP_MAPPING, what });
            }
        };
        if !mapping.has(&site) {
            let sites = mapping.sites().to_vec();
            return Err(SiteError::NotInMapping { namespace: namespace(), site, sites });
        }
        tracing::debug!(%site, config_map = view::name(config_map), "read the site's configuration");
        Ok(Self { name: site, mapping })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::played::Played;
    use leeward_model::keys::MAPPING_TABLE;
    use leeward_model::rewrite::rewrite;
    use serde_json::json;
    use std::sync::Arc;

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
        Site::read("velero", Some(&config_map(name)), &Others::default()).unwrap()
    }

    #[test]
    fn every_fault_of_the_config_map_is_told_with_what_to_do() {
        let fault = |config_map: Option<Value>| {
            Site::read("oadp", config_map.as_ref(), &Others::default()).unwrap_err().to_string()
        };
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

    const TABLES: &str = "apiVersion: leeward.io/v1alpha1
kind: SiteMapping
sites: [east, west]
rules:
  - name: arrays
    east: { inTree: fc }
    west: { inTree: fc }
    table: { parts: [wwid], from: [luns-1/a.csv, luns-2/b.csv, own.csv] }
";

    fn fc(wwid: &str) -> Value {
        json!({"metadata": {"name": "pv"}, "spec": {"fc": {"wwids": [wwid]}, "persistentVolumeReclaimPolicy": "Retain"}})
    }

    /// A cluster whose mapping takes its table from these ConfigMaps.
    fn with_tables(maps: &[(&str, Option<&str>, &str, &str)]) -> Arc<Played> {
        let played = Arc::new(Played::empty());
        played.set("configmaps", CONFIG_MAP, |map| {
            map["data"] = json!({"site": "west", "mapping.yaml": TABLES, "own.csv": "east,west\n3600a03,3600b03\n"});
        });
        for (name, label, key, text) in maps {
            let labels = label.map_or_else(|| json!({}), |label| json!({MAPPING_TABLE: label}));
            let metadata = json!({"name": name, "namespace": "velero", "labels": labels});
            played.add("configmaps", json!({"metadata": metadata, "data": {*key: text}}));
        }
        played
    }

    #[tokio::test]
    async fn a_table_may_be_spread_over_labelled_config_maps() {
        let first = ("luns-1", Some("true"), "a.csv", "east,west\n3600a01,3600b01\n");
        let second = ("luns-2", Some("true"), "b.csv", "east,west\n3600a02,3600b02\n");
        let cluster = with_tables(&[first, second]).cluster();
        let site = cluster.site().await.unwrap();
        let (east, west) = (SiteName::parse("east").unwrap(), SiteName::parse("west").unwrap());
        for row in ["01", "02", "03"] {
            let there = rewrite(&fc(&format!("3600a{row}")), &site.mapping, &east, &west).unwrap();
            assert_eq!(there.pv["spec"]["fc"]["wwids"], json!([format!("3600b{row}")]));
        }
        // One that has no label, another label, or is not there.
        for label in [None, Some("false")] {
            let cluster = with_tables(&[first, ("luns-2", label, second.2, second.3)]).cluster();
            let error = cluster.site().await.unwrap_err();
            let text = format!("{error}: {}", error.source().unwrap());
            assert!(text.contains("LW-0603") && text.contains("no document \"luns-2/b.csv\""), "{text}");
        }
        // What the API server refuses is said, and asked for again with the next volume.
        let played = with_tables(&[first, second]);
        played.fail("GET /api/v1/namespaces/velero/configmaps");
        let cluster = played.cluster();
        assert!(cluster.site().await.unwrap_err().to_string().contains("LW-0606"));
        cluster.site().await.unwrap();
    }

    #[tokio::test]
    async fn config_maps_are_listed_only_for_tables() {
        let played = Arc::new(Played::empty());
        let cluster = played.cluster();
        cluster.site().await.unwrap();
        cluster.site().await.unwrap();
        let asked = played.asked.lock().unwrap().clone();
        let all = ["leeward-site", "velero-plugin-regex-map"];
        assert_eq!(asked, all.map(|name| format!("GET /api/v1/namespaces/velero/configmaps/{name}")));
    }

    fn published(find: &str) -> Value {
        let metadata = json!({"name": import::CONFIG_MAP, "namespace": "velero"});
        json!({"metadata": metadata, "data": {
            "rule1.path": "spec.nfs.server", "rule1.find": find, "rule1.replace": "10.77.0.2"
        }})
    }

    #[tokio::test]
    async fn the_published_config_map_is_used_where_there_is_no_mapping() {
        let played = Arc::new(Played::empty());
        played.add("configmaps", published("^10\\.77\\.0\\.1$"));
        let (east, west) = (SiteName::parse("east").unwrap(), SiteName::parse("west").unwrap());
        let pv = json!({"metadata": {"name": "pv"}, "spec": {"nfs": {"server": "10.77.0.1", "path": "/export/a"}}});
        // Ours wins, and does not need the other.
        played.fail("GET /api/v1/namespaces/velero/configmaps/velero-plugin-regex-map");
        played.cluster().site().await.unwrap();
        let cluster = played.cluster();
        let site = cluster.site().await.unwrap();
        assert_eq!(rewrite(&pv, &site.mapping, &east, &west).unwrap().pv["spec"]["nfs"]["path"], "/vault/a");

        played.set("configmaps", CONFIG_MAP, |map| map["data"] = json!({"site": "west"}));
        played.fail("GET /api/v1/namespaces/velero/configmaps/velero-plugin-regex-map");
        assert!(played.cluster().site().await.unwrap_err().to_string().contains("LW-0606"));
        let text = played.cluster().site().await.unwrap_err().to_string();
        assert!(text.contains("LW-0602") && text.contains("`other-site`"), "{text}");

        played.set("configmaps", CONFIG_MAP, |map| map["data"] = json!({"site": "west", "other-site": "east"}));
        let cluster = played.cluster();
        let site = cluster.site().await.unwrap();
        let there = rewrite(&pv, &site.mapping, &east, &west).unwrap().pv;
        assert_eq!(there["spec"]["nfs"], json!({"server": "10.77.0.2", "path": "/export/a"}));
        let mut other = pv;
        other["spec"]["nfs"]["server"] = "10.77.0.10".into();
        assert!(rewrite(&other, &site.mapping, &east, &west).is_err(), "strict, as every mapping is");

        played.set("configmaps", import::CONFIG_MAP, |map| *map = published("("));
        let error = played.cluster().site().await.unwrap_err();
        let text = format!("{error}: {}", error.source().unwrap());
        assert!(text.contains("LW-0643") && text.contains("rule1.find") && text.contains("LW-0145"), "{text}");
    }
}
