//! The volume handle of csi-driver-nfs.
//!
//! Laws: [`Handle::parse`] never fails and [`Handle::moved`] to the place it names gives the same text. A moved handle
//! keeps its form: the separators, the identifier, the slashes at the borders of its parts and the number of folders in
//! its subdirectory. Four forms occur:
//!
//! | form | written by |
//! |---|---|
//! | `server#share#subdir#uuid#onDelete` (last two may be missing) | the driver, since 4.0 |
//! | `server/share#subdir#…` | the driver's own example of a static volume (`nfs-server/share##`) |
//! | `server/share/subdir` | the driver before 4.0 |
//! | anything else | people; it is an identifier and names no place |

use crate::directory::Directory;
use crate::server::Server;
use std::fmt;

/// A volume handle, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Handle {
    /// `server#share#subdir…`; the rest (uuid, onDelete, what later versions add) in `rest`.
    Parts { server: String, share: String, subdir: String, rest: Vec<String> },
    /// `server/share#subdir…`.
    Example { server: String, share: String, subdir: String, rest: Vec<String> },
    /// `server/share/subdir`; the driver splits at the last slash.
    Old { server: String, share: String, subdir: String },
    /// An identifier.
    Identifier(String),
}

impl Handle {
    pub(crate) fn parse(text: &str) -> Self {
        let parts: Vec<&str> = text.split('#').collect();
        let rest = || parts[3..].iter().map(|&s| s.to_owned()).collect();
        match parts.as_slice() {
            [server, share, subdir, ..] if !server.is_empty() && !server.contains('/') => Self::Parts {
                server: (*server).to_owned(),
                share: (*share).to_owned(),
                subdir: (*subdir).to_owned(),
                rest: rest(),
            },
            [place, subdir, "", ..] => match place.split_once('/') {
                Some((server, share)) if !server.is_empty() => Self::Example {
                    server: server.to_owned(),
                    share: share.to_owned(),
                    subdir: (*subdir).to_owned(),
                    rest: rest(),
                },
                _ => Self::Identifier(text.to_owned()),
            },
            [only] => {
                let old = only.split_once('/').and_then(|(server, path)| Some((server, path.rsplit_once('/')?)));
                match old {
                    Some((server, (share, subdir))) if !server.is_empty() && !subdir.is_empty() => {
                        Self::Old { server: server.to_owned(), share: share.to_owned(), subdir: subdir.to_owned() }
                    }
                    _ => Self::Identifier(text.to_owned()),
                }
            }
            _ => Self::Identifier(text.to_owned()),
        }
    }

    /// A handle as the driver would write it today.
    pub(crate) fn new(server: &str, share: &str, subdir: &str, uuid: &str, on_delete: &str) -> Self {
        Self::Parts {
            server: server.to_owned(),
            share: share.trim_matches('/').to_owned(),
            subdir: subdir.trim_matches('/').to_owned(),
            rest: vec![uuid.to_owned(), on_delete.to_owned()],
        }
    }

    /// The server and the directory (not normalised) that it names; `None` for an identifier.
    pub(crate) fn place(&self) -> Option<(&str, String)> {
        match self {
            Self::Parts { server, share, subdir, .. }
            | Self::Example { server, share, subdir, .. }
            | Self::Old { server, share, subdir } => Some((server, format!("/{share}/{subdir}"))),
            Self::Identifier(_) => None,
        }
    }

    pub(crate) fn uuid(&self) -> &str {
        self.rest(0)
    }

    pub(crate) fn on_delete(&self) -> &str {
        self.rest(1)
    }

    fn rest(&self, at: usize) -> &str {
        match self {
            Self::Parts { rest, .. } => rest.get(at).map_or("", String::as_str),
            _ => "",
        }
    }

    /// Whether an identifier contains the server as a word of its own.
    pub(crate) fn mentions(&self, server: &Server) -> bool {
        matches!(self, Self::Identifier(text) if crate::leftover::mentions(text, server))
    }

    /// The handle of the same volume at another place.
    pub(crate) fn moved(mut self, to_server: &str, to_directory: &str) -> Self {
        let Ok(to) = Directory::below_root(to_directory) else { return self };
        let named = self.place().and_then(|(server, directory)| {
            Some((Server::parse(server).ok()?, Directory::below_root(&directory).ok()?))
        });
        match &mut self {
            Self::Parts { server, share, subdir, .. }
            | Self::Example { server, share, subdir, .. }
            | Self::Old { server, share, subdir } => {
                let same = |d: &(Server, Directory)| (d.0.as_str() == to_server, d.1 == to);
                let (same_server, same_directory) = named.as_ref().map_or((false, false), same);
                if !same_server {
                    to_server.clone_into(server);
                }
                if !same_directory {
                    let folders = subdir.split('/').filter(|p| !p.is_empty() && *p != ".").count();
                    let (head, tail) = to.split_off(folders.min(to.depth())).unwrap_or((to, String::new()));
                    *share = bordered(share, head.relative());
                    *subdir = bordered(subdir, &tail);
                }
            }
            Self::Identifier(_) => {}
        }
        self
    }
}

/// `new` with the slashes at its borders that `old` has. They outlive an empty part (`/a/` becomes `//`), so that the way
/// back finds them.
fn bordered(old: &str, new: &str) -> String {
    let core = old.trim_matches('/');
    let (lead, tail) = match core.is_empty() {
        true => old.split_at(old.len().div_ceil(2)),
        false => (&old[..old.len() - old.trim_start_matches('/').len()], &old[old.trim_end_matches('/').len()..]),
    };
    format!("{lead}{new}{tail}")
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, rest) = match self {
            Self::Parts { server, share, subdir, rest } => (format!("{server}#{share}#{subdir}"), rest),
            Self::Example { server, share, subdir, rest } => (format!("{server}/{share}#{subdir}#"), rest),
            Self::Old { server, share, subdir } => return write!(f, "{server}/{share}/{subdir}"),
            Self::Identifier(text) => return f.write_str(text),
        };
        f.write_str(&start)?;
        rest.iter().try_for_each(|part| write!(f, "#{part}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMS: [&str; 12] = [
        "10.0.0.1#export#pvc-1#uid#",
        "10.0.0.1#export#pvc-1#uid#retain",
        "10.0.0.1#export#pvc-1",
        "10.0.0.1#/export/#/pvc-1/#uid",
        "10.0.0.1##pvc-1##",
        "nas/export##",
        "nas/export#a#",
        "nas/export#a##more",
        "nas/export/a/pvc-1",
        "made-up",
        "",
        "a#b",
    ];

    #[test]
    fn text_survives_taking_apart() {
        for text in FORMS {
            assert_eq!(Handle::parse(text).to_string(), text);
        }
    }

    #[test]
    fn moving_to_where_it_is_changes_nothing() {
        for text in FORMS {
            let handle = Handle::parse(text);
            let Some((server, directory)) = handle.place() else { continue };
            let (server, directory) = (server.to_owned(), directory.replace("//", "/"));
            assert_eq!(handle.moved(&server, &directory).to_string(), text);
        }
    }

    #[test]
    fn a_move_keeps_the_form() {
        let moved = |text: &str| Handle::parse(text).moved("10.0.0.2", "/vault/x/pvc-1").to_string();
        assert_eq!(moved("10.0.0.1#export#pvc-1#uid#retain"), "10.0.0.2#vault/x#pvc-1#uid#retain");
        assert_eq!(moved("10.0.0.1#/export/#/a/pvc-1#uid"), "10.0.0.2#/vault/#/x/pvc-1#uid");
        assert_eq!(moved("nas/export##"), "10.0.0.2/vault/x/pvc-1##");
        assert_eq!(moved("nas/export/pvc-1"), "10.0.0.2/vault/x/pvc-1");
        assert_eq!(moved("made-up"), "made-up");
        let there = Handle::parse("n#/a/#b/c").moved("m", "/b/c");
        assert_eq!(there.to_string(), "m#//#b/c");
        assert_eq!(there.moved("n", "/a/b/c").to_string(), "n#/a/#b/c");
    }
}
