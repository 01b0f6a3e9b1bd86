//! Tells Velero what this binary serves.

use crate::kind::Kind;
use crate::proto::generated as wire;
use async_trait::async_trait;
use tonic::{Request, Response, Status};

/// The list of all registered actions.
pub(crate) struct Lister {
    /// The path Velero started: it later starts the plug-in by this very text.
    command: String,
    actions: Vec<(Kind, String)>,
}

impl Lister {
    pub(crate) fn new<'a>(actions: impl Iterator<Item = (Kind, &'a str)>) -> Self {
        let command = std::env::args_os().next().unwrap_or_default().to_string_lossy().into_owned();
        Self { command, actions: actions.map(|(kind, name)| (kind, name.to_owned())).collect() }
    }
}

#[async_trait]
impl wire::plugin_lister_server::PluginLister for Lister {
    async fn list_plugins(&self, _: Request<wire::Empty>) -> Result<Response<wire::ListPluginsResponse>, Status> {
        let plugins = self
            .actions
            .iter()
            .map(|(kind, name)| wire::PluginIdentifier {
                command: self.command.clone(),
                kind: kind.to_string(),
                name: name.clone(),
            })
            .collect();
        Ok(Response::new(wire::ListPluginsResponse { plugins }))
    }
}
