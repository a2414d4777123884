//! From method and path to what is asked for (`k8s.io/apiserver/pkg/endpoints/request.RequestInfo`).

/// Segments of a longer path are not looked at.
const MAX_SEGMENTS: usize = 16;

/// What a path names.
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

/// Resolves `%XX`; `None` when what comes out is not UTF-8 or the escapes are broken.
pub(crate) fn percent_decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.into());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digits = [bytes.next()?, bytes.next()?];
        let digits = std::str::from_utf8(&digits).ok()?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
    }
    String::from_utf8(out).ok()
}

impl Route {
    pub(crate) fn parse(path: &str) -> Self {
        let segments = path.split('/').filter(|s| !s.is_empty());
        let Some(segments) = segments
            .take(MAX_SEGMENTS)
            .map(percent_decode)
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
    fn paths() {
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
