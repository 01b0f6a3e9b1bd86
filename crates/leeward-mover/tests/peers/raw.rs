//! gRPC by hand: a client that says what it likes, and a server that is no mover.

use crate::site::Site;
use hyper_util::rt::TokioIo;
use leeward_mover::config::Config;
use leeward_mover::tls;
use leeward_mover::wire::proto::mover_client::MoverClient;
use leeward_mover::wire::proto::mover_server::{Mover, MoverServer};
use leeward_mover::wire::proto::{
    CommitRequest, DiskReply, DiskRequest, FreeReply, FreeRequest, HelloReply, HelloRequest, LookReply, ManifestPart,
    ManifestRequest, OpenReply, OpenRequest, PointReply, PointsRequest,
};
use std::net::SocketAddr;
use std::sync::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};

pub(crate) type Client = MoverClient<Channel>;

/// A client with the certificate of `site`.
pub(crate) async fn client(site: &Site, address: SocketAddr) -> Client {
    let config = Config::read(&site.folder.join("mover.yaml")).unwrap();
    let tls = tls::client(config.tls.as_ref().unwrap()).unwrap();
    let name = tls::name(config.peers.values().next().unwrap());
    let stream = TlsConnector::from(tls).connect(name, TcpStream::connect(address).await.unwrap()).await.unwrap();
    let once = Mutex::new(Some(TokioIo::new(stream)));
    let endpoint = Endpoint::from_static("http://mover");
    let channel = endpoint.connect_with_connector(tower::service_fn(move |_| {
        let stream = once.lock().unwrap().take();
        std::future::ready(stream.ok_or_else(|| std::io::Error::other("once")))
    }));
    MoverClient::new(channel.await.unwrap()).max_encoding_message_size(usize::MAX)
}

/// A call of a version.
pub(crate) fn call<T>(message: T, version: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("leeward-version", version.parse().unwrap());
    request
}

/// What it says in its greeting.
#[derive(Clone, Copy)]
pub(crate) struct FakeMover {
    pub(crate) oldest: u32,
    pub(crate) newest: u32,
    pub(crate) site: &'static str,
}

/// Serves with the certificate of `site`, until the test's process ends.
pub(crate) fn serve_fake(site: &Site, fake: FakeMover) -> SocketAddr {
    let config = Config::read(&site.folder.join("mover.yaml")).unwrap();
    let tls = tls::Server::new(config.tls.as_ref().unwrap(), &config).unwrap();
    let (tell, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let stream = TlsAcceptor::from(tls.current().0).accept(stream).await.unwrap();
            let incoming = tokio_stream::once(Ok::<_, std::io::Error>(leeward_mover::wire::stream::Metered::new(
                stream,
                std::sync::Arc::default(),
                (),
            )));
            let server = tonic::transport::Server::builder().add_service(MoverServer::new(fake));
            server
                .serve_with_incoming(tokio_stream::StreamExt::chain(incoming, tokio_stream::pending()))
                .await
                .unwrap();
        });
    });
    address.recv().unwrap()
}

type Never<T> = Result<Response<T>, Status>;

fn never<T>() -> Never<T> {
    Err(Status::unimplemented("a fake"))
}

#[tonic::async_trait]
impl Mover for FakeMover {
    type OpenStream = ReceiverStream<Result<OpenReply, Status>>;
    type DiskStream = ReceiverStream<Result<DiskReply, Status>>;
    type PointsStream = ReceiverStream<Result<PointReply, Status>>;
    type ManifestStream = ReceiverStream<Result<ManifestPart, Status>>;

    async fn hello(&self, _: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let Self { oldest, newest, site } = *self;
        Ok(Response::new(HelloReply { oldest, newest, site: site.to_owned() }))
    }

    async fn look(&self, _: Request<OpenRequest>) -> Never<LookReply> {
        never()
    }

    async fn open(&self, _: Request<OpenRequest>) -> Never<Self::OpenStream> {
        never()
    }

    async fn disk(&self, _: Request<Streaming<DiskRequest>>) -> Never<Self::DiskStream> {
        never()
    }

    async fn commit(&self, _: Request<CommitRequest>) -> Never<PointReply> {
        never()
    }

    async fn points(&self, _: Request<PointsRequest>) -> Never<Self::PointsStream> {
        never()
    }

    async fn manifest(&self, _: Request<ManifestRequest>) -> Never<Self::ManifestStream> {
        never()
    }

    async fn free(&self, _: Request<FreeRequest>) -> Never<FreeReply> {
        never()
    }
}
