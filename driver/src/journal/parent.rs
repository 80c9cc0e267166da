//! The run of a scheduler that started this one, as OpenLineage's tools pass it on.

use std::collections::BTreeMap;

use super::record::ParentRun;

impl ParentRun {
    /// Parses `namespace/job/run`, as OpenLineage's tools write it. The namespace may contain
    /// slashes, as in `s3://x`; job and run do not.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, run) = text.rsplit_once('/')?;
        let (namespace, job) = rest.rsplit_once('/')?;
        Self::from_names(namespace, job, run)
    }

    fn from_names(namespace: &str, job: &str, run: &str) -> Option<Self> {
        let is_complete = ![namespace, job, run]
            .iter()
            .any(|part| part.trim().is_empty());
        is_complete.then(|| Self {
            namespace: namespace.to_owned(),
            job: job.to_owned(),
            run: run.to_owned(),
        })
    }

    /// Returns the parent run that settings or, without any, the environment name.
    ///
    /// The settings are those that Airflow's provider adds to the `conf` of a Spark job:
    /// `spark.openlineage.parentJobNamespace`, `.parentJobName` and `.parentRunId`. The variable is
    /// `OPENLINEAGE_PARENT_ID`.
    #[must_use]
    pub fn find(settings: &BTreeMap<String, String>) -> Option<Self> {
        Self::from_settings(settings, "parent").or_else(|| from_env("OPENLINEAGE_PARENT_ID"))
    }

    /// Returns the run at the top of all, in the same way: `spark.openlineage.rootParentJobName`
    /// and so on, or `OPENLINEAGE_ROOT_PARENT_ID`.
    #[must_use]
    pub fn find_root(settings: &BTreeMap<String, String>) -> Option<Self> {
        Self::from_settings(settings, "rootParent")
            .or_else(|| from_env("OPENLINEAGE_ROOT_PARENT_ID"))
    }

    fn from_settings(settings: &BTreeMap<String, String>, role: &str) -> Option<Self> {
        let value = |part: &str| settings.get(&format!("spark.openlineage.{role}{part}"));
        Self::from_names(value("JobNamespace")?, value("JobName")?, value("RunId")?)
    }
}

fn from_env(variable: &str) -> Option<ParentRun> {
    ParentRun::parse(&std::env::var(variable).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_read_from_its_id_or_from_the_settings_of_a_spark_job() {
        let parsed = ParentRun::parse("http://af/prod/dag.task/0199").unwrap();
        let parts = (&*parsed.namespace, &*parsed.job, &*parsed.run);
        assert_eq!(parts, ("http://af/prod", "dag.task", "0199"));
        for wrong in ["", "a/b", "a//b", "/a/b"] {
            assert_eq!(ParentRun::parse(wrong), None, "{wrong}");
        }
        let settings = [
            ("spark.openlineage.parentJobNamespace", "prod"),
            ("spark.openlineage.parentJobName", "dag.task"),
            ("spark.openlineage.parentRunId", "0199"),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let parent = ParentRun::find(&BTreeMap::from(settings)).unwrap();
        assert_eq!(parent.job, "dag.task");
    }
}
