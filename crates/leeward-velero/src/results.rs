//! Velero's results file: what it warned of and what failed, by namespace.

use serde::Deserialize;
use std::collections::BTreeMap;

/// Warnings and errors of one backup or restore, as lines `namespace: message`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Results {
    /// What failed.
    pub errors: Vec<String>,
    /// What Velero warned of.
    pub warnings: Vec<String>,
}

/// As Velero writes it; Go writes an empty list as `null` or not at all.
#[derive(Deserialize)]
struct File {
    errors: Option<Messages>,
    warnings: Option<Messages>,
}

#[derive(Deserialize)]
struct Messages {
    velero: Option<Vec<String>>,
    cluster: Option<Vec<String>>,
    namespaces: Option<BTreeMap<String, Option<Vec<String>>>>,
}

impl Results {
    /// Reads the (unpacked) file.
    ///
    /// # Errors
    /// It is not JSON of Velero's form.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        let File { errors, warnings } = serde_json::from_slice(json)?;
        Ok(Self { errors: errors.map(lines).unwrap_or_default(), warnings: warnings.map(lines).unwrap_or_default() })
    }
}

fn lines(messages: Messages) -> Vec<String> {
    let of = |scope: &str, messages: Option<Vec<String>>| {
        let scope = scope.to_owned();
        messages.unwrap_or_default().into_iter().map(move |message| format!("{scope}: {}", one_line(&message)))
    };
    let mut lines: Vec<String> = of("velero", messages.velero).chain(of("cluster", messages.cluster)).collect();
    for (namespace, messages) in messages.namespaces.unwrap_or_default() {
        lines.extend(of(&format!("namespace {namespace}"), messages));
    }
    lines
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_scope_of_each_message() {
        let json = br#"{"errors":{"velero":["bucket gone"],"namespaces":{"shop":[" resource: /persistentvolumeclaims name: /db-data message: /Error\nbacking up"],"bank":null}},
            "warnings":{"cluster":["PV exists"],"namespaces":null}}"#;
        let results = Results::parse(json).unwrap();
        assert_eq!(
            results.errors,
            [
                "velero: bucket gone",
                "namespace shop: resource: /persistentvolumeclaims name: /db-data message: /Error backing up"
            ]
        );
        assert_eq!(results.warnings, ["cluster: PV exists"]);
    }

    #[test]
    fn nothing_to_say_is_said_in_several_ways() {
        for json in
            ["{}", r#"{"errors":null,"warnings":{}}"#, r#"{"errors":{"velero":null},"warnings":{"cluster":[]}}"#]
        {
            assert_eq!(Results::parse(json.as_bytes()).unwrap(), Results::default(), "{json}");
        }
        assert!(Results::parse(b"[1]").is_err());
        assert!(Results::parse(br#"{"errors":["x"]}"#).is_err());
    }
}
