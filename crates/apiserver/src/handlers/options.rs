//! Options in the query (`metav1.ListOptions` and its relatives).

use crate::{
    registry::{FieldValidation, WriteContext},
    route::percent_decode,
    server::Inner,
    status::ApiError,
    user::User,
};
use std::sync::Arc;

/// A decoded query.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: &str) -> Result<Self, ApiError> {
        let pairs = query.split('&').filter(|p| !p.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| percent_decode(&text.replace('+', " "));
            Some((decode(name)?, decode(value)?))
        });
        let pairs = pairs.collect::<Option<Vec<_>>>();
        pairs
            .map(Self)
            .ok_or_else(|| ApiError::bad_request(format!("the query {query:?} is not valid")))
    }

    /// The option's value; `None` when it is empty or missing.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(n, v)| n == name && !v.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// `true`, `1` and the bare name switch on.
    pub(super) fn flag(&self, name: &str) -> bool {
        let found = self.0.iter().find(|(n, _)| n == name);
        found.is_some_and(|(_, value)| ["true", "1", ""].contains(&value.as_str()))
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                ApiError::bad_request(format!("{name}: invalid value {text:?}: must be a number"))
            })
        };
        self.get(name).map(parse).transpose()
    }

    fn dry_run(&self) -> Result<bool, ApiError> {
        match self.get("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => Err(ApiError::bad_request(format!(
                "dryRun: Unsupported value: {other:?}: supported values: \"All\""
            ))),
        }
    }

    fn field_validation(&self) -> Result<FieldValidation, ApiError> {
        match self.get("fieldValidation") {
            None | Some("Warn") => Ok(FieldValidation::Warn),
            Some("Ignore") => Ok(FieldValidation::Ignore),
            Some("Strict") => Ok(FieldValidation::Strict),
            Some(other) => Err(ApiError::bad_request(format!(
                "fieldValidation: Unsupported value: {other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
            ))),
        }
    }

    /// The circumstances of a write by this user.
    pub(super) fn write_context<'a>(
        &self,
        server: &'a Arc<Inner>,
        user: &User,
    ) -> Result<WriteContext<'a>, ApiError> {
        Ok(WriteContext {
            server,
            user: user.clone(),
            dry_run: self.dry_run()?,
            field_validation: self.field_validation()?,
            warnings: Vec::new(),
            admission: true,
        })
    }
}
