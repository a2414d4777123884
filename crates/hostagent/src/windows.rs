//! What only Windows has: named pipes, and who may use them.
//!
//! A pipe's name is not in the file system, so it is made of the path at which the socket would be. Anybody may try a
//! name: the pipe's access list lets in our user and the system, the first instance is made by us or not at all, and
//! both ends look at whose process is at the other one.

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
/// After a try that found all of them taken. They are replaced within microseconds.
const BUSY_AGAIN: Duration = Duration::from_millis(10);
/// A TOKEN_USER with the longest SID there is has fewer bytes (SECURITY_MAX_SID_SIZE is 68).
const TOKEN_USER_SIZE: usize = 256;

/// Listens on a pipe that only our user can use.
#[derive(Debug)]
pub(crate) struct Listener {
    name: String,
    user: String,
    /// The instances that wait for clients, [`BACKLOG`] of them.
    waiting: Vec<NamedPipeServer>,
}

impl Listener {
    /// Listens on the pipe that stands for the socket at `path`, where nobody else may.
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

    /// The next connection; `None` for somebody else's, which is closed. Safe to cancel.
    pub(crate) async fn accept(&mut self) -> io::Result<Option<ServerStream>> {
        let instances = self.waiting.iter();
        let connecting = instances.map(|instance| Box::pin(instance.connect()));
        let (connected, which, _) = futures::future::select_all(connecting).await;
        let following = instance(&self.name, &self.user, false)?;
        let stream = std::mem::replace(&mut self.waiting[which], following);
        match connected {
            // It came and went before it was waited for, and its instance is of no more use.
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

/// Connects to what listens on the pipe that stands for the socket at `path`.
pub(crate) async fn connect(path: &Path) -> io::Result<ClientStream> {
    let name = pipe_name(path)?;
    let stream = loop {
        match ClientOptions::new().open(&name) {
            Err(error) if is(&error, ERROR_PIPE_BUSY) => {
                // The caller bounds this.
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
    // Whoever makes a pipe of this name before we do could otherwise pose as a hostagent.
    if user_of(pid)? == own_user()? {
        Ok(stream)
    } else {
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("the pipe {name} is process {pid}'s, which is another user's"),
        ))
    }
}

/// Opens a log to append to. The folder is the user's only, by the access list that it inherits.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// A pipe's name may have no backslash and 256 characters, and a path has both; so it is a digest of the path, as the
/// file system spells it.
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

/// One more instance of the pipe, for its user and the system only.
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

/// In the security descriptor language: protected from what is inherited, everything for the user and for the system.
fn access_list(user: &str) -> String {
    format!("D:P(A;;GA;;;{user})(A;;GA;;;SY)")
}

struct Descriptor(PSECURITY_DESCRIPTOR);

impl Descriptor {
    fn new(text: &str) -> io::Result<Self> {
        let text: Vec<u16> = text.encode_utf16().chain([0]).collect();
        let mut descriptor: PSECURITY_DESCRIPTOR = std::ptr::null_mut();
        // SAFETY: the text ends in NUL, the result is writable, and its size is not asked for.
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
        // SAFETY: allocated by the conversion, which says to free it like this, and freed once.
        unsafe { LocalFree(self.0) };
    }
}

/// The SID of the user that this process runs as.
fn own_user() -> io::Result<String> {
    // SAFETY: the pseudo-handle of this process needs no closing.
    user_of_process(unsafe { GetCurrentProcess() })
}

/// The SID of the user that a process runs as. Only for a PID that cannot change hands: the other end of a pipe.
fn user_of(pid: u32) -> io::Result<String> {
    // SAFETY: asks for a handle by number; the result is checked.
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
    // Of pointers, since the structure begins with one.
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
    // SAFETY: the call filled the structure in; its SID lies behind it in the same buffer.
    let sid = unsafe { (*buffer.as_ptr().cast::<TOKEN_USER>()).User.Sid };
    let mut text: *mut u16 = std::ptr::null_mut();
    // SAFETY: the SID is valid and the result is writable.
    if unsafe { ConvertSidToStringSidW(sid, &raw mut text) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a text that ends in NUL, allocated by the call, which says to free it like this.
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
    // SAFETY: a new handle that nobody else owns.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle as RawHandle) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pipe_is_for_its_user_and_the_system() {
        let user = own_user().unwrap();
        assert!(user.starts_with("S-1-"), "{user}");
        assert_eq!(user_of(std::process::id()).unwrap(), user);
        assert_eq!(
            access_list(&user),
            format!("D:P(A;;GA;;;{user})(A;;GA;;;SY)")
        );
        Descriptor::new(&access_list(&user)).unwrap();
        if !testutils::differs_under_wine("what is no access list is taken for an empty one") {
            assert!(Descriptor::new("D:nonsense").is_err());
        }
    }

    #[test]
    fn two_paths_have_two_names_and_one_path_has_one_however_it_is_spelled() {
        let folder = tempfile::tempdir().unwrap();
        let name = |path: &Path| pipe_name(path).unwrap();
        let one = name(&folder.path().join("ha.sock"));
        assert_eq!(one, name(&folder.path().join(".").join("ha.sock")));
        assert_ne!(one, name(&folder.path().join("other.sock")));
        assert!(one.len() < 256 && one.rfind('\\') == Some(8), "{one}");
    }
}
