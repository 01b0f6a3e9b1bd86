//! The name of an action: what Velero shows in its logs and sends with every call.

/// Velero accepts `<DNS-1123 subdomain>/<anything>` with exactly one slash, and refuses to start on any other name.
///
/// # Errors
/// [`InvalidName`] if `name` has another form.
pub(crate) fn check(name: &str) -> Result<(), InvalidName> {
    let invalid = |reason| Err(InvalidName { name: name.to_owned(), reason });
    let Some((prefix, rest)) = name.split_once('/') else {
        return invalid("it has no '/'");
    };
    if rest.is_empty() || rest.contains('/') {
        return invalid("it needs exactly one '/', with something behind it");
    }
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let label = |l: &str| {
        l.starts_with(alphanumeric) && l.ends_with(alphanumeric) && l.chars().all(|c| alphanumeric(c) || c == '-')
    };
    if prefix.len() > 253 || !prefix.split('.').all(label) {
        return invalid("the part before '/' is not a DNS-1123 subdomain");
    }
    Ok(())
}

/// A name that Velero would not accept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} cannot be the name of an action: {reason}")]
pub(crate) struct InvalidName {
    name: String,
    reason: &'static str,
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn accepts_what_velero_accepts_and_no_more() {
        for good in ["example.io/a", "velero.io/csi-pvc-backupper", "a/B_c.d", "my-plugin/x"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "a/", "/a", "a/b/c", "A.io/x", "a..b/x", "-a/x", "a-/x", "a b/x"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
