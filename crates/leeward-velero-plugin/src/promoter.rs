//! Carries promotions out: for each claim from its snapshot to a bound volume.
//!
//! The first claim of a backup begins the promotions of *all* its claims; so a backup waits for the slowest, not for the sum.
//! Each waits by watch, one per namespace and kind. A later attempt finds what an earlier one made.

use crate::cluster::{CLAIMS, Cluster, ClusterError, Created, SNAPSHOTS};
use crate::followed::{Followed, Look};
use crate::policy::{self, Policy, Request, RequestError};
use crate::promote::{self, Choice, PromoteError, State, title};
use crate::selection::Selection;
use crate::take::TakeError;
use crate::{foreseen, naming, retire, storage_class, take, take_group, view};
use futures::future::{BoxFuture, Shared};
use futures::{FutureExt as _, StreamExt as _, stream};
use leeward_model::keys::{PROMOTE, PROMOTED_FROM, PROMOTION_DEADLINE, RECOVERY_POINT};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// Namespaces that are looked through at once.
const AT_ONCE: usize = 8;

/// A promoted claim, bound.
#[derive(Debug)]
pub(crate) struct Promoted {
    /// As it stood in the cluster when it was bound.
    pub(crate) claim: Value,
}

/// A claim's snapshot did not become a volume.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotPromoted {
    #[error(transparent)]
    Impossible(PromoteError),
    #[error(transparent)]
    Class(#[from] storage_class::ClassError),
    #[error(transparent)]
    NotTaken(#[from] TakeError),
    #[error("PersistentVolumeClaim {claim} cannot be promoted: its VolumeSnapshots cannot be listed [LW-0614]")]
    NotListed {
        claim: String,
        #[source]
        source: ClusterError,
    },
    #[error("VolumeSnapshot {snapshot} of PersistentVolumeClaim {claim} cannot be promoted [LW-0614]")]
    Refused {
        snapshot: String,
        claim: String,
        #[source]
        source: ClusterError,
    },
    #[error(
        "VolumeSnapshot {snapshot} of PersistentVolumeClaim {claim} is to be promoted to PersistentVolumeClaim {promoted}, \
         but there is another of that name; delete it, then back up again [LW-0615]"
    )]
    Foreign { snapshot: String, claim: String, promoted: String },
    #[error(
        "PersistentVolumeClaim {promoted}, to which VolumeSnapshot {snapshot} of claim {claim} is promoted, did not become \
         Bound within {seconds} s; last event: {event}. See to what the event says, or allow more time with the Backup's \
         annotation {key}, then back up again [LW-0616]",
        key = PROMOTION_DEADLINE
    )]
    Late { promoted: String, snapshot: String, claim: String, seconds: u64, event: String },
    #[error(
        "PersistentVolumeClaim {promoted}, to which VolumeSnapshot {snapshot} of claim {claim} is promoted, {how}; last \
         event: {event}. Take a new recovery point [LW-0617]"
    )]
    Ended { promoted: String, snapshot: String, claim: String, how: &'static str, event: String },
    #[error("the promotion of PersistentVolumeClaim {claim} broke off ({why}); back up again [LW-0614]")]
    BrokeOff { claim: String, why: String },
}

/// A claim's promotion could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PromoterError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    NotPromoted(#[from] Arc<NotPromoted>),
}

type Job = Shared<BoxFuture<'static, Result<Option<Arc<Promoted>>, Arc<NotPromoted>>>>;

/// See the module.
pub(crate) struct Promoter {
    cluster: Arc<Cluster>,
    /// By Backup. A process lives for one backup, so there is one.
    batches: Mutex<HashMap<String, Arc<OnceCell<Batch>>>>,
}

/// A backup's promotions, all begun.
struct Batch {
    work: Arc<Work>,
    jobs: Mutex<HashMap<(String, String), Job>>,
}

/// What all promotions of a backup share.
pub(crate) struct Work {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) request: Request,
    namespaces: Mutex<HashMap<String, Arc<Namespace>>>,
    classes: storage_class::Classes,
    pub(crate) snapshot_classes: OnceCell<Vec<Value>>,
    /// The claims that the backup will come to, if it takes any together.
    pub(crate) foreseen: Vec<Value>,
}

/// What is known about one namespace, each read once, when it is needed.
#[derive(Default)]
pub(crate) struct Namespace {
    snapshots: OnceCell<Vec<Value>>,
    promoted: OnceCell<Followed>,
    pub(crate) taken: OnceCell<Followed>,
    pub(crate) machine_snapshots: OnceCell<Followed>,
    /// By claim: the VM that owns it.
    pub(crate) machines: OnceCell<HashMap<String, String>>,
    pub(crate) groups: take_group::Groups,
}

impl Promoter {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, batches: Mutex::default() }
    }

    /// What the backup asks for; `None` if it promotes nothing.
    pub(crate) async fn request(&self, backup: &Value) -> Result<Option<Request>, PromoterError> {
        Ok(policy::request(backup, self.cluster.settings().await?)?)
    }

    /// The promoted claim of `claim`, once it is bound; `None` if this backup promotes nothing of it.
    pub(crate) async fn promoted(&self, claim: &Value, backup: &Value) -> Result<Option<Arc<Promoted>>, PromoterError> {
        let Some(request) = self.request(backup).await? else { return Ok(None) };
        if !is_wanted(claim) {
            return Ok(None);
        }
        let key = view::text(backup, "/metadata/uid").unwrap_or_else(|| view::name(backup)).to_owned();
        let cell = Arc::clone(locked(&self.batches).entry(key).or_default());
        let batch = cell.get_or_try_init(|| self.begin(request, backup)).await?;
        Ok(batch.job(claim).await?)
    }

    async fn begin(&self, request: Request, backup: &Value) -> Result<Batch, ClusterError> {
        let selection = Selection::of(backup);
        let namespaces = foreseen::namespaces(&self.cluster, &selection).await?;
        let looks: Vec<_> = namespaces.iter().map(|of| foreseen::claims(&self.cluster, &selection, of)).collect();
        let claims = stream::iter(looks).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
        let mut claims = claims.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
        claims.retain(is_wanted);
        take_group::tidy(&self.cluster, &claims).await;
        // There may be thousands: they are kept only where they are needed.
        let in_groups = !self.cluster.settings().await?.group_snapshot_classes.is_empty();
        let work = Arc::new(Work {
            cluster: Arc::clone(&self.cluster),
            request,
            namespaces: Mutex::default(),
            classes: storage_class::Classes::default(),
            snapshot_classes: OnceCell::new(),
            foreseen: if in_groups { claims.clone() } else { Vec::new() },
        });
        let batch = Batch { work, jobs: Mutex::default() };
        for claim in &claims {
            drop(batch.job(claim));
        }
        // What earlier backups left behind is put away beside the work, and never in its way.
        tokio::spawn(retire::sweep(Arc::clone(&self.cluster), namespaces, title(backup)));
        Ok(batch)
    }
}

/// Whether there is anything to promote: a claim without volume has no data, and a promoted claim comes in as an
/// additional item.
fn is_wanted(claim: &Value) -> bool {
    !promote::is_promoted(claim)
        && view::annotation(claim, PROMOTE) != Some("none")
        && view::text(claim, "/spec/volumeName").is_some()
}

impl Batch {
    /// The claim's promotion, begun if it was not.
    fn job(&self, claim: &Value) -> Job {
        let key = (view::namespace(claim).to_owned(), view::name(claim).to_owned());
        locked(&self.jobs)
            .entry(key)
            .or_insert_with(|| {
                let (work, claim, of) = (Arc::clone(&self.work), claim.clone(), title(claim));
                // A task of its own: it goes on while Velero waits for another claim, or for none.
                let task = tokio::spawn(async move { work.promote(&claim).await.map_err(Arc::new) });
                async move {
                    task.await
                        .unwrap_or_else(|e| Err(Arc::new(NotPromoted::BrokeOff { claim: of, why: e.to_string() })))
                }
                .boxed()
                .shared()
            })
            .clone()
    }
}

impl Work {
    pub(crate) fn namespace(&self, name: &str) -> Arc<Namespace> {
        Arc::clone(locked(&self.namespaces).entry(name.to_owned()).or_default())
    }

    async fn promote(&self, claim: &Value) -> Result<Option<Arc<Promoted>>, NotPromoted> {
        let until = Instant::now() + self.request.deadline;
        let namespace = self.namespace(view::namespace(claim));
        let snapshots = self.snapshots(&namespace, claim).await?;
        let chosen = match promote::choose(&self.request.policy, snapshots, claim).map_err(NotPromoted::Impossible)? {
            Choice::Nothing => return Ok(None),
            Choice::Snapshot(snapshot) => Some(snapshot),
            Choice::Take => None,
        };
        // First, for a class that will not do makes the rest useless.
        let class = self.classes.of(&self.cluster, claim).await?;
        let snapshot = match chosen {
            Some(snapshot) => snapshot.clone(),
            None => take::snapshot(self, &namespace, claim, until).await?,
        };
        let wanted = promote::promoted(claim, &snapshot, class.as_deref(), &self.request.policy, &self.request.backup)
            .map_err(NotPromoted::Impossible)?;
        let promotion = Promotion { work: self, namespace: &namespace, claim, snapshot: &snapshot, wanted, until };
        promotion.create().await?;
        promotion.bound().await.map(|claim| Some(Arc::new(Promoted { claim })))
    }

    /// The snapshots that the policy looks at.
    async fn snapshots<'a>(&self, namespace: &'a Namespace, claim: &Value) -> Result<&'a [Value], NotPromoted> {
        let labels = match &self.request.policy {
            Policy::None | Policy::TakeNow { .. } => return Ok(&[]),
            Policy::Point(point) => format!("{RECOVERY_POINT}={point}"),
            Policy::Labels(selector) => selector.clone(),
            Policy::NewestReady => String::new(),
        };
        let read = || self.cluster.list(&SNAPSHOTS, Some(view::namespace(claim)), &labels);
        let listed = namespace.snapshots.get_or_try_init(read).await;
        listed.map(Vec::as_slice).map_err(|source| NotPromoted::NotListed { claim: title(claim), source })
    }
}

/// One claim's way from its snapshot to a bound volume.
struct Promotion<'a> {
    work: &'a Work,
    namespace: &'a Namespace,
    claim: &'a Value,
    snapshot: &'a Value,
    wanted: Value,
    until: Instant,
}

impl Promotion<'_> {
    fn refused(&self, source: ClusterError) -> NotPromoted {
        let snapshot = view::name(self.snapshot).to_owned();
        NotPromoted::Refused { snapshot, claim: title(self.claim), source }
    }

    async fn followed(&self) -> Result<&Followed, NotPromoted> {
        let namespace = view::namespace(self.claim);
        let begin = || Followed::new(&self.work.cluster, &CLAIMS, namespace, PROMOTED_FROM);
        self.namespace.promoted.get_or_try_init(begin).await.map_err(|e| self.refused(e))
    }

    /// Makes the promoted claim, or finds it, and says that this backup needs it.
    async fn create(&self) -> Result<(), NotPromoted> {
        let (namespace, name) = (view::namespace(&self.wanted), view::name(&self.wanted));
        while Instant::now() < self.until {
            if let Created::New = self.work.cluster.create(&CLAIMS, &self.wanted).await.map_err(|e| self.refused(e))? {
                let snapshot = view::name(self.snapshot);
                tracing::info!("promoting VolumeSnapshot {namespace}/{snapshot} to claim {name}");
                return Ok(());
            }
            let get = self.work.cluster.get(&CLAIMS, Some(namespace), name).await;
            let Some(existing) = get.map_err(|e| self.refused(e))? else { continue };
            if !promote::is_same(&existing, &self.wanted) {
                return Err(NotPromoted::Foreign {
                    snapshot: view::name(self.snapshot).to_owned(),
                    claim: title(self.claim),
                    promoted: title(&self.wanted),
                });
            }
            let existing = self.use_too(existing).await?;
            match existing.map(|claim| promote::state(Some(&claim))) {
                // An earlier backup's, on its way out: this one makes its own after it.
                Some(State::Gone) => {
                    let gone = |claim: Option<&Value>| if claim.is_none() { Look::Done(()) } else { Look::Wait };
                    let gone = self.followed().await?.wait(name, self.until, gone).await;
                    if gone.map_err(|e| self.refused(e))?.is_none() {
                        return Err(self.failed(State::Gone).await);
                    }
                }
                Some(_) => return Ok(()),
                None => {}
            }
        }
        Err(self.failed(State::Gone).await)
    }

    /// Writes on the existing promoted claim that this backup needs it as well. `None` if it was deleted meanwhile.
    async fn use_too(&self, existing: Value) -> Result<Option<Value>, NotPromoted> {
        let key = naming::used_by(&self.work.request.backup);
        if view::annotation(&existing, &key).is_some() {
            return Ok(Some(existing));
        }
        let patch = json!({"metadata": {"annotations": {key: self.work.request.backup}}});
        let (namespace, name) = (view::namespace(&existing), view::name(&existing));
        self.work.cluster.patch(&CLAIMS, Some(namespace), name, &patch).await.map_err(|e| self.refused(e))
    }

    /// Waits until the promoted claim is bound. However late it is, it is looked at once.
    async fn bound(&self) -> Result<Value, NotPromoted> {
        let (namespace, name) = (view::namespace(&self.wanted), view::name(&self.wanted));
        let look = |claim: Option<&Value>| match promote::state(claim) {
            State::Waiting => Look::Wait,
            state => Look::Done((state, claim.cloned())),
        };
        let seen = self.followed().await?.wait(name, self.until, look).await.map_err(|e| self.refused(e))?;
        let (state, claim) = match seen {
            Some(seen) => seen,
            None => {
                let claim = self.work.cluster.get(&CLAIMS, Some(namespace), name).await.map_err(|e| self.refused(e))?;
                (promote::state(claim.as_ref()), claim)
            }
        };
        match (state, claim) {
            (State::Bound, Some(claim)) => Ok(claim),
            (state, _) => Err(self.failed(state).await),
        }
    }

    /// Why it is not bound, in the provisioner's own words.
    async fn failed(&self, state: State) -> NotPromoted {
        let (namespace, name) = (view::namespace(&self.wanted), view::name(&self.wanted));
        let event = match self.work.cluster.events(&CLAIMS, namespace, name).await {
            Ok(events) => promote::telling(&events).unwrap_or_else(|| "none".to_owned()),
            Err(error) => format!("could not be read ({error})"),
        };
        let (promoted, snapshot, claim) =
            (title(&self.wanted), view::name(self.snapshot).to_owned(), title(self.claim));
        let how = match state {
            State::Bound | State::Waiting => {
                let seconds = self.work.request.deadline.as_secs();
                return NotPromoted::Late { promoted, snapshot, claim, seconds, event };
            }
            State::Lost => "has lost its volume",
            State::Gone => "was deleted meanwhile",
        };
        NotPromoted::Ended { promoted, snapshot, claim, how, event }
    }
}

/// Nothing panics while holding one of these locks.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
