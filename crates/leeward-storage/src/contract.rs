//! The tests that every [`StorageAdapter`] must pass, run against a [`Bed`]: two sites with real or played storage.
//!
//! Each function is one law and panics with what was broken. [`data`] and [`fences`] run them; a bed whose sites have no
//! server that could be fenced runs `data` only. Every law uses a group of its own, so that one bed serves all of them.

#![allow(clippy::unwrap_used, reason = "these are tests: they panic with what was broken")]

use crate::{Access, Consistency, PointManifest, StorageAdapter, StorageError, SyncRequest, SyncVolume, VolumeRef};
use leeward_model::{
    address::VolumeAddress,
    name::{Epoch, GroupName, PointId, SiteName},
};

/// Two sites with storage, and hands to reach into it as guests, hardware and disasters do.
#[async_trait::async_trait]
pub trait Bed: Send + Sync {
    /// The adapter under test.
    fn adapter(&self) -> &dyn StorageAdapter;
    /// The two sites.
    fn sites(&self) -> (SiteName, SiteName);
    /// The address at `site` of a volume called `name`; nothing needs to be there.
    fn address(&self, site: &SiteName, name: &str) -> VolumeAddress;
    /// Replaces a file of a live volume, creating what is missing. Returns whether the storage accepted it.
    async fn write(&self, site: &SiteName, address: &VolumeAddress, file: &str, bytes: &[u8]) -> bool;
    /// What a file of a live volume holds.
    async fn read(&self, site: &SiteName, address: &VolumeAddress, file: &str) -> Option<Vec<u8>>;
    /// Turns over one bit in a file of the point at `manifest.to`, behind the adapter's back.
    async fn damage(&self, manifest: &PointManifest, key: &str, file: &str);
    /// What was kept aside when `point` was presented over a differing file.
    async fn kept_aside(&self, site: &SiteName, point: &PointId, key: &str, file: &str) -> Vec<Vec<u8>>;
    /// Cuts the site's control off, or brings it back.
    async fn set_reachable(&self, site: &SiteName, reachable: bool);
}

/// All laws about data.
///
/// # Panics
/// If the adapter breaks one.
pub async fn data(bed: &dyn Bed) {
    a_point_is_what_was_there(bed).await;
    repeating_a_sync_reads_nothing_new(bed).await;
    a_carried_volume_comes_from_the_base(bed).await;
    a_carried_volume_without_base_is_refused(bed).await;
    a_missing_base_means_a_full_copy(bed).await;
    an_empty_source_is_refused(bed).await;
    points_come_oldest_first(bed).await;
    damage_is_found(bed).await;
    presenting_keeps_what_it_replaces(bed).await;
    only_what_the_point_holds_is_presented(bed).await;
    the_newest_point_stays(bed).await;
    volumes_without_data_are_named(bed).await;
    divergence_tells_same_from_changed(bed).await;
    the_other_direction_works(bed).await;
    a_site_makes_a_point_of_its_own_disks(bed).await;
    an_older_epoch_is_refused(bed).await;
    nonsense_is_refused(bed).await;
    the_dead_are_not_waited_for(bed).await;
}

/// All laws about fences.
///
/// # Panics
/// If the adapter breaks one.
pub async fn fences(bed: &dyn Bed) {
    let (a, b) = bed.sites();
    let adapter = bed.adapter();
    let address = bed.address(&a, "fenced");
    assert!(!adapter.is_fenced(&a).await.unwrap(), "a fresh site is not fenced");
    assert!(bed.write(&a, &address, "disk.img", b"before").await, "a fresh site takes writes");
    assert_eq!(adapter.status(&a).await.unwrap().access, Access::Rw);

    let proof = adapter.fence(&a).await.unwrap();
    assert!(!proof.refused_by.is_empty(), "a proof quotes the refusal");
    assert!(adapter.is_fenced(&a).await.unwrap());
    assert_eq!(adapter.status(&a).await.unwrap().access, Access::Ro);
    assert!(!bed.write(&a, &address, "disk.img", b"after").await, "a fenced site refuses writes");
    assert!(!adapter.is_fenced(&b).await.unwrap(), "a fence concerns one site");
    let again = adapter.fence(&a).await.unwrap();
    assert!(again.at >= proof.at, "fencing again proves again");

    adapter.unfence(&a).await.unwrap();
    adapter.unfence(&a).await.unwrap();
    assert!(!adapter.is_fenced(&a).await.unwrap());
    assert!(bed.write(&a, &address, "disk.img", b"again").await, "an unfenced site takes writes");
}

fn group(name: &str) -> GroupName {
    GroupName::parse(name).unwrap()
}

fn point(name: &str) -> PointId {
    PointId::parse(name).unwrap()
}

/// A point of `group` from the first site to the second, at second `at` of the epoch.
fn request(bed: &dyn Bed, of: &str, name: &str, at: i64, volumes: &[&str]) -> SyncRequest {
    let (from, to) = bed.sites();
    let volume = |name: &&str| SyncVolume {
        key: format!("pv-{of}-{name}"),
        source: bed.address(&from, &format!("{of}-{name}")),
        consistency: Consistency::Stopped,
        at: jiff::Timestamp::from_second(at).unwrap(),
        seed: None,
    };
    let volumes = volumes.iter().map(volume).collect();
    let (group, point) = (group(of), point(name));
    SyncRequest { group, point, base: None, from, to, epoch: Epoch(1), volumes, carried: vec![] }
}

fn at_target(bed: &dyn Bed, of: &str, name: &str) -> VolumeRef {
    VolumeRef { key: format!("pv-{of}-{name}"), address: bed.address(&bed.sites().1, &format!("{of}-{name}")) }
}

async fn put(bed: &dyn Bed, of: &str, name: &str, bytes: &[u8]) {
    let site = bed.sites().0;
    let address = bed.address(&site, &format!("{of}-{name}"));
    assert!(bed.write(&site, &address, "disk.img", bytes).await, "the bed could not write");
}

async fn shown(bed: &dyn Bed, volume: &VolumeRef) -> Option<Vec<u8>> {
    bed.read(&bed.sites().1, &volume.address, "disk.img").await
}

/// A disk-like content: data, a long hole, data.
fn image(seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; 300_000];
    for (at, byte) in bytes.iter_mut().enumerate().take(5000) {
        *byte = u8::try_from(at % 251).unwrap_or(0) ^ seed;
    }
    bytes.extend([seed; 3000]);
    bytes
}

async fn a_point_is_what_was_there(bed: &dyn Bed) {
    let of = "whole";
    put(bed, of, "a", &image(1)).await;
    put(bed, of, "b", &image(2)).await;
    let made = bed.adapter().sync(&request(bed, of, "rp-1", 10, &["b", "a"])).await.unwrap();
    let keys: Vec<_> = made.volumes.iter().map(|volume| volume.key.as_str()).collect();
    assert_eq!(keys, ["pv-whole-a", "pv-whole-b"], "volumes are sorted by key");
    assert_eq!(made.volumes[0].files.len(), 1);
    assert_eq!(made.volumes[0].files[0].name, "disk.img");
    assert_eq!(made.volumes[0].files[0].bytes, 303_000);
    assert_eq!(made.volumes[0].files[0].fingerprint.len(), 64);
    let (_, to) = bed.sites();
    assert_eq!(bed.adapter().points(&to, &group(of)).await.unwrap(), vec![made.clone()]);
    bed.adapter().verify(&to, &made).await.unwrap();
    // What the guest writes later is not in the point.
    put(bed, of, "a", &image(9)).await;
    bed.adapter().verify(&to, &made).await.unwrap();
    let volumes = [at_target(bed, of, "a"), at_target(bed, of, "b")];
    bed.adapter().present(&to, &made, &volumes).await.unwrap();
    assert!(shown(bed, &volumes[0]).await == Some(image(1)), "the point's content is presented");
    assert!(shown(bed, &volumes[1]).await == Some(image(2)), "the point's content is presented");
}

async fn repeating_a_sync_reads_nothing_new(bed: &dyn Bed) {
    let of = "repeat";
    put(bed, of, "a", &image(1)).await;
    let made = bed.adapter().sync(&request(bed, of, "rp-1", 10, &["a"])).await.unwrap();
    put(bed, of, "a", &image(2)).await;
    put(bed, of, "b", &image(2)).await;
    let again = bed.adapter().sync(&request(bed, of, "rp-1", 10, &["a"])).await.unwrap();
    assert_eq!(again, made);
    let other = bed.adapter().sync(&request(bed, of, "rp-1", 10, &["a", "b"])).await;
    assert!(matches!(other, Err(StorageError::PointExists { .. })), "{other:?}");
    let later = bed.adapter().sync(&request(bed, of, "rp-1", 11, &["a"])).await;
    assert!(matches!(later, Err(StorageError::PointExists { .. })), "{later:?}");
}

async fn a_carried_volume_comes_from_the_base(bed: &dyn Bed) {
    let of = "carried";
    put(bed, of, "a", &image(1)).await;
    put(bed, of, "b", &image(2)).await;
    let first = bed.adapter().sync(&request(bed, of, "rp-1", 10, &["a", "b"])).await.unwrap();
    put(bed, of, "a", &image(3)).await;
    put(bed, of, "b", &image(4)).await;
    let mut second = request(bed, of, "rp-2", 20, &["a"]);
    second.base = Some(point("rp-1"));
    second.carried = vec!["pv-carried-b".to_owned()];
    let made = bed.adapter().sync(&second).await.unwrap();
    assert_eq!(made.volume("pv-carried-b"), first.volume("pv-carried-b"), "a carried volume keeps its moment");
    assert_ne!(made.volume("pv-carried-a"), first.volume("pv-carried-a"));
    let to = bed.sites().1;
    bed.adapter().verify(&to, &made).await.unwrap();
    bed.adapter().verify(&to, &first).await.unwrap();
    let volumes = [at_target(bed, of, "a"), at_target(bed, of, "b")];
    bed.adapter().present(&to, &made, &volumes).await.unwrap();
    assert!(shown(bed, &volumes[0]).await == Some(image(3)), "a new volume is new");
    assert!(shown(bed, &volumes[1]).await == Some(image(2)), "a carried volume is old");
}

async fn a_carried_volume_without_base_is_refused(bed: &dyn Bed) {
    let of = "carried-not";
    put(bed, of, "a", &image(1)).await;
    let mut wrong = request(bed, of, "rp-1", 10, &["a"]);
    wrong.carried = vec!["pv-carried-not-b".to_owned()];
    for base in [None, Some(point("rp-0"))] {
        wrong.base = base;
        let refused = bed.adapter().sync(&wrong).await;
        assert!(matches!(refused, Err(StorageError::CarriedMissing { .. })), "{refused:?}");
    }
    bed.adapter().sync(&request(bed, of, "rp-0", 5, &["a"])).await.unwrap();
    let refused = bed.adapter().sync(&wrong).await;
    assert!(matches!(refused, Err(StorageError::CarriedMissing { .. })), "{refused:?}");
    assert_eq!(bed.adapter().points(&bed.sites().1, &group(of)).await.unwrap().len(), 1);
}

async fn a_missing_base_means_a_full_copy(bed: &dyn Bed) {
    let of = "baseless";
    put(bed, of, "a", &image(5)).await;
    let mut full = request(bed, of, "rp-1", 10, &["a"]);
    full.base = Some(point("rp-0"));
    let made = bed.adapter().sync(&full).await.unwrap();
    bed.adapter().verify(&bed.sites().1, &made).await.unwrap();
}

async fn an_empty_source_is_refused(bed: &dyn Bed) {
    let of = "empty";
    let refused = bed.adapter().sync(&request(bed, of, "rp-1", 10, &["a"])).await;
    assert!(matches!(refused, Err(StorageError::VolumeEmpty { .. })), "{refused:?}");
    assert_eq!(bed.adapter().points(&bed.sites().1, &group(of)).await.unwrap(), vec![]);
}

async fn points_come_oldest_first(bed: &dyn Bed) {
    let of = "order";
    put(bed, of, "a", &image(1)).await;
    for (name, at) in [("rp-b", 10), ("rp-a", 20), ("rp-c", 5)] {
        bed.adapter().sync(&request(bed, of, name, at, &["a"])).await.unwrap();
    }
    let (from, to) = bed.sites();
    let found = bed.adapter().points(&to, &group(of)).await.unwrap();
    let names: Vec<_> = found.iter().map(|manifest| manifest.point.as_str()).collect();
    assert_eq!(names, ["rp-c", "rp-b", "rp-a"]);
    assert_eq!(bed.adapter().points(&from, &group(of)).await.unwrap(), vec![], "points are at the target only");
    assert_eq!(bed.adapter().points(&to, &group("order-x")).await.unwrap(), vec![], "points belong to their group");
}

async fn damage_is_found(bed: &dyn Bed) {
    let of = "damage";
    put(bed, of, "a", &image(1)).await;
    put(bed, of, "b", &image(2)).await;
    let made = bed.adapter().sync(&request(bed, of, "rp-1", 10, &["a", "b"])).await.unwrap();
    let to = bed.sites().1;
    bed.damage(&made, "pv-damage-b", "disk.img").await;
    let names_it = |result: &Result<(), StorageError>| matches!(result, Err(StorageError::Differs { volume, file, .. }) if volume == "pv-damage-b" && file == "disk.img");
    let verified = bed.adapter().verify(&to, &made).await;
    assert!(names_it(&verified), "verify must name volume and file: {verified:?}");
    let volumes = [at_target(bed, of, "b")];
    bed.write(&to, &volumes[0].address, "disk.img", b"live").await;
    let presented = bed.adapter().present(&to, &made, &volumes).await;
    assert!(names_it(&presented), "present must name volume and file: {presented:?}");
    assert_eq!(shown(bed, &volumes[0]).await.as_deref(), Some(&b"live"[..]), "a damaged point replaces nothing");
}

async fn presenting_keeps_what_it_replaces(bed: &dyn Bed) {
    let of = "aside";
    put(bed, of, "a", &image(1)).await;
    let made = bed.adapter().sync(&request(bed, of, "rp-aside", 10, &["a"])).await.unwrap();
    let to = bed.sites().1;
    let volumes = [at_target(bed, of, "a")];
    bed.write(&to, &volumes[0].address, "disk.img", b"live").await;
    bed.write(&to, &volumes[0].address, "other", b"not the point's").await;
    for _ in 0..2 {
        bed.adapter().present(&to, &made, &volumes).await.unwrap();
        assert!(shown(bed, &volumes[0]).await == Some(image(1)), "the point's content is presented");
        let kept = bed.kept_aside(&to, &made.point, "pv-aside-a", "disk.img").await;
        assert_eq!(kept, [b"live".to_vec()], "the replaced file is kept, once");
    }
    let other = bed.read(&to, &volumes[0].address, "other").await;
    assert_eq!(other.as_deref(), Some(&b"not the point's"[..]), "nothing else is touched");
    // The machine ran on and is rolled back to the same point: what it wrote is kept as well.
    bed.write(&to, &volumes[0].address, "disk.img", b"ran on").await;
    bed.adapter().present(&to, &made, &volumes).await.unwrap();
    let kept = bed.kept_aside(&to, &made.point, "pv-aside-a", "disk.img").await;
    assert_eq!(kept, [b"live".to_vec(), b"ran on".to_vec()], "every replaced state is kept");
}

async fn only_what_the_point_holds_is_presented(bed: &dyn Bed) {
    let of = "foreign";
    put(bed, of, "a", &image(1)).await;
    let made = bed.adapter().sync(&request(bed, of, "rp-1", 10, &["a"])).await.unwrap();
    let to = bed.sites().1;
    let refused = bed.adapter().present(&to, &made, &[at_target(bed, of, "b")]).await;
    assert!(matches!(refused, Err(StorageError::NotInPoint { .. })), "{refused:?}");
    let gone = PointManifest { point: point("rp-gone"), ..made };
    let refused = bed.adapter().present(&to, &gone, &[at_target(bed, of, "a")]).await;
    assert!(matches!(refused, Err(StorageError::PointMissing { .. })), "{refused:?}");
    let refused = bed.adapter().verify(&to, &gone).await;
    assert!(matches!(refused, Err(StorageError::PointMissing { .. })), "{refused:?}");
}

async fn the_newest_point_stays(bed: &dyn Bed) {
    let of = "newest";
    put(bed, of, "a", &image(1)).await;
    let to = bed.sites().1;
    for (name, at) in [("rp-2", 20), ("rp-1", 10)] {
        bed.adapter().sync(&request(bed, of, name, at, &["a"])).await.unwrap();
    }
    let refused = bed.adapter().withdraw(&to, &group(of), &point("rp-2")).await;
    assert!(matches!(refused, Err(StorageError::NewestPoint { .. })), "{refused:?}");
    for _ in 0..2 {
        bed.adapter().withdraw(&to, &group(of), &point("rp-1")).await.unwrap();
    }
    let left = bed.adapter().points(&to, &group(of)).await.unwrap();
    assert_eq!(left.len(), 1);
    bed.adapter().verify(&to, &left[0]).await.unwrap();
    let refused = bed.adapter().withdraw(&to, &group(of), &point("rp-2")).await;
    assert!(matches!(refused, Err(StorageError::NewestPoint { .. })), "the only point stays, too: {refused:?}");
}

async fn volumes_without_data_are_named(bed: &dyn Bed) {
    let (from, to) = bed.sites();
    put(bed, "hollow", "b", &image(1)).await;
    let at = |site: &SiteName, name: &str| VolumeRef {
        key: format!("pv-hollow-{name}"),
        address: bed.address(site, &format!("hollow-{name}")),
    };
    let volumes = [at(&from, "a"), at(&from, "b"), at(&from, "c")];
    assert_eq!(bed.adapter().empty(&from, &volumes).await.unwrap(), ["pv-hollow-a", "pv-hollow-c"]);
    assert_eq!(bed.adapter().empty(&to, &[at(&to, "b")]).await.unwrap(), ["pv-hollow-b"], "it was never copied there");
    assert!(bed.adapter().empty(&from, &[]).await.unwrap().is_empty());
}

async fn divergence_tells_same_from_changed(bed: &dyn Bed) {
    let of = "diverged";
    put(bed, of, "a", &image(1)).await;
    put(bed, of, "b", &image(2)).await;
    let made = bed.adapter().sync(&request(bed, of, "rp-1", 10, &["a", "b"])).await.unwrap();
    // At the site the data came from: the old home that wrote on after it was cut off.
    let mut changed = image(2);
    changed[100] ^= 1;
    put(bed, of, "b", &changed).await;
    let (from, to) = bed.sites();
    let at_source =
        |name: &str| VolumeRef { key: format!("pv-{of}-{name}"), address: bed.address(&from, &format!("{of}-{name}")) };
    let found = bed.adapter().divergence(&from, &made, &[at_source("b"), at_source("a")]).await.unwrap();
    assert_eq!(
        (found[0].key.as_str(), found[1].key.as_str()),
        ("pv-diverged-b", "pv-diverged-a"),
        "in the order asked"
    );
    assert!(!found[0].is_same() && found[0].bytes_changed <= 303_000, "{found:?}");
    assert!(found[1].is_same(), "{found:?}");
    assert!(found[0].last_written.is_some());
    // At the site the point is at.
    let volumes = [at_target(bed, of, "a")];
    bed.adapter().present(&to, &made, &volumes).await.unwrap();
    assert!(bed.adapter().divergence(&to, &made, &volumes).await.unwrap()[0].is_same());
    bed.write(&to, &volumes[0].address, "disk.img", b"short").await;
    assert!(!bed.adapter().divergence(&to, &made, &volumes).await.unwrap()[0].is_same());
}

async fn the_other_direction_works(bed: &dyn Bed) {
    let of = "back";
    let (home, away) = bed.sites();
    let source = bed.address(&away, "back-a");
    assert!(bed.write(&away, &source, "disk.img", &image(7)).await);
    // The old home still has an older copy, which serves as the start.
    let old = bed.address(&home, "back-a");
    assert!(bed.write(&home, &old, "disk.img", &image(6)).await);
    let back = SyncRequest {
        group: group(of),
        point: point("rp-1"),
        base: None,
        from: away.clone(),
        to: home.clone(),
        epoch: Epoch(1),
        volumes: vec![SyncVolume {
            key: "pv-back-a".to_owned(),
            source,
            consistency: Consistency::Snapshot,
            at: jiff::Timestamp::UNIX_EPOCH,
            seed: Some(old.clone()),
        }],
        carried: vec![],
    };
    let made = bed.adapter().sync(&back).await.unwrap();
    bed.adapter().verify(&home, &made).await.unwrap();
    assert!(bed.read(&home, &old, "disk.img").await == Some(image(6)), "a seed is only read");
    let volume = VolumeRef { key: "pv-back-a".to_owned(), address: old.clone() };
    bed.adapter().present(&home, &made, &[volume]).await.unwrap();
    assert!(bed.read(&home, &old, "disk.img").await == Some(image(7)), "the point's content is presented");
}

async fn a_site_makes_a_point_of_its_own_disks(bed: &dyn Bed) {
    let of = "own";
    let home = bed.sites().0;
    let live = bed.address(&home, "own-a");
    for (name, seed, content) in [("rp-1", Some(live.clone()), 1), ("rp-2", None, 2)] {
        put(bed, of, "a", &image(content)).await;
        let mut own = request(bed, of, name, i64::from(content), &["a"]);
        own.to = home.clone();
        own.volumes[0].seed = seed;
        let made = bed.adapter().sync(&own).await.unwrap();
        bed.adapter().verify(&home, &made).await.unwrap();
        assert!(bed.read(&home, &live, "disk.img").await == Some(image(content)), "a source is only read");
        let volume = VolumeRef { key: "pv-own-a".to_owned(), address: live.clone() };
        assert!(bed.adapter().divergence(&home, &made, &[volume]).await.unwrap()[0].is_same());
    }
    assert_eq!(bed.adapter().points(&home, &group(of)).await.unwrap().len(), 2);
}

async fn an_older_epoch_is_refused(bed: &dyn Bed) {
    let of = "epoch";
    put(bed, of, "a", &image(1)).await;
    let newer = SyncRequest { epoch: Epoch(3), ..request(bed, of, "rp-1", 10, &["a"]) };
    let made = bed.adapter().sync(&newer).await.unwrap();
    let to = bed.sites().1;
    for older in [Epoch(1), Epoch(2)] {
        let late = SyncRequest { epoch: older, ..request(bed, of, "rp-2", 20, &["a"]) };
        let refused = bed.adapter().sync(&late).await;
        assert!(matches!(&refused, Err(StorageError::OldEpoch { asked, .. }) if *asked == older), "{refused:?}");
        assert!(!refused.unwrap_err().is_transient(), "repeating does not help");
        assert_eq!(bed.adapter().points(&to, &group(of)).await.unwrap(), std::slice::from_ref(&made));
    }
    let next = SyncRequest { epoch: Epoch(4), ..request(bed, of, "rp-2", 20, &["a"]) };
    bed.adapter().sync(&next).await.unwrap();
}

async fn nonsense_is_refused(bed: &dyn Bed) {
    let of = "nonsense";
    put(bed, of, "a", &image(1)).await;
    let good = request(bed, of, "rp-1", 10, &["a"]);
    let doubled = SyncRequest { carried: vec!["pv-nonsense-a".to_owned()], ..good.clone() };
    let climbing = SyncRequest { carried: vec!["../x".to_owned()], ..good.clone() };
    let looped = SyncRequest { base: Some(good.point.clone()), ..good.clone() };
    for wrong in [doubled, climbing, looped] {
        let refused = bed.adapter().sync(&wrong).await;
        assert!(matches!(refused, Err(StorageError::BadRequest { .. })), "{refused:?}");
    }
    let nowhere = SiteName::parse("nowhere").unwrap();
    let unknown = bed.adapter().sync(&SyncRequest { to: nowhere.clone(), ..good }).await;
    assert!(matches!(unknown, Err(StorageError::UnknownSite { .. })), "{unknown:?}");
    let unknown = bed.adapter().status(&nowhere).await;
    assert!(matches!(unknown, Err(StorageError::UnknownSite { .. })), "{unknown:?}");
}

async fn the_dead_are_not_waited_for(bed: &dyn Bed) {
    let of = "dead";
    put(bed, of, "a", &image(1)).await;
    let first = bed.adapter().sync(&request(bed, of, "rp-1", 10, &["a"])).await.unwrap();
    let (from, to) = bed.sites();
    for cut in [&from, &to] {
        bed.set_reachable(cut, false).await;
        let status = bed.adapter().status(cut).await.unwrap();
        assert!(!status.reachable && status.access == Access::Unknown && status.detail.is_some(), "{status:?}");
        let refused = bed.adapter().sync(&request(bed, of, "rp-2", 20, &["a"])).await;
        assert!(matches!(&refused, Err(error) if error.is_unreachable()), "{refused:?}");
        let refused = bed.adapter().is_fenced(cut).await;
        assert!(matches!(&refused, Err(error) if error.is_unreachable()), "{refused:?}");
        bed.set_reachable(cut, true).await;
        assert!(bed.adapter().status(cut).await.unwrap().reachable);
        assert_eq!(
            bed.adapter().points(&to, &group(of)).await.unwrap(),
            vec![first.clone()],
            "the last point is whole"
        );
    }
    bed.adapter().verify(&to, &first).await.unwrap();
    bed.adapter().sync(&request(bed, of, "rp-2", 20, &["a"])).await.unwrap();
}
