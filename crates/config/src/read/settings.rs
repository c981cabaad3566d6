//! `[settings]`

use super::{
    section::{Reader, Section},
    value::{flag, integer},
};
use crate::{Settings, settings::MAX_FTP_PORTS};
use toml::de::DeValue;

/// A timeout of connections at most, in seconds: 31 days, as `ipvsadm --set` has it.
pub const MAX_TIMEOUT_S: u32 = 31 * 24 * 3600;

/// What the table of fragments has room for, in bytes: 2048 buffers of 2304.
const MAX_FRAGMENT_BYTES: u32 = 2048 * 2304;

/// `d` says what holds where nothing is written.
pub(super) fn read(reader: &mut Reader, section: &mut Section<'_>, d: Settings) -> Settings {
    let mut on = |key, default: bool| {
        section
            .get(reader, key, "true or false", switch)
            .unwrap_or(default)
    };
    let ip_forward = on("ip_forward", d.ip_forward);
    let expire_nodest_conn = on("expire_nodest_conn", d.expire_nodest_conn);
    let expire_quiescent_template = on("expire_quiescent_template", d.expire_quiescent_template);
    let sloppy_tcp = on("sloppy_tcp", d.sloppy_tcp);
    let sloppy_sctp = on("sloppy_sctp", d.sloppy_sctp);
    let schedule_icmp = on("schedule_icmp", d.schedule_icmp);
    let cache_bypass = on("cache_bypass", d.cache_bypass);
    let nat_icmp_send = on("nat_icmp_send", d.nat_icmp_send);
    let pmtu_disc = on("pmtu_disc", d.pmtu_disc);
    let mut seconds = |key, default: u32| {
        let wanted =
            format!("seconds as a whole number from 1 to 2678400 (31 days), like {default}");
        section
            .get(reader, key, &wanted, integer(1..=MAX_TIMEOUT_S))
            .unwrap_or(default)
    };
    let tcp_timeout = seconds("tcp_timeout", d.tcp_timeout);
    let tcp_fin_timeout = seconds("tcp_fin_timeout", d.tcp_fin_timeout);
    let lblc_expiration = seconds("lblc_expiration", d.lblc_expiration);
    let lblcr_expiration = seconds("lblcr_expiration", d.lblcr_expiration);
    let udp_timeout = seconds("udp_timeout", d.udp_timeout);
    let ipfrag_time = seconds("ipfrag_time", d.ipfrag_time);
    let ip6frag_time = seconds("ip6frag_time", d.ip6frag_time);
    let ipfrag_high_thresh = section
        .get(
            reader,
            "ipfrag_high_thresh",
            "bytes as a whole number from 0 to 4718592, like 4194304 (0: fragments are not put together)",
            integer(0..=MAX_FRAGMENT_BYTES),
        )
        .unwrap_or(d.ipfrag_high_thresh);
    let conn_reuse_mode = section
        .get(
            reader,
            "conn_reuse_mode",
            "a number from 0 to 3, like 1",
            integer(0..=3),
        )
        .unwrap_or(d.conn_reuse_mode);
    let mut defence = |key, default: u8| {
        let wanted = "0 (never), 1 (while room for connections is scarce) or 3 (always)";
        section
            .get(reader, key, wanted, integer(0..=3))
            .unwrap_or(default)
    };
    let drop_entry = defence("drop_entry", d.drop_entry);
    let drop_packet = defence("drop_packet", d.drop_packet);
    let secure_tcp = defence("secure_tcp", d.secure_tcp);
    let mut count = |key, default: u32, wanted| {
        section
            .get(reader, key, wanted, integer(1..=1_000_000))
            .unwrap_or(default)
    };
    let am_droprate = count(
        "am_droprate",
        d.am_droprate,
        "a whole number from 1 to 1000000, like 10: one packet in so many",
    );
    let amemthresh = count(
        "amemthresh",
        d.amemthresh,
        "pages as a whole number from 1 to 1000000, like 1024",
    );
    let overload_drop = section
        .get(
            reader,
            "overload_drop",
            "0 (nothing), 1 (new connections) or 2 (new connections, then packets of established ones)",
            integer(0..=2),
        )
        .unwrap_or(d.overload_drop);
    let icmp_rate = section
        .get(
            reader,
            "icmp_rate",
            "packets a second as a whole number from 0 to 10000000, like 1000, or \"unlimited\"",
            |v| match v {
                DeValue::String(text) if text == "unlimited" => Ok(None),
                other => integer(0..=10_000_000)(other).map(Some),
            },
        )
        .unwrap_or(d.icmp_rate);
    let ip_default_ttl = section
        .get(
            reader,
            "ip_default_ttl",
            "a number from 1 to 255, like 64",
            integer(1..=255),
        )
        .unwrap_or(d.ip_default_ttl);
    let endpoint_connections = section
        .get(
            reader,
            "endpoint_connections",
            "a whole number from 1 to 1000000, like 64",
            integer(1..=1_000_000),
        )
        .unwrap_or(d.endpoint_connections);
    let ftp_ports = ftp_ports(reader, section).unwrap_or(d.ftp_ports);
    Settings {
        ip_forward,
        expire_nodest_conn,
        expire_quiescent_template,
        conn_reuse_mode,
        sloppy_tcp,
        sloppy_sctp,
        drop_entry,
        drop_packet,
        secure_tcp,
        am_droprate,
        amemthresh,
        overload_drop,
        schedule_icmp,
        cache_bypass,
        lblc_expiration,
        lblcr_expiration,
        nat_icmp_send,
        pmtu_disc,
        tcp_timeout,
        tcp_fin_timeout,
        udp_timeout,
        icmp_rate,
        ipfrag_time,
        ip6frag_time,
        ipfrag_high_thresh,
        ip_default_ttl,
        endpoint_connections,
        ftp_ports,
    }
}

fn ftp_ports(reader: &mut Reader, section: &mut Section<'_>) -> Option<Vec<u16>> {
    let wanted = (
        "port numbers from 1 to 65535, eight at most, like [21, 2121]",
        "21",
    );
    let mut seen = Vec::new();
    section.list(reader, "ftp_ports", wanted, |value| {
        let port: u16 = integer(1..=u16::MAX)(value)?;
        if seen.contains(&port) {
            return Err(Some(format!("{port} stands in `ftp_ports` twice")));
        }
        seen.push(port);
        match seen.len() {
            0..=MAX_FTP_PORTS => Ok(port),
            more => Err(Some(format!("{port} is number {more} in `ftp_ports`"))),
        }
    })
}

/// true and false, and the kernel's 1 and 0.
fn switch(value: &DeValue<'_>) -> Result<bool, Option<String>> {
    flag(value).or_else(|_| integer(0..=1_u8)(value).map(|n| n == 1))
}
