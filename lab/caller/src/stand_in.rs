//! [`StandIn`]: an API server on loopback that knows two objects and has no PersistentVolume, so that the plug-in can be measured without a cluster.

use anyhow::Result;
use leeward_model::keys::{CONFIG_MAP, CONFIG_MAP_MAPPING, CONFIG_MAP_SITE};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const MAPPING: &str = "apiVersion: leeward.io/v1alpha1
kind: SiteMapping
sites: [east, west]
rules:
  - name: nas
    east: { nfs: { server: 10.77.0.1, path: /export } }
    west: { nfs: { server: 10.77.0.2, path: /vault } }
";

/// All PersistentVolumes: there are none.
const VOLUMES: &str = "/api/v1/persistentvolumes";

/// The disks of a block array, whose copies have ids that no pattern computes; their table stands in a key of its own.
const TABLE: &str = "  - name: san
    east: { inTree: fc }
    west: { inTree: fc }
    table: { parts: [wwid], from: luns.csv }
";

/// The id of an array's disk at a site.
pub(super) fn disk_id(site: &str, disk: usize) -> String {
    let array = if site == "east" { "3600508b400105e21" } else { "360060e80233456ab" };
    format!("{array}{disk:016x}")
}

/// As a storage administrator's tool writes it.
fn table(rows: usize) -> String {
    let row = |disk| format!("{},{}\n", disk_id("east", disk), disk_id("west", disk));
    std::iter::once("east,west\n".to_owned()).chain((0..rows).map(row)).collect()
}

/// Serves until dropped. It is west's: no PersistentVolume exists yet, the claim `shop/db-data` does.
#[derive(Debug)]
pub(super) struct StandIn {
    /// JSON, which is YAML.
    pub(super) kubeconfig: String,
    serving: JoinHandle<()>,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl StandIn {
    /// Serves on a port of its own. The mapping's table has that many rows; without any there is none.
    ///
    /// # Errors
    /// Loopback cannot be listened on.
    pub(super) async fn start(rows: usize) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{"name": "bench", "cluster": {"server": format!("http://{}", listener.local_addr()?)}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
            "users": [{"name": "bench", "user": {}}],
        })
        .to_string();
        let data = if rows == 0 {
            json!({CONFIG_MAP_SITE: "west", CONFIG_MAP_MAPPING: MAPPING})
        } else {
            json!({CONFIG_MAP_SITE: "west", CONFIG_MAP_MAPPING: format!("{MAPPING}{TABLE}"), "luns.csv": table(rows)})
        };
        let config_map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "velero", "name": CONFIG_MAP},
            "data": data,
        });
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"namespace": "shop", "name": "db-data"},
        });
        let objects = Arc::new([
            (format!("/api/v1/namespaces/velero/configmaps/{CONFIG_MAP}"), config_map),
            ("/api/v1/namespaces/shop/persistentvolumeclaims/db-data".to_owned(), claim),
        ]);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let objects = Arc::clone(&objects);
                // The peer's end of a connection is its own affair.
                tokio::spawn(async move { drop(serve(stream, &*objects).await) });
            }
        });
        Ok(Self { kubeconfig, serving })
    }
}

/// A watch in which nothing ever happens, until the peer has enough.
async fn watch(mut stream: BufReader<TcpStream>) -> std::io::Result<()> {
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        .await?;
    while !stream.fill_buf().await?.is_empty() {
        let read = stream.buffer().len();
        stream.consume(read);
    }
    Ok(())
}

/// Answers GETs, one after the other; none has a body.
async fn serve(stream: TcpStream, objects: &[(String, Value)]) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    loop {
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            if stream.read_line(&mut request).await? == 0 {
                return Ok(());
            }
        }
        let target = request.split(' ').nth(1).unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if path == VOLUMES && query.contains("watch=") {
            return watch(stream).await;
        }
        let (line, body) = match objects.iter().find(|(of, _)| of == path) {
            Some((_, object)) => ("200 OK", object.clone()),
            None if path == VOLUMES => (
                "200 OK",
                json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": []}),
            ),
            None => (
                "404 Not Found",
                json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}),
            ),
        };
        let body = body.to_string();
        let head =
            format!("HTTP/1.1 {line}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).await?;
    }
}
