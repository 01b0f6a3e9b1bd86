//! [`Secrets`]: what only this lab's programs know. Never shown, and in files only root reads.

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::root::{Root, write_private};

/// The lab's keys and tokens.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secrets {
    /// The S3 server's access key.
    pub s3_access_key: String,
    /// The S3 server's secret key.
    pub s3_secret_key: String,
    /// The administrator's token of both clusters.
    pub admin_token: String,
}

impl Secrets {
    fn file(root: &Root) -> PathBuf {
        root.path().join("secrets.json")
    }

    /// Reads the lab's secrets, or makes new ones.
    pub(crate) fn load_or_make(root: &Root) -> Result<Self> {
        let file = Self::file(root);
        if file.exists() {
            return Self::load(root);
        }
        let random = || uuid::Uuid::new_v4().simple().to_string();
        let secrets = Self {
            s3_access_key: format!("lab{}", &random()[..13]),
            s3_secret_key: format!("{}{}", random(), random()),
            admin_token: format!("{}{}", random(), random()),
        };
        write_private(&file.with_extension("new"), &serde_json::to_vec(&secrets)?)?;
        fs_err::rename(file.with_extension("new"), &file)?;
        Ok(secrets)
    }

    /// Reads the lab's secrets.
    pub fn load(root: &Root) -> Result<Self> {
        Ok(serde_json::from_slice(&fs_err::read(Self::file(root))?)?)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}
