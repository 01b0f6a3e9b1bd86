//! Panics of actions: caught, and told to Velero like an error.
//!
//! The default hook would print a bare text, which Velero logs at debug level. This one logs a line at level error, so
//! that a panic outside a call is seen as well, and remembers the place for the call's status. With `panic = "abort"` in
//! the build profile there is nothing to catch: the process dies and Velero starts it anew for the next call.

use crate::error::{ActionError, Place};
use futures::FutureExt as _;
use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::panic::AssertUnwindSafe;

thread_local! {
    /// The hook runs on the panicking thread, which is also the one that then polls `caught` to its end.
    static LAST_PLACE: RefCell<Option<Place>> = const { RefCell::new(None) };
}

/// Replaces the process's panic hook.
pub(crate) fn install_hook() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(Place::from);
        let at = place.as_ref().map(|p| format!("{}:{}", p.file, p.line)).unwrap_or_default();
        tracing::error!(at, "panic: {}", text(info.payload()));
        LAST_PLACE.with(|last| *last.borrow_mut() = place);
    }));
}

/// Runs `work`; a panic in it becomes an error with code `Aborted`.
pub(crate) async fn caught<T>(work: impl Future<Output = Result<T, ActionError>>) -> Result<T, ActionError> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(result) => result,
        Err(payload) => {
            let place = LAST_PLACE.with(|last| last.borrow_mut().take());
            let place = place.unwrap_or_else(|| Place { file: "unknown".to_owned(), line: 0 });
            Err(ActionError::panicked(format!("the plug-in panicked: {}", text(payload.as_ref())), place))
        }
    }
}

fn text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}
