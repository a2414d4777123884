//! The Windows part: named pipes and their access lists.
//!
//! A pipe's name is not in the file system, so it is derived from the path that the socket would have. Any user may open or
//! make a pipe of any name. So the pipe's access list admits this user and the system only, the first instance must be made
//! by this process, and both ends check which user's process is at the other end.

#![expect(unsafe_code, reason = "Win32 is C")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::net::windows::named_pipe::{
    ClientOptions, NamedPipeClient, NamedPipeServer, ServerOptions,
};
use windows_sys::Win32::Foundation::{ERROR_NO_DATA, ERROR_PIPE_BUSY, HANDLE, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{
    GetTokenInformation, PSECURITY_DESCRIPTOR, SECURITY_ATTRIBUTES, TOKEN_QUERY, TOKEN_USER,
    TokenUser,
};
use windows_sys::Win32::System::Pipes::{GetNamedPipeClientProcessId, GetNamedPipeServerProcessId};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, OpenProcess, OpenProcessToken, PROCESS_QUERY_LIMITED_INFORMATION,
};

/// A server's end of a local connection.
pub(crate) type ServerStream = NamedPipeServer;
/// A client's end of a local connection.
pub(crate) type ClientStream = NamedPipeClient;

/// Instances of the pipe that wait for clients: as many as may come at once without having to try again.
const BACKLOG: usize = 16;
/// The pause after an attempt that found all instances busy. They are replaced within microseconds.
const BUSY_AGAIN: Duration = Duration::from_millis(10);
/// A TOKEN_USER with the longest SID there is has fewer bytes (SECURITY_MAX_SID_SIZE is 68).
const TOKEN_USER_SIZE: usize = 256;

/// Listens on a pipe that only this user can use.
#[derive(Debug)]
pub(crate) struct Listener {
    name: String,
    user: String,
    /// The instances that wait for clients, [`BACKLOG`] of them.
    waiting: Vec<NamedPipeServer>,
}

impl Listener {
    /// Listens on the pipe whose name is derived from `path`. Fails if another process listens there.
    pub(crate) fn bind(path: &Path) -> io::Result<Listener> {
        let (name, user) = (pipe_name(path)?, own_user()?);
        let waiting = (0..BACKLOG)
            .map(|number| instance(&name, &user, number == 0))
            .collect::<io::Result<_>>()?;
        Ok(Listener {
            name,
            user,
            waiting,
        })
    }

    /// Accepts the next connection; `None` for a connection of another user, which is closed. Safe to cancel.
    pub(crate) async fn accept(&mut self) -> io::Result<Option<ServerStream>> {
        let instances = self.waiting.iter();
        let connecting = instances.map(|instance| Box::pin(instance.connect()));
        let (connected, which, _) = futures::future::select_all(connecting).await;
        let following = instance(&self.name, &self.user, false)?;
        let stream = std::mem::replace(&mut self.waiting[which], following);
        match connected {
            // The client has already disconnected, and the instance cannot be used again.
            Err(error) if is(&error, ERROR_NO_DATA) => return Ok(None),
            connected => connected?,
        }
        let mut pid = 0;
        // SAFETY: the handle is open and the number is writable.
        let known = unsafe { GetNamedPipeClientProcessId(handle(&stream), &raw mut pid) } != 0;
        if known && user_of(pid).is_ok_and(|user| user == self.user) {
            return Ok(Some(stream));
        }
        tracing::warn!(pid, "refused another user's connection on ha.sock");
        Ok(None)
    }
}

/// Connects to the pipe whose name is derived from `path`.
pub(crate) async fn connect(path: &Path) -> io::Result<ClientStream> {
    let name = pipe_name(path)?;
    let stream = loop {
        match ClientOptions::new().open(&name) {
            Err(error) if is(&error, ERROR_PIPE_BUSY) => {
                // The caller bounds the wait.
                tokio::time::sleep(BUSY_AGAIN).await;
            }
            result => break result?,
        }
    };
    let mut pid = 0;
    // SAFETY: the handle is open and the number is writable.
    if unsafe { GetNamedPipeServerProcessId(handle(&stream), &raw mut pid) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // Otherwise another user's process that makes a pipe of this name first could pose as the hostagent.
    if user_of(pid)? == own_user()? {
        Ok(stream)
    } else {
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("the pipe {name} is process {pid}'s, which is another user's"),
        ))
    }
}

/// Opens a log for appending. The folder is private by the access list that it inherits.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Returns the pipe's name: a digest of the path as the file system spells it, because a pipe's name may contain no
/// backslash and at most 256 characters.
fn pipe_name(path: &Path) -> io::Result<String> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let path = folder
        .canonicalize()?
        .join(path.file_name().unwrap_or_default());
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    Ok(format!(r"\\.\pipe\rdd-{}", hex::encode(digest)))
}

fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error().map(i32::cast_unsigned) == Some(code)
}

fn handle(pipe: &impl AsRawHandle) -> HANDLE {
    pipe.as_raw_handle() as HANDLE
}

/// Makes another instance of the pipe, for this user and the system only.
fn instance(name: &str, user: &str, first: bool) -> io::Result<NamedPipeServer> {
    let descriptor = Descriptor::new(&access_list(user))?;
    let mut attributes = SECURITY_ATTRIBUTES {
        nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).map_err(io::Error::other)?,
        lpSecurityDescriptor: descriptor.0,
        bInheritHandle: 0,
    };
    // SAFETY: the attributes and the descriptor in them live until the call has returned.
    unsafe {
        ServerOptions::new()
            .first_pipe_instance(first)
            .create_with_security_attributes_raw(name, (&raw mut attributes).cast())
    }
}

/// Returns the access list in the security descriptor language: nothing is inherited; the user and the system may do
/// everything.
fn access_list(user: &str) -> String {
    format!("D:P(A;;GA;;;{user})(A;;GA;;;SY)")
}

struct Descriptor(PSECURITY_DESCRIPTOR);

impl Descriptor {
    fn new(text: &str) -> io::Result<Self> {
        let text: Vec<u16> = text.encode_utf16().chain([0]).collect();
        let mut descriptor: PSECURITY_DESCRIPTOR = std::ptr::null_mut();
        // SAFETY: the text ends in NUL, the result is writable, and its size is not requested.
        let done = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                std::ptr::null_mut(),
            )
        };
        if done == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Descriptor(descriptor))
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: allocated by the conversion, whose documentation says to free it like this, and freed once.
        unsafe { LocalFree(self.0) };
    }
}

/// Returns the SID of this process's user.
fn own_user() -> io::Result<String> {
    // SAFETY: the pseudo-handle of this process needs no closing.
    user_of_process(unsafe { GetCurrentProcess() })
}

/// Returns the SID of a process's user. Only for a PID that cannot be reused meanwhile: the other end of a pipe.
fn user_of(pid: u32) -> io::Result<String> {
    // SAFETY: opens a process by its PID; the result is checked.
    let process = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, pid) };
    let process = owned(process)?;
    user_of_process(process.as_raw_handle() as HANDLE)
}

fn user_of_process(process: HANDLE) -> io::Result<String> {
    let mut token: HANDLE = std::ptr::null_mut();
    // SAFETY: the handle is open and the result is writable.
    if unsafe { OpenProcessToken(process, TOKEN_QUERY, &raw mut token) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let token = owned(token)?;
    // An array of pointer-sized values, because the structure begins with a pointer.
    let mut buffer = [0_usize; TOKEN_USER_SIZE / size_of::<usize>()];
    let size = u32::try_from(size_of_val(&buffer)).map_err(io::Error::other)?;
    let mut needed = 0;
    // SAFETY: the buffer is as long as `size` says and aligned as the structure is.
    let done = unsafe {
        GetTokenInformation(
            token.as_raw_handle() as HANDLE,
            TokenUser,
            buffer.as_mut_ptr().cast(),
            size,
            &raw mut needed,
        )
    };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call filled in the structure; its SID is behind it in the same buffer.
    let sid = unsafe { (*buffer.as_ptr().cast::<TOKEN_USER>()).User.Sid };
    let mut text: *mut u16 = std::ptr::null_mut();
    // SAFETY: the SID is valid and the result is writable.
    if unsafe { ConvertSidToStringSidW(sid, &raw mut text) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a text that ends in NUL, allocated by the call, whose documentation says to free it like this.
    let sid = unsafe {
        let length = (0..).take_while(|at| *text.add(*at) != 0).count();
        let sid = String::from_utf16_lossy(std::slice::from_raw_parts(text, length));
        LocalFree(text.cast());
        sid
    };
    Ok(sid)
}

fn owned(handle: HANDLE) -> io::Result<OwnedHandle> {
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new handle without another owner.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle as RawHandle) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipe_admits_its_user_and_the_system_only() {
        let user = own_user().unwrap();
        assert!(user.starts_with("S-1-"), "{user}");
        assert_eq!(user_of(std::process::id()).unwrap(), user);
        assert_eq!(
            access_list(&user),
            format!("D:P(A;;GA;;;{user})(A;;GA;;;SY)")
        );
        Descriptor::new(&access_list(&user)).unwrap();
        if !testutils::differs_under_wine("an invalid access list counts as an empty one") {
            assert!(Descriptor::new("D:nonsense").is_err());
        }
    }

    #[test]
    fn pipe_name_depends_on_the_path_and_not_on_its_spelling() {
        let folder = tempfile::tempdir().unwrap();
        let name = |path: &Path| pipe_name(path).unwrap();
        let one = name(&folder.path().join("ha.sock"));
        assert_eq!(one, name(&folder.path().join(".").join("ha.sock")));
        assert_ne!(one, name(&folder.path().join("other.sock")));
        assert!(one.len() < 256 && one.rfind('\\') == Some(8), "{one}");
    }
}
