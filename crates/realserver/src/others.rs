//! Real servers on other systems: exact instructions, since nothing of ours runs there.

use crate::request::{Method, Request};
use std::net::IpAddr;

/// A system other than Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Platform {
    /// Windows Server 2012 and later.
    Windows,
    /// FreeBSD.
    Freebsd,
    /// OpenBSD.
    Openbsd,
    /// macOS (Darwin).
    Macos,
}

/// What to type on that system for direct routing (and, with a gateway, for NAT).
#[must_use]
pub fn instructions(platform: Platform, request: &Request) -> String {
    let interface = request.interfaces.first().map(String::as_str);
    if let (Method::Nat, Some(gateway)) = (request.method, request.gateway) {
        return gateway_only(platform, gateway, interface);
    }
    match platform {
        Platform::Windows => windows(&request.vips, interface.unwrap_or("Ethernet")),
        Platform::Freebsd => freebsd(&request.vips),
        Platform::Openbsd => openbsd(&request.vips),
        Platform::Macos => macos(&request.vips),
    }
}

fn gateway_only(platform: Platform, gateway: IpAddr, interface: Option<&str>) -> String {
    let v6 = gateway.is_ipv6();
    match platform {
        Platform::Windows => format!(
            "# PowerShell, as administrator. Permanent.\n\
             Remove-NetRoute -DestinationPrefix '{zero}' -Confirm:$false -ErrorAction SilentlyContinue\n\
             New-NetRoute -InterfaceAlias '{}' -DestinationPrefix '{zero}' -NextHop {gateway}\n",
            interface.unwrap_or("Ethernet"),
            zero = if v6 { "::/0" } else { "0.0.0.0/0" },
        ),
        Platform::Freebsd => format!(
            "sysrc {}={gateway}\nservice routing restart\n",
            if v6 {
                "ipv6_defaultrouter"
            } else {
                "defaultrouter"
            }
        ),
        Platform::Openbsd => format!(
            "echo {gateway} > /etc/mygate      # keep a second line for the other family\nsh /etc/netstart\n"
        ),
        Platform::Macos => format!(
            "route {} change default {gateway}\n# permanent: networksetup -setmanual SERVICE ADDRESS MASK {gateway}\n",
            if v6 { "-n -inet6" } else { "-n" }
        ),
    }
}

fn windows(vips: &[IpAddr], nic: &str) -> String {
    let mut text = String::from(
        "# Windows Server, PowerShell as administrator. A loopback adapter holds the VIP and never answers ARP on the wire;\n\
         # the weak host model lets the NIC take the VIP's packets and the replies leave through it.\n\
         #\n\
         # 1. Add the adapter (once): `hdwwiz` > install manually > Network adapters > Microsoft > Microsoft KM-TEST Loopback Adapter,\n\
         #    or, with devcon from the Windows Driver Kit:  devcon.exe install $env:windir\\inf\\netloop.inf *msloop\n\
         #    Give it a name:\n\
         Get-NetAdapter -InterfaceDescription '*KM-TEST Loopback*' | Rename-NetAdapter -NewName 'LVS-VIP'\n\
         # 2. Nothing but IP on it, out of DNS, never preferred:\n\
         Disable-NetAdapterBinding -Name 'LVS-VIP' -ComponentID ms_msclient,ms_server -ErrorAction SilentlyContinue\n\
         Set-DnsClient -InterfaceAlias 'LVS-VIP' -RegisterThisConnectionsAddress $false\n\
         Set-NetIPInterface -InterfaceAlias 'LVS-VIP' -InterfaceMetric 254\n\
         # 3. The VIPs, as host addresses, not used as a source of the server's own connections:\n",
    );
    for vip in vips {
        let prefix = if vip.is_ipv4() { 32 } else { 128 };
        text.push_str(&format!("New-NetIPAddress -InterfaceAlias 'LVS-VIP' -IPAddress {vip} -PrefixLength {prefix} -SkipAsSource $true\n"));
    }
    text.push_str(&format!(
        "# 4. The weak host model, on both (`{nic}` is the NIC the director reaches):\n"
    ));
    for (name, family) in [("ipv4", true), ("ipv6", false)] {
        if vips.iter().any(|v| v.is_ipv4() == family) {
            text.push_str(&format!(
                "netsh interface {name} set interface \"{nic}\" weakhostreceive=enabled\n\
                 netsh interface {name} set interface \"LVS-VIP\" weakhostreceive=enabled weakhostsend=enabled\n"
            ));
        }
    }
    text.push_str("# 5. Let the services in: New-NetFirewallRule -DisplayName LVS -Direction Inbound -Protocol TCP -LocalPort PORT -Action Allow\n# All of it survives a boot. Undo:\n");
    for vip in vips {
        text.push_str(&format!(
            "#   Remove-NetIPAddress -InterfaceAlias 'LVS-VIP' -IPAddress {vip} -Confirm:$false\n"
        ));
    }
    text.push_str(&format!("#   netsh interface ipv4 set interface \"{nic}\" weakhostreceive=disabled\n#   then remove the adapter in the device manager.\n"));
    text
}

fn alias(vip: &IpAddr) -> String {
    if vip.is_ipv4() {
        format!("inet {vip} netmask 255.255.255.255")
    } else {
        format!("inet6 {vip} prefixlen 128")
    }
}

fn freebsd(vips: &[IpAddr]) -> String {
    let mut text = "# FreeBSD, as root. BSD answers ARP only for addresses of the receiving interface, so the VIP on lo0 is silent.\n\
                    # net.inet.ip.check_interface must be 0 (its default); from 14.0 on, net.inet.ip.rfc1122_strong_es and its IPv6 twin too.\n"
        .to_owned();
    for (index, vip) in vips.iter().enumerate() {
        text.push_str(&format!("ifconfig lo0 {} alias\nsysrc ifconfig_lo0_alias{index}=\"{}\"      # at boot; take the next free number\n", alias(vip), alias(vip)));
    }
    text.push_str("# Undo:\n");
    for (index, vip) in vips.iter().enumerate() {
        let family = if vip.is_ipv4() { "inet" } else { "inet6" };
        text.push_str(&format!(
            "#   ifconfig lo0 {family} {vip} -alias; sysrc -x ifconfig_lo0_alias{index}\n"
        ));
    }
    text
}

fn openbsd(vips: &[IpAddr]) -> String {
    let mut text = "# OpenBSD, as root. The VIP is on lo1; without forwarding OpenBSD takes packets only for addresses of the receiving interface\n\
                    # (the strong host model), unless pf leads them there:\nifconfig lo1 create\n"
        .to_owned();
    for vip in vips {
        let family = if vip.is_ipv4() { "inet" } else { "inet6" };
        text.push_str(&format!("ifconfig lo1 {} alias\necho '{family} alias {vip} {}' >> /etc/hostname.lo1      # at boot\n", alias(vip), if vip.is_ipv4() { "255.255.255.255" } else { "128" }));
    }
    text.push_str("# In /etc/pf.conf, for each VIP (a REDIRECT: the service listens on all addresses), then `pfctl -f /etc/pf.conf`:\n");
    for vip in vips {
        text.push_str(&format!(
            "#   pass in quick on egress to {vip} rdr-to (egress)\n"
        ));
    }
    text.push_str("# With pf's rule the VIP on lo1 is not needed; choose one. Undo: ifconfig lo1 destroy; rm /etc/hostname.lo1; remove the rule\n");
    text
}

fn macos(vips: &[IpAddr]) -> String {
    let mut text = "# macOS, as root. As on other BSDs the VIP on lo0 is not answered by ARP on the wire. A launch daemon must repeat it at boot.\n".to_owned();
    for vip in vips {
        text.push_str(&format!("ifconfig lo0 {} alias\n", alias(vip)));
    }
    for vip in vips {
        text.push_str(&format!(
            "# undo: ifconfig lo0 {} {vip} -alias\n",
            if vip.is_ipv4() { "inet" } else { "inet6" }
        ));
    }
    text
}
