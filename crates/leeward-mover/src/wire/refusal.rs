//! How one side's error gets to the other: the kind of it and its text, which ends with its code.
//!
//! What a peer says is shown to people and decides nothing but whether to repeat; it is cut, and no control character of it gets
//! to a terminal.

use leeward_model::mover::{Refusal, RefusalKind};
use tonic::{Code, Status};

/// Characters of the longest text that is taken.
const LONGEST: usize = 2000;

/// A refusal for the wire: its kind and text for all who read gRPC, and all of it for a mover.
#[must_use]
pub fn status(refusal: &Refusal) -> Status {
    let text: String = refusal.text.chars().take(LONGEST).collect();
    let whole = Refusal { text: text.clone(), ..refusal.clone() };
    let details = serde_json::to_vec(&whole).unwrap_or_default();
    Status::with_details(code(refusal.kind), text, details.into())
}

/// What a status that was made by [`status`] says; none for any other.
#[must_use]
pub fn read(status: &Status) -> Option<Refusal> {
    let refusal: Refusal = serde_json::from_slice(status.details()).ok()?;
    Some(Refusal {
        code: clean(&refusal.code),
        text: clean(&refusal.text),
        volume: refusal.volume.as_deref().map(clean),
        file: refusal.file.as_deref().map(clean),
        ..refusal
    })
}

/// A peer's text as it may be shown.
#[must_use]
pub fn clean(text: &str) -> String {
    text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// For those who look at the link with other tools.
fn code(kind: RefusalKind) -> Code {
    match kind {
        RefusalKind::Request => Code::InvalidArgument,
        RefusalKind::NoPoint | RefusalKind::Absent => Code::NotFound,
        RefusalKind::Exists => Code::AlreadyExists,
        RefusalKind::Full => Code::ResourceExhausted,
        RefusalKind::Busy | RefusalKind::Changed => Code::Aborted,
        RefusalKind::Peer => Code::PermissionDenied,
        RefusalKind::Differs => Code::DataLoss,
        RefusalKind::Link => Code::Unavailable,
        RefusalKind::OldEpoch | RefusalKind::Empty | RefusalKind::NotAFile => Code::FailedPrecondition,
        RefusalKind::Failed => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::PointError;
    use crate::refusal::of_target;

    #[test]
    fn a_refusal_comes_out_as_it_went_in() {
        let error = PointError::Request { what: "what no\nbody \u{1b}[31mhas".to_owned() };
        let sent = of_target(&error, Some(7));
        let read = read(&status(&sent)).unwrap();
        assert_eq!((read.kind, read.code.as_str()), (RefusalKind::Request, "LW-0704"));
        assert_eq!(read.text, "the sender asks for what cannot be: what no body  [31mhas [LW-0704]");
        assert!(super::read(&Status::internal("h2")).is_none());
        assert_eq!(clean(&"x".repeat(9999)).len(), LONGEST);
    }
}
