//! Listings that a recording asked for by a command line of ipvsadm.

use super::{compare, ipvsadm, recording::ConnectionRow, replay::Looked, world::World};
use std::net::{IpAddr, SocketAddr};
use wire::Frame;

/// What a command line wants listed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing<'a> {
    /// `-c`: connections.
    connections: bool,
    /// Other options, as after `ipvsadm -Ln`.
    options: Vec<&'a str>,
    /// One service only, as `-t ADDRESS` names it.
    service: Vec<&'a str>,
}

impl<'a> Listing<'a> {
    /// Of the words after `ipvsadm`; `None`: they list nothing, or with names looked up.
    pub fn asked(first: &'a str, rest: &[&'a str]) -> Option<Self> {
        let letters = match first {
            "--list" => "",
            letters => letters.strip_prefix(['-'])?.strip_prefix(['L', 'l'])?,
        };
        let mut asked = Self::default();
        let mut numeric = false;
        let mut letters_seen = |letters: &str, asked: &mut Self| {
            letters.chars().all(|letter| {
                match letter {
                    'n' => numeric = true,
                    'c' => asked.connections = true,
                    _ => return false,
                }
                true
            })
        };
        letters_seen(letters, &mut asked).then_some(())?;
        let mut left = rest.iter().copied();
        while let Some(word) = left.next() {
            match ipvsadm::letter(word) {
                "--numeric" => _ = letters_seen("n", &mut asked),
                "--connection" => asked.connections = true,
                service @ ("-t" | "-u" | "-f" | "--sctp-service") => {
                    asked.service.extend([service, left.next()?]);
                }
                "-6" => asked.service.push("-6"),
                long if long.starts_with("--") => asked.options.push(word),
                short => letters_seen(short.strip_prefix('-')?, &mut asked).then_some(())?,
            }
        }
        numeric.then_some(asked)
    }

    /// Compares it with what was recorded.
    pub fn look<F: Frame + Send + 'static>(
        &self,
        world: &World<F>,
        output: &str,
    ) -> Result<Looked, String> {
        if self.connections {
            if !self.service.is_empty() {
                return Err("not supported".to_owned());
            }
            let rows: Option<Vec<ConnectionRow>> = output.lines().skip(2).map(connection).collect();
            let rows = rows.ok_or("not understood")?;
            let found = world.connections();
            return Ok(if compare::connections(&rows, &found) {
                Looked::Same
            } else {
                let (expected, found) = compare::other_rows(&rows, &found);
                Looked::Different(expected, found)
            });
        }
        let only = ipvsadm::service(&self.service).map_err(|e| e.to_string())?;
        let mut services = world.services();
        services.retain(|service| only.is_none_or(|key| key == service.key));
        let lines: Vec<String> = output.lines().map(str::to_owned).collect();
        let (expected, found) = compare::listing(&self.options.join(" "), &lines, &services)?;
        Ok(Looked::at(&expected, &found))
    }
}

/// A row of `ipvsadm -Lnc`: protocol, time left, state, three ends, and what a persistence engine has.
fn connection(line: &str) -> Option<ConnectionRow> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [
        proto,
        left,
        state,
        client,
        virtual_address,
        dest,
        ref pe @ ..,
    ] = *words.as_slice()
    else {
        return None;
    };
    let (minutes, seconds) = left.split_once(':')?;
    let end = |text: &str| {
        let colon = text.rfind(':')?;
        let (address, port) = text.split_at(colon);
        let address: IpAddr = address.trim_matches(['[', ']']).parse().ok()?;
        let port = port.get(1..)?.parse().ok()?;
        Some(compare::endpoint(SocketAddr::new(address, port)))
    };
    Some(ConnectionRow {
        proto: proto.to_owned(),
        client: end(client)?,
        virtual_address: end(virtual_address)?,
        dest: end(dest)?,
        state: state.to_owned(),
        expire: 60 * minutes.parse::<i64>().ok()? + seconds.parse::<i64>().ok()?,
        pe: (!pe.is_empty()).then(|| pe.join(" ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_asked_for_in_many_words() {
        let asked = |line: &'static str| {
            let words: Vec<&'static str> = line.split_whitespace().collect();
            Listing::asked(words[0], &words[1..])
        };
        assert_eq!(asked("-Ln"), Some(Listing::default()));
        assert_eq!(asked("--list --numeric"), asked("-l -n"));
        assert!(asked("-Lnc").unwrap().connections);
        assert!(asked("-L -n --connection").unwrap().connections);
        let one = asked("-Ln --stats -t 10.0.0.100:80").unwrap();
        assert_eq!(one.options, ["--stats"]);
        assert_eq!(one.service, ["-t", "10.0.0.100:80"]);
        // Names are not looked up here; this is not a listing.
        assert_eq!(asked("-L"), None);
        assert_eq!(asked("-A -t 10.0.0.100:80"), None);
        assert_eq!(asked("-Lx"), None);
    }

    #[test]
    fn a_row_of_a_connection_is_read() {
        let row = connection(
            "TCP 14:57  ESTABLISHED 172.16.0.5:3005    10.0.0.100:80      10.1.0.12:8080",
        );
        let row = row.unwrap();
        assert_eq!((row.client.as_str(), row.expire), ("172.16.0.5|3005", 897));
        let row = connection("UDP 04:57 UDP [2001:db8::1]:99 [fd00::100]:53 [fd01::12]:53 sip x@y");
        let row = row.unwrap();
        assert_eq!(row.dest, "fd01::12|53");
        assert_eq!(row.pe.as_deref(), Some("sip x@y"));
        assert_eq!(connection("TCP ESTABLISHED 172.16.0.5:3005"), None);
    }
}
