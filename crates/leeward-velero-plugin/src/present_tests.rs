//! What a restore of many asks the API server, and that nothing is taken for absent that is not.

use super::*;
use crate::cluster::{CLAIMS, VOLUMES};
use crate::played::Played;
use serde_json::json;

const PVS: &str = "persistentvolumes";
const GET: &str = "GET /api/v1/persistentvolumes/";
const LIST: &str = "GET /api/v1/persistentvolumes";
const WATCH: &str = "WATCH /api/v1/persistentvolumes";

fn restore() -> Value {
    json!({"metadata": {"name": "shop-1"}})
}

fn pv(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

struct Asking {
    played: Arc<Played>,
    cluster: Arc<Cluster>,
    present: Present,
}

impl Asking {
    fn of(played: Played) -> Self {
        let played = Arc::new(played);
        Self { cluster: played.cluster(), played, present: Present::new(&VOLUMES) }
    }

    async fn is_there(&self, name: &str) -> bool {
        self.present.get(&self.cluster, &restore(), None, name).await.unwrap().is_some()
    }

    /// So many that the names are listed from now on.
    async fn many(&self) {
        for number in 0..=FEW {
            assert!(!self.is_there(&format!("first-{number}")).await);
        }
    }

    /// Asks until the answer is this one; the test ends red if it never is.
    async fn becomes(&self, name: &str, there: bool) {
        while self.is_there(name).await != there {
            tokio::task::yield_now().await;
        }
    }

    async fn taken(&self, name: &str) -> bool {
        self.present.taken(&self.cluster, &restore(), None, name).await.unwrap().is_some()
    }
}

#[tokio::test]
async fn a_thousand_cost_as_many_requests_as_a_few() {
    let asking = Asking::of(Played::empty());
    asking.played.add(PVS, pv("here"));
    for number in 0..1000 {
        assert!(!asking.is_there(&format!("pv-{number}")).await);
    }
    assert_eq!((asking.played.count(GET), asking.played.count(WATCH)), (FEW, 1));
    assert_eq!(asking.played.count(LIST) - asking.played.count(GET), 1);
    assert!(asking.is_there("here").await);
    assert_eq!(asking.played.count(GET), FEW + 1, "what is there is read itself");
}

#[tokio::test]
async fn a_restore_of_one_lists_nothing() {
    let asking = Asking::of(Played::empty());
    assert!(!asking.is_there("pv").await);
    assert_eq!((asking.played.count(LIST), asking.played.count(WATCH)), (1, 0));
}

#[tokio::test]
async fn what_comes_and_goes_meanwhile_is_seen() {
    let asking = Asking::of(Played::empty());
    asking.many().await;
    asking.played.add(PVS, pv("late"));
    asking.becomes("late", true).await;
    asking.played.remove(PVS, "late");
    assert!(!asking.is_there("late").await, "it is read before it is taken for there");
}

#[tokio::test]
async fn without_a_watch_each_is_asked_for() {
    let asking = Asking::of(Played::empty());
    asking.played.fail(WATCH);
    asking.many().await;
    asking.played.add(PVS, pv("late"));
    assert!(asking.is_there("late").await, "the list is older than it, and no watch stands");
    let asking = Asking::of(Played::empty());
    asking.played.fail(LIST);
    asking.many().await;
    assert_eq!((asking.played.count(GET), asking.played.count(WATCH)), (FEW + 1, 0));
}

#[tokio::test]
async fn a_watch_that_ends_goes_on_where_it_was() {
    let asking = Asking::of(Played::empty());
    asking.many().await;
    asking.played.cut();
    asking.played.add(PVS, pv("in-the-gap"));
    asking.played.was_asked(WATCH, 2).await;
    asking.becomes("in-the-gap", true).await;
    assert_eq!(asking.played.count(LIST) - asking.played.count(GET), 1, "listed once");
}

#[tokio::test]
async fn what_somebody_else_makes_under_a_name_of_the_restore_is_told() {
    let asking = Asking::of(Played::empty());
    assert!(!asking.taken("pv").await, "nothing is known yet");
    asking.many().await;
    let mut own = pv("own");
    own["metadata"]["labels"] = json!({RESTORE_NAME: "shop-1"});
    asking.played.add(PVS, own);
    asking.played.add(PVS, pv("theirs"));
    while !asking.taken("theirs").await {
        tokio::task::yield_now().await;
    }
    let asked = asking.played.count(GET);
    assert!(!asking.taken("own").await);
    assert_eq!(asking.played.count(GET), asked, "the watch leaves out what the restore makes");
}

#[tokio::test]
async fn what_a_restore_of_the_same_name_left_is_there() {
    let asking = Asking::of(Played::empty());
    let mut left = pv("left");
    left["metadata"]["labels"] = json!({RESTORE_NAME: "shop-1"});
    asking.played.add(PVS, left);
    asking.many().await;
    assert!(asking.is_there("left").await);
}

#[tokio::test]
async fn objects_of_a_namespace_are_told_apart() {
    let played = Arc::new(Played::empty());
    let (cluster, present) = (played.cluster(), Present::new(&CLAIMS));
    played.add("persistentvolumeclaims", json!({"metadata": {"namespace": "shop", "name": "db"}}));
    let is_there =
        async |namespace: &str| present.get(&cluster, &restore(), Some(namespace), "db").await.unwrap().is_some();
    for _ in 0..=FEW {
        assert!(!is_there("other").await);
    }
    assert!(is_there("shop").await);
    assert_eq!(played.count("WATCH /api/v1/persistentvolumeclaims"), 1);
}

#[test]
fn a_name_that_velero_shortens_is_not_looked_for() {
    let long = json!({"metadata": {"name": "n".repeat(64)}});
    assert_eq!((own_label(&long), watch_params(&long).label_selector), (None, None));
    assert_eq!(watch_params(&restore()).label_selector.as_deref(), Some("velero.io/restore-name!=shop-1"));
}
