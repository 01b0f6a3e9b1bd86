//! QEMU's control socket: JSON lines, answers and events mixed.
//!
//! One command at a time; events that arrive while an answer is waited for are kept in order.

use serde_json::{Value, json};
use std::{collections::VecDeque, io, path::Path, time::Duration};
use thiserror::Error;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

/// QEMU answers at once unless its main loop hangs in storage.
const ANSWER: Duration = Duration::from_secs(5);

/// Why a command could not be carried out.
#[derive(Debug, Error)]
pub(crate) enum QmpError {
    /// The socket.
    #[error("QEMU's control socket")]
    Socket(#[source] io::Error),
    /// The other side closed it.
    #[error("QEMU closed its control socket")]
    Closed,
    /// No answer.
    #[error("QEMU did not answer within {ANSWER:?}")]
    Silent,
    /// What came is no JSON.
    #[error("QEMU said something else than JSON")]
    Json(#[source] serde_json::Error),
    /// The command failed.
    #[error("QEMU refused {command}: {reason}")]
    Refused { command: &'static str, reason: String },
}

/// What concerns the node of all that QEMU tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The processors stand still.
    Stop,
    /// They run again.
    Resume,
    /// A disk failed; `drive` is the id given on the command line.
    IoError { drive: String, reason: String },
}

pub(crate) struct Qmp {
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
    events: VecDeque<Event>,
}

impl Qmp {
    /// Connects and leaves negotiation mode.
    pub(crate) async fn connect(socket: &Path) -> Result<Qmp, QmpError> {
        let (reader, writer) = UnixStream::connect(socket).await.map_err(QmpError::Socket)?.into_split();
        let mut qmp = Qmp { lines: BufReader::new(reader).lines(), writer, events: VecDeque::new() };
        qmp.execute("qmp_capabilities").await?;
        Ok(qmp)
    }

    /// Status of the machine: `running`, `paused`, `io-error`, `shutdown`, …
    pub(crate) async fn status(&mut self) -> Result<String, QmpError> {
        let answer = self.execute("query-status").await?;
        Ok(answer["status"].as_str().unwrap_or_default().to_owned())
    }

    /// Carries out a command without arguments.
    pub(crate) async fn execute(&mut self, command: &'static str) -> Result<Value, QmpError> {
        let request = format!("{}\n", json!({ "execute": command }));
        self.writer.write_all(request.as_bytes()).await.map_err(QmpError::Socket)?;
        timeout(ANSWER, self.answer(command)).await.map_err(|_| QmpError::Silent)?
    }

    /// The next event, those kept from earlier first. May be cancelled without losing one.
    pub(crate) async fn event(&mut self) -> Result<Event, QmpError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            let message = self.message().await?;
            self.events.extend(parse_event(&message));
        }
    }

    async fn answer(&mut self, command: &'static str) -> Result<Value, QmpError> {
        loop {
            let message = self.message().await?;
            if let Some(value) = message.get("return") {
                return Ok(value.clone());
            }
            if let Some(error) = message.get("error") {
                let reason = error["desc"].as_str().unwrap_or("no reason given").to_owned();
                return Err(QmpError::Refused { command, reason });
            }
            self.events.extend(parse_event(&message));
        }
    }

    async fn message(&mut self) -> Result<Value, QmpError> {
        let line = self.lines.next_line().await.map_err(QmpError::Socket)?.ok_or(QmpError::Closed)?;
        serde_json::from_str(&line).map_err(QmpError::Json)
    }
}

fn parse_event(message: &Value) -> Option<Event> {
    let data = &message["data"];
    let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
    match message["event"].as_str()? {
        "STOP" => Some(Event::Stop),
        "RESUME" => Some(Event::Resume),
        // With action "report" or "ignore" the guest goes on and has been told itself.
        "BLOCK_IO_ERROR" if data["action"] == "stop" => {
            Some(Event::IoError { drive: text("device"), reason: format!("{}: {}", text("operation"), text("reason")) })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixListener;

    #[tokio::test]
    async fn events_between_question_and_answer_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("qmp");
        let listener = UnixListener::bind(&path).unwrap();
        let qemu = tokio::spawn(async move {
            let (reader, mut writer) = listener.accept().await.unwrap().0.into_split();
            let mut lines = BufReader::new(reader).lines();
            writer.write_all(b"{\"QMP\": {\"version\": {}}}\n").await.unwrap();
            let error = r#"{"event":"BLOCK_IO_ERROR","data":{"device":"disk0","operation":"write","action":"stop","reason":"Read-only file system"}}"#;
            for answer in [
                r#"{"return": {}}"#.to_owned(),
                format!("{error}\n{}\n{}", r#"{"event":"STOP"}"#, r#"{"return":{"status":"io-error"}}"#),
                r#"{"error":{"class":"GenericError","desc":"no"}}"#.to_owned(),
            ] {
                lines.next_line().await.unwrap().unwrap();
                writer.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
            }
        });
        let mut qmp = Qmp::connect(&path).await.unwrap();
        assert_eq!(qmp.status().await.unwrap(), "io-error");
        let reason = "write: Read-only file system".to_owned();
        assert_eq!(qmp.event().await.unwrap(), Event::IoError { drive: "disk0".into(), reason });
        assert_eq!(qmp.event().await.unwrap(), Event::Stop);
        assert!(matches!(qmp.execute("cont").await, Err(QmpError::Refused { .. })));
        qemu.await.unwrap();
        assert!(matches!(qmp.event().await, Err(QmpError::Closed)));
    }
}
