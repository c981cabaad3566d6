//! Reading and writing numbers in network order, never beyond the end.

/// Bytes still to be read.
pub(crate) struct Reader<'b>(pub &'b [u8]);

impl<'b> Reader<'b> {
    pub fn take(&mut self, len: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub fn u128(&mut self) -> Option<u128> {
        self.array().map(u128::from_be_bytes)
    }
}

/// Appends to a message.
pub(crate) trait Put {
    fn put(&mut self, bytes: &[u8]);
    fn u16(&mut self, n: u16) {
        self.put(&n.to_be_bytes());
    }
    fn u32(&mut self, n: u32) {
        self.put(&n.to_be_bytes());
    }
    fn u64(&mut self, n: u64) {
        self.put(&n.to_be_bytes());
    }
}

impl Put for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}
