//! Who a program is run as.

/// A user's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
}

/// The user to become; `None`: it is the daemon's own already.
pub fn to_become(name: &str) -> Result<Option<User>, String> {
    let text = std::fs::read_to_string("/etc/passwd")
        .map_err(|error| format!("/etc/passwd: {}", crate::worded(&error)))?;
    let user =
        find(&text, name).ok_or_else(|| format!("there is no user {name:?} in /etc/passwd"))?;
    let own = rustix::process::geteuid();
    if own.as_raw() == user.uid {
        return Ok(None);
    }
    if !own.is_root() {
        return Err(format!("only root can run a program as {name:?}"));
    }
    Ok(Some(user))
}

/// The numbers of a user and a group, as far as they are named; a user without a group brings its own.
///
/// # Errors
/// Who is not known.
pub fn owner(
    user: Option<&str>,
    group: Option<&str>,
) -> Result<(Option<u32>, Option<u32>), String> {
    let read = |file: &str| {
        std::fs::read_to_string(file).map_err(|error| format!("{file}: {}", crate::worded(&error)))
    };
    let user = match user {
        None => None,
        Some(name) => Some(
            find(&read("/etc/passwd")?, name)
                .ok_or_else(|| format!("there is no user {name:?} in /etc/passwd"))?,
        ),
    };
    let gid = match group {
        None => user.map(|user| user.gid),
        Some(name) => {
            let groups = read("/etc/group")?;
            let fields = groups.lines().map(|line| line.split(':'));
            let mut numbers = fields.filter_map(|mut fields| {
                (fields.next()? == name).then_some(())?;
                fields.nth(1)?.parse::<u32>().ok()
            });
            let known = numbers.next();
            Some(known.ok_or_else(|| format!("there is no group {name:?} in /etc/group"))?)
        }
    };
    Ok((user.map(|user| user.uid), gid))
}

fn find(passwd: &str, name: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (found, _, uid, gid) = (
            fields.next()?,
            fields.next()?,
            fields.next()?,
            fields.next()?,
        );
        (found == name).then_some(())?;
        Some(User {
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{User, find};

    #[test]
    fn users_are_found_by_their_whole_name() {
        let text = "root:x:0:0::/root:/bin/sh\nbad\nnobody:x:65534:65533::/:/x\n";
        let found = find(text, "nobody");
        assert_eq!(
            found,
            Some(User {
                uid: 65534,
                gid: 65533
            })
        );
        assert_eq!(find(text, "no"), None);
        assert_eq!(find(text, "bad"), None);
    }
}
