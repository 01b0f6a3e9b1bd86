//! The storage in memory passes the contract, and fails where it is told to.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use leeward_model::{
    address::VolumeAddress,
    name::{Epoch, GroupName, PointId, SiteName},
};
use leeward_storage::{
    Consistency, PointManifest, StorageAdapter, StorageError, SyncRequest, SyncVolume, VolumeRef,
    contract::{self, Bed},
    fake::{Fault, InMemory, Verb},
};
use serde_json::json;

struct MemoryBed(InMemory);

fn site(name: &str) -> SiteName {
    SiteName::parse(name).unwrap()
}

fn address(site: &SiteName, name: &str) -> VolumeAddress {
    let pv = json!({"spec": {"nfs": {"server": format!("{site}.example"), "path": format!("/export/{name}")}}});
    VolumeAddress::from_pv(&pv).unwrap()
}

#[async_trait::async_trait]
impl Bed for MemoryBed {
    fn adapter(&self) -> &dyn StorageAdapter {
        &self.0
    }
    fn sites(&self) -> (SiteName, SiteName) {
        (site("east"), site("west"))
    }
    fn address(&self, site: &SiteName, name: &str) -> VolumeAddress {
        address(site, name)
    }
    async fn write(&self, site: &SiteName, address: &VolumeAddress, file: &str, bytes: &[u8]) -> bool {
        self.0.write(site, address, file, bytes).is_ok()
    }
    async fn read(&self, site: &SiteName, address: &VolumeAddress, file: &str) -> Option<Vec<u8>> {
        self.0.read(site, address, file)
    }
    async fn damage(&self, manifest: &PointManifest, key: &str, file: &str) {
        assert!(self.0.damage(manifest, key, file));
    }
    async fn kept_aside(&self, site: &SiteName, point: &PointId, key: &str, file: &str) -> Vec<Vec<u8>> {
        self.0.kept_aside(site, point, key, file)
    }
    async fn set_reachable(&self, site: &SiteName, reachable: bool) {
        self.0.set_reachable(site, reachable);
    }
}

#[tokio::test]
async fn passes_the_contract() {
    let bed = MemoryBed(InMemory::new([site("east"), site("west")]));
    contract::data(&bed).await;
    contract::fences(&bed).await;
}

#[tokio::test]
async fn fails_where_it_is_told_to() {
    let storage = InMemory::new([site("east"), site("west")]);
    let (from, to) = (site("east"), site("west"));
    for name in ["a", "b"] {
        storage.write(&from, &address(&from, name), "disk.img", name.as_bytes()).unwrap();
    }
    let volume = |name: &str| SyncVolume {
        key: name.to_owned(),
        source: address(&from, name),
        consistency: Consistency::Stopped,
        at: jiff::Timestamp::UNIX_EPOCH,
        seed: None,
    };
    let request = SyncRequest {
        group: GroupName::parse("shop").unwrap(),
        point: PointId::parse("rp-1").unwrap(),
        base: None,
        from: from.clone(),
        to: to.clone(),
        epoch: Epoch(1),
        volumes: vec![volume("a"), volume("b")],
        carried: vec![],
    };
    for (fault, left) in [(Fault::Before, 0), (Fault::During, 0), (Fault::After, 1)] {
        storage.fail(&to, Verb::Sync, fault, 1);
        assert!(matches!(storage.sync(&request).await, Err(StorageError::Injected { .. })));
        assert_eq!(storage.points(&to, &request.group).await.unwrap().len(), left, "{fault:?}");
    }
    let made = storage.sync(&request).await.unwrap();

    let volumes = ["a", "b"].map(|key| VolumeRef { key: key.to_owned(), address: address(&to, key) });
    storage.fail(&to, Verb::Present, Fault::During, 1);
    assert!(storage.present(&to, &made, &volumes).await.is_err());
    assert!(storage.read(&to, &volumes[0].address, "disk.img").is_some());
    assert!(storage.read(&to, &volumes[1].address, "disk.img").is_none());
    storage.present(&to, &made, &volumes).await.unwrap();
    assert!(storage.read(&to, &volumes[1].address, "disk.img").is_some());

    storage.fail(&from, Verb::Fence, Fault::After, 1);
    assert!(storage.fence(&from).await.is_err());
    assert!(storage.write(&from, &volumes[0].address, "disk.img", b"x").is_err(), "the effect is there");
    storage.set_free_bytes(&to, 1);
    let full = SyncRequest { point: PointId::parse("rp-2").unwrap(), ..request };
    assert!(matches!(storage.sync(&full).await, Err(StorageError::Full { needed: 2, free: 1, .. })));
    assert_eq!(storage.calls().first(), Some(&(Verb::Sync, to)));
}
