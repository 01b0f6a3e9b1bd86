//! Tells Velero what this binary serves.

use crate::kind::Kind;
use crate::known_kinds::KnownKinds;
use crate::proto::generated as wire;
use async_trait::async_trait;
use tonic::{Request, Response, Status};

/// The list of all registered actions.
pub(crate) struct Lister {
    /// The path Velero started: it later starts the plug-in by this very text.
    command: String,
    actions: Vec<(Kind, String)>,
    known: KnownKinds,
}

impl Lister {
    pub(crate) fn new<'a>(actions: impl Iterator<Item = (Kind, &'a str)>, known: KnownKinds) -> Self {
        let command = std::env::args_os().next().unwrap_or_default().to_string_lossy().into_owned();
        Self { command, actions: actions.map(|(kind, name)| (kind, name.to_owned())).collect(), known }
    }

    /// Whether item block actions may be offered; only then is it looked up.
    async fn item_blocks(&self) -> bool {
        let names: Vec<_> =
            self.actions.iter().filter(|(kind, _)| *kind == Kind::ItemBlockAction).map(|(_, name)| &**name).collect();
        if names.is_empty() {
            return false;
        }
        let known = self.known;
        let why = match tokio::task::spawn_blocking(move || known.item_blocks()).await {
            Ok(Ok(true)) => return true,
            Ok(Ok(false)) => "Velero knows it from 1.15 on".to_owned(),
            Ok(Err(unreadable)) => {
                let cause = std::error::Error::source(&unreadable).map(ToString::to_string).unwrap_or_default();
                format!("whether this Velero knows it could not be found out: {unreadable}: {cause}")
            }
            Err(stopped) => stopped.to_string(),
        };
        tracing::info!("not offered as {}: {} ({why})", Kind::ItemBlockAction, names.join(", "));
        false
    }
}

#[async_trait]
impl wire::plugin_lister_server::PluginLister for Lister {
    async fn list_plugins(&self, _: Request<wire::Empty>) -> Result<Response<wire::ListPluginsResponse>, Status> {
        let item_blocks = self.item_blocks().await;
        let plugins = self
            .actions
            .iter()
            .filter(|(kind, _)| *kind != Kind::ItemBlockAction || item_blocks)
            .map(|(kind, name)| wire::PluginIdentifier {
                command: self.command.clone(),
                kind: kind.to_string(),
                name: name.clone(),
            })
            .collect();
        Ok(Response::new(wire::ListPluginsResponse { plugins }))
    }
}
