//! Finds out whether an earlier attempt of a run has committed a write to an object store.

use faisca_planner::manifest::CatalogTable;

use super::Folder;
use crate::catalog::Registration;
use crate::commit_record::State;
use crate::error::Result;
use crate::write_identity::{CommittedWrite, WriteId};

impl Folder {
    /// Returns the write with this identity, if it is committed. Finishes its commit first, if its
    /// driver died in it. `table` is the table that the write registers, with its name.
    ///
    /// # Errors
    /// If the newest record cannot be read, or the commit cannot be finished.
    pub(in crate::output::commit) async fn find_committed(
        &self,
        id: &WriteId,
        table: Option<(&CatalogTable, &str)>,
    ) -> Result<Option<CommittedWrite>> {
        let listing = self.list().await?;
        let Some((newest, _)) = listing.records.last() else {
            return Ok(None);
        };
        let record = self.read(*newest).await?;
        let Some(committed) = record.find_write(id).cloned() else {
            return Ok(None);
        };
        let is_newest = record.write.is_some_and(|write| write.id == *id);
        if record.state == State::Done || !is_newest {
            return Ok(Some(committed));
        }
        let own = record.registration.as_ref().filter(|registration| {
            table.is_some_and(|(target, name)| names_table(registration, target, name))
        });
        let base = self.recover(&listing.records, own).await?;
        // A commit whose uploads are lost is undone.
        Ok((base == *newest).then_some(committed))
    }
}

/// Returns whether a registration is that of the table that a write names.
pub(in crate::output::commit) fn names_table(
    registration: &Registration,
    target: &CatalogTable,
    name: &str,
) -> bool {
    registration.kind == target.kind
        && registration.database.eq_ignore_ascii_case(&target.database)
        && registration.table.name.eq_ignore_ascii_case(name)
}
