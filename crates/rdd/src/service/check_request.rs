//! The check of the database: `POST /rdd/v1/check` to a running daemon, with the administrator's certificate. Without a
//! daemon the command applies the same request to the database itself.

use serde::{Deserialize, Serialize};
use store::{IndexedStore, RestoreError, Store as _};

/// The path of the endpoint.
pub(crate) const PATH: &str = "/rdd/v1/check";

/// What to do with damaged rows, by their numbers. Empty: only list them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckRequest {
    /// Rows to restore from the last backup that has them.
    #[serde(default)]
    pub(crate) restore: Vec<i64>,
    /// Rows to delete.
    #[serde(default)]
    pub(crate) delete: Vec<i64>,
}

/// The state of the database after the request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CheckReport {
    /// The damaged rows that are left.
    pub(crate) damaged: Vec<DamagedRow>,
    /// What the last opening of the database found, one sentence each.
    pub(crate) problems: Vec<String>,
    /// Where the damaged database is kept, if the last opening replaced one.
    pub(crate) kept: Option<String>,
}

/// A row that is not served, because it is damaged or missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DamagedRow {
    /// Its number.
    pub(crate) id: i64,
    /// The key of the object, as far as it can be read.
    pub(crate) key: String,
    /// What is wrong with it.
    pub(crate) problem: String,
}

/// Applies a request to an open store. Stops at the first row that cannot be restored or deleted.
pub(crate) async fn apply(
    store: &IndexedStore,
    request: &CheckRequest,
) -> Result<CheckReport, RestoreError> {
    for id in &request.restore {
        store.restore(*id).await?;
    }
    for id in &request.delete {
        store.discard(*id).await?;
    }
    let opening = store.opening();
    let rows = store.quarantined().into_iter();
    Ok(CheckReport {
        damaged: rows
            .map(|row| DamagedRow {
                id: row.id,
                key: row.key,
                problem: row.problem,
            })
            .collect(),
        problems: opening.problems,
        kept: opening.kept.map(|path| path.display().to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_is_part_of_the_interface() {
        let request: CheckRequest =
            serde_json::from_str(r#"{"restore":[1],"delete":[2]}"#).unwrap();
        assert_eq!((request.restore, request.delete), (vec![1], vec![2]));
        assert_eq!(
            serde_json::from_str::<CheckRequest>("{}").unwrap(),
            CheckRequest::default()
        );
        assert!(serde_json::from_str::<CheckRequest>(r#"{"repair":[1]}"#).is_err());
    }
}
