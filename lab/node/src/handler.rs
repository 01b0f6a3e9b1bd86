//! The part of virt-handler: makes guests run as the VirtualMachineInstances of this node say, and reports on them.

use crate::{
    guest::{Guest, chain},
    guests::Guests,
    objects::{api, claim_resource, get, put_status, to_value, vmi_resource, volume_resource},
    observed::Outcome,
    qemu::StartError,
    record::{Disk, Record},
    status,
    vmi::{Decision, Launcher, Vmi, decide},
    volume::{VolumeError, bound_volume, image_url},
};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams},
    runtime::{
        controller::Action,
        events::{Event, EventType, Recorder},
    },
};
use serde_json::Value;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use thiserror::Error;

/// Label of a Pod: the uid of the instance it was made for.
pub(crate) const CREATED_BY: &str = "kubevirt.io/created-by";
/// Before something is tried again for which no event will come.
const AGAIN: Duration = Duration::from_millis(500);

/// What the handler works with.
pub(crate) struct Handler {
    pub(crate) client: Client,
    pub(crate) guests: Arc<Guests>,
    pub(crate) node: String,
    pub(crate) max_grace: Duration,
    pub(crate) recorder: Recorder,
}

/// Why nothing could be done this time.
#[derive(Debug, Error)]
pub(crate) enum HandlerError {
    /// The API server.
    #[error("API server")]
    Api(#[from] kube::Error),
}

#[derive(Debug, Error)]
enum LaunchError {
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the virtual machine has no disk with a claim; give it one [LW-0950]")]
    NoDisk,
    #[error("API server")]
    Api(#[from] kube::Error),
}

impl Handler {
    /// One look at one instance.
    pub(crate) async fn reconcile(self: Arc<Self>, object: Arc<DynamicObject>) -> Result<Action, HandlerError> {
        let value = to_value(&object);
        let vmi = Vmi(&value);
        if vmi.node() != self.node {
            return Ok(Action::await_change());
        }
        let guest = self.guests.get(vmi.namespace(), vmi.name(), vmi.uid());
        let observed = guest.as_ref().map(|guest| guest.observed());
        let decision = decide(vmi, self.launcher(vmi).await?, observed.as_ref());
        if !matches!(decision, Decision::Wait | Decision::Report) {
            tracing::info!(namespace = vmi.namespace(), vm = vmi.name(), ?decision, "instance");
        }
        match (decision, guest) {
            (Decision::Start, _) => return self.start(&object, vmi).await,
            (Decision::Stop, Some(guest)) => guest.stop(vmi.grace(self.max_grace)),
            (Decision::Kill, Some(guest)) => guest.stop(Duration::ZERO),
            (Decision::Report, Some(guest)) => self.report(&object, vmi, &guest).await?,
            (Decision::Finish(outcome), _) => self.finish(&object, vmi, &outcome).await?,
            _ => {}
        }
        Ok(Action::await_change())
    }

    async fn launcher(&self, vmi: Vmi<'_>) -> kube::Result<Launcher> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), vmi.namespace());
        let mine = ListParams::default().labels(&format!("{CREATED_BY}={}", vmi.uid()));
        let over = |pod: &Pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            pod.metadata.deletion_timestamp.is_some() || matches!(phase, Some("Succeeded" | "Failed"))
        };
        let up = pods.list(&mine).await?.items.iter().any(|pod| !over(pod));
        Ok(if up { Launcher::Up } else { Launcher::Down })
    }

    async fn start(&self, object: &DynamicObject, vmi: Vmi<'_>) -> Result<Action, HandlerError> {
        let begin = Instant::now();
        match self.launch(vmi).await {
            Ok(true) => {
                let took = begin.elapsed();
                tracing::info!(namespace = vmi.namespace(), vm = vmi.name(), ?took, "guest started");
                Ok(Action::requeue(Duration::ZERO))
            }
            Ok(false) => Ok(Action::requeue(AGAIN)),
            Err(LaunchError::Api(error)) => Err(error.into()),
            Err(error) => {
                let message = chain(&error);
                tracing::warn!(namespace = vmi.namespace(), vm = vmi.name(), error = message, "guest not started");
                self.finish(object, vmi, &Outcome::Failed { reason: "FailedStart", message }).await?;
                Ok(Action::await_change())
            }
        }
    }

    async fn launch(&self, vmi: Vmi<'_>) -> Result<bool, LaunchError> {
        let claims = api(&self.client, &claim_resource(), vmi.namespace());
        let volumes = api(&self.client, &volume_resource(), "");
        let mut disks = Vec::new();
        for disk in vmi.disks() {
            let claim = get(&claims, &disk.claim).await?;
            let name = bound_volume(&disk.claim, claim.as_ref())?;
            let volume = get(&volumes, name).await?;
            let lost = || VolumeError::NoAddress { volume: name.to_owned(), why: "it is not there".to_owned() };
            let url = image_url(claim.as_ref().unwrap_or(&Value::Null), &volume.ok_or_else(lost)?)?;
            disks.push(Disk { name: disk.name, serial: disk.serial, url });
        }
        if disks.is_empty() {
            return Err(LaunchError::NoDisk);
        }
        let record = Record {
            namespace: vmi.namespace().to_owned(),
            name: vmi.name().to_owned(),
            uid: vmi.uid().to_owned(),
            disks,
            console_offset: 0,
            process: None,
            killed: false,
        };
        Ok(self.guests.start(record).await?)
    }

    async fn report(&self, object: &DynamicObject, vmi: Vmi<'_>, guest: &Guest) -> kube::Result<()> {
        let disks: Vec<(&str, &str)> =
            guest.record.disks.iter().map(|disk| (disk.name.as_str(), disk.serial.as_str())).collect();
        let observed = guest.observed();
        let Some(changes) = status::running(vmi.0, &observed, &disks, &status::now()) else { return Ok(()) };
        put_status(&api(&self.client, &vmi_resource(), vmi.namespace()), object, changes).await?;
        if let Some(pause) = &observed.paused {
            let volume = guest
                .record
                .disks
                .iter()
                .enumerate()
                .find(|(number, _)| pause.drive.as_deref() == Some(format!("disk{number}").as_str()));
            let volume = volume.map_or("unknown", |(_, disk)| disk.name.as_str());
            let note = format!("VM Paused due to IO error at the volume: {volume} ({})", pause.reason);
            self.tell(vmi, EventType::Warning, "IOerror", &note).await;
        }
        Ok(())
    }

    async fn finish(&self, object: &DynamicObject, vmi: Vmi<'_>, outcome: &Outcome) -> kube::Result<()> {
        let changes = status::finished(vmi.0, outcome, &status::now());
        put_status(&api(&self.client, &vmi_resource(), vmi.namespace()), object, changes).await?;
        match outcome {
            Outcome::Succeeded => {
                self.tell(vmi, EventType::Normal, "Stopped", "The VirtualMachineInstance was shut down.").await;
            }
            Outcome::Failed { reason, message } => self.tell(vmi, EventType::Warning, reason, message).await,
        }
        // The Pod waits for this.
        self.guests.touch();
        Ok(())
    }

    /// Publishes an event. Nothing depends on events, so a failure is only logged.
    async fn tell(&self, vmi: Vmi<'_>, kind: EventType, reason: &str, note: &str) {
        let about = ObjectReference {
            api_version: Some("kubevirt.io/v1".to_owned()),
            kind: Some("VirtualMachineInstance".to_owned()),
            namespace: Some(vmi.namespace().to_owned()),
            name: Some(vmi.name().to_owned()),
            uid: Some(vmi.uid().to_owned()),
            ..ObjectReference::default()
        };
        let event = Event {
            type_: kind,
            reason: reason.to_owned(),
            note: Some(note.chars().take(1000).collect()),
            action: "Sync".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &about).await {
            tracing::warn!(vm = vmi.name(), error = chain(&error), "event not published");
        }
    }
}
