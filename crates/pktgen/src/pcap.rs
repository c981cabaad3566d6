//! pcap files: what would be sent, written; what was recorded, read.

use anyhow::{Context, Result, bail, ensure};
use pcap_file::{
    DataLink, Endianness,
    pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter},
};
use std::{
    fs::File,
    io::{BufReader, BufWriter, Write},
    path::Path,
    time::Duration,
};

/// Bytes of frames a recording may have: they are held in memory.
const RECORDING: usize = 1 << 30;

/// Every frame of a file.
///
/// # Errors
/// A file that cannot be read, is no pcap of Ethernet frames, holds none, or holds cut or outsized frames.
pub fn read(path: &Path, largest: usize) -> Result<Vec<Vec<u8>>> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("--from-pcap {shown}"))?;
    let mut reader = PcapReader::new(BufReader::new(file)).with_context(|| {
        format!("--from-pcap {shown}: no pcap file (pcapng: convert it with `editcap -F pcap`)")
    })?;
    let link = reader.header().datalink;
    ensure!(
        link == DataLink::ETHERNET,
        "--from-pcap {shown}: its frames are not Ethernet's, but {link:?}"
    );
    let (mut frames, mut bytes) = (Vec::new(), 0);
    while let Some(packet) = reader.next_packet() {
        let number = frames.len() + 1;
        let packet = packet.with_context(|| match number - 1 {
            0 => format!("--from-pcap {shown}: it ends, or is damaged, before its first frame is whole: record it anew"),
            whole => format!(
                "--from-pcap {shown}: it ends, or is damaged, in frame {number}; those before it can be sent when \
                 `editcap -F pcap -r {shown} WHOLE.pcap 1-{whole}` has taken them out"
            ),
        })?;
        let whole = usize::try_from(packet.orig_len).unwrap_or(usize::MAX);
        let len = packet.data.len();
        ensure!(
            whole <= len,
            "--from-pcap {shown}, frame {number}: only {len} of {whole} bytes were recorded; record with `tcpdump -s 0`"
        );
        ensure!(
            (14..=largest).contains(&len),
            "--from-pcap {shown}, frame {number}: {len} bytes; from 14 to {largest} can be sent (see --mtu)"
        );
        bytes += len;
        if bytes > RECORDING {
            bail!("--from-pcap {shown}: more than 1 GiB of frames; split it with `editcap -c`");
        }
        frames.push(packet.data.into_owned());
    }
    ensure!(
        !frames.is_empty(),
        "--from-pcap {shown}: there is no frame in it"
    );
    Ok(frames)
}

/// Writes frames to a file, one by one.
pub struct Writer {
    inner: PcapWriter<BufWriter<File>>,
    name: String,
}

impl Writer {
    /// A new file.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        let name = format!("--pcap {}", path.display());
        let file = File::create(path).with_context(|| name.clone())?;
        let header = PcapHeader {
            endianness: Endianness::Little,
            ..PcapHeader::default()
        };
        let inner =
            PcapWriter::with_header(BufWriter::new(file), header).with_context(|| name.clone())?;
        Ok(Self { inner, name })
    }

    /// One more frame.
    ///
    /// # Errors
    /// When the disk is full, and the like.
    pub fn write(&mut self, time: Duration, frame: &[u8]) -> Result<()> {
        let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        self.inner
            .write_packet(&PcapPacket::new(time, len, frame))
            .with_context(|| self.name.clone())?;
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// As of [`Writer::write`].
    pub fn finish(self) -> Result<()> {
        let Self { inner, name } = self;
        inner.into_writer().flush().context(name)
    }
}
