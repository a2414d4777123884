//! The cache of downloaded images, and the images built on this machine.

mod built;
mod cache;
mod download;
mod error;
mod http;
mod inventory;
mod place;
mod publish;
mod source;
mod unpack;

pub use built::{BuiltDisk, BuiltFile, BuiltImage, BuiltKernel, DiskFormat, RootBus};
pub use cache::{Cache, Fetched};
pub use error::ImageError;
pub use http::Limits;
pub use inventory::{CacheEntry, EntryId};
pub use publish::Staged;
pub(crate) use source::sha256_hex;
pub use source::{Digest, DigestError, Source, SourceError};
