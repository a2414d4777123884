//! Which `#[cfg(…)]` holds on which platform, so that files that are never compiled together do not import each other.

use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprLit, Lit, Meta, Token};

/// A platform for which the workspace is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Platform {
    Linux,
    MacOs,
    Windows,
}

impl Platform {
    pub(super) const ALL: [Self; 3] = [Self::Linux, Self::MacOs, Self::Windows];

    /// Whether an item with these attributes is compiled. What does not depend on the platform (`test`, features)
    /// counts as compiled.
    pub(super) fn compiles(self, attributes: &[Attribute]) -> bool {
        attributes.iter().all(|attribute| {
            let condition: Option<Meta> = match &attribute.meta {
                Meta::List(list) if list.path.is_ident("cfg") => list.parse_args().ok(),
                _ => None,
            };
            condition.and_then(|condition| self.holds(&condition)) != Some(false)
        })
    }

    /// The paths of `#[path = "…"]` and of a `#[cfg_attr(…, path = "…")]` that holds.
    pub(super) fn path(self, attributes: &[Attribute]) -> Option<String> {
        attributes
            .iter()
            .find_map(|attribute| match &attribute.meta {
                Meta::List(list) if list.path.is_ident("cfg_attr") => {
                    let parts = list
                        .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
                        .ok()?;
                    let mut parts = parts.iter();
                    let holds = self.holds(parts.next()?) != Some(false);
                    parts.find_map(path).filter(|_| holds)
                }
                meta => path(meta),
            })
    }

    /// Whether the condition holds; nothing when it does not depend on the platform.
    fn holds(self, condition: &Meta) -> Option<bool> {
        match condition {
            Meta::Path(path) if path.is_ident("unix") => Some(self != Self::Windows),
            Meta::Path(path) if path.is_ident("windows") => Some(self == Self::Windows),
            Meta::NameValue(pair) if pair.path.is_ident("target_os") => {
                let system = match self {
                    Self::Linux => "linux",
                    Self::MacOs => "macos",
                    Self::Windows => "windows",
                };
                text(&pair.value).map(|value| value == system)
            }
            Meta::List(list) => {
                let parts = list
                    .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
                    .ok()?;
                let values: Vec<Option<bool>> = parts.iter().map(|part| self.holds(part)).collect();
                if list.path.is_ident("not") {
                    values.first()?.map(|value| !value)
                } else if list.path.is_ident("all") {
                    decide(&values, false)
                } else if list.path.is_ident("any") {
                    decide(&values, true)
                } else {
                    None
                }
            }
            _ => None,
        }
    }
}

/// `decisive` when one value is; its opposite when all are; otherwise unknown.
fn decide(values: &[Option<bool>], decisive: bool) -> Option<bool> {
    if values.contains(&Some(decisive)) {
        Some(decisive)
    } else if values.contains(&None) {
        None
    } else {
        Some(!decisive)
    }
}

fn path(meta: &Meta) -> Option<String> {
    match meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => text(&pair.value),
        _ => None,
    }
}

fn text(value: &Expr) -> Option<String> {
    match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => Some(text.value()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled_on(item: &str) -> Vec<Platform> {
        let item: syn::ItemMod = syn::parse_str(item).expect("a module");
        let mut platforms = Platform::ALL.to_vec();
        platforms.retain(|platform| platform.compiles(&item.attrs));
        platforms
    }

    #[test]
    fn conditions_choose_their_platforms() {
        use Platform::{Linux, MacOs, Windows};
        assert_eq!(compiled_on("#[cfg(unix)] mod a;"), [Linux, MacOs]);
        assert_eq!(compiled_on("#[cfg(not(unix))] mod a;"), [Windows]);
        assert_eq!(
            compiled_on("#[cfg(all(test, target_os = \"macos\"))] mod a;"),
            [MacOs]
        );
        assert_eq!(
            compiled_on("#[cfg(any(windows, target_os = \"linux\"))] mod a;"),
            [Linux, Windows]
        );
        assert_eq!(
            compiled_on("#[cfg(not(test))] #[doc = \"x\"] mod a;"),
            Platform::ALL
        );
    }

    #[test]
    fn conditional_path_is_read() {
        let item: syn::ItemMod =
            syn::parse_str("#[cfg_attr(windows, path = \"w.rs\")] mod a;").expect("a module");
        assert_eq!(Platform::Windows.path(&item.attrs).as_deref(), Some("w.rs"));
        assert_eq!(Platform::Linux.path(&item.attrs), None);
    }
}
