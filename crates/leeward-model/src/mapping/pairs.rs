//! Names that stand for each other at the sites: storage classes, secrets, zones.
//!
//! Law: a name stands in one row only at each site, so every row works in both directions. A name without a row is the
//! same at all sites, unless another row has it there.

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Pairs(pub(crate) Vec<Vec<Option<String>>>);

/// A name that has no row and is taken at the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Whose name it is there.
    pub(crate) by: String,
}

impl Pairs {
    /// The name across that a row gives.
    pub(crate) fn mapped(&self, name: &str, from: usize, to: usize) -> Option<&str> {
        let row = self.0.iter().find(|row| row[from].as_deref() == Some(name) && row[to].is_some())?;
        row[to].as_deref()
    }

    /// The name across: the row's, else the same.
    pub(crate) fn across(&self, name: &str, from: usize, to: usize) -> Result<String, Taken> {
        if let Some(mapped) = self.mapped(name, from, to) {
            return Ok(mapped.to_owned());
        }
        match self.0.iter().find(|row| row[to].as_deref() == Some(name) && row[from].is_some()) {
            Some(row) => Err(Taken { by: row[from].clone().unwrap_or_default() }),
            None => Ok(name.to_owned()),
        }
    }
}
