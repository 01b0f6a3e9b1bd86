//! What arrives on a plug-in's socket: any bytes as a request of any method, to a plug-in in this process.

use bytes::{Buf as _, BufMut as _, Bytes};
use serde_json::Value;
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use velero_plugin::harness::Harness;
use velero_plugin::{
    ActionError, BackupItemAction, BackupOutput, DeleteItemAction, ItemBlockAction, ItemId, ObjectExt as _,
    RestoreInput, RestoreItemAction, RestoreOutput, Selector, Server, async_trait, v1,
};

/// No answer is this far away.
const DEADLINE: Duration = Duration::from_secs(5);

/// The methods with the action that each is about. An input's first byte is the place in here: append only.
pub(crate) const METHODS: [(&str, &str); 17] = [
    ("/v2.BackupItemAction/AppliesTo", "fuzz.io/v2"),
    ("/v2.BackupItemAction/Execute", "fuzz.io/v2"),
    ("/v2.BackupItemAction/Progress", "fuzz.io/v2"),
    ("/v2.BackupItemAction/Cancel", "fuzz.io/v2"),
    ("/v2.RestoreItemAction/AppliesTo", "fuzz.io/v2"),
    ("/v2.RestoreItemAction/Execute", "fuzz.io/v2"),
    ("/v2.RestoreItemAction/Progress", "fuzz.io/v2"),
    ("/v2.RestoreItemAction/Cancel", "fuzz.io/v2"),
    ("/v2.RestoreItemAction/AreAdditionalItemsReady", "fuzz.io/v2"),
    ("/generated.BackupItemAction/Execute", "fuzz.io/v1"),
    ("/generated.RestoreItemAction/Execute", "fuzz.io/v1"),
    ("/generated.DeleteItemAction/AppliesTo", "fuzz.io/v2"),
    ("/generated.DeleteItemAction/Execute", "fuzz.io/v2"),
    ("/v1.ItemBlockAction/AppliesTo", "fuzz.io/v2"),
    ("/v1.ItemBlockAction/GetRelatedItems", "fuzz.io/v2"),
    ("/generated.PluginLister/ListPlugins", ""),
    ("/grpc.health.v1.Health/Check", "plugin"),
];

/// Looks at whatever comes as an author would.
struct Looks;

fn look(mut item: Value, run: &Value) -> Value {
    let seen = format!("{} {} {}", item.title(), run.name(), item.text("/spec/volumeName").unwrap_or_default());
    item.set_annotation("fuzz.io/seen", &seen);
    item
}

fn named(item: &Value) -> [ItemId; 1] {
    [ItemId::core("persistentvolumeclaims", item.namespace(), item.name())]
}

#[async_trait]
impl BackupItemAction for Looks {
    fn applies_to(&self) -> Selector {
        Selector::resources(["persistentvolumes"])
    }

    async fn execute(&self, item: Value, backup: &Value) -> Result<BackupOutput, ActionError> {
        let also = named(&item);
        Ok(BackupOutput::changed(look(item, backup)).with_items(also))
    }
}

#[async_trait]
impl RestoreItemAction for Looks {
    fn applies_to(&self) -> Selector {
        Selector::resources(["persistentvolumes"])
    }

    async fn execute(&self, input: RestoreInput<'_>) -> Result<RestoreOutput, ActionError> {
        let namespace = input.target_namespace(input.item.namespace()).to_owned();
        let also = ItemId::core("secrets", namespace, input.item.name());
        Ok(RestoreOutput::changed(look(input.item, input.restore)).with_items([also]))
    }

    async fn additional_items_ready(&self, items: &[ItemId], _: &Value) -> Result<bool, ActionError> {
        Ok(items.is_empty())
    }
}

#[async_trait]
impl DeleteItemAction for Looks {
    fn applies_to(&self) -> Selector {
        Selector::resources(["persistentvolumes"])
    }

    async fn execute(&self, item: Value, backup: &Value) -> Result<(), ActionError> {
        drop(look(item, backup));
        Ok(())
    }
}

#[async_trait]
impl ItemBlockAction for Looks {
    fn applies_to(&self) -> Selector {
        Selector::resources(["persistentvolumes"])
    }

    async fn related_items(&self, item: &Value, _: &Value) -> Result<Vec<ItemId>, ActionError> {
        Ok(named(item).to_vec())
    }
}

#[async_trait]
impl v1::BackupItemAction for Looks {
    fn applies_to(&self) -> Selector {
        Selector::resources(["persistentvolumes"])
    }

    async fn execute(&self, item: Value, backup: &Value) -> Result<v1::BackupOutput, ActionError> {
        Ok(v1::BackupOutput::changed(look(item, backup)))
    }
}

#[async_trait]
impl v1::RestoreItemAction for Looks {
    fn applies_to(&self) -> Selector {
        Selector::resources(["persistentvolumes"])
    }

    async fn execute(&self, input: RestoreInput<'_>) -> Result<v1::RestoreOutput, ActionError> {
        Ok(v1::RestoreOutput::changed(look(input.item, input.restore)))
    }
}

/// Bytes as they are.
#[derive(Default)]
pub(super) struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// A plug-in and the connection to it.
struct Plugin {
    runtime: tokio::runtime::Runtime,
    client: Grpc<Channel>,
    /// Ends with it.
    _harness: Harness,
}

/// The sockets of this process's plug-ins, which the harness keeps to itself.
fn sockets() -> Vec<PathBuf> {
    let ours = format!("plugin{}-", std::process::id());
    let entries = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    let sockets = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket()));
    sockets.filter(|entry| entry.file_name().to_string_lossy().starts_with(&ours)).map(|entry| entry.path()).collect()
}

static PLUGIN: LazyLock<Result<Plugin, String>> = LazyLock::new(|| {
    let text = |error: &dyn std::error::Error| error.to_string();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| text(&error))?;
    let before = sockets();
    let (harness, client) = runtime.block_on(async {
        let server = Server::new()
            .backup_item_action("fuzz.io/v2", Looks)
            .restore_item_action("fuzz.io/v2", Looks)
            .delete_item_action("fuzz.io/v2", Looks)
            .item_block_action("fuzz.io/v2", Looks)
            .backup_item_action_v1("fuzz.io/v1", Looks)
            .restore_item_action_v1("fuzz.io/v1", Looks);
        let harness = Harness::start(server).await.map_err(|error| text(&error))?;
        let socket = sockets().into_iter().find(|socket| !before.contains(socket)).ok_or("no socket appeared")?;
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).map_err(|error| text(&error))?;
        let channel = endpoint.connect().await.map_err(|error| text(&error))?;
        Ok::<_, String>((harness, Grpc::new(channel)))
    })?;
    Ok(Plugin { runtime, client, _harness: harness })
});

/// A byte for the method, then its message. It is answered, whatever it is: well or with an error.
pub(crate) fn wire(input: &[u8]) {
    let Some((method, message)) = input.split_first() else { return };
    let Some((path, _)) = METHODS.get(usize::from(*method) % METHODS.len()) else { return };
    let plugin = match &*PLUGIN {
        Ok(plugin) => plugin,
        Err(error) => panic!("the plug-in does not start: {error}"),
    };
    let mut client = plugin.client.clone();
    let message = Bytes::copy_from_slice(message);
    let call = async {
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        client.unary(Request::new(message), PathAndQuery::from_static(path), Plain).await
    };
    let answer = plugin.runtime.block_on(async { tokio::time::timeout(DEADLINE, call).await });
    let status = match answer {
        Err(_) => panic!("{path}: no answer in {DEADLINE:?}"),
        Ok(answer) => answer.map(|_| ()),
    };
    // A connection that breaks off would be a panic outside an action, or HTTP that was misread.
    if let Err(status) = status {
        let broken =
            matches!(status.code(), tonic::Code::Unavailable | tonic::Code::Cancelled | tonic::Code::Unimplemented);
        assert!(!broken && !status.message().contains("panicked"), "{path}: {status}");
    }
}
