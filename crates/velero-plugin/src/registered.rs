//! All actions of a plug-in, by kind and name.

use crate::backup_item_action::BackupItemAction;
use crate::call::{Actions, Service};
use crate::delete_item_action::DeleteItemAction;
use crate::item_block_action::ItemBlockAction;
use crate::kind::Kind;
use crate::name::{self, InvalidName};
use crate::proto::{generated, v1 as wire_v1, v2 as wire_v2};
use crate::restore_item_action::RestoreItemAction;
use crate::v1;
use tokio::runtime::Handle;
use tonic::transport::server::Router;

/// Why an action cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotRegistered {
    #[error(transparent)]
    Name(InvalidName),
    #[error("the {kind} {name:?} was registered twice")]
    Twice { kind: Kind, name: String },
    #[error(
        "{name:?} was registered as {first} and as {second}; Velero would run it twice for each item: give one another name"
    )]
    BothForms { name: String, first: Kind, second: Kind },
}

/// The registered actions.
pub(crate) struct Registered {
    pub(crate) backup: Actions<dyn BackupItemAction>,
    pub(crate) backup_v1: Actions<dyn v1::BackupItemAction>,
    pub(crate) restore: Actions<dyn RestoreItemAction>,
    pub(crate) restore_v1: Actions<dyn v1::RestoreItemAction>,
    pub(crate) delete: Actions<dyn DeleteItemAction>,
    pub(crate) item_block: Actions<dyn ItemBlockAction>,
}

impl Default for Registered {
    fn default() -> Self {
        Self {
            backup: Actions::new(Kind::BackupItemActionV2),
            backup_v1: Actions::new(Kind::BackupItemAction),
            restore: Actions::new(Kind::RestoreItemActionV2),
            restore_v1: Actions::new(Kind::RestoreItemAction),
            delete: Actions::new(Kind::DeleteItemAction),
            item_block: Actions::new(Kind::ItemBlockAction),
        }
    }
}

impl Registered {
    /// Adds an action of this kind by `insert`, which says false if the kind has that name already.
    pub(crate) fn add(
        &mut self,
        kind: Kind,
        name: &str,
        insert: impl FnOnce(&mut Self) -> bool,
    ) -> Result<(), NotRegistered> {
        name::check(name).map_err(NotRegistered::Name)?;
        if !insert(self) {
            return Err(NotRegistered::Twice { kind, name: name.to_owned() });
        }
        let other = match kind {
            Kind::BackupItemAction => Kind::BackupItemActionV2,
            Kind::BackupItemActionV2 => Kind::BackupItemAction,
            Kind::RestoreItemAction => Kind::RestoreItemActionV2,
            Kind::RestoreItemActionV2 => Kind::RestoreItemAction,
            Kind::DeleteItemAction | Kind::ItemBlockAction => return Ok(()),
        };
        if self.names().any(|of| of == (other, name)) {
            return Err(NotRegistered::BothForms { name: name.to_owned(), first: other, second: kind });
        }
        Ok(())
    }

    /// Kind and name of every action.
    pub(crate) fn names(&self) -> impl Iterator<Item = (Kind, &str)> {
        (self.backup.names().chain(self.backup_v1.names()))
            .chain(self.restore.names().chain(self.restore_v1.names()))
            .chain(self.delete.names().chain(self.item_block.names()))
    }

    /// Adds the gRPC service of each kind of which there is an action. Actions run on `program`.
    pub(crate) fn serve(self, mut router: Router, program: &Handle) -> Router {
        // tonic takes 4 MiB by default; Velero sets no limit, and large ConfigMaps and CRDs reach it.
        macro_rules! add {
            ($actions:ident, $package:ident::$module:ident::$server:ident) => {
                if !self.$actions.is_empty() {
                    let service = Service { actions: self.$actions, program: program.clone() };
                    let server = $package::$module::$server::new(service)
                        .max_decoding_message_size(usize::MAX)
                        .max_encoding_message_size(usize::MAX);
                    router = router.add_service(server);
                }
            };
        }
        add!(backup, wire_v2::backup_item_action_server::BackupItemActionServer);
        add!(restore, wire_v2::restore_item_action_server::RestoreItemActionServer);
        add!(backup_v1, generated::backup_item_action_server::BackupItemActionServer);
        add!(restore_v1, generated::restore_item_action_server::RestoreItemActionServer);
        add!(delete, generated::delete_item_action_server::DeleteItemActionServer);
        add!(item_block, wire_v1::item_block_action_server::ItemBlockActionServer);
        router
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ActionError, Selector};
    use serde_json::Value;
    use std::sync::Arc;

    struct Nothing;

    #[crate::async_trait]
    impl DeleteItemAction for Nothing {
        fn applies_to(&self) -> Selector {
            Selector::default()
        }
        async fn execute(&self, _: Value, _: &Value) -> Result<(), ActionError> {
            Ok(())
        }
    }

    #[crate::async_trait]
    impl BackupItemAction for Nothing {
        fn applies_to(&self) -> Selector {
            Selector::default()
        }
        async fn execute(&self, _: Value, _: &Value) -> Result<crate::BackupOutput, ActionError> {
            Ok(crate::BackupOutput::unchanged())
        }
    }

    #[crate::async_trait]
    impl v1::BackupItemAction for Nothing {
        fn applies_to(&self) -> Selector {
            Selector::default()
        }
        async fn execute(&self, _: Value, _: &Value) -> Result<v1::BackupOutput, ActionError> {
            Ok(v1::BackupOutput::unchanged())
        }
    }

    #[test]
    fn what_velero_would_not_start_with_or_run_twice_is_refused() {
        let mut all = Registered::default();
        all.add(Kind::BackupItemActionV2, "example.io/a", |r| r.backup.insert("example.io/a", Arc::new(Nothing)))
            .unwrap();
        all.add(Kind::DeleteItemAction, "example.io/a", |r| r.delete.insert("example.io/a", Arc::new(Nothing)))
            .unwrap();
        let twice = all
            .add(Kind::DeleteItemAction, "example.io/a", |r| r.delete.insert("example.io/a", Arc::new(Nothing)))
            .unwrap_err();
        assert_eq!(twice, NotRegistered::Twice { kind: Kind::DeleteItemAction, name: "example.io/a".to_owned() });
        let both = all
            .add(Kind::BackupItemAction, "example.io/a", |r| r.backup_v1.insert("example.io/a", Arc::new(Nothing)))
            .unwrap_err();
        assert!(both.to_string().contains("BackupItemActionV2 and as BackupItemAction;"), "{both}");
        let name = all.add(Kind::DeleteItemAction, "a", |r| r.delete.insert("a", Arc::new(Nothing))).unwrap_err();
        assert!(matches!(name, NotRegistered::Name(_)));
    }
}
