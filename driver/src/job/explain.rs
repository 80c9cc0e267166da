//! Shows the stages of a job without running it, for `faisca explain`.

use super::walk::StepWalk;
use super::{Job, group_plans};
use crate::error::{Error, Result};
use crate::session::{DataFrame, Session};

impl Job<'_> {
    /// Plans every step without running it. Returns one pair for each group of steps that run as
    /// one query: the names of the steps, joined by ` + `, and a text that shows their stages.
    ///
    /// An output that is not written yet is planned as a view: the steps that read it show the
    /// query that would write it.
    ///
    /// # Errors
    /// Returns the error of the first source that cannot be read, or of the first step that cannot
    /// be planned.
    pub async fn explain(&self, session: &Session) -> Result<Vec<(String, String)>> {
        self.register_sources(session).await?;
        let mut drawings = vec![];
        let mut walk = StepWalk::new(self.manifest);
        while !walk.is_complete() {
            for view in self.register_views(session, &mut walk).await? {
                drawings.push((
                    view.name,
                    "A view. It is planned as part of the steps that read it.\n".to_owned(),
                ));
            }
            let ready = walk.begin_ready();
            // All steps that remain wait for a step that has not ended.
            if ready.is_empty() {
                break;
            }
            let mut frames = vec![];
            for index in &ready {
                let frame = session.sql(&self.steps()[*index].sql).await;
                frames.push(frame.map_err(|e| e.at(self.field(*index, "sql")))?);
            }
            drawings.extend(self.draw(session, &ready, &frames).await?);
            for (index, frame) in ready.into_iter().zip(frames) {
                self.expect_output(session, index, frame)?;
                walk.end(index);
            }
        }
        Ok(drawings)
    }

    /// Registers the query of a step in place of the output that it would write, so that later
    /// steps can be planned.
    fn expect_output(&self, session: &Session, index: usize, frame: DataFrame) -> Result<()> {
        let step = &self.steps()[index];
        if let Some(catalog) = step.write.as_ref().and_then(|write| write.catalog.as_ref()) {
            let table = catalog.table_of(&step.name);
            let view = frame.clone().into_inner().into_view();
            let catalogs = session.catalogs();
            catalogs.expect(catalog.kind, &catalog.database, table, view);
        }
        frame.create_or_replace_temp_view(&step.name)
    }

    /// Returns the names and stages of each group of the steps that are ready at the same time.
    async fn draw(
        &self,
        session: &Session,
        ready: &[usize],
        frames: &[DataFrame],
    ) -> Result<Vec<(String, String)>> {
        let state = session.context().state();
        let mut plans = vec![];
        for (index, frame) in ready.iter().zip(frames) {
            let (state, plan) = frame.clone().into_inner().into_parts();
            plans.push(
                state
                    .optimize(&plan)
                    .map_err(|e| Error::from(e).at(self.field(*index, "sql")))?,
            );
        }
        let (plans, groups) = group_plans(plans, &state)?;
        let mut drawings = vec![];
        for group in groups {
            let names: Vec<&str> = group
                .members
                .iter()
                .map(|member| self.steps()[ready[*member]].name.as_str())
                .collect();
            let drawing = match &group.members[..] {
                [alone] if group.tables.is_empty() => frames[*alone]
                    .clone()
                    .explain()
                    .await
                    .map_err(|e| e.at(self.field(ready[*alone], "sql")))?,
                members => {
                    let plans: Vec<_> = members.iter().map(|m| plans[*m].clone()).collect();
                    let tables: Vec<String> = group
                        .tables
                        .iter()
                        .map(|name| format!("`{name}`"))
                        .collect();
                    let graph = crate::statement::stages_of_writes(&plans, &state).await?;
                    format!(
                        "{graph}\nScanned once for all of these steps: {} (faisca.share_stages: false turns this off)\n",
                        tables.join(", ")
                    )
                }
            };
            drawings.push((names.join(" + "), drawing));
        }
        Ok(drawings)
    }
}
