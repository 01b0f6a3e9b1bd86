//! What the plug-ins at both sites read: the site mapping and its tables, as ConfigMaps of Velero's namespace.

use leeward_model::{keys, name::SiteName};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Kubernetes takes no more in one ConfigMap (`MaxSecretSize`, which counts for ConfigMaps as well).
const MAX_BYTES: usize = 1 << 20;

/// The site mapping as it is written, with the tables that stand in documents of their own.
#[derive(Debug, Clone, Default)]
pub struct Publication {
    /// The mapping's text.
    pub text: String,
    /// The tables by the name that the mapping has for them: `KEY`, beside the mapping, or `CONFIGMAP/KEY`.
    pub tables: BTreeMap<String, String>,
}

/// A table that no ConfigMap can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unpublishable {
    /// It has a name that none has.
    #[error(
        "the table {0:?} has no name that a ConfigMap could have, so the plug-ins could not read it; call it `KEY` or \
         `CONFIGMAP/KEY`, of letters, digits, `-`, `_` and `.`"
    )]
    Name(String),
    /// It is too large.
    #[error(
        "ConfigMap {name} would have {bytes} bytes, and Kubernetes takes {MAX_BYTES}; divide the tables among several, \
         `from: [luns-1/rows.csv, luns-2/rows.csv]`"
    )]
    Size {
        /// Of the ConfigMap.
        name: String,
        /// All keys and texts together.
        bytes: usize,
    },
}

impl Publication {
    /// Whether ConfigMaps can hold it.
    ///
    /// # Errors
    /// [`Unpublishable`], naming the first that cannot be.
    pub fn check(&self) -> Result<(), Unpublishable> {
        for table in self.tables.keys() {
            let (map, key) = place(table);
            // The plug-ins look for tables with a `/` in other ConfigMaps than their own.
            let own = table.contains('/') && map == keys::CONFIG_MAP;
            if own || !is_name(map) || !is_key(key) {
                return Err(Unpublishable::Name(table.clone()));
            }
        }
        for (name, texts) in self.texts() {
            let bytes = texts.iter().map(|(key, text)| key.len() + text.len()).sum();
            if bytes > MAX_BYTES {
                return Err(Unpublishable::Size { name: name.to_owned(), bytes });
            }
        }
        Ok(())
    }

    /// The texts of each ConfigMap.
    fn texts(&self) -> BTreeMap<&str, BTreeMap<&str, &str>> {
        let mut maps = BTreeMap::from([(keys::CONFIG_MAP, BTreeMap::from([(keys::CONFIG_MAP_MAPPING, &*self.text)]))]);
        for (table, text) in &self.tables {
            let (map, key) = place(table);
            maps.entry(map).or_default().insert(key, text);
        }
        maps
    }

    /// The ConfigMaps for the site `site`, by name; tables first, so that at no moment there is a mapping without them.
    pub(crate) fn config_maps(&self, site: &SiteName, namespace: &str) -> Vec<(String, Value)> {
        let mut maps: Vec<_> = self.texts().into_iter().collect();
        maps.sort_by_key(|(name, _)| *name == keys::CONFIG_MAP);
        let object = |(name, texts): (&str, BTreeMap<&str, &str>)| {
            let mut data: Map<_, _> = texts.into_iter().map(|(key, text)| (key.to_owned(), text.into())).collect();
            let mut labels = json!({"velero.io/plugin-config": "", "app.kubernetes.io/managed-by": "leeward"});
            if name == keys::CONFIG_MAP {
                data.insert(keys::CONFIG_MAP_SITE.to_owned(), site.as_str().into());
            } else {
                labels[keys::MAPPING_TABLE] = "true".into();
            }
            let metadata = json!({"name": name, "namespace": namespace, "labels": labels});
            (name.to_owned(), json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}))
        };
        maps.into_iter().map(object).collect()
    }
}

/// ConfigMap and key of a table.
fn place(table: &str) -> (&str, &str) {
    table.split_once('/').unwrap_or((keys::CONFIG_MAP, table))
}

/// Whether it is a DNS subdomain (RFC 1123), as names of ConfigMaps are.
fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        let ends = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        label.bytes().all(|c| ends(c) || c == b'-')
            && label.bytes().next().is_some_and(ends)
            && label.bytes().last().is_some_and(ends)
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// Whether it can be a ConfigMap's key, and is none that means something else.
fn is_key(text: &str) -> bool {
    let known =
        [keys::CONFIG_MAP_SITE, keys::CONFIG_MAP_MAPPING, keys::CONFIG_MAP_PROMOTE, keys::CONFIG_MAP_OTHER_SITE];
    let letter = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
    (1..=253).contains(&text.len())
        && text.bytes().all(letter)
        && text != "."
        && !text.starts_with("..")
        && !known.contains(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(tables: &[(&str, &str)]) -> Publication {
        let tables = tables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        Publication { text: "kind: SiteMapping".to_owned(), tables }
    }

    #[test]
    fn tables_are_published_where_the_plug_ins_look_and_before_the_mapping() {
        let publication = publication(&[("own.csv", "a"), ("luns-1/rows.csv", "b"), ("luns-1/more.csv", "c")]);
        publication.check().unwrap();
        let maps = publication.config_maps(&SiteName::parse("east").unwrap(), "oadp");
        let names: Vec<_> = maps.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["luns-1", "leeward-site"]);
        assert_eq!(maps[0].1["data"], json!({"more.csv": "c", "rows.csv": "b"}));
        assert_eq!(maps[0].1["metadata"]["labels"]["leeward.io/mapping-table"], "true");
        let site = json!({"mapping.yaml": "kind: SiteMapping", "own.csv": "a", "site": "east"});
        assert_eq!(maps[1].1["data"], site);
        assert!(maps[1].1["metadata"]["labels"]["leeward.io/mapping-table"].is_null());
        assert!(
            maps.iter().all(|(name, map)| map["metadata"]["name"] == **name && map["metadata"]["namespace"] == "oadp")
        );
    }

    #[test]
    fn what_no_config_map_holds_is_told_before_anything_is_published() {
        for bad in [
            "a/b/c.csv",
            "/rows.csv",
            "Luns/rows.csv",
            "luns_1/r.csv",
            "luns/",
            "..",
            "rows of east.csv",
            "luns-/r",
            "site",
            "leeward-site/r",
        ] {
            assert_eq!(publication(&[(bad, "")]).check(), Err(Unpublishable::Name(bad.to_owned())));
        }
        for good in ["rows.csv", "luns-1/rows.csv", "luns.1/site_a.csv", "x/ROWS"] {
            assert_eq!(publication(&[(good, "")]).check(), Ok(()));
        }
        let half = "x".repeat(MAX_BYTES / 2);
        let together = publication(&[("luns/a", &half), ("luns/b", &half)]).check().unwrap_err().to_string();
        assert!(together.contains("luns") && together.contains("1048578"), "{together}");
        assert_eq!(publication(&[("luns-1/a", &half), ("luns-2/b", &half)]).check(), Ok(()));
    }
}
