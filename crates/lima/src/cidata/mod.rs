//! The NoCloud disk: a small ISO 9660 image with the label `cidata` that gives a guest its identity and settings, in Lima's
//! layout (`pkg/cidata`). Guests with cloud-init read `user-data`, `meta-data` and `network-config`. The agent in images of
//! rdd reads the plain files beside them.
//!
//! ```text
//! user-data, meta-data, network-config   for cloud-init
//! lima.env, param.env                    KEY=VALUE to the end of the line, no quoting, as Lima's boot.sh reads them
//! etc_environment                        for /etc/environment, in the format of pam_env
//! etc_hosts                              for /etc/hosts
//! ssh_authorized_keys                    a key a line
//! boot.sh                                runs the scripts below in a guest with cloud-init
//! provision.MODE/00000000                the template's scripts and files, by their index in `provision`
//! ```
//!
//! Equal facts give equal bytes.

mod boot_script;
mod env;
mod facts;
mod files;
mod hosts;
mod iso;
mod proxy;
mod user_data;

pub use facts::{CidataError, DataFile, Facts, GuestNetwork, HostFacts, Script};
pub use proxy::PROXY_VARIABLES;
