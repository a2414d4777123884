//! The files beside a database, and the folder entries of its backups and damaged copies.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The paths of a database and of the files that belong to it. All but [`floor`](Self::floor) begin with the name of
/// the database, so that they are removed with it.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// The database.
    pub(crate) database: PathBuf,
}

impl Files {
    pub(crate) fn new(database: &Path) -> Self {
        Self {
            database: database.to_owned(),
        }
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.database.clone().into_os_string();
        name.push(suffix);
        name.into()
    }

    /// SQLite's write-ahead log.
    pub(crate) fn wal(&self) -> PathBuf {
        self.beside("-wal")
    }

    /// The folder of the periodic backups.
    pub(crate) fn backups(&self) -> PathBuf {
        self.beside(".backups")
    }

    /// The folder in which damaged databases are kept for inspection.
    pub(crate) fn damaged(&self) -> PathBuf {
        self.beside(".damaged")
    }

    /// The space that is released when the disk is full.
    pub(crate) fn reserve(&self) -> PathBuf {
        self.beside(".reserve")
    }

    /// A new database that is about to replace a damaged one.
    pub(crate) fn rebuilt(&self) -> PathBuf {
        self.beside(".rebuilt")
    }

    /// The list of quarantined rows, as text.
    pub(crate) fn quarantine(&self) -> PathBuf {
        self.beside(".quarantine")
    }

    /// The revision beyond which a new database starts. It stays when the database is removed.
    pub(crate) fn floor(&self) -> PathBuf {
        self.database.with_extension("revision")
    }
}

/// The files of a folder, sorted by name; none when there is no folder.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths)
}

/// Removes a file. A missing file counts as removed.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Creates a folder for the owner only, unless it exists.
pub(crate) fn create_private_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// Creates a file for the owner only.
pub(crate) fn create_private(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Replaces a small file in one step: writes a temporary file, syncs it and renames it.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let mut file = create_private(&temporary)?;
    file.write_all(contents)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary, path)?;
    sync_folder_of(path)
}

/// Makes the entries of the folder of `path` durable.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        fs::File::open(folder)?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}
