//! A plug-in that Velero asks about each PersistentVolume that it restores, and that has nothing to say: what a restore costs
//! more with it is the price of any plug-in at all.

use std::process::ExitCode;
use velero_plugin::{ActionError, RestoreInput, RestoreItemAction, RestoreOutput, Selector, Server, async_trait};

struct Idle;

#[async_trait]
impl RestoreItemAction for Idle {
    fn applies_to(&self) -> Selector {
        Selector::resources(["persistentvolumes"])
    }

    async fn execute(&self, _: RestoreInput<'_>) -> Result<RestoreOutput, ActionError> {
        Ok(RestoreOutput::unchanged())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    Server::new().restore_item_action("lab.leeward.io/idle", Idle).serve().await
}
