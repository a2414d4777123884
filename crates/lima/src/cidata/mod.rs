//! The NoCloud disk: a small ISO 9660 image labelled `cidata` that tells a guest who it is, in Lima's layout
//! (`pkg/cidata`). Guests with cloud-init read `user-data`, `meta-data` and `network-config`; the first-boot service of
//! the images that we build reads the plain files beside them.
//!
//! ```text
//! user-data, meta-data, network-config   for cloud-init
//! lima.env, param.env                    KEY=VALUE to the end of the line, no quoting, as Lima's boot.sh reads them
//! etc_environment                        for pam_env
//! ssh_authorized_keys                    a key a line
//! boot.sh                                runs the scripts below, in a guest with cloud-init
//! provision.{boot,system,user}/00000000  the template's scripts, in order
//! ```
//!
//! Equal facts give equal bytes.

mod boot_script;
mod env;
mod facts;
mod files;
mod iso;
mod user_data;

pub use facts::{CidataError, Facts, GuestNetwork, Script};
