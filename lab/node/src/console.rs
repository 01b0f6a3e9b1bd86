//! A guest's console: what it printed comes from the log file, what it is told goes through the socket.
//!
//! QEMU appends everything that the guest prints to the log, whether or not somebody is connected; so the file is the
//! only source, for a node that was there all the time as for one that was just restarted.

use rustix::fs::inotify;
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixStream, unix::OwnedWriteHalf},
    sync::Notify,
};

/// Reads a growing log, line by line.
pub(crate) struct Tail {
    file: File,
    changes: Changes,
    /// The beginning of a line whose end is not there yet.
    rest: Vec<u8>,
}

impl Tail {
    /// Begins at a place in the file, which must exist.
    pub(crate) fn open(path: &Path, offset: u64) -> io::Result<Tail> {
        // Watched before it is read: nothing can be appended unseen in between.
        let changes = Changes::watch(path)?;
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Tail { file, changes, rest: Vec::new() })
    }

    /// Waits for the next whole lines, one at least. May be cancelled without losing any.
    pub(crate) async fn lines(&mut self) -> io::Result<Vec<String>> {
        loop {
            let lines = self.new_lines()?;
            if !lines.is_empty() {
                return Ok(lines);
            }
            self.changes.wake.notified().await;
        }
    }

    /// The whole lines that are there now.
    pub(crate) fn new_lines(&mut self) -> io::Result<Vec<String>> {
        self.file.read_to_end(&mut self.rest)?;
        let Some(end) = self.rest.iter().rposition(|&byte| byte == b'\n') else { return Ok(Vec::new()) };
        let whole: Vec<u8> = self.rest.drain(..=end).collect();
        Ok(String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect())
    }
}

/// Tells when a file is written to. A thread reads the kernel's notices, because there is no safe way to hand tokio a
/// descriptor that is not a socket.
struct Changes {
    inotify: Arc<OwnedFd>,
    watch: i32,
    wake: Arc<Notify>,
}

impl Changes {
    fn watch(path: &Path) -> io::Result<Changes> {
        let inotify = Arc::new(inotify::init(inotify::CreateFlags::CLOEXEC)?);
        let watch = inotify::add_watch(&*inotify, path, inotify::WatchFlags::MODIFY)?;
        let changes = Changes { inotify: Arc::clone(&inotify), watch, wake: Arc::default() };
        let wake = Arc::clone(&changes.wake);
        thread::Builder::new().name("console".to_owned()).spawn(move || {
            let mut buffer = [MaybeUninit::uninit(); 1024];
            let mut notices = inotify::Reader::new(&*inotify, &mut buffer);
            while let Ok(notice) = notices.next() {
                if notice.events().contains(inotify::ReadFlags::IGNORED) {
                    return;
                }
                wake.notify_one();
            }
        })?;
        Ok(changes)
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        // The last notice of a watch says that it is gone, and ends the thread.
        let _ = inotify::remove_watch(&*self.inotify, self.watch);
    }
}

/// The lines of a log from a place in it on, for a guest that no longer runs. A log that was removed has none.
pub(crate) fn lines_from(path: &Path, offset: u64) -> io::Result<Vec<String>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
}

/// Says lines to the guest over one connection: QEMU accepts no second one.
pub(crate) struct Voice {
    socket: PathBuf,
    connection: Option<OwnedWriteHalf>,
}

impl Voice {
    /// Connects when the first line is said.
    pub(crate) fn new(socket: PathBuf) -> Voice {
        Voice { socket, connection: None }
    }

    /// Says a line; connects again if the connection is lost.
    pub(crate) async fn say(&mut self, line: &str) -> io::Result<()> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => {
                let (mut reader, writer) = UnixStream::connect(&self.socket).await?.into_split();
                // What the guest prints is in the log; unread here it would hold up the guest.
                tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    while reader.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
                });
                self.connection.insert(writer)
            }
        };
        let said = connection.write_all(format!("{line}\n").as_bytes()).await;
        if said.is_err() {
            self.connection = None;
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Write, time::Duration};
    use tokio::time::timeout;

    #[tokio::test]
    async fn lines_come_when_they_are_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console.log");
        std::fs::write(&path, "of an earlier boot\nLW bo").unwrap();
        let mut tail = Tail::open(&path, 19).unwrap();
        assert!(timeout(Duration::from_millis(50), tail.lines()).await.is_err());
        let mut log = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        log.write_all(b"ot vm=db\r\nhalf").unwrap();
        assert_eq!(tail.lines().await.unwrap(), ["LW boot vm=db"]);
        let waiting = tokio::spawn(async move { tail.lines().await.unwrap() });
        tokio::time::sleep(Duration::from_millis(20)).await;
        log.write_all(b" a line\n").unwrap();
        assert_eq!(timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap(), ["half a line"]);
    }
}
