//! [`User`]: the author of a request.

/// An authenticated user (Kubernetes: `user.Info`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The common name of the client certificate, or the name of an in-process client.
    pub name: String,
    /// The organizations of the client certificate.
    pub groups: Vec<String>,
}

impl User {
    /// The group whose members may do everything.
    pub const MASTERS: &str = "system:masters";
    /// The group of all authenticated users.
    pub const AUTHENTICATED: &str = "system:authenticated";

    /// An in-process user with every right, such as `system:rdd:controllers`.
    pub fn master(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            groups: vec![Self::MASTERS.into(), Self::AUTHENTICATED.into()],
        }
    }

    /// Returns whether the user may do everything.
    pub fn is_master(&self) -> bool {
        self.groups.iter().any(|g| g == Self::MASTERS)
    }
}
