//! From a claim to the file that QEMU opens.
//!
//! The only thing that is gone by is what a kubelet and the NFS driver of a real node would go by: the claim is bound to
//! a volume, that volume to the claim, and the volume names a server and a directory. Nothing is tried in other places.

use serde_json::Value;
use thiserror::Error;

/// Driver whose volumes can be mounted here.
const NFS_DRIVER: &str = "nfs.csi.k8s.io";
/// KubeVirt's name for the image in a volume with a file system.
const IMAGE: &str = "disk.img";

/// Why a claim leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum VolumeError {
    /// Not bound, or not there.
    #[error("claim {claim} is {state}; bind it to a volume [LW-0972]")]
    Unbound { claim: String, state: String },
    /// The volume belongs to another claim.
    #[error("claim {claim} names volume {volume}, which belongs to {owner}; correct one of them [LW-0972]")]
    NotMutual { claim: String, volume: String, owner: String },
    /// No address that this node can mount.
    #[error("volume {volume} has no NFS address ({why}); give it spec.nfs, or spec.csi of {NFS_DRIVER} [LW-0973]")]
    NoAddress { volume: String, why: String },
}

/// Name of the volume that a claim is bound to.
pub(crate) fn bound_volume<'a>(claim_name: &str, claim: Option<&'a Value>) -> Result<&'a str, VolumeError> {
    let unbound = |state: &str| VolumeError::Unbound { claim: claim_name.to_owned(), state: state.to_owned() };
    let claim = claim.ok_or_else(|| unbound("not there"))?;
    match claim.pointer("/status/phase").and_then(Value::as_str).unwrap_or("not bound yet") {
        "Bound" => {
            claim.pointer("/spec/volumeName").and_then(Value::as_str).ok_or_else(|| unbound("bound to no volume"))
        }
        phase => Err(unbound(phase)),
    }
}

/// The image in the volume that this claim is bound to, as `nfs://server/directory/disk.img`.
pub(crate) fn image_url(claim: &Value, volume: &Value) -> Result<String, VolumeError> {
    let text = |value: &Value, pointer: &str| {
        value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let name = text(volume, "/metadata/name").unwrap_or_default();
    let owner = text(volume, "/spec/claimRef/uid");
    if owner.is_none() || owner != text(claim, "/metadata/uid") {
        let part =
            |field: &str| text(volume, &format!("/spec/claimRef/{field}")).unwrap_or_else(|| "nobody".to_owned());
        let claim = text(claim, "/metadata/name").unwrap_or_default();
        let owner = format!("{}/{} (uid {})", part("namespace"), part("name"), part("uid"));
        return Err(VolumeError::NotMutual { claim, volume: name, owner });
    }
    let lacks = |why: &str| VolumeError::NoAddress { volume: name.clone(), why: why.to_owned() };
    let (server, directory) = if volume.pointer("/spec/nfs").is_some() {
        let server = text(volume, "/spec/nfs/server").ok_or_else(|| lacks("spec.nfs.server is empty"))?;
        (server, text(volume, "/spec/nfs/path").ok_or_else(|| lacks("spec.nfs.path is empty"))?)
    } else if let Some(driver) = text(volume, "/spec/csi/driver") {
        if driver != NFS_DRIVER {
            return Err(lacks(&format!("it is of driver {driver}")));
        }
        // The driver looks only at the attributes, never at the handle, and takes their names in any case.
        let attribute = |key: &str| {
            let attributes = volume.pointer("/spec/csi/volumeAttributes")?.as_object()?;
            let (_, value) = attributes.iter().find(|(name, _)| name.eq_ignore_ascii_case(key))?;
            value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let server = attribute("server").ok_or_else(|| lacks("it lacks the attribute server"))?;
        let share = attribute("share").ok_or_else(|| lacks("it lacks the attribute share"))?;
        (server, format!("{share}/{}", attribute("subdir").unwrap_or_default()))
    } else {
        return Err(lacks("neither spec.nfs nor spec.csi"));
    };
    let directory: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    Ok(format!("nfs://{server}/{}", encode(&format!("{}/{IMAGE}", directory.join("/")))))
}

/// For a URL: everything that is not plainly part of a path becomes `%xx`.
fn encode(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte);
    path.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claim() -> Value {
        json!({
            "metadata": {"name": "db-data", "namespace": "shop", "uid": "c1"},
            "spec": {"volumeName": "pvc-1"}, "status": {"phase": "Bound"},
        })
    }

    fn volume(source: &Value) -> Value {
        let mut spec = source.clone();
        spec["claimRef"] = json!({"namespace": "shop", "name": "db-data", "uid": "c1"});
        json!({"metadata": {"name": "pvc-1"}, "spec": spec})
    }

    fn csi(attributes: &Value) -> Value {
        json!({"csi": {"driver": NFS_DRIVER, "volumeHandle": "elsewhere#x#y##", "volumeAttributes": attributes}})
    }

    #[test]
    fn addresses_become_urls() {
        let url = |source: &Value| image_url(&claim(), &volume(source));
        let in_tree = json!({"nfs": {"server": "10.77.0.1", "path": "/export/web-disk/"}});
        assert_eq!(url(&in_tree).unwrap(), "nfs://10.77.0.1/export/web-disk/disk.img");
        let driver = csi(&json!({"Server": "10.77.0.2", "SHARE": "/vault", "subdir": "pvc-1"}));
        assert_eq!(url(&driver).unwrap(), "nfs://10.77.0.2/vault/pvc-1/disk.img");
        let whole_share = csi(&json!({"server": "10.77.0.2", "share": "/vault"}));
        assert_eq!(url(&whole_share).unwrap(), "nfs://10.77.0.2/vault/disk.img");
        let odd = json!({"nfs": {"server": "h", "path": "/a b,c?d"}});
        assert_eq!(url(&odd).unwrap(), "nfs://h/a%20b%2Cc%3Fd/disk.img");
    }

    #[test]
    fn what_is_no_nfs_volume_is_refused() {
        for source in [
            json!({"csi": {"driver": "rbd.csi.ceph.com"}}),
            json!({"hostPath": {"path": "/x"}}),
            json!({"nfs": {"server": "", "path": "/x"}}),
            csi(&json!({"share": "/vault"})),
        ] {
            let error = image_url(&claim(), &volume(&source)).unwrap_err();
            assert!(matches!(error, VolumeError::NoAddress { .. }), "{error}");
        }
    }

    #[test]
    fn the_volume_must_belong_to_the_claim() {
        let source = json!({"nfs": {"server": "h", "path": "/x"}});
        let mut other = volume(&source);
        other["spec"]["claimRef"]["uid"] = json!("c2");
        assert!(matches!(image_url(&claim(), &other), Err(VolumeError::NotMutual { .. })));
        other["spec"]["claimRef"].as_object_mut().unwrap().remove("uid");
        assert!(matches!(image_url(&claim(), &other), Err(VolumeError::NotMutual { .. })));
    }

    #[test]
    fn the_claim_must_be_bound() {
        assert_eq!(bound_volume("db-data", Some(&claim())), Ok("pvc-1"));
        let mut pending = claim();
        pending["status"]["phase"] = json!("Pending");
        assert!(bound_volume("db-data", Some(&pending)).unwrap_err().to_string().contains("Pending"));
        assert!(bound_volume("db-data", None).unwrap_err().to_string().contains("not there"));
    }
}
