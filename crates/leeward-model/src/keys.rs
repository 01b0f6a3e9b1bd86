//! Names of the annotations, labels and configuration keys by which the parts of Leeward recognise each other's work.
//!
//! They are a contract between sites and between versions: what one site writes into a backup, the other reads. None is
//! ever renamed; a new meaning gets a new key.

/// On a Velero `Backup` (annotation), a `VolumeSnapshot` and a promoted PVC (label): the recovery point it belongs to.
pub const RECOVERY_POINT: &str = "leeward.io/recovery-point";
/// On a Velero `Backup` (annotation): how long its snapshots may take to become volumes, in seconds.
pub const PROMOTION_DEADLINE: &str = "leeward.io/promotion-deadline-seconds";
/// On everything that Leeward creates (label): the protection group.
pub const GROUP: &str = "leeward.io/group";
/// On a promoted PVC (label) and its stored PV (annotation): the claim whose data it holds.
pub const PROMOTED_FROM: &str = "leeward.io/promoted-from";
/// On a stored PV (annotation): the reclaim policy of the live PV.
pub const ORIGINAL_RECLAIM_POLICY: &str = "leeward.io/original-reclaim-policy";
/// On a stored or landed PV (annotation): the site whose storage its address names. Direction is read from here, never
/// guessed.
pub const SITE: &str = "leeward.io/site";
/// On a rewritten PV (annotation): JSON of the [`crate::rewrite::Trace`].
pub const REWRITE_TRACE: &str = "leeward.io/rewrite-trace";
/// On a halted VM (annotation): the run strategy that it gets back when it is started.
pub const RUN_STRATEGY: &str = "leeward.io/run-strategy";
/// On Velero `Backup`s and `Restore`s (label): the run or cycle that created them.
pub const RUN: &str = "leeward.io/run";

/// Name of the ConfigMap, in Velero's namespace at each site, that holds the site's name and the site mapping.
pub const CONFIG_MAP: &str = "leeward-site";
/// Key in [`CONFIG_MAP`]: the name of the site it stands at.
pub const CONFIG_MAP_SITE: &str = "site";
/// Key in [`CONFIG_MAP`]: the site mapping, YAML.
pub const CONFIG_MAP_MAPPING: &str = "mapping.yaml";
/// Key in [`CONFIG_MAP`]: the site across, where instead of a site mapping the published plug-in's ConfigMap is used.
pub const CONFIG_MAP_OTHER_SITE: &str = "other-site";
/// On further ConfigMaps in Velero's namespace (label, `true`): their keys are tables that the site mapping may take `from`
/// the document `<ConfigMap>/<key>`.
pub const MAPPING_TABLE: &str = "leeward.io/mapping-table";
/// On a Velero `Restore` (annotation): `test` says what the restore would make of each volume, and restores nothing.
pub const MODE: &str = "leeward.io/mode";

/// On a Velero `Backup` (annotation): which snapshots are promoted: `none`, `newest-ready`, `label:<selector>`, `take-now`
/// or `take-now-frozen`. On a PVC (annotation): `none` leaves that claim out.
pub const PROMOTE: &str = "leeward.io/promote";
/// On a Velero `Backup` or `Restore` (annotation), and on a stored PV: `live` or `promoted`, the volume that the restored
/// claim gets.
pub const RECOVER_FROM: &str = "leeward.io/recover-from";
/// On a stored PV (annotation): JSON of the volume that its claim's snapshot was promoted to.
pub const PROMOTED_VOLUME: &str = "leeward.io/promoted-volume";
/// On a Velero `Backup` (annotation): `allow` lets Velero take the volumes' data. On a stored PV or PVC: it may have.
pub const VOLUME_DATA: &str = "leeward.io/volume-data";
/// On promoted PVCs and snapshots that the plug-in made (label), and so may delete.
pub const MADE_BY: &str = "leeward.io/made-by";
/// Before the name of a Velero `Backup`, on what the plug-in made (annotation): that backup needs it.
pub const USED_BY: &str = "used-by.leeward.io/";
/// Before a hash, on claims that are being taken together (label, by which the snapshotter finds them; annotation of the same
/// name: the Backup that needs it). Gone when the snapshot is taken.
pub const SNAPSHOT_GROUP: &str = "snapshot-group.leeward.io/";
/// Key in [`CONFIG_MAP`]: which snapshots are promoted, and how.
pub const CONFIG_MAP_PROMOTE: &str = "promote";
