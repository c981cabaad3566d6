//! What can be a port's device: the forms the ports' driver layer takes, judged without asking the machine.

/// A device, as far as its text tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Device<'t> {
    /// What no two ports may share: the PCI address in full, or driver and number; `None` when DPDK numbers it.
    pub identity: Option<String>,
    /// It is on PCI.
    pub pci: bool,
    /// The kernel interface it uses or makes.
    pub interface: Option<&'t str>,
}

/// What is wrong with a text, and what to write instead.
pub(super) type Wrong = (String, String);

const FORMS: &str = "write a PCI address, like \"0000:03:00.0\" (dpdk-devbind.py --status lists them), \"af_packet:eth1\" for a kernel \
                     interface, or a virtual device as DPDK names it, like \"net_pcap0,rx_pcap=FILE\"";

/// Reads a device.
///
/// | text | device |
/// |---|---|
/// | `0000:03:00.0` or `03:00.0` | on PCI |
/// | `af_packet:IFACE`, `af_xdp:IFACE` | a kernel interface |
/// | `tap:NAME` | a new TAP interface |
/// | `net_DRIVER[N]` | a virtual device |
///
/// each with `,KEY=VALUE` behind it as often as needed.
pub(super) fn read(text: &str) -> Result<Device<'_>, Wrong> {
    let unknown = || (format!("{text:?} is no device"), FORMS.to_owned());
    let mut parts = text.split(',');
    let name = parts.next().unwrap_or_default();
    let mut arguments = Vec::new();
    for argument in parts {
        let pair = argument
            .split_once('=')
            .filter(|(key, value)| !key.is_empty() && !value.is_empty());
        arguments.push(pair.ok_or_else(|| {
            (
                format!("{argument:?} in {text:?} says nothing"),
                "write arguments as KEY=VALUE, separated by commas".to_owned(),
            )
        })?);
    }
    if let Some(address) = pci_address(name) {
        return Ok(Device {
            identity: Some(address),
            pci: true,
            interface: None,
        });
    }
    if let Some((short, interface)) = name.split_once(':') {
        if !matches!(short, "af_packet" | "af_xdp" | "tap") {
            return Err(unknown());
        }
        if interface.is_empty() || interface.contains([':', '/', ' ']) {
            return Err((
                format!("{text:?} does not say which interface"),
                format!("write device = \"{short}:eth1\", with your interface's name"),
            ));
        }
        return Ok(Device {
            identity: None,
            pci: false,
            interface: Some(interface),
        });
    }
    let driver = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let known = ["net_", "eth_", "virtio_user"]
        .iter()
        .any(|prefix| name.starts_with(prefix));
    if known && driver != "net_" && name.len() <= 32 {
        let interface = arguments
            .iter()
            .find(|(key, _)| *key == "iface")
            .map(|(_, value)| *value);
        if interface.is_none() && matches!(driver, "net_af_packet" | "net_af_xdp") {
            return Err((
                format!("{text:?} does not say which kernel interface to use"),
                format!("write device = \"{text},iface=eth1\", with your interface's name"),
            ));
        }
        return Ok(Device {
            identity: (driver.len() < name.len()).then(|| name.to_owned()),
            pci: false,
            interface,
        });
    }
    if could_be_interface(text) {
        return Err((
            format!("{text:?} is no device"),
            format!(
                "if it is a kernel interface, write device = \"af_packet:{text}\" to share it with the kernel, or its PCI address to \
                 take it over"
            ),
        ));
    }
    Err(unknown())
}

/// `0000:03:00.0` for that or `03:00.0`; `None` for anything else.
fn pci_address(text: &str) -> Option<String> {
    let hex = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
        let good = lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
        good.then(|| u32::from_str_radix(text, 16).ok()).flatten()
    };
    let (rest, function) = text.split_once('.')?;
    let mut parts = rest.rsplit(':');
    let device = hex(parts.next()?, 2..=2).filter(|device| *device < 32)?;
    let bus = hex(parts.next()?, 2..=2)?;
    let domain = parts.next().map_or(Some(0), |domain| hex(domain, 4..=8))?;
    let function = hex(function, 1..=1).filter(|function| *function < 8)?;
    parts
        .next()
        .is_none()
        .then(|| format!("{domain:04x}:{bus:02x}:{device:02x}.{function:x}"))
}

fn could_be_interface(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'@');
    (1..=15).contains(&text.len()) && text.bytes().all(plain)
}
