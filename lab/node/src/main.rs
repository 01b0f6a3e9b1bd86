//! `lab-node`: the one node of a lab site. It plays kubelet and virt-handler, and nothing else: the guests it runs are
//! real QEMU machines on the real NFS disks that the API server's objects name.
//!
//! It may be killed at any moment: guests run on, and the next start finds them.

mod accel;
mod console;
mod guest;
mod guests;
mod handler;
mod launcher;
mod node;
mod objects;
mod observed;
mod process;
mod qemu;
mod qmp;
mod record;
mod retry;
mod status;
mod sweep;
mod vmi;
mod volume;

use accel::Choice;
use anyhow::Context;
use clap::Parser;
use futures::{StreamExt, stream};
use guest::chain;
use guests::{Guests, Rules};
use handler::Handler;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::{
    Api, Client, Config, ResourceExt,
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{
        Controller,
        controller::Action,
        events::{Recorder, Reporter},
        reflector::{ObjectRef, Store},
        utils::Backoff,
        watcher,
    },
};
use launcher::Launchers;
use objects::vmi_resource;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Plays kubelet and virt-handler at one site of the lab.
#[derive(Debug, Parser)]
struct Arguments {
    /// Name of the site.
    #[arg(long)]
    site: String,
    /// How to reach the site's API server.
    #[arg(long)]
    kubeconfig: PathBuf,
    /// Directory for console logs, sockets and notes of running guests.
    #[arg(long)]
    state: PathBuf,
    /// Kernel of the guests.
    #[arg(long)]
    kernel: PathBuf,
    /// Initramfs with lab-guest.
    #[arg(long)]
    initrd: PathBuf,
    /// Processor: emulated, or KVM; auto tries KVM once and keeps the answer.
    #[arg(long, value_enum, default_value = "auto")]
    accel: Choice,
    /// Name of the node [default: <site>-node].
    #[arg(long)]
    node: Option<String>,
    /// Address of node and Pods [default: the API server's, it is on the same machine].
    #[arg(long)]
    address: Option<String>,
    /// QEMU's program.
    #[arg(long, default_value = "qemu-system-x86_64")]
    qemu: PathBuf,
    /// Time between two records on each disk of a guest.
    #[arg(long, default_value_t = 200)]
    record_interval_ms: u64,
    /// How long QEMU may take to open its disks.
    #[arg(long, default_value_t = 30)]
    start_timeout_seconds: u64,
    /// Upper bound of a guest's grace period.
    #[arg(long, default_value_t = 60)]
    max_grace_seconds: u64,
    /// First wait before a guest goes on that failed again after an I/O error (KubeVirt: 10).
    #[arg(long, default_value_t = 10)]
    io_retry_first_seconds: u64,
    /// Longest such wait (KubeVirt: 180).
    #[arg(long, default_value_t = 180)]
    io_retry_max_seconds: u64,
    /// On SIGTERM stop all guests first, instead of leaving them running.
    #[arg(long)]
    stop_guests_on_exit: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider was installed before"))?;
    run(arguments).await
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let kubeconfig = Kubeconfig::read_from(&arguments.kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let server = config.cluster_url.host().unwrap_or("127.0.0.1").to_owned();
    let client = Client::try_from(config)?;

    let state = record::StateDir::open(&arguments.state)
        .with_context(|| format!("state directory {} [LW-0979]", arguments.state.display()))?;
    let boot = qemu::Boot {
        program: arguments.qemu,
        kernel: arguments.kernel.canonicalize().context("kernel of the guests")?,
        initrd: arguments.initrd.canonicalize().context("initramfs of the guests")?,
        site: arguments.site.clone(),
        interval: arguments.record_interval_ms,
        deadline: Duration::from_secs(arguments.start_timeout_seconds),
    };
    let accel = accel::decide(arguments.accel, &boot, &state).await.context("trying KVM [LW-0978]")?;
    let node = arguments.node.unwrap_or_else(|| format!("{}-node", arguments.site));
    let address = arguments.address.unwrap_or(server);
    tracing::info!(node, address, ?accel, "up");
    let seconds = Duration::from_secs;
    let io_retry = (seconds(arguments.io_retry_first_seconds), seconds(arguments.io_retry_max_seconds));
    let guests = Guests::adopt(Rules { boot, accel, io_retry }, state)
        .await
        .context("finding the guests of an earlier run [LW-0979]")?;
    let guests = Arc::new(guests);
    let max_grace = seconds(arguments.max_grace_seconds);

    tokio::select! {
        () = node::keep_alive(client.clone(), node.clone(), address.clone()) => {}
        () = sweep::watch(client.clone(), Arc::clone(&guests), max_grace) => {}
        () = handle(&client, &guests, &node, max_grace) => {}
        () = launch(&client, &guests, &node, &address, max_grace) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    if arguments.stop_guests_on_exit {
        let alive: Vec<_> = guests.all().into_iter().filter(|guest| guest.observed().is_alive()).collect();
        alive.iter().for_each(|guest| guest.stop(max_grace));
        for guest in alive {
            guest.wait_ended().await;
        }
    }
    Ok(())
}

/// Runs the part of virt-handler.
async fn handle(client: &Client, guests: &Arc<Guests>, node: &str, max_grace: Duration) {
    let reporter = Reporter { controller: "virt-handler".to_owned(), instance: Some(node.to_owned()) };
    let handler = Arc::new(Handler {
        client: client.clone(),
        guests: Arc::clone(guests),
        node: node.to_owned(),
        max_grace,
        recorder: Recorder::new(client.clone(), reporter),
    });
    let resource = vmi_resource();
    let of = resource.clone();
    Controller::new_with(objects::api(client, &resource, ""), watcher::Config::default(), resource)
        .watches(Api::<Pod>::all(client.clone()), launchers(), move |pod| {
            let owner = pod.owner_references().iter().find(|owner| owner.kind == of.kind)?;
            Some(ObjectRef::new_with(&owner.name, of.clone()).within(&pod.namespace()?))
        })
        .reconcile_all_on(changes(guests.changes()))
        .trigger_backoff(Steady::default())
        .run(
            |object, handler| Handler::reconcile(handler, object),
            |object, error, _| {
                tracing::warn!(vm = object.name_any(), error = chain(error), "instance, trying again");
                Action::requeue(retry_delay(
                    matches!(error, handler::HandlerError::Api(kube::Error::Api(status)) if status.is_conflict()),
                ))
            },
            handler,
        )
        .for_each(|_| async {})
        .await;
}

/// Runs the part of scheduler and kubelet.
async fn launch(client: &Client, guests: &Arc<Guests>, node: &str, address: &str, max_grace: Duration) {
    let context = Arc::new(Launchers {
        client: client.clone(),
        guests: Arc::clone(guests),
        node: node.to_owned(),
        address: address.to_owned(),
        max_grace,
    });
    let controller = Controller::new(Api::<Pod>::all(client.clone()), launchers());
    let pods: Store<Pod> = controller.store();
    controller
        .watches(Api::<PersistentVolumeClaim>::all(client.clone()), watcher::Config::default(), move |claim| {
            let uses = |pod: &Arc<Pod>| {
                pod.namespace() == claim.namespace() && launcher::claims_of(pod).contains(&claim.name_any())
            };
            pods.state().into_iter().filter(uses).map(|pod| ObjectRef::from_obj(&*pod)).collect::<Vec<_>>()
        })
        .reconcile_all_on(changes(guests.changes()))
        .trigger_backoff(Steady::default())
        .run(
            |pod, context| Launchers::reconcile(context, pod),
            |pod, error, _| {
                tracing::warn!(pod = pod.name_any(), error = chain(error), "Pod, trying again");
                Action::requeue(retry_delay(false))
            },
            context,
        )
        .for_each(|_| async {})
        .await;
}

fn launchers() -> watcher::Config {
    watcher::Config::default().labels("kubevirt.io=virt-launcher")
}

/// A conflict means that the object has just changed, so its new state is nearly here.
fn retry_delay(conflict: bool) -> Duration {
    if conflict { Duration::from_millis(50) } else { Duration::from_secs(1) }
}

fn changes(receiver: watch::Receiver<u64>) -> impl futures::Stream<Item = ()> + Send + 'static {
    stream::unfold(receiver, |mut receiver| async { receiver.changed().await.ok().map(|()| ((), receiver)) })
}

/// How long a broken watch waits: the API server is on the same machine, so it is back soon or not worth sparing.
#[derive(Default)]
struct Steady(u32);

impl Iterator for Steady {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0 = (self.0 + 1).min(5);
        Some(Duration::from_millis(200) * 2u32.pow(self.0 - 1))
    }
}

impl Backoff for Steady {
    fn reset(&mut self) {
        self.0 = 0;
    }
}
