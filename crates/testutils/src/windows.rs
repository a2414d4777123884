//! The Windows part: a bystander, command lines, the folders of an instance, and the detection of Wine.

#![expect(unsafe_code, reason = "Win32 is C")]

use std::ffi::CStr;
use std::fs::File;
use std::io::PipeWriter;
use std::mem::MaybeUninit;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::path::{Path, PathBuf};

use process::spawn::{Child, Spawn};

use windows_sys::Wdk::System::Threading::{NtQueryInformationProcess, ProcessBasicInformation};
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::Diagnostics::Debug::ReadProcessMemory;
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};
use windows_sys::Win32::System::Threading::{
    OpenProcess, PEB, PROCESS_BASIC_INFORMATION, PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_VM_READ,
};

/// The input that a bystander waits for.
pub(crate) type Held = PipeWriter;

/// Starts a shell that waits for its input, which is kept open. Windows has no signals to record.
pub(crate) fn bystander(_folder: &Path) -> (Child, Held) {
    let (input, held) = std::io::pipe().expect("a pipe");
    let shell = Spawn::new("cmd.exe")
        .arg("/q")
        .stdin(File::from(OwnedHandle::from(input)));
    (shell.spawn().expect("a shell"), held)
}

/// Wine's version; `None` on Windows. Only Wine's `ntdll.dll` has this function.
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

/// Whether this is Wine, which differs from Windows in `what`; a test then leaves the step out. Prints it.
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

/// The command line of a process, for people; empty if it cannot be read.
pub(crate) fn command_line(pid: u32) -> String {
    let line = || -> Option<String> {
        // SAFETY: asks for a handle by number; the result is checked.
        let process =
            unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_VM_READ, 0, pid) };
        if process.is_null() {
            return None;
        }
        // SAFETY: a new handle that no other value owns.
        let process = unsafe { OwnedHandle::from_raw_handle(process as RawHandle) };
        // SAFETY: the pointers are only computed here, and what is read are pointers, numbers and text: any bytes will do.
        unsafe {
            let peb = environment_block(&process)?;
            let parameters = read(&process, &raw const (*peb).ProcessParameters)?;
            let line = read(&process, &raw const (*parameters).CommandLine)?;
            let text: Option<Vec<u16>> = (0..usize::from(line.Length) / 2)
                .map(|at| read(&process, line.Buffer.wrapping_add(at)))
                .collect();
            Some(String::from_utf16_lossy(&text?))
        }
    };
    line().unwrap_or_default()
}

/// The address of the process's PEB, which leads to its command line. Debuggers do the same (winternl.h), and Wine has no
/// shorter way.
fn environment_block(process: &OwnedHandle) -> Option<*const PEB> {
    let mut basic = PROCESS_BASIC_INFORMATION::default();
    // SAFETY: the handle is open, and the structure is as long as its size argument says.
    let status = unsafe {
        NtQueryInformationProcess(
            process.as_raw_handle() as HANDLE,
            ProcessBasicInformation,
            (&raw mut basic).cast(),
            u32::try_from(size_of_val(&basic)).ok()?,
            std::ptr::null_mut(),
        )
    };
    (status >= 0 && !basic.PebBaseAddress.is_null()).then_some(basic.PebBaseAddress.cast_const())
}

/// Reads a value in another process.
///
/// # Safety
/// Any bytes are a value of the type.
unsafe fn read<T: Copy>(process: &OwnedHandle, address: *const T) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the value is as large as its size argument says; an address that is not mapped there makes the call fail.
    let done = unsafe {
        ReadProcessMemory(
            process.as_raw_handle() as HANDLE,
            address.cast(),
            value.as_mut_ptr().cast(),
            size_of::<T>(),
            std::ptr::null_mut(),
        )
    };
    // SAFETY: all of it was written, and any bytes are a value.
    (done != 0).then(|| unsafe { value.assume_init() })
}

/// Where rdd keeps the data of an instance below the home folder.
pub(crate) fn data_dir(home: &Path, instance: &str) -> PathBuf {
    home.join("AppData").join("Local").join(instance)
}

/// Where rdd keeps the logs of an instance below the home folder.
pub(crate) fn log_dir(home: &Path, instance: &str) -> PathBuf {
    data_dir(home, &format!("{instance}-logs"))
}
