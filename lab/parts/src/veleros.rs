//! [`VeleroVersion`] and [`VeleroParts`]: the Veleros a site can run besides the one of the demo.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;
use thiserror::Error;

use crate::builder::{BuildError, Builder};
use crate::cache::{Cache, CacheError};
use crate::parts::sources;
use crate::progress::Progress;
use crate::recipe::{self, Crds, Recipe};

/// A Velero that some OADP ships.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum VeleroVersion {
    /// 1.14.1, of OADP 1.4.
    V1_14,
    /// 1.16.2, of OADP 1.5.
    V1_16,
    /// 1.18.2, of OADP 1.6: the one every lab has.
    V1_18,
}

/// No such Velero.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the lab has no Velero \"{0}\"; it has 1.14.1, 1.16.2 and 1.18.2 [LW-0992]")]
pub struct UnknownVelero(String);

/// One Velero with all that belongs to its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VeleroParts {
    /// Its version, such as `1.16.2`.
    pub version: &'static str,
    /// Server and command line.
    pub velero: PathBuf,
    /// Its plug-in for S3.
    pub velero_plugin_for_aws: PathBuf,
    /// Its 13 CRDs, as a file of YAML documents.
    pub crds: PathBuf,
}

impl VeleroVersion {
    /// All of them, oldest first.
    pub const ALL: [Self; 3] = [Self::V1_14, Self::V1_16, Self::V1_18];

    /// The exact version, without a `v`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1_14 => "1.14.1",
            Self::V1_16 => "1.16.2",
            Self::V1_18 => "1.18.2",
        }
    }

    fn recipe(self) -> &'static Recipe {
        match self {
            Self::V1_14 => &recipe::VELERO_1_14,
            Self::V1_16 => &recipe::VELERO_1_16,
            Self::V1_18 => &recipe::VELERO,
        }
    }
}

impl fmt::Display for VeleroVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for VeleroVersion {
    type Err = UnknownVelero;

    /// Also reads `v1.16.2` and `1.16`.
    fn from_str(text: &str) -> Result<Self, UnknownVelero> {
        let wanted = text.strip_prefix('v').unwrap_or(text);
        let is = |version: &Self| {
            let (minor, _patch) = version.as_str().rsplit_once('.').unwrap_or_default();
            wanted == version.as_str() || wanted == minor
        };
        Self::ALL.into_iter().find(is).ok_or_else(|| UnknownVelero(text.to_owned()))
    }
}

/// Builds a Velero with its S3 plug-in and CRDs, if it is not there. One that is there costs a few milliseconds, so tests
/// may ask again and again.
pub fn ensure_velero(version: VeleroVersion, progress: &Progress) -> Result<VeleroParts, BuildError> {
    let cache = Cache::from_env()?;
    for folder in ["parts", "logs"].map(|name| cache.root().join(name)) {
        fs_err::create_dir_all(&folder).map_err(CacheError::of("create", &folder))?;
    }
    let builder = Builder::new(&cache, sources(), progress)?;
    let velero = builder.ensure(version.recipe())?;
    let aws = builder.ensure(&recipe::VELERO_PLUGIN_FOR_AWS)?;
    Ok(VeleroParts {
        version: version.as_str(),
        velero: velero.join("bin/velero"),
        velero_plugin_for_aws: aws.join("bin/velero-plugin-for-aws"),
        crds: velero.join("crds").join(Crds::Velero.file()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::RECIPES;

    #[test]
    fn versions_are_read_back() {
        for version in VeleroVersion::ALL {
            for text in [version.to_string(), format!("v{version}")] {
                assert_eq!(text.parse(), Ok(version));
            }
        }
        assert_eq!("1.16".parse(), Ok(VeleroVersion::V1_16));
        for wrong in ["", "1.1", "1.15.0", "1.16.", "1.16.1", "2", "vv1.16.2"] {
            let error = wrong.parse::<VeleroVersion>().unwrap_err().to_string();
            assert!(error.contains("1.14.1") && error.ends_with("[LW-0992]"), "{error}");
        }
    }

    #[test]
    fn each_recipe_reports_and_requires_its_own_version() {
        for version in VeleroVersion::ALL {
            let recipe = version.recipe();
            let setting = format!("buildinfo.Version=v{version}");
            assert!(recipe.settings.iter().any(|line| line.ends_with(&setting)), "{version}: {:?}", recipe.settings);
            let folder = recipe.module(&sources()).expect("a module of ours");
            let module = fs_err::read_to_string(folder.join("go.mod")).unwrap();
            assert!(module.contains(&format!("github.com/vmware-tanzu/velero v{version}\n")), "{version}");
        }
    }

    #[test]
    fn only_the_newest_is_built_for_every_lab() {
        let names = RECIPES.map(|recipe| recipe.name);
        let of_every_lab = |version: &VeleroVersion| names.contains(&version.recipe().name);
        assert_eq!(VeleroVersion::ALL.into_iter().filter(of_every_lab).collect::<Vec<_>>(), [VeleroVersion::V1_18]);
    }
}
