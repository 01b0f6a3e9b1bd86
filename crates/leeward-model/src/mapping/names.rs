//! Storage classes and networks: names of one site that stand for names of another.

use super::Mapping;
use crate::name::SiteName;

impl Mapping {
    /// The class at `target` that stands for `class` at `source`: the mapped one, else the one of the same name.
    ///
    /// # Errors
    /// [`ClassError`] if `class` has no pair of its own but its name is taken at `target` by another class's pair; the
    /// way back would then lead to that other class. Or if a site is not of this mapping.
    pub fn storage_class(&self, class: &str, source: &SiteName, target: &SiteName) -> Result<String, ClassError> {
        let (from, to) = self.ends(source, target).map_err(|site| ClassError::UnknownSite { site })?;
        if from == to || class.is_empty() {
            return Ok(class.to_owned());
        }
        self.storage_classes.across(class, from, to).map_err(|taken| ClassError::Taken {
            class: class.to_owned(),
            source: source.clone(),
            target: target.clone(),
            by: taken.by,
        })
    }

    /// The network at `target` that stands for `network` (`namespace/name`) at `source`: the mapped one, else the one of the
    /// same name.
    ///
    /// # Errors
    /// [`NetworkError`] if `network` has no pair of its own but its name is taken at `target` by another's pair. Or if a
    /// site is not of this mapping.
    pub fn network(&self, network: &str, source: &SiteName, target: &SiteName) -> Result<String, NetworkError> {
        let (from, to) = self.ends(source, target).map_err(|site| NetworkError::UnknownSite { site })?;
        if from == to {
            return Ok(network.to_owned());
        }
        self.networks.across(network, from, to).map_err(|taken| NetworkError::Taken {
            network: network.to_owned(),
            source: source.clone(),
            target: target.clone(),
            by: taken.by,
        })
    }

    /// Both sites as this mapping counts them, or the one that is not of it.
    fn ends(&self, source: &SiteName, target: &SiteName) -> Result<(usize, usize), SiteName> {
        let of = |site: &SiteName| self.index(site).ok_or_else(|| site.clone());
        Ok((of(source)?, of(target)?))
    }

    /// Whether the mapping says anything of networks. If not, it does not matter which site a machine is from.
    #[must_use]
    pub fn maps_networks(&self) -> bool {
        !self.networks.0.is_empty()
    }
}

/// A storage class cannot be mapped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClassError {
    /// Its name means another class at the target.
    #[error(
        "storage class {class:?} of site {source} has no pair in storageClasses, and at site {target} that name stands for {by:?} of site {source}; add a pair for {class:?} [LW-0126]"
    )]
    Taken {
        /// The class.
        class: String,
        /// Where it is.
        // Named so that thiserror does not take it for the error's cause.
        r#source: SiteName,
        /// Where it should be.
        target: SiteName,
        /// The class whose pair has the name.
        by: String,
    },
    /// A site that the mapping does not have.
    #[error("site {site} is not in the site mapping; correct the name, or add the site to `sites` [LW-0123]")]
    UnknownSite {
        /// The site.
        site: SiteName,
    },
}

/// A network cannot be mapped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Its name means another network at the target.
    #[error(
        "network {network:?} of site {source} has no pair in networks, and at site {target} that name stands for {by:?} of site {source}; add a pair for {network:?} [LW-0180]"
    )]
    Taken {
        /// The network, `namespace/name`.
        network: String,
        /// Where it is.
        // Named so that thiserror does not take it for the error's cause.
        r#source: SiteName,
        /// Where it should be.
        target: SiteName,
        /// The network whose pair has the name.
        by: String,
    },
    /// A site that the mapping does not have.
    #[error("site {site} is not in the site mapping; correct the name, or add the site to `sites` [LW-0123]")]
    UnknownSite {
        /// The site.
        site: SiteName,
    },
}
