//! Values, and the place in them for a revision.

use bytes::Bytes;

/// The number of a write. Opaque: a later write has a larger one, and numbers may be missing. Never used twice.
/// Stays below 2^53, so that JavaScript clients can represent it.
pub type Revision = u64;

/// A value to be written, with a place for the revision that the write is going to get.
///
/// The API server keeps `metadata.resourceVersion` inside the encoded object, and the revision is known only once
/// the write has been committed. So a value is given as the bytes before and after the decimal digits, and the
/// digits are filled in when the committed change is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The bytes up to the revision's digits.
    pub before: Bytes,
    /// The bytes after the digits. `None`: the value contains no revision, and `before` is all of it.
    pub after: Option<Bytes>,
}

impl Value {
    /// Returns a value that contains no revision.
    pub fn plain(bytes: impl Into<Bytes>) -> Self {
        Self {
            before: bytes.into(),
            after: None,
        }
    }

    /// Returns a value from its bytes without the revision, and the position of the revision in them.
    ///
    /// A position beyond the end counts as none.
    pub fn from_parts(bytes: impl Into<Bytes>, digits_at: Option<usize>) -> Self {
        let bytes = bytes.into();
        match digits_at.filter(|at| *at <= bytes.len()) {
            Some(at) => Self {
                before: bytes.slice(..at),
                after: Some(bytes.slice(at..)),
            },
            None => Self::plain(bytes),
        }
    }

    /// The bytes without the revision. The inverse of [`from_parts`](Self::from_parts) together with
    /// [`digits_at`](Self::digits_at).
    pub fn joined(&self) -> Bytes {
        let Some(after) = &self.after else {
            return self.before.clone();
        };
        let mut whole = Vec::with_capacity(self.before.len() + after.len());
        whole.extend_from_slice(&self.before);
        whole.extend_from_slice(after);
        whole.into()
    }

    /// The position of the revision in the bytes; `None` when the value contains no revision.
    pub fn digits_at(&self) -> Option<usize> {
        self.after.is_some().then_some(self.before.len())
    }

    /// The bytes with the revision filled in.
    pub fn at(&self, revision: Revision) -> Bytes {
        let Some(after) = &self.after else {
            return self.before.clone();
        };
        let digits = revision.to_string();
        // The exact capacity, because the index keeps this allocation for as long as the key exists.
        let mut whole = Vec::with_capacity(self.before.len() + digits.len() + after.len());
        whole.extend_from_slice(&self.before);
        whole.extend_from_slice(digits.as_bytes());
        whole.extend_from_slice(after);
        Bytes::from(whole)
    }

    /// The number of bytes, without the revision.
    pub fn size(&self) -> usize {
        self.before.len() + self.after.as_ref().map_or(0, Bytes::len)
    }
}
