//! Who is at the other end of a unix socket.

use std::os::unix::net::UnixStream;

/// Credentials of a peer, as the kernel vouches for them (`SO_PEERCRED`, taken when it connected).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Process id.
    pub pid: i32,
}

impl Peer {
    /// Whether it may control this daemon: root, or the user the daemon runs as.
    #[must_use]
    pub fn may_control(&self) -> bool {
        self.uid == 0 || self.uid == rustix::process::geteuid().as_raw()
    }
}

/// The peer of `stream`.
///
/// # Errors
/// What the kernel says.
pub fn peer_of(stream: &UnixStream) -> std::io::Result<Peer> {
    let credentials = rustix::net::sockopt::socket_peercred(stream)?;
    Ok(Peer {
        uid: credentials.uid.as_raw(),
        gid: credentials.gid.as_raw(),
        pid: credentials.pid.as_raw_nonzero().get(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_of_our_own_is_ourselves() {
        let (one, _two) = UnixStream::pair().unwrap();
        let peer = peer_of(&one).unwrap();
        assert_eq!(peer.pid, i32::try_from(std::process::id()).unwrap());
        assert!(peer.may_control());
        assert!(
            !Peer {
                uid: u32::MAX - 1,
                ..peer
            }
            .may_control()
        );
    }
}
