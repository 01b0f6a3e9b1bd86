//! The NFS server of a file server's machine, and how it is told what clients may do.

use serde::Deserialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// The export as clients see it, and its server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Nfs {
    /// The export for a client on this machine.
    pub url: ExportUrl,
    /// Who serves it.
    pub server: Server,
}

/// As it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    url: ExportUrl,
    ganesha: Option<Ganesha>,
    kernel: Option<Kernel>,
}

impl TryFrom<Written> for Nfs {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let server = match (written.ganesha, written.kernel) {
            (Some(ganesha), None) => Server::Ganesha(ganesha),
            (None, Some(kernel)) => Server::Kernel(kernel),
            _ => return Err("nfs: write one of ganesha and kernel"),
        };
        Ok(Self { url: written.url, server })
    }
}

/// Who serves the export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// nfs-ganesha.
    Ganesha(Ganesha),
    /// The kernel.
    Kernel(Kernel),
}

/// An nfs-ganesha server: its configuration is edited, and it gets SIGHUP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ganesha {
    /// The file with the export's `EXPORT` block.
    pub config: PathBuf,
    /// The server's pid file.
    pub pid_file: PathBuf,
    /// `Export_Id` of the export.
    pub export_id: u16,
}

/// The kernel's server: a table of exports is edited, and exportfs(8) reads all of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// The table with the export's entries.
    pub exports: PathBuf,
    /// The path in these entries; the export's folder if it is left out.
    #[serde(default)]
    pub path: PathBuf,
    /// The program.
    #[serde(default = "exportfs")]
    pub exportfs: PathBuf,
}

fn exportfs() -> PathBuf {
    // Not every login has /usr/sbin among its places.
    PathBuf::from("/usr/sbin/exportfs")
}

/// An export for libnfs's tools: `nfs://10.0.0.1/export`, without options.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ExportUrl(String);

impl ExportUrl {
    /// As text, without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ExportUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ExportUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let server_and_path = text.strip_prefix("nfs://").and_then(|rest| rest.split_once('/'));
        let good = server_and_path.is_some_and(|(server, _)| !server.is_empty())
            && !text.contains(|c: char| c == '?' || c.is_whitespace() || c.is_control());
        if good {
            Ok(Self(text.trim_end_matches('/').to_owned()))
        } else {
            Err(format!("{text:?} is no export: write nfs://SERVER/PATH, e.g. nfs://10.0.0.1/export"))
        }
    }
}

impl Nfs {
    /// Which field cannot be so, and why.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        if let Server::Kernel(Kernel { exports, path, .. }) = &self.server {
            let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let (file, folder) = (name(exports), exports.parent().map(name).unwrap_or_default());
            // What has another name exportfs does not read.
            if file != "exports" && (folder != "exports.d" || !file.ends_with(".exports") || file.starts_with('.')) {
                let problem = "must be exports, or in exports.d and end with .exports: exportfs reads no others";
                return Err(("nfs.kernel.exports".to_owned(), problem.to_owned()));
            }
            if !path.as_os_str().is_empty() && !path.is_absolute() {
                return Err(("nfs.kernel.path".to_owned(), "must be absolute, as in the table of exports".to_owned()));
            }
        }
        Ok(())
    }

    /// Takes relative paths to be in `folder`.
    pub(super) fn resolve(&mut self, folder: &Path, export: &Path) {
        match &mut self.server {
            Server::Ganesha(Ganesha { config, pid_file, .. }) => {
                *config = folder.join(&*config);
                *pid_file = folder.join(&*pid_file);
            }
            Server::Kernel(Kernel { exports, path, exportfs }) => {
                *exports = folder.join(&*exports);
                *exportfs = folder.join(&*exportfs);
                if path.as_os_str().is_empty() {
                    *path = export.to_owned();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Nfs, String> {
        let mut nfs: Nfs = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        nfs.check().map_err(|(field, problem)| format!("{field}: {problem}"))?;
        nfs.resolve(Path::new("/etc/leeward"), Path::new("/srv/vm"));
        Ok(nfs)
    }

    #[test]
    fn a_server_is_ganesha_or_the_kernel() {
        let ganesha =
            parse("{url: 'nfs://[fd00::1]/export/', ganesha: {config: /g.conf, pidFile: g.pid, exportId: 7}}");
        let ganesha = ganesha.unwrap();
        assert_eq!(ganesha.url.as_str(), "nfs://[fd00::1]/export");
        let expected = Ganesha { config: "/g.conf".into(), pid_file: "/etc/leeward/g.pid".into(), export_id: 7 };
        assert_eq!(ganesha.server, Server::Ganesha(expected));
        let kernel = parse("{url: 'nfs://h/srv/vm', kernel: {exports: /etc/exports.d/leeward.exports}}").unwrap();
        let expected = Kernel {
            exports: "/etc/exports.d/leeward.exports".into(),
            path: "/srv/vm".into(),
            exportfs: "/usr/sbin/exportfs".into(),
        };
        assert_eq!(kernel.server, Server::Kernel(expected));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let ganesha = "ganesha: {config: /g, pidFile: /p, exportId: 1}";
        for (text, says) in [
            ("{url: nfs://h/e}".to_owned(), "one of ganesha and kernel"),
            (format!("{{url: nfs://h/e, {ganesha}, kernel: {{exports: /etc/exports}}}}"), "one of ganesha and kernel"),
            (format!("{{url: h:/e, {ganesha}}}"), "is no export"),
            (format!("{{url: nfs:///e, {ganesha}}}"), "is no export"),
            (format!("{{url: 'nfs://h/e?version=4', {ganesha}}}"), "is no export"),
            (format!("{{{ganesha}}}"), "url"),
            (format!("{{url: nfs://h/e, samba: {{}}, {ganesha}}}"), "samba"),
            ("{url: nfs://h/e, ganesha: {config: /g, pidFile: /p, exportId: 1, user: x}}".to_owned(), "user"),
            ("{url: nfs://h/e, kernel: {exports: /etc/exports.d/leeward}}".to_owned(), "nfs.kernel.exports"),
            ("{url: nfs://h/e, kernel: {exports: /etc/exports.d/.a.exports}}".to_owned(), "nfs.kernel.exports"),
            ("{url: nfs://h/e, kernel: {exports: /etc/a.exports}}".to_owned(), "nfs.kernel.exports"),
            ("{url: nfs://h/e, kernel: {exports: /etc/exports, path: vm}}".to_owned(), "nfs.kernel.path"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
