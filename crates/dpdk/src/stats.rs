//! A port's own counters.

use std::ffi::CStr;

/// Counters of a port since it was opened, as the driver keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Frames received.
    pub rx_packets: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames lost because nobody took them out of the port in time.
    pub rx_missed: u64,
    /// Frames received damaged.
    pub rx_errors: u64,
    /// Frames not sent.
    pub tx_errors: u64,
    /// Times there was no free packet buffer.
    pub rx_no_buffer: u64,
}

pub(crate) fn read(port: u16) -> Option<PortStats> {
    let mut raw = dpdk_sys::rte_eth_stats::default();
    // SAFETY: a place to write to; an unknown port is an error.
    let result = unsafe { dpdk_sys::rte_eth_stats_get(port, &raw mut raw) };
    (result == 0).then_some(PortStats {
        rx_packets: raw.ipackets,
        tx_packets: raw.opackets,
        rx_bytes: raw.ibytes,
        tx_bytes: raw.obytes,
        rx_missed: raw.imissed,
        rx_errors: raw.ierrors,
        tx_errors: raw.oerrors,
        rx_no_buffer: raw.rx_nombuf,
    })
}

/// Name and value of each of the driver's extended counters.
pub(crate) fn read_extended(port: u16) -> Vec<(String, u64)> {
    // SAFETY: with no room DPDK only counts.
    let count = unsafe { dpdk_sys::rte_eth_xstats_get_names(port, std::ptr::null_mut(), 0) };
    let room = usize::try_from(count).unwrap_or(0);
    let mut names = vec![dpdk_sys::rte_eth_xstat_name { name: [0; 64] }; room];
    let mut values = vec![dpdk_sys::rte_eth_xstat::default(); room];
    let n = u32::try_from(room).unwrap_or(0);
    // SAFETY: both arrays have room for `n`.
    let (got_names, got_values) = unsafe {
        (
            dpdk_sys::rte_eth_xstats_get_names(port, names.as_mut_ptr(), n),
            dpdk_sys::rte_eth_xstats_get(port, values.as_mut_ptr(), n),
        )
    };
    let whole = |got: i32| usize::try_from(got).is_ok_and(|got| got <= room);
    if !whole(got_names) || !whole(got_values) {
        return Vec::new();
    }
    let text = |name: &dpdk_sys::rte_eth_xstat_name| {
        let bytes: Vec<u8> = name.name.iter().map(|&c| c.cast_unsigned()).collect();
        CStr::from_bytes_until_nul(&bytes)
            .map(|text| text.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    values
        .iter()
        .take(usize::try_from(got_values).unwrap_or(0))
        .filter_map(|value| {
            Some((
                text(names.get(usize::try_from(value.id).ok()?)?),
                value.value,
            ))
        })
        .collect()
}
