//! `serve`: points are received from peers, until SIGTERM or SIGINT.

use super::home::{Home, HomeArgs};
use super::output::Answer;
use leeward_mover::refusal::VerbError;
use leeward_mover::serve::{ServeError, serve};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Threads that do not wait for files. Encryption is most of what they do, and two fill a 10 Gbit/s link.
const THREADS: usize = 2;

pub(crate) fn run(home: &HomeArgs) -> Result<Answer, VerbError> {
    let config = home.config()?;
    // They are needed as long as the process lives.
    let points = Box::leak(Box::new(Home::open(&config.export)?.points));
    let runtime =
        Builder::new_multi_thread().worker_threads(THREADS).enable_all().build().map_err(ServeError::System)?;
    let served = runtime.block_on(async {
        let (stop, stopping) = watch::channel(false);
        let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::System)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::System)?;
        tokio::spawn(async move {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            stop.send_replace(true);
        });
        serve(&config, points, stopping).await
    });
    // Threads that still write end with the process: what they leave is gone on with.
    runtime.shutdown_background();
    served?;
    Ok(Answer::nothing())
}
