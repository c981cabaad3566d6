//! pcap files, in and out.

use super::wrong;
use crate::failure::Failure;
use pcap_file::{
    DataLink, Endianness,
    pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter},
};
use std::{
    fs::File,
    io::{BufReader, BufWriter},
    path::Path,
    time::Duration,
};

/// Every frame, with its time.
pub fn read(path: &Path) -> Result<Vec<(Duration, Vec<u8>)>, Failure> {
    let file = File::open(path).map_err(wrong(path))?;
    let bad = |why| Failure::failed(format!("{}: {why}", path.display()));
    let mut reader = PcapReader::new(BufReader::new(file)).map_err(bad)?;
    if reader.header().datalink != DataLink::ETHERNET {
        return Err(Failure::failed(format!(
            "{}: not Ethernet frames, but {:?}",
            path.display(),
            reader.header().datalink
        )));
    }
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet.map_err(bad)?;
        frames.push((packet.timestamp, packet.data.into_owned()));
    }
    Ok(frames)
}

/// A file of these frames.
pub fn write<'a>(
    path: &Path,
    frames: impl Iterator<Item = (Duration, &'a [u8])>,
) -> Result<(), Failure> {
    let file = File::create(path).map_err(wrong(path))?;
    let bad = |why| Failure::failed(format!("{}: {why}", path.display()));
    let header = PcapHeader {
        endianness: Endianness::Little,
        ..PcapHeader::default()
    };
    let mut writer = PcapWriter::with_header(BufWriter::new(file), header).map_err(bad)?;
    for (time, bytes) in frames {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let packet = PcapPacket::new(time, length, bytes);
        writer.write_packet(&packet).map_err(bad)?;
    }
    std::io::Write::flush(&mut writer.into_writer()).map_err(wrong(path))
}
