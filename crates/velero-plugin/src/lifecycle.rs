//! What the host's plug-in library calls, whatever the plug-in serves: health, shutdown, and two streams that stay open
//! for as long as the plug-in lives.
//!
//! Without `Shutdown` every stop costs two seconds and ends in SIGKILL. The streams carry nothing: what a plug-in has to
//! say it writes to stderr, and Velero's kinds need no further connections.

use crate::proto::{health, plugin};
use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// The one service name that the host asks for.
const HEALTH_SERVICE: &str = "plugin";

/// Answers for the process as a whole.
#[derive(Debug, Clone)]
pub(crate) struct Lifecycle {
    pub(crate) stop: CancellationToken,
}

impl Lifecycle {
    /// Yields nothing and ends with the plug-in, so that an open stream does not hold up its stopping.
    fn silence<T: Send + 'static>(&self) -> BoxStream<'static, Result<T, Status>> {
        stream::pending().take_until(self.stop.clone().cancelled_owned()).boxed()
    }
}

#[async_trait]
impl plugin::grpc_controller_server::GrpcController for Lifecycle {
    async fn shutdown(&self, _: Request<plugin::Empty>) -> Result<Response<plugin::Empty>, Status> {
        self.stop.cancel();
        Ok(Response::new(plugin::Empty {}))
    }
}

#[async_trait]
impl plugin::grpc_stdio_server::GrpcStdio for Lifecycle {
    type StreamStdioStream = BoxStream<'static, Result<plugin::StdioData, Status>>;

    async fn stream_stdio(&self, _: Request<()>) -> Result<Response<Self::StreamStdioStream>, Status> {
        Ok(Response::new(self.silence()))
    }
}

#[async_trait]
impl plugin::grpc_broker_server::GrpcBroker for Lifecycle {
    type StartStreamStream = BoxStream<'static, Result<plugin::ConnInfo, Status>>;

    async fn start_stream(
        &self,
        _: Request<Streaming<plugin::ConnInfo>>,
    ) -> Result<Response<Self::StartStreamStream>, Status> {
        Ok(Response::new(self.silence()))
    }
}

fn serving(service: &str) -> Result<health::HealthCheckResponse, Status> {
    match service {
        "" | HEALTH_SERVICE => {
            Ok(health::HealthCheckResponse { status: health::health_check_response::ServingStatus::Serving.into() })
        }
        other => Err(Status::not_found(format!("no service {other:?} here, only {HEALTH_SERVICE:?}"))),
    }
}

#[async_trait]
impl health::health_server::Health for Lifecycle {
    type WatchStream = BoxStream<'static, Result<health::HealthCheckResponse, Status>>;

    async fn check(
        &self,
        request: Request<health::HealthCheckRequest>,
    ) -> Result<Response<health::HealthCheckResponse>, Status> {
        serving(&request.get_ref().service).map(Response::new)
    }

    async fn watch(&self, request: Request<health::HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let first = serving(&request.get_ref().service)?;
        Ok(Response::new(stream::iter([Ok(first)]).chain(self.silence()).boxed()))
    }
}
