//! A pcapng file: one interface per port, and each frame's direction.

use crate::failure::Failure;
use api::{CapturedFrame, Direction, Port};
use pcap_file::{
    DataLink, PcapError,
    pcapng::{
        PcapNgWriter,
        blocks::{
            enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption},
            interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
            section_header::{SectionHeaderBlock, SectionHeaderOption},
        },
    },
};
use std::{
    borrow::Cow,
    fs::File,
    io::{self, BufWriter, Write},
    os::fd::AsFd,
    path::Path,
    time::Duration,
};

/// `if_tsresol`: timestamps count in 10^-9 s.
const NANOSECONDS: u8 = 9;

/// `epb_flags`, bits 0 and 1.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

pub struct PcapFile {
    writer: PcapNgWriter<BufWriter<File>>,
    ports: Vec<String>,
    /// Somebody is watching: each frame goes out at once.
    live: bool,
}

impl PcapFile {
    /// Begins the file, with an interface for each port; `-` is standard output.
    pub fn create(path: &Path, ports: &[Port], snaplen: Option<u32>) -> Result<Self, Failure> {
        let live = path.as_os_str() == "-";
        let file = if live {
            // Not `Stdout`, which looks for line feeds in what it is given.
            io::stdout().as_fd().try_clone_to_owned().map(File::from)
        } else {
            File::create(path)
        };
        let file =
            file.map_err(|e| Failure::failed(format!("cannot write {}: {e}", path.display())))?;
        let section = SectionHeaderBlock {
            options: vec![SectionHeaderOption::UserApplication(Cow::Owned(format!(
                "tarpon {}",
                env!("CARGO_PKG_VERSION")
            )))],
            ..SectionHeaderBlock::default()
        };
        let mut writer =
            PcapNgWriter::with_section_header(BufWriter::new(file), section).map_err(io_error)?;
        for port in ports {
            let block = InterfaceDescriptionBlock {
                linktype: DataLink::ETHERNET,
                snaplen: snaplen.unwrap_or(0),
                options: vec![
                    InterfaceDescriptionOption::IfName(Cow::Borrowed(&port.name)),
                    InterfaceDescriptionOption::IfDescription(Cow::Borrowed(&port.device)),
                    InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
                ],
            };
            writer.write_pcapng_block(block).map_err(io_error)?;
        }
        if live {
            writer.get_mut().flush()?;
        }
        Ok(Self {
            writer,
            ports: ports.iter().map(|p| p.name.clone()).collect(),
            live,
        })
    }

    pub fn write(&mut self, frame: &CapturedFrame) -> io::Result<()> {
        let interface = self
            .ports
            .iter()
            .position(|name| *name == frame.port)
            .and_then(|index| u32::try_from(index).ok())
            .ok_or_else(|| {
                io::Error::other(format!(
                    "the daemon sent a frame of an unknown port {:?}",
                    frame.port
                ))
            })?;
        let direction = match frame.direction {
            Direction::Rx => INBOUND,
            Direction::Tx => OUTBOUND,
        };
        let block = EnhancedPacketBlock {
            interface_id: interface,
            timestamp: Duration::from_nanos(frame.timestamp_ns),
            original_len: frame.original_len,
            data: Cow::Borrowed(&frame.data.0),
            options: vec![EnhancedPacketOption::Flags(direction)],
        };
        self.writer.write_pcapng_block(block).map_err(io_error)?;
        if self.live {
            self.writer.get_mut().flush()?;
        }
        Ok(())
    }

    pub fn finish(self) -> io::Result<()> {
        self.writer.into_inner().flush()
    }
}

fn io_error(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}
