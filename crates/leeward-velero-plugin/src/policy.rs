//! What a backup asks for: which snapshots become volumes, how long that may take, and which volume a restore gets.
//!
//! The Backup's annotations say it, else the ConfigMap; a Backup of one of Leeward's own runs says everything itself. Without
//! a word nothing is promoted.

use crate::settings::Settings;
use crate::{naming, promote, view};
use leeward_model::keys::{PROMOTE, PROMOTION_DEADLINE, RECOVER_FROM, RECOVERY_POINT, RUN};
use leeward_model::name::{InvalidName, PointId};
use serde_json::Value;
use std::time::Duration;

const DEFAULT_DEADLINE_SECONDS: u64 = 300;
const MAX_DEADLINE_SECONDS: u64 = 24 * 3600;

/// Which snapshots become volumes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Policy {
    #[default]
    None,
    /// Of each claim the newest that is ready.
    NewestReady,
    /// Of each claim the newest that is ready among those that match.
    Labels(String),
    /// Those of a recovery point. A claim without one is left alone.
    Point(PointId),
    /// New ones. Frozen: by VirtualMachineSnapshot, for claims of a VM.
    TakeNow { frozen: bool },
}

/// Which volume the restored claim gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum RecoverFrom {
    #[default]
    Live,
    Promoted,
}

/// What a backup asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) policy: Policy,
    pub(crate) recover_from: RecoverFrom,
    pub(crate) deadline: Duration,
    /// The point that snapshots are taken for.
    pub(crate) taken: PointId,
    /// The Backup, `namespace/name`.
    pub(crate) backup: String,
}

/// What a backup asks for cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("the Backup's annotation {RECOVERY_POINT} does not name a recovery point; correct it [LW-0610]")]
    Point(#[source] InvalidName),
    #[error(
        "the promotion deadline ({PROMOTION_DEADLINE}, `deadlineSeconds`) is {0:?}; give whole seconds between 1 and \
         {MAX_DEADLINE_SECONDS} [LW-0610]"
    )]
    Deadline(String),
    #[error(
        "the promotion policy ({PROMOTE}, `policy`) is {0:?}; give none, newest-ready, label:<selector>, take-now or \
         take-now-frozen [LW-0610]"
    )]
    Policy(String),
    #[error("{RECOVER_FROM} (`recoverFrom`) is {0:?}; give live or promoted [LW-0610]")]
    RecoverFrom(String),
    #[error(
        "the Backup's annotation {PROMOTE} is {0:?} and its annotation {RECOVERY_POINT} names a point, but only snapshots \
         that are taken now can be given a point; remove one of them [LW-0610]"
    )]
    Contradiction(String),
    #[error(
        "the Backup is to be recovered from promoted volumes ({RECOVER_FROM}), but promotes none; annotate it with \
         {PROMOTE} as well, or set `policy` in the ConfigMap's key `promote` [LW-0610]"
    )]
    NothingPromoted,
}

impl Policy {
    pub(crate) fn parse(text: &str) -> Result<Self, RequestError> {
        match text.trim() {
            "none" => Ok(Self::None),
            "newest-ready" => Ok(Self::NewestReady),
            "take-now" => Ok(Self::TakeNow { frozen: false }),
            "take-now-frozen" => Ok(Self::TakeNow { frozen: true }),
            other => match other.strip_prefix("label:").map(str::trim) {
                Some(selector) if !selector.is_empty() => Ok(Self::Labels(selector.to_owned())),
                _ => Err(RequestError::Policy(text.to_owned())),
            },
        }
    }
}

impl RecoverFrom {
    pub(crate) fn parse(text: &str) -> Result<Self, RequestError> {
        match text.trim() {
            "live" => Ok(Self::Live),
            "promoted" => Ok(Self::Promoted),
            _ => Err(RequestError::RecoverFrom(text.to_owned())),
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Promoted => "promoted",
        }
    }
}

/// What this backup asks for; `None` if nothing is to be promoted.
pub(crate) fn request(backup: &Value, settings: &Settings) -> Result<Option<Request>, RequestError> {
    let by_leeward = view::label(backup, RUN).is_some();
    let none = Settings::default();
    let settings = if by_leeward { &none } else { settings };

    let word = view::annotation(backup, PROMOTE);
    let asked = word.map(Policy::parse).transpose()?;
    let point =
        view::annotation(backup, RECOVERY_POINT).map(PointId::parse).transpose().map_err(RequestError::Point)?;
    let policy = match (asked, &point) {
        (Some(policy @ Policy::TakeNow { .. }), _) | (Some(policy), None) => policy,
        (Some(_), Some(_)) => return Err(RequestError::Contradiction(word.unwrap_or_default().to_owned())),
        (None, Some(point)) => Policy::Point(point.clone()),
        (None, None) => settings.policy.clone(),
    };
    let recover_from = view::annotation(backup, RECOVER_FROM).map(RecoverFrom::parse).transpose()?;
    if policy == Policy::None {
        return match recover_from {
            Some(RecoverFrom::Promoted) => Err(RequestError::NothingPromoted),
            _ => Ok(None),
        };
    }
    let seconds = match view::annotation(backup, PROMOTION_DEADLINE) {
        Some(text) => text.parse().map_err(|_| RequestError::Deadline(text.to_owned()))?,
        None => settings.deadline_seconds.unwrap_or(DEFAULT_DEADLINE_SECONDS),
    };
    if !(1..=MAX_DEADLINE_SECONDS).contains(&seconds) {
        return Err(RequestError::Deadline(seconds.to_string()));
    }
    Ok(Some(Request {
        policy,
        recover_from: recover_from.unwrap_or(settings.recover_from),
        deadline: Duration::from_secs(seconds),
        taken: point.unwrap_or_else(|| point_of(backup)),
        backup: promote::title(backup),
    }))
}

/// The point of a backup that names none: the same each time the plug-in is started for it, another for each Backup.
fn point_of(backup: &Value) -> PointId {
    let digits = |part: &str| part.chars().filter(char::is_ascii_digit).collect::<String>();
    let created = view::text(backup, "/metadata/creationTimestamp").unwrap_or_default();
    let (day, time) = created.split_once('T').map(|(day, time)| (digits(day), digits(time))).unwrap_or_default();
    let identity = view::text(backup, "/metadata/uid").unwrap_or_else(|| view::name(backup));
    let unique = naming::hash(identity);
    let readable = format!("now-{day}-{time}-{}", &unique[..6]);
    let point = if day.len() == 8 && time.len() == 6 { readable } else { format!("now-{unique}") };
    // Letters, digits and hyphens, at most 26: always a name.
    PointId::parse(point).unwrap_or_else(|_| unreachable!("a point's name made of digits"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn backup(annotations: &Value) -> Value {
        json!({"kind": "Backup", "metadata": {
            "name": "b", "uid": "u", "creationTimestamp": "2026-11-22T18:05:01Z", "annotations": annotations
        }})
    }

    fn asked(annotations: &Value) -> Result<Option<Request>, RequestError> {
        request(&backup(annotations), &Settings::default())
    }

    #[test]
    fn the_backup_says_it_else_the_config_map_else_nothing_is_promoted() {
        assert_eq!(asked(&json!({})), Ok(None));
        let settings = Settings {
            policy: Policy::NewestReady,
            recover_from: RecoverFrom::Promoted,
            deadline_seconds: Some(9),
            ..Settings::default()
        };
        let got = request(&backup(&json!({})), &settings).unwrap().unwrap();
        assert_eq!((got.policy, got.recover_from), (Policy::NewestReady, RecoverFrom::Promoted));
        assert_eq!(got.deadline.as_secs(), 9);
        let got = request(&backup(&json!({PROMOTE: "label:a=b", RECOVER_FROM: "live"})), &settings).unwrap().unwrap();
        assert_eq!((got.policy, got.recover_from), (Policy::Labels("a=b".into()), RecoverFrom::Live));
        assert_eq!(request(&backup(&json!({PROMOTE: "none"})), &settings), Ok(None));

        // One of Leeward's own runs takes stopped machines' live volumes, and must not be told otherwise.
        let mut run = backup(&json!({}));
        run["metadata"]["labels"] = json!({RUN: "migrate-1"});
        assert_eq!(request(&run, &settings), Ok(None));
    }

    #[test]
    fn a_point_is_a_policy_or_the_name_of_what_is_taken() {
        let point = PointId::parse("rp-1").unwrap();
        assert_eq!(asked(&json!({RECOVERY_POINT: "rp-1"})).unwrap().unwrap().policy, Policy::Point(point.clone()));
        let taken = asked(&json!({RECOVERY_POINT: "rp-1", PROMOTE: "take-now"})).unwrap().unwrap();
        assert_eq!((taken.policy, taken.taken), (Policy::TakeNow { frozen: false }, point));
        let named = asked(&json!({PROMOTE: "take-now-frozen"})).unwrap().unwrap().taken;
        assert_eq!(named.as_str(), format!("now-20261122-180501-{}", &naming::hash("u")[..6]));
        assert_eq!(point_of(&json!({"metadata": {"uid": "u"}})).as_str(), format!("now-{}", naming::hash("u")));
    }

    #[test]
    fn deadlines() {
        let of = |text: &str| asked(&json!({RECOVERY_POINT: "rp-1", PROMOTION_DEADLINE: text}));
        assert_eq!(asked(&json!({RECOVERY_POINT: "rp-1"})).unwrap().unwrap().deadline.as_secs(), 300);
        assert_eq!(of("7").unwrap().unwrap().deadline.as_secs(), 7);
        for bad in ["0", "-1", "5m", "86401"] {
            let text = of(bad).unwrap_err().to_string();
            assert!(text.contains(bad) && text.contains("LW-0610"), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (annotations, part) in [
            (json!({PROMOTE: "newest"}), "newest-ready"),
            (json!({PROMOTE: "label:"}), "label:<selector>"),
            (json!({PROMOTE: "newest-ready", RECOVERY_POINT: "rp-1"}), "remove one"),
            (json!({PROMOTE: "none", RECOVERY_POINT: "rp-1"}), "remove one"),
            (json!({RECOVERY_POINT: "RP 1"}), "recovery point"),
            (json!({RECOVER_FROM: "promoted"}), "promotes none"),
            (json!({PROMOTE: "take-now", RECOVER_FROM: "snapshot"}), "live or promoted"),
        ] {
            let text = asked(&annotations).unwrap_err().to_string();
            assert!(text.contains(part) && text.contains("LW-0610"), "{text}");
        }
    }
}
