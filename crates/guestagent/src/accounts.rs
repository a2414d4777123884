//! Edits the account files as text. This needs no process, while `useradd` and the like take a quarter of a second of an
//! emulated boot.
//!
//! Formats: passwd(5), shadow(5), group(5), gshadow(5), subuid(5).

use crate::cidata::User;

/// The texts of the account files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountFiles {
    /// `/etc/passwd`
    pub passwd: String,
    /// `/etc/shadow`
    pub shadow: String,
    /// `/etc/group`
    pub group: String,
    /// `/etc/gshadow`
    pub gshadow: String,
    /// `/etc/subuid`
    pub subuid: String,
    /// `/etc/subgid`
    pub subgid: String,
    /// `/etc/shells`, which is only read.
    pub shells: String,
}

/// The user's account in the edited files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user id. It differs from the requested one if that is taken.
    pub uid: u32,
    /// The primary group's id.
    pub gid: u32,
    /// The home folder.
    pub home: String,
}

/// Groups that the user joins if the image has them: for reading logs, and for tools that check a group.
const EXTRA_GROUPS: [&str; 3] = ["adm", "sudo", "systemd-journal"];
/// Subordinate ids for rootless containers: the first one, and how many a user gets, as in `login.defs`.
const SUBID_FIRST: u64 = 100_000;
const SUBID_COUNT: u64 = 65_536;
/// The first id that is tried if the requested one is taken.
const FIRST_FREE_ID: u32 = 1000;

/// Adds `user` to the files, or completes the entries that are missing. An existing account keeps its ids, because files
/// belong to them. An account without a login shell, such as Debian's `backup`, gets the shell and the home folder of
/// `user`; any other keeps its own. Nothing else in the files changes.
pub fn add_user(files: &mut AccountFiles, user: &User) -> Account {
    let account = match find(&files.passwd, &user.name) {
        Some(line) => {
            let mut fields: Vec<&str> = line.split(':').collect();
            fields.resize(7, "");
            let may_log_in = files.shells.lines().any(|shell| shell.trim() == fields[6]);
            let (home, shell) = if may_log_in {
                (fields[5], fields[6])
            } else {
                (user.home.as_str(), user.shell.as_str())
            };
            let account = Account {
                uid: fields[2].parse().unwrap_or(user.uid),
                gid: fields[3].parse().unwrap_or(user.uid),
                home: home.to_owned(),
            };
            (fields[5], fields[6]) = (home, shell);
            let (old, new) = (line.to_owned(), fields.join(":"));
            if old != new {
                files.passwd = with_line(&files.passwd, &old, &new);
            }
            account
        }
        None => {
            let gid = match find(&files.group, &user.name) {
                Some(line) => line
                    .split(':')
                    .nth(2)
                    .and_then(|id| id.parse().ok())
                    .unwrap_or(user.uid),
                None => free_id(&files.group, user.uid),
            };
            let uid = free_id(&files.passwd, user.uid);
            let (name, comment, home, shell) = (&user.name, &user.comment, &user.home, &user.shell);
            append(
                &mut files.passwd,
                &format!("{name}:x:{uid}:{gid}:{comment}:{home}:{shell}"),
            );
            Account {
                uid,
                gid,
                home: user.home.clone(),
            }
        }
    };
    let name = &user.name;
    if find(&files.group, name).is_none() {
        append(&mut files.group, &format!("{name}:x:{}:", account.gid));
    }
    if find(&files.gshadow, name).is_none() {
        append(&mut files.gshadow, &format!("{name}:!::"));
    }
    if find(&files.shadow, name).is_none() {
        // `*`: login by key only, never by password.
        append(&mut files.shadow, &format!("{name}:*:19000:0:99999:7:::"));
    }
    for extra in EXTRA_GROUPS {
        files.group = with_member(&files.group, extra, name);
        files.gshadow = with_member(&files.gshadow, extra, name);
    }
    for text in [&mut files.subuid, &mut files.subgid] {
        if find(text, name).is_none() {
            let mut first = text
                .lines()
                .filter_map(range_end)
                .max()
                .unwrap_or(SUBID_FIRST)
                .max(SUBID_FIRST);
            // The user's own id is no subordinate one: a directory service may have given it a large number.
            let own = u64::from(account.uid.max(account.gid));
            if (first..first + SUBID_COUNT).contains(&own) {
                first = own + 1;
            }
            append(text, &format!("{name}:{first}:{SUBID_COUNT}"));
        }
    }
    account
}

/// Returns the ids of an owner as chown(1) takes it: `USER` or `USER:GROUP`, names or numbers. A user alone brings its
/// primary group. An empty owner is root.
#[must_use]
pub fn owner_ids(owner: &str, passwd: &str, group: &str) -> Option<(u32, u32)> {
    if owner.is_empty() {
        return Some((0, 0));
    }
    let (user, group_name) = owner.split_once(':').unwrap_or((owner, ""));
    let id = |text: &str, name: &str, index: usize| -> Option<u32> {
        find(text, name)?.split(':').nth(index)?.parse().ok()
    };
    let uid = id(passwd, user, 2).or_else(|| user.parse().ok())?;
    let gid = match group_name {
        "" => id(passwd, user, 3).unwrap_or(uid),
        name => id(group, name, 2).or_else(|| name.parse().ok())?,
    };
    Some((uid, gid))
}

fn find<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find(|line| line.split(':').next() == Some(name))
}

fn with_line(text: &str, old: &str, new: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(|line| if line == old { new } else { line })
        .collect();
    lines.join("\n") + "\n"
}

fn append(text: &mut String, line: &str) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
}

fn free_id(text: &str, wanted: u32) -> u32 {
    let taken: Vec<u32> = text
        .lines()
        .filter_map(|line| line.split(':').nth(2)?.parse().ok())
        .collect();
    if !taken.contains(&wanted) {
        return wanted;
    }
    (FIRST_FREE_ID..u32::MAX)
        .find(|id| !taken.contains(id))
        .unwrap_or(wanted)
}

fn range_end(line: &str) -> Option<u64> {
    let mut fields = line.split(':').skip(1);
    let first: u64 = fields.next()?.parse().ok()?;
    first.checked_add(fields.next()?.parse().ok()?)
}

/// Adds a member to a group. The last field of a group's line lists the members, separated by commas.
fn with_member(text: &str, group: &str, name: &str) -> String {
    let mut out = String::with_capacity(text.len() + name.len() + 1);
    for line in text.lines() {
        out.push_str(line);
        if line.split(':').next() == Some(group)
            && let Some((_, members)) = line.rsplit_once(':')
            && !members.split(',').any(|member| member == name)
        {
            if !members.is_empty() {
                out.push(',');
            }
            out.push_str(name);
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> User {
        User {
            name: "dev".into(),
            uid: 1000,
            comment: "A Developer".into(),
            home: "/home/dev".into(),
            shell: "/bin/bash".into(),
        }
    }

    fn files() -> AccountFiles {
        AccountFiles {
            passwd: "root:x:0:0:root:/root:/bin/bash\n".into(),
            shadow: "root:*:1:0:99999:7:::\n".into(),
            group: "root:x:0:\nadm:x:4:\nsudo:x:27:other\n".into(),
            gshadow: "root:*::\nadm:*::\nsudo:*::other\n".into(),
            shells: "# valid login shells\n/bin/sh\n/bin/bash\n/bin/zsh\n".into(),
            ..AccountFiles::default()
        }
    }

    #[test]
    fn a_new_user_is_added_to_every_file_and_a_second_run_changes_nothing() {
        let mut edited = files();
        let account = add_user(&mut edited, &user());
        assert_eq!(
            account,
            Account {
                uid: 1000,
                gid: 1000,
                home: "/home/dev".into()
            }
        );
        assert!(
            edited
                .passwd
                .ends_with("\ndev:x:1000:1000:A Developer:/home/dev:/bin/bash\n")
        );
        assert_eq!(
            edited.group,
            "root:x:0:\nadm:x:4:dev\nsudo:x:27:other,dev\ndev:x:1000:\n"
        );
        assert_eq!(
            edited.gshadow,
            "root:*::\nadm:*::dev\nsudo:*::other,dev\ndev:!::\n"
        );
        assert!(edited.shadow.ends_with("\ndev:*:19000:0:99999:7:::\n"));
        assert_eq!(edited.subuid, "dev:100000:65536\n");
        let before = edited.clone();
        assert_eq!(add_user(&mut edited, &user()), account);
        assert_eq!(edited, before);
    }

    #[test]
    fn a_taken_id_or_group_name_is_replaced_by_a_free_one() {
        let mut edited = files();
        edited.passwd.push_str("www:x:1000:1000::/:/bin/sh");
        edited.group.push_str("www:x:1000:\n");
        edited.subuid = "www:100000:65536\n".into();
        let account = add_user(&mut edited, &user());
        assert_eq!((account.uid, account.gid), (1001, 1001));
        assert!(edited.passwd.contains("/bin/sh\ndev:x:1001:1001:"));
        assert!(edited.subuid.ends_with("dev:165536:65536\n"));
        let mut named = files();
        named.group.push_str("dev:x:44:\n");
        assert_eq!(add_user(&mut named, &user()).gid, 44);
    }

    #[test]
    fn an_existing_user_keeps_ids_home_and_shell() {
        let mut edited = files();
        edited.passwd.push_str("dev:x:501:20::/home/old:/bin/zsh\n");
        let account = add_user(&mut edited, &user());
        assert_eq!(
            account,
            Account {
                uid: 501,
                gid: 20,
                home: "/home/old".into()
            }
        );
        assert_eq!(edited.passwd.matches("dev:").count(), 1);
        assert!(
            edited
                .passwd
                .ends_with("dev:x:501:20::/home/old:/bin/zsh\n")
        );
    }

    #[test]
    fn a_system_account_keeps_its_ids_and_gets_a_login_shell_and_home() {
        for shell in ["/usr/sbin/nologin", "/bin/false", "/bin/sync", ""] {
            let mut edited = files();
            let line = format!("dev:x:34:34:dev:/var/backups:{shell}\nlast:x:7:7::/:/bin/sh\n");
            edited.passwd.push_str(&line);
            let account = add_user(&mut edited, &user());
            assert_eq!(
                account,
                Account {
                    uid: 34,
                    gid: 34,
                    home: "/home/dev".into()
                }
            );
            let expected = "dev:x:34:34:dev:/home/dev:/bin/bash\nlast:x:7:7::/:/bin/sh\n";
            assert!(edited.passwd.ends_with(expected), "{}", edited.passwd);
        }
    }

    #[test]
    fn owners_are_names_or_numbers() {
        let passwd = "root:x:0:0::/:/bin/sh\ndev:x:501:20::/:/bin/sh\n";
        let group = "root:x:0:\nadm:x:4:\n";
        for (owner, expected) in [
            ("", Some((0, 0))),
            ("root:root", Some((0, 0))),
            ("dev", Some((501, 20))),
            ("dev:adm", Some((501, 4))),
            ("7:8", Some((7, 8))),
            ("dev:none", None),
            ("none", None),
        ] {
            assert_eq!(owner_ids(owner, passwd, group), expected, "{owner}");
        }
    }

    #[test]
    fn subordinate_ids_do_not_contain_the_users_own_id() {
        let mut edited = files();
        let large = User {
            uid: 100_500,
            ..user()
        };
        assert_eq!(add_user(&mut edited, &large).uid, 100_500);
        assert_eq!(edited.subuid, "dev:100501:65536\n");
        let mut edited = files();
        let larger = User {
            uid: 1_000_000_123,
            ..user()
        };
        add_user(&mut edited, &larger);
        assert_eq!(edited.subuid, "dev:100000:65536\n");
    }
}
