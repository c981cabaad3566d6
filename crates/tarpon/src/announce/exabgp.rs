//! Lines of ExaBGP's process API on standard output.

use super::{Audience, Found};
use crate::failure::Failure;
use std::{
    collections::BTreeSet,
    io::{self, Write},
    net::IpAddr,
};

/// An ExaBGP that reads what this process says.
pub(super) struct ExaBgp {
    /// As the session has it, if nobody says.
    next_hop: Option<IpAddr>,
    /// Multi-exit discriminator.
    med: Option<u32>,
    announced: BTreeSet<IpAddr>,
}

impl ExaBgp {
    pub(super) const fn new(next_hop: Option<IpAddr>, med: Option<u32>) -> Self {
        Self {
            next_hop,
            med,
            announced: BTreeSet::new(),
        }
    }

    /// `announce route 192.0.2.10/32 next-hop self med 100`
    fn line(&self, verb: &str, address: IpAddr) -> String {
        let length = if address.is_ipv4() { 32 } else { 128 };
        let hop = self
            .next_hop
            .map_or_else(|| "self".to_owned(), |hop| hop.to_string());
        let mut line = format!("{verb} route {address}/{length} next-hop {hop}");
        if let Some(med) = self.med {
            line += &format!(" med {med}");
        }
        line
    }
}

impl Audience for ExaBgp {
    fn tell(&mut self, found: &Found) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        for gone in self.announced.difference(&found.served) {
            writeln!(out, "{}", self.line("withdraw", *gone))?;
        }
        for new in found.served.difference(&self.announced) {
            writeln!(out, "{}", self.line("announce", *new))?;
        }
        // Whoever reads has gone when this fails.
        out.flush()?;
        self.announced.clone_from(&found.served);
        Ok(())
    }

    /// ExaBGP ends with its processes, or withdraws what one of them has said.
    fn end(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}
