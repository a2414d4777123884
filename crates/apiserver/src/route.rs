//! [`Route`]: the meaning of a path (`k8s.io/apiserver/pkg/endpoints/request.RequestInfo`).

/// The number of segments of a path that are examined.
const MAX_SEGMENTS: usize = 16;

/// The meaning of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/healthz`, `/livez`, `/readyz`
    Health(&'static str),
    Version,
    /// `/`
    Paths,
    /// `/api` (true) or `/apis`
    Groups(bool),
    /// `/apis/GROUP`
    Group(String),
    /// `/api/v1`, `/apis/GROUP/VERSION`
    GroupVersion(String, String),
    OpenApiV2,
    OpenApiV3,
    /// `/openapi/v3/apis/GROUP/VERSION`
    OpenApiV3Of(String, String),
    Resource(ResourcePath),
    Unknown,
}

/// A collection, or an object, or a subresource of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResourcePath {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: Option<String>,
    pub(crate) plural: String,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

/// Resolves `%XX`; `None` if the result is not UTF-8.
fn decode(segment: &str) -> Option<String> {
    let decoded = percent_encoding::percent_decode_str(segment).decode_utf8();
    decoded.ok().map(Into::into)
}

impl Route {
    pub(crate) fn parse(path: &str) -> Self {
        let segments = path.split('/').filter(|s| !s.is_empty());
        let Some(segments) = segments
            .take(MAX_SEGMENTS)
            .map(decode)
            .collect::<Option<Vec<_>>>()
        else {
            return Self::Unknown;
        };
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            [] => Self::Paths,
            ["healthz", ..] => Self::Health("healthz"),
            ["livez", ..] => Self::Health("livez"),
            ["readyz", ..] => Self::Health("readyz"),
            ["version"] => Self::Version,
            ["api"] => Self::Groups(true),
            ["apis"] => Self::Groups(false),
            ["api", version] => Self::GroupVersion(String::new(), (*version).into()),
            ["apis", group] => Self::Group((*group).into()),
            ["apis", group, version] => Self::GroupVersion((*group).into(), (*version).into()),
            ["openapi", "v2"] => Self::OpenApiV2,
            ["openapi", "v3"] => Self::OpenApiV3,
            ["openapi", "v3", "api", version] => {
                Self::OpenApiV3Of(String::new(), (*version).into())
            }
            ["openapi", "v3", "apis", group, version] => {
                Self::OpenApiV3Of((*group).into(), (*version).into())
            }
            ["api", version, rest @ ..] => resource("", version, rest),
            ["apis", group, version, rest @ ..] => resource(group, version, rest),
            _ => Self::Unknown,
        }
    }
}

fn resource(group: &str, version: &str, rest: &[&str]) -> Route {
    let mut path = ResourcePath {
        group: group.into(),
        version: version.into(),
        ..ResourcePath::default()
    };
    // `namespaces/NAME/status` is a subresource of the namespace, `namespaces/NAME/configmaps` is a collection in it.
    let rest = match rest {
        ["namespaces", namespace, plural, rest @ ..]
            if !["status", "finalize"].contains(plural) =>
        {
            path.namespace = Some((*namespace).into());
            path.plural = (*plural).into();
            rest
        }
        [plural, rest @ ..] => {
            path.plural = (*plural).into();
            rest
        }
        [] => return Route::Unknown,
    };
    match rest {
        [] => {}
        [name] => path.name = Some((*name).into()),
        [name, subresource] => {
            path.name = Some((*name).into());
            path.subresource = Some((*subresource).into());
        }
        _ => return Route::Unknown,
    }
    Route::Resource(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_into_their_parts() {
        let resource = |path: &str| match Route::parse(path) {
            Route::Resource(r) => format!(
                "{}|{}|{}|{}|{}|{}",
                r.group,
                r.version,
                r.namespace.unwrap_or_default(),
                r.plural,
                r.name.unwrap_or_default(),
                r.subresource.unwrap_or_default()
            ),
            other => format!("{other:?}"),
        };
        for (path, expected) in [
            ("/api/v1/namespaces", "|v1||namespaces||"),
            ("/api/v1/namespaces/a", "|v1||namespaces|a|"),
            ("/api/v1/namespaces/a/status", "|v1||namespaces|a|status"),
            ("/api/v1/namespaces/a/configmaps", "|v1|a|configmaps||"),
            ("/api/v1/namespaces/a/configmaps/b", "|v1|a|configmaps|b|"),
            ("/apis/g.io/v1/things", "g.io|v1||things||"),
            (
                "/apis/g.io/v1/namespaces/a/things/b/status",
                "g.io|v1|a|things|b|status",
            ),
            (
                "/api/v1/namespaces/a/configmaps/b%2Fc",
                "|v1|a|configmaps|b/c|",
            ),
            ("/apis/g.io", "Group(\"g.io\")"),
            ("/api/v1/a/b/c/d/e", "Unknown"),
            ("/%ff", "Unknown"),
        ] {
            assert_eq!(resource(path), expected, "{path}");
        }
    }
}
