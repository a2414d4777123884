//! A bystander on Windows, and telling Wine from Windows.

#![expect(unsafe_code, reason = "Win32 is C")]

use std::ffi::CStr;
use std::fs::File;
use std::io::PipeWriter;
use std::os::windows::io::OwnedHandle;
use std::path::Path;

use process::spawn::{Child, Spawn};

use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};

/// What a bystander waits for.
pub(crate) type Held = PipeWriter;

/// A shell that waits for its input, which is held open. There are no signals that it could note.
pub(crate) fn bystander(_folder: &Path) -> (Child, Held) {
    let (input, held) = std::io::pipe().expect("a pipe");
    let shell = Spawn::new("cmd.exe")
        .arg("/q")
        .stdin(File::from(OwnedHandle::from(input)));
    (shell.spawn().expect("a shell"), held)
}

/// Wine's version; `None` on Windows. Wine's own way to be told apart: its `ntdll.dll` has one more function.
fn wine_version() -> Option<String> {
    // SAFETY: a name that ends in NUL. The library is in every process and is never unloaded.
    let ntdll = unsafe { GetModuleHandleA(c"ntdll.dll".as_ptr().cast()) };
    if ntdll.is_null() {
        return None;
    }
    // SAFETY: the module is loaded, and the name ends in NUL.
    let function = unsafe { GetProcAddress(ntdll, c"wine_get_version".as_ptr().cast()) }?;
    // SAFETY: it takes nothing and returns a string that is never freed (Wine, dlls/ntdll/version.c).
    let version = unsafe {
        let function: unsafe extern "system" fn() -> *const std::ffi::c_char =
            std::mem::transmute(function);
        CStr::from_ptr(function())
    };
    Some(version.to_string_lossy().into_owned())
}

/// Whether this is Wine, which `what` it does otherwise than Windows: a test leaves that step out there and says so.
#[must_use]
pub fn differs_under_wine(what: &str) -> bool {
    match wine_version() {
        Some(version) => {
            eprintln!("left out under Wine {version}: {what}");
            true
        }
        None => false,
    }
}
