//! The contents of files at one commit, by path.

use std::borrow::Cow;
use std::collections::HashMap;

/// Files as they are at one commit. `None`: the path does not exist there, or is a folder.
#[derive(Clone, Debug, Default)]
pub struct Files {
    contents: HashMap<String, Option<Vec<u8>>>,
}

impl Files {
    /// The file's content; `None` if it does not exist or was not read.
    #[must_use]
    pub fn bytes(&self, path: &str) -> Option<&[u8]> {
        self.contents.get(path)?.as_deref()
    }

    /// The file's content as text.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<Cow<'_, str>> {
        self.bytes(path).map(String::from_utf8_lossy)
    }
}

impl FromIterator<(String, Option<Vec<u8>>)> for Files {
    fn from_iter<T: IntoIterator<Item = (String, Option<Vec<u8>>)>>(contents: T) -> Self {
        Files {
            contents: contents.into_iter().collect(),
        }
    }
}
