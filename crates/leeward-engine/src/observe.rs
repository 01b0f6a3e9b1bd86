//! Looks at both sites, the storage and Leeward's records, and says what is there. Changes nothing, decides nothing.
//! A site that does not answer within the probe's time is not asked again (N6).

use crate::{
    error::{EngineError, SiteError},
    executor::chain,
    site::{PV, PVC, SNAPSHOT_CLASS, Site, VM, VMI},
    state::{PointRecord, State},
};
use leeward_model::{
    claim,
    group::GroupSpec,
    keys,
    mapping::Mapping,
    name::{Epoch, GroupName, Namespace, SiteName},
    plan::observed::{
        Active, ClaimObserved, DivergenceObserved, ObjectRef, Observed, PointObserved, SiteObserved, SiteState,
        VmObserved,
    },
    run::RunKind,
    vm,
};
use leeward_storage::{Access, StorageAdapter, VolumeRef};
use leeward_velero::LocationState;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Everything that can be seen of a group.
///
/// # Errors
/// The records cannot be read, or a site answers and then fails.
pub async fn observe(
    (name, group): (&GroupName, &GroupSpec),
    sites: &BTreeMap<SiteName, Site>,
    (storage, mapping): (&dyn StorageAdapter, &Mapping),
    state: &State,
) -> Result<Observed, EngineError> {
    let witness = state.witness(name).await?;
    let active = match &witness {
        Some(record) => Active { site: record.active.clone(), epoch: record.epoch },
        None => Active { site: group.home.clone(), epoch: Epoch(0) },
    };
    let mut records: BTreeMap<SiteName, Vec<PointRecord>> = BTreeMap::new();
    for site in sites.keys() {
        records.insert(site.clone(), state.points(name, site).await?);
    }
    // What the active site started from after a failover: everything else at the other site is given up by a move back.
    let common = witness.filter(|record| record.kind == RunKind::Failover).and_then(|record| {
        records.get(&record.active)?.iter().find(|point| point.manifest.point == record.point).cloned()
    });

    let looks = sites.values().map(|site| {
        let common = common.as_ref().filter(|_| site.name != active.site);
        async move { (site.name.clone(), look(group, site, (storage, mapping), common).await) }
    });
    let mut seen = BTreeMap::new();
    for (site, looked) in futures::future::join_all(looks).await {
        seen.insert(site, looked?);
    }
    let mut points = Vec::new();
    for (site, known) in records {
        points.extend(points_at(&site, name, seen.get(&site), storage, known).await?);
    }
    Ok(Observed { group: name.clone(), active, sites: seen, points })
}

async fn look(
    group: &GroupSpec,
    site: &Site,
    (storage, mapping): (&dyn StorageAdapter, &Mapping),
    common: Option<&PointRecord>,
) -> Result<SiteObserved, EngineError> {
    if let Err(why) = site.probe().await {
        return Ok(SiteObserved::Unreachable(why));
    }
    let vms = vms(group, site).await?;
    let pvs = site.list(PV, None, "").await?;
    let claims = claims(group, site, &pvs).await?;
    let bystanders = bystanders(mapping, &pvs, &claims);
    let velero_problem = match site.velero.location().await {
        Ok(LocationState::Available) => None,
        Ok(LocationState::Unavailable(why)) => Some(format!("its backup storage location is unavailable: {why}")),
        Ok(LocationState::Missing) => Some("it has no such backup storage location".to_owned()),
        Err(error) => Some(chain(&error)),
    };
    let status = storage.status(&site.name).await?;
    let usable = status.reachable && status.access != Access::Unknown;
    let storage_problem = (!usable).then(|| status.detail.unwrap_or_else(|| "it does not answer".to_owned()));
    // What is being written cannot be compared, and no plan is made while it is.
    let quiet = vms.iter().all(|vm| !vm.running);
    let divergence = match common {
        Some(point) if quiet && storage_problem.is_none() => {
            divergence(site, storage, point, volumes(mapping, &claims)).await?
        }
        _ => Vec::new(),
    };
    let empty = match storage_problem {
        None => storage.empty(&site.name, &volumes(mapping, &claims)).await?.into_iter().collect(),
        Some(_) => BTreeSet::new(),
    };
    Ok(SiteObserved::Reachable(Box::new(SiteState {
        vms,
        claims,
        empty,
        bystanders,
        velero_problem,
        storage_problem,
        fenced: status.access == Access::Ro,
        divergence,
    })))
}

/// The group's VMs at a site.
///
/// # Errors
/// The cluster does not list them.
pub async fn vms(group: &GroupSpec, site: &Site) -> Result<Vec<VmObserved>, SiteError> {
    let labels = group.match_labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
    let mut seen = Vec::new();
    for namespace in &group.namespaces {
        let instances = site.list(VMI, Some(namespace.as_str()), "").await?;
        let running: HashSet<&str> = instances.iter().filter_map(object_name).collect();
        for object in site.list(VM, Some(namespace.as_str()), &labels).await? {
            let name = object_name(&object).unwrap_or_default().to_owned();
            seen.push(VmObserved {
                halted: !vm::starts_by_itself(&object),
                running: running.contains(name.as_str()),
                claims: vm::claims(&object),
                vm: ObjectRef { namespace: namespace.clone(), name },
            });
        }
    }
    Ok(seen)
}

async fn claims(group: &GroupSpec, site: &Site, pvs: &[Value]) -> Result<Vec<ClaimObserved>, SiteError> {
    let classes = site.list(SNAPSHOT_CLASS, None, "").await?;
    let mut seen = Vec::new();
    for namespace in &group.namespaces {
        for pvc in site.list(PVC, Some(namespace.as_str()), &format!("!{}", keys::PROMOTED_FROM)).await? {
            let bound = pvc.pointer("/status/phase").and_then(Value::as_str) == Some("Bound");
            let pv = claim::volume(&pvc)
                .filter(|_| bound)
                .and_then(|volume| pvs.iter().find(|pv| object_name(pv) == Some(volume)))
                .cloned();
            let snapshot_class = pv.as_ref().and_then(|pv| snapshot_class(pv, &classes));
            seen.push(ClaimObserved { claim: reference(namespace, &pvc), pv, snapshot_class });
        }
    }
    Ok(seen)
}

fn reference(namespace: &Namespace, object: &Value) -> ObjectRef {
    ObjectRef { namespace: namespace.clone(), name: object_name(object).unwrap_or_default().to_owned() }
}

pub(crate) fn object_name(object: &Value) -> Option<&str> {
    object.pointer("/metadata/name").and_then(Value::as_str)
}

/// The class to snapshot a volume with: the default one of its driver, else the first by name.
fn snapshot_class(pv: &Value, classes: &[Value]) -> Option<String> {
    let driver = pv.pointer("/spec/csi/driver").and_then(Value::as_str)?;
    let is_default = |class: &Value| {
        class.pointer("/metadata/annotations/snapshot.storage.kubernetes.io~1is-default-class").and_then(Value::as_str)
            == Some("true")
    };
    classes
        .iter()
        .filter(|class| class.get("driver").and_then(Value::as_str) == Some(driver))
        .min_by_key(|class| (!is_default(class), object_name(class).map(str::to_owned)))
        .and_then(|class| object_name(class).map(str::to_owned))
}

/// PVs on the servers of the group's volumes that are not the group's own nor promoted from it.
fn bystanders(mapping: &Mapping, pvs: &[Value], claims: &[ClaimObserved]) -> Vec<String> {
    let own: HashSet<&str> = claims.iter().filter_map(|seen| object_name(seen.pv.as_ref()?)).collect();
    let namespaces: HashSet<&str> = claims.iter().map(|seen| seen.claim.namespace.as_str()).collect();
    let servers: HashSet<String> = claims
        .iter()
        .filter_map(|seen| mapping.address_of(seen.pv.as_ref()?).ok())
        .filter_map(|address| Some(address.nfs()?.server))
        .collect();
    pvs.iter()
        .filter(|pv| object_name(pv).is_some_and(|name| !own.contains(name)))
        .filter(|pv| {
            // What is claimed from the group's own namespaces without being a VM's disk is a promoted snapshot.
            let namespace = pv.pointer("/spec/claimRef/namespace").and_then(Value::as_str).unwrap_or_default();
            !namespaces.contains(namespace)
        })
        .filter(|pv| {
            let address = mapping.address_of(pv).ok();
            address.and_then(|address| address.nfs()).is_some_and(|nfs| servers.contains(&nfs.server))
        })
        .filter_map(|pv| object_name(pv).map(str::to_owned))
        .collect()
}

/// The volumes behind the claims, as far as their addresses can be read.
fn volumes(mapping: &Mapping, claims: &[ClaimObserved]) -> Vec<VolumeRef> {
    let volume =
        |pv: &Value| Some(VolumeRef { key: object_name(pv)?.to_owned(), address: mapping.address_of(pv).ok()? });
    claims.iter().filter_map(|seen| volume(seen.pv.as_ref()?)).collect()
}

async fn divergence(
    site: &Site,
    storage: &dyn StorageAdapter,
    point: &PointRecord,
    mut volumes: Vec<VolumeRef>,
) -> Result<Vec<DivergenceObserved>, EngineError> {
    volumes.retain(|volume| point.manifest.volume(&volume.key).is_some());
    if volumes.is_empty() {
        return Ok(Vec::new());
    }
    let moved = storage.divergence(&site.name, &point.manifest, &volumes).await?;
    Ok(moved
        .into_iter()
        .filter(|volume| !volume.is_same())
        .filter_map(|volume| {
            let since = point.manifest.volume(&volume.key)?.at;
            Some(DivergenceObserved {
                pv: volume.key,
                bytes: volume.bytes_changed,
                last_written: volume.last_written,
                since,
            })
        })
        .collect())
}

/// The points that are whole at a site: what the storage holds, with the record of it where there is one. A site that
/// cannot be asked has none.
async fn points_at(
    site: &SiteName,
    group: &GroupName,
    seen: Option<&SiteObserved>,
    storage: &dyn StorageAdapter,
    records: Vec<PointRecord>,
) -> Result<Vec<PointObserved>, EngineError> {
    if seen.and_then(SiteObserved::state).is_none_or(|state| state.storage_problem.is_some()) {
        return Ok(Vec::new());
    }
    let held = storage.points(site, group).await?;
    Ok(held
        .into_iter()
        .map(|manifest| {
            let record = records.iter().find(|record| record.manifest == manifest);
            PointObserved {
                point: manifest.point.clone(),
                at: site.clone(),
                backup: record.map(|record| record.backup.clone()),
                vms: record.map(|record| record.vms.clone()).unwrap_or_default(),
                claims: record.map(|record| record.claims.clone()).unwrap_or_default(),
                volumes: manifest.volumes.into_iter().map(|volume| (volume.key, volume.at)).collect(),
            }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_default_class_of_the_driver_is_taken() {
        let pv = json!({"spec": {"csi": {"driver": "nfs.csi.k8s.io"}}});
        let class = |name: &str, driver: &str, default: bool| {
            json!({"metadata": {"name": name, "annotations": {
                "snapshot.storage.kubernetes.io/is-default-class": default.to_string()}}, "driver": driver})
        };
        let classes =
            [class("a", "nfs.csi.k8s.io", false), class("b", "nfs.csi.k8s.io", true), class("0", "other", true)];
        assert_eq!(snapshot_class(&pv, &classes).as_deref(), Some("b"));
        assert_eq!(snapshot_class(&pv, &classes[..1]).as_deref(), Some("a"));
        assert_eq!(snapshot_class(&json!({"spec": {"nfs": {}}}), &classes), None, "in-tree volumes have no snapshots");
    }

    /// A driver that only a profile of the mapping's own reads.
    #[test]
    fn volumes_of_the_mapping_s_own_profiles_are_seen() {
        let mapping = Mapping::parse(
            "apiVersion: leeward.io/v1alpha1
kind: SiteMapping
sites: [east, west]
profiles:
- name: own
  read: [made up for the test]
  driver: own.example
  parts: { array: {}, volume: { perVolume: true } }
  places: [{ at: /spec/csi/volumeHandle, form: '{array}:{volume}', mounts: true }]
rules:
- { name: r, east: { driver: own.example, parts: { array: A } }, west: { driver: own.example, parts: { array: B } }, keep: [volume] }
",
        )
        .unwrap();
        let pv = json!({"metadata": {"name": "pv"}, "spec": {"csi": {"driver": "own.example", "volumeHandle": "A:1"}}});
        let claim = ObjectRef { namespace: Namespace::parse("shop").unwrap(), name: "disk".to_owned() };
        let seen = [ClaimObserved { claim, pv: Some(pv.clone()), snapshot_class: None }];
        let found = volumes(&mapping, &seen);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].key.as_str(), &found[0].address), ("pv", &mapping.address_of(&pv).unwrap()));
    }
}
