//! KubeVirt's own API server, as far as its controller calls it for a snapshot: the lab has none. What `freeze` has the
//! guest agent do is done from outside: the guest's QEMU stands still until `unfreeze`, so that nothing is written.
//!
//! It is a real aggregated API: the site's API server asks it over TLS.

use anyhow::{Context, Result, ensure};
use leeward_lab::{HOST_ADDRESS, Lab, Record, Site, condition};
use leeward_lab_story::guests::{self, Boot, GUESTS, NAMESPACE};
use rustix::process::Signal;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

const GROUP: &str = "subresources.kubevirt.io";
const SERVICE: &str = "played-virt-api";
/// Time for the API server to find out that another one has joined it.
const JOINED: Duration = Duration::from_secs(60);
/// KubeVirt thaws a guest by itself when nobody else does; here it must not stop for ever either.
const SILENT: Duration = Duration::from_secs(30);

/// Time for a process to stand still.
const STILL: Duration = Duration::from_secs(10);

/// A call that was heard.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    /// `namespace/name/call`.
    pub(crate) call: String,
    /// What the guest had said by then; a frozen one says nothing more.
    pub(crate) boot: Boot,
}

/// See the module. [`Self::leave`] has to be called: an API that does not answer holds up the deletion of namespaces.
pub(crate) struct VirtApi {
    lab: Lab,
    site: Site,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl VirtApi {
    /// Listens, and joins the site's API server.
    pub(crate) async fn join(lab: &Lab, site: Site) -> Result<Arc<Self>> {
        let certs = lab.root().place(site).join("certs");
        let chain = CertificateDer::pem_file_iter(certs.join("server.crt"))?.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(certs.join("server.key"))?;
        let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        let (config, listener) = (Arc::new(config), TcpListener::bind((HOST_ADDRESS, 0))?);
        let port = listener.local_addr()?.port();
        let api = Arc::new(Self { lab: lab.clone(), site, heard: Arc::default() });
        let serving = Arc::clone(&api);
        // Both threads end with the test's process.
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (config, api) = (Arc::clone(&config), Arc::clone(&serving));
                std::thread::spawn(move || {
                    if let Err(error) = api.serve(connection, config) {
                        eprintln!("   played virt-api: {error:#}");
                    }
                });
            }
        });
        let cluster = lab.cluster(site).await?;
        // By name, for nothing in the lab carries traffic to a Service's address.
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": SERVICE, "namespace": "kubevirt"},
            "spec": {"type": "ExternalName", "externalName": HOST_ADDRESS.to_string()},
        });
        cluster.apply(&service).await?;
        let joined = json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": format!("v1.{GROUP}")},
            "spec": {
                "group": GROUP, "version": "v1", "insecureSkipTLSVerify": true,
                "groupPriorityMinimum": 1000, "versionPriority": 15,
                "service": {"name": SERVICE, "namespace": "kubevirt", "port": port},
            },
        });
        cluster.apply(&joined).await?;
        let services = cluster.api("apiregistration.k8s.io/v1", "APIService", None);
        let name = format!("v1.{GROUP}");
        cluster.wait(&services, &name, JOINED, "kube-apiserver", |service| condition(service, "Available")).await?;
        Ok(api)
    }

    /// What was heard so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Leaves the site's API server again, and lets all guests run.
    pub(crate) async fn leave(&self) -> Result<()> {
        let cluster = self.lab.cluster(self.site).await?;
        let services = cluster.api("apiregistration.k8s.io/v1", "APIService", None);
        services.delete(&format!("v1.{GROUP}"), &Default::default()).await?;
        cluster.api("v1", "Service", Some("kubevirt")).delete(SERVICE, &Default::default()).await?;
        for (guest, _) in GUESTS {
            self.process(NAMESPACE, guest)?.signal(Signal::CONT)?;
        }
        Ok(())
    }

    fn serve(&self, mut socket: TcpStream, config: Arc<rustls::ServerConfig>) -> Result<()> {
        socket.set_read_timeout(Some(SILENT))?;
        let mut session = rustls::ServerConnection::new(config)?;
        let mut stream = rustls::Stream::new(&mut session, &mut socket);
        let path = request(&mut stream)?;
        let (status, body) = match self.answer(path.split('?').next().unwrap_or_default()) {
            Ok(Some(body)) => ("200 OK", body),
            Ok(None) => ("404 Not Found", failure(404, "there is nothing of that name")),
            Err(error) => ("500 Internal Server Error", failure(500, &format!("{error:#}"))),
        };
        let body = body.to_string();
        let head = "Content-Type: application/json\r\nConnection: close";
        write!(stream, "HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        stream.flush()?;
        session.send_close_notify();
        session.complete_io(&mut socket)?;
        Ok(())
    }

    fn answer(&self, path: &str) -> Result<Option<Value>> {
        let (base, version) = (format!("/apis/{GROUP}/v1"), format!("{GROUP}/v1"));
        if path == base {
            let none = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": []});
            return Ok(Some(none));
        }
        let parts: Vec<_> = path.strip_prefix(&base).unwrap_or_default().split('/').collect();
        let ["", "namespaces", namespace, "virtualmachineinstances", name, call] = parts.as_slice() else {
            return Ok(None);
        };
        let process = self.process(namespace, name)?;
        let boot = match *call {
            "freeze" => {
                process.signal(Signal::STOP)?;
                wait_until_still(process.pid)?;
                guests::newest(&self.lab, self.site, name)?
            }
            "unfreeze" => {
                let boot = guests::newest(&self.lab, self.site, name)?;
                process.signal(Signal::CONT)?;
                boot
            }
            _ => return Ok(None),
        };
        let heard = Heard { call: format!("{namespace}/{name}/{call}"), boot };
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).push(heard);
        Ok(Some(json!({})))
    }

    /// A guest's QEMU.
    fn process(&self, namespace: &str, name: &str) -> Result<Record> {
        let file = self.lab.root().place(self.site).join("guests").join(format!("{namespace}.{name}.pid"));
        let pid = fs_err::read_to_string(file)?.trim().parse()?;
        Record::of(pid).with_context(|| format!("guest {namespace}/{name} does not run"))
    }
}

/// Reads a request; its path.
fn request(stream: &mut impl Read) -> Result<String> {
    // Byte by byte: what is buffered here would be lost to whoever writes the answer.
    let mut reader = BufReader::with_capacity(1, stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split_whitespace().nth(1).context("a request without a path")?.to_owned();
    let mut length = 0_usize;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let header = line.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    reader.read_exact(&mut vec![0; length])?;
    Ok(path)
}

fn failure(code: u16, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message})
}

/// A signal returns before all threads have stopped.
fn wait_until_still(pid: i32) -> Result<()> {
    let began = Instant::now();
    loop {
        let still = |entry: std::io::Result<fs_err::DirEntry>| -> Result<bool> {
            let status = fs_err::read_to_string(entry?.path().join("status"))?;
            Ok(status.lines().any(|line| line.starts_with("State:\tT")))
        };
        let threads = fs_err::read_dir(format!("/proc/{pid}/task"))?.map(still).collect::<Result<Vec<_>>>()?;
        if threads.iter().all(|still| *still) {
            return Ok(());
        }
        ensure!(began.elapsed() < STILL, "process {pid} does not stand still");
        std::thread::sleep(Duration::from_millis(5));
    }
}
