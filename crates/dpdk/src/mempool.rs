//! Pools of packet buffers.

use crate::{
    Eal, Mbuf, MempoolError,
    error::{Said, errno_text},
    log,
};
use arrayvec::ArrayVec;
use std::{
    ffi::CString,
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

/// What a pool should hold.
#[derive(Clone, Copy, Debug)]
pub struct MempoolConfig {
    /// Buffers. One less than a power of two wastes least.
    pub count: u32,
    /// Bytes of frame each holds, headroom not counted; see [`crate::ProbedPort::buffer_size`].
    pub data_size: u32,
    /// Free buffers each registered thread keeps to itself.
    pub cache: u32,
    /// The NUMA node the memory is on, `None` for any.
    pub numa: Option<i32>,
}

impl Default for MempoolConfig {
    /// 16383 buffers of 2048 bytes.
    fn default() -> Self {
        Self {
            count: 16383,
            data_size: 2048,
            cache: 256,
            numa: None,
        }
    }
}

impl MempoolConfig {
    /// Bytes the pool takes, nearly: data, headroom, and DPDK's two headers for each buffer.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let header = 128 + 64 + u64::from(dpdk_sys::RTE_PKTMBUF_HEADROOM);
        u64::from(self.count) * (u64::from(self.data_size) + header).next_multiple_of(64)
            + 16 * u64::from(self.count)
    }
}

/// A pool of packet buffers. Clones share it; it is freed when the last clone is gone and every buffer is back.
#[derive(Clone)]
pub struct Mempool(Arc<Inner>);

struct Inner {
    pool: NonNull<dpdk_sys::rte_mempool>,
    config: MempoolConfig,
    eal: Eal,
}

// SAFETY: the pool's ring is multi-producer and multi-consumer (the default), and its caches are per lcore.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Mempool {
    /// Makes a pool.
    ///
    /// # Errors
    /// [`MempoolError`]: out of memory, or sizes DPDK cannot express.
    pub fn new(eal: &Eal, config: MempoolConfig) -> Result<Self, MempoolError> {
        static NAMES: AtomicU32 = AtomicU32::new(0);
        let MempoolConfig {
            count,
            data_size,
            cache,
            numa,
        } = config;
        if !(1..=0x7fff_ffff).contains(&count) {
            return Err(MempoolError::Count(count));
        }
        let room = u16::try_from(data_size.saturating_add(dpdk_sys::RTE_PKTMBUF_HEADROOM))
            .ok()
            .filter(|_| data_size >= 64)
            .ok_or(MempoolError::DataSize(data_size))?;
        // DPDK wants a cache of at most 512 and well below the count.
        let cache = cache
            .min(dpdk_sys::RTE_MEMPOOL_CACHE_MAX_SIZE)
            .min(count / 2);
        let name = CString::new(format!("tarpon{}", NAMES.fetch_add(1, Ordering::Relaxed)))
            .unwrap_or_default();
        let mark = log::mark();
        let (pool, errno) = eal.control(|| {
            // SAFETY: the EAL is up, the name is NUL-terminated and copied.
            let pool = unsafe {
                dpdk_sys::rte_pktmbuf_pool_create(
                    name.as_ptr(),
                    count,
                    cache,
                    0,
                    room,
                    numa.unwrap_or(-1),
                )
            };
            // SAFETY: reads a thread-local.
            (NonNull::new(pool), unsafe { dpdk_sys::edge_errno() })
        });
        let Some(pool) = pool else {
            return Err(MempoolError::Create {
                count,
                data_size,
                needed_mb: config.memory_bytes().div_ceil(1 << 20),
                reason: errno_text(errno),
                said: Said::since(mark),
            });
        };
        Ok(Self(Arc::new(Inner {
            pool,
            config,
            eal: eal.clone(),
        })))
    }

    /// An empty frame, or `None` when the pool is used up.
    #[inline]
    #[must_use]
    pub fn alloc(&self) -> Option<Mbuf> {
        // SAFETY: the pool is alive; what comes out is a fresh buffer nobody else holds.
        NonNull::new(unsafe { dpdk_sys::edge_pktmbuf_alloc(self.0.pool.as_ptr()) })
            .map(|raw| unsafe { Mbuf::from_raw(raw) })
    }

    /// Fills `out` with empty frames up to its capacity, all or none. False if the pool has not as many.
    #[must_use]
    pub fn alloc_burst<const N: usize>(&self, out: &mut ArrayVec<Mbuf, N>) -> bool {
        // SAFETY: it fills the array with as many fresh buffers as it is told, or says that it has not.
        unsafe { self.fill(out, dpdk_sys::edge_pktmbuf_alloc_bulk) }
    }

    /// [`Mempool::alloc_burst`] without making the frames empty: where their bytes begin, how many they are and what they are is as the
    /// last holder left it. Cheaper, for a pool all of whose frames are made in one place, which sets what it needs: see [`Mbuf::renew`].
    #[must_use]
    pub fn take_burst<const N: usize>(&self, out: &mut ArrayVec<Mbuf, N>) -> bool {
        // SAFETY: as in `alloc_burst`. Whoever frees a buffer leaves it one unchained segment with one holder, and its offset and
        // length inside the buffer: those of a new buffer are, and every method of `Mbuf` and every driver keeps them so.
        unsafe { self.fill(out, dpdk_sys::edge_pktmbuf_take_bulk) }
    }

    /// Has `take` fill what is left of `out`.
    ///
    /// # Safety
    /// `take` writes as many buffers of the pool's as it is told, which nobody else holds, and returns 0; or it writes none.
    #[inline(always)]
    unsafe fn fill<const N: usize>(
        &self,
        out: &mut ArrayVec<Mbuf, N>,
        take: unsafe extern "C" fn(
            *mut dpdk_sys::rte_mempool,
            *mut *mut dpdk_sys::rte_mbuf,
            u32,
        ) -> i32,
    ) -> bool {
        let room = out.remaining_capacity();
        let count = u32::try_from(room).unwrap_or(u32::MAX);
        // SAFETY: `Mbuf` is a transparent pointer; there is room for `count` of them past the end.
        let result = unsafe {
            let end = out
                .as_mut_ptr()
                .add(out.len())
                .cast::<*mut dpdk_sys::rte_mbuf>();
            take(self.0.pool.as_ptr(), end, count)
        };
        if result == 0 {
            // SAFETY: all of them have been written.
            unsafe { out.set_len(out.len() + room) };
        }
        result == 0
    }

    /// Buffers in the pool altogether.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.0.config.count
    }

    /// Buffers outside the pool now: in frames, in drivers' rings. Walks the threads' caches; not for the hot path.
    #[must_use]
    pub fn in_use(&self) -> u32 {
        // SAFETY: the pool is alive.
        unsafe { dpdk_sys::rte_mempool_in_use_count(self.0.pool.as_ptr()) }
    }

    /// Buffers free now.
    #[must_use]
    pub fn free(&self) -> u32 {
        self.size().saturating_sub(self.in_use())
    }

    /// Bytes of frame each buffer holds.
    #[must_use]
    pub fn data_size(&self) -> u32 {
        self.0.config.data_size
    }

    pub(crate) fn as_ptr(&self) -> *mut dpdk_sys::rte_mempool {
        self.0.pool.as_ptr()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A frame knows its pool but does not keep it (it is one pointer). So a pool with frames outside is left where
        // it is, and the EAL's memory with it: nobody can take more frames out, and those there are stay valid.
        // SAFETY: the pool is alive.
        if unsafe { dpdk_sys::rte_mempool_in_use_count(self.pool.as_ptr()) } == 0 {
            let pool = self.pool;
            // SAFETY: no handle and no frame is left.
            self.eal
                .control(|| unsafe { dpdk_sys::rte_mempool_free(pool.as_ptr()) });
        } else {
            self.eal.keep_memory();
        }
    }
}
