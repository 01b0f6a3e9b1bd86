//! What an action may fail with, and how Velero gets to see it.
//!
//! Velero shows the status message; a `generated.Stack` in the status details becomes `error.file` and `error.function`
//! in its log. By the convention of Velero's own plug-ins an error has code `Unknown` and a panic `Aborted`.

use crate::proto::{generated as wire, rpc};
use prost::Message as _;
use std::fmt;
use std::panic::Location;
use tonic::{Code, Status};

/// A message travels twice in the trailers (as text and in the details), and HTTP/2 peers limit those; 16 KiB is common.
const MAX_MESSAGE: usize = 4096;
const STACK_TYPE: &str = "type.googleapis.com/generated.Stack";

/// Why an action could not do its work. The item is then not backed up or restored, and the backup or restore ends as
/// `PartiallyFailed`.
///
/// Made from a text or, with `?`, from any error, whose sources are then appended; it remembers the line it was made at.
pub struct ActionError {
    message: String,
    place: Place,
    code: Code,
}

/// Where an error arose.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) line: u32,
}

impl From<&Location<'_>> for Place {
    fn from(l: &Location<'_>) -> Self {
        Self { file: l.file().to_owned(), line: l.line() }
    }
}

impl ActionError {
    /// An error with this text, shown to the user as it is: name the object, and say what to do next.
    #[must_use]
    #[track_caller]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: Location::caller().into(), code: Code::Unknown }
    }

    /// A panic inside an action.
    pub(crate) fn panicked(message: String, place: Place) -> Self {
        Self { message, place, code: Code::Aborted }
    }

    /// The text.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// As a gRPC status for a call of the action `name`.
    pub(crate) fn into_status(self, name: &str) -> Status {
        let message = shortened(self.message);
        let stack = wire::Stack {
            frames: vec![wire::StackFrame {
                file: self.place.file,
                line: i32::try_from(self.place.line).unwrap_or(i32::MAX),
                function: name.to_owned(),
            }],
        };
        let details = rpc::Status {
            code: self.code as i32,
            message: message.clone(),
            details: vec![prost_types::Any { type_url: STACK_TYPE.to_owned(), value: stack.encode_to_vec() }],
        };
        Status::with_details(self.code, message, details.encode_to_vec().into())
    }
}

fn shortened(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE).rev().find(|i| message.is_char_boundary(*i)).unwrap_or(0);
        message.truncate(end);
        message.push_str(" … (shortened)");
    }
    message
}

impl fmt::Display for ActionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for ActionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at {}:{})", self.message, self.place.file, self.place.line)
    }
}

// `ActionError` is no `std::error::Error` itself, else this would overlap with `From<T> for T`.
impl<E: std::error::Error> From<E> for ActionError {
    #[track_caller]
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Some errors repeat their source in their own text.
            if !message.ends_with(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = cause.source();
        }
        Self { message, place: Location::caller().into(), code: Code::Unknown }
    }
}

/// The frames of a status that came over the wire: `(file, line, function)`.
#[cfg(feature = "harness")]
pub(crate) fn frames(status: &Status) -> Vec<(String, i32, String)> {
    let Ok(details) = rpc::Status::decode(status.details()) else { return Vec::new() };
    details
        .details
        .iter()
        .filter(|any| any.type_url == STACK_TYPE)
        .filter_map(|any| wire::Stack::decode(any.value.as_slice()).ok())
        .flat_map(|stack| stack.frames)
        .map(|f| (f.file, f.line, f.function))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn question_mark_keeps_the_chain_and_the_line() {
        fn fails() -> Result<(), ActionError> {
            Err(Outer(std::io::Error::other("inner")))?;
            Ok(())
        }
        let error = fails().unwrap_err();
        assert_eq!(error.message(), "outer: inner");
        assert!(error.place.file.ends_with("error.rs"), "{error:?}");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("outer: {0}")]
    struct Repeating(#[source] std::io::Error);

    #[test]
    fn a_cause_that_its_error_repeats_is_told_once() {
        let error = ActionError::from(Repeating(std::io::Error::other("inner")));
        assert_eq!(error.message(), "outer: inner");
    }

    #[test]
    fn long_texts_are_cut_on_a_character() {
        let status = ActionError::new("ü".repeat(MAX_MESSAGE)).into_status("x/y");
        assert!(status.message().ends_with("(shortened)") && status.message().len() < MAX_MESSAGE + 20);
        assert!(status.details().len() < 2 * MAX_MESSAGE);
    }
}
