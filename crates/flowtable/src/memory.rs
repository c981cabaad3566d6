//! The table's memory: zeroed once at start, huge pages where the kernel gives them.

use std::ops::Deref;

/// Types for which all-zero bytes are a value, the one `zeroed` makes.
///
/// # Safety
/// All-zero bytes must be a valid value, and the type must need no drop.
pub unsafe trait Zeroed: Sized {
    /// The value of all-zero bytes.
    fn zeroed() -> Self;
}

#[cfg(not(any(loom, shuttle)))]
pub use mapped::Region;

#[cfg(not(any(loom, shuttle)))]
mod mapped {
    use super::{Deref, Zeroed};
    use rustix::mm::{self, Advice, MapFlags, ProtFlags};
    use std::{ffi::c_void, io, marker::PhantomData, ptr::NonNull, slice};

    /// Alignment of large regions, so that the kernel can back them with huge pages.
    const HUGE: usize = 2 << 20;
    const PAGE: usize = 4096;

    /// A fixed array in an anonymous mapping of its own.
    pub struct Region<T> {
        items: NonNull<T>,
        len: usize,
        mapping: *mut c_void,
        mapping_bytes: usize,
        owned: PhantomData<T>,
    }

    impl<T: Zeroed> Region<T> {
        /// `len` zeroed items.
        pub fn new(len: usize) -> io::Result<Self> {
            let too_large = || io::Error::from(io::ErrorKind::OutOfMemory);
            let bytes = len
                .checked_mul(size_of::<T>())
                .filter(|&b| b > 0)
                .ok_or_else(too_large)?;
            let huge = bytes >= HUGE;
            let (page, spare) = if huge { (HUGE, HUGE) } else { (PAGE, 0) };
            let whole = bytes
                .checked_next_multiple_of(page)
                .and_then(|b| b.checked_add(spare));
            let mapping_bytes = whole.ok_or_else(too_large)?;
            // SAFETY: a new private mapping at an address the kernel chooses touches no memory of ours.
            let mapping = unsafe {
                mm::mmap_anonymous(
                    std::ptr::null_mut(),
                    mapping_bytes,
                    ProtFlags::READ | ProtFlags::WRITE,
                    MapFlags::PRIVATE,
                )
            }?;
            let offset = if huge {
                mapping.addr().next_multiple_of(HUGE) - mapping.addr()
            } else {
                0
            };
            // SAFETY: offset < spare, so the result lies inside the mapping.
            let items = unsafe { mapping.byte_add(offset) };
            if huge {
                // SAFETY: the range lies inside the mapping. Advice only: a kernel without huge pages refuses, and small
                // pages serve as well, slower.
                let _ = unsafe { mm::madvise(items, mapping_bytes - spare, Advice::LinuxHugepage) };
            }
            let items = NonNull::new(items.cast()).ok_or_else(too_large)?;
            Ok(Self {
                items,
                len,
                mapping,
                mapping_bytes,
                owned: PhantomData,
            })
        }

        /// Has the kernel back all of it now, so that no packet waits for a page. False if it cannot.
        pub fn populate(&self) -> bool {
            let bytes = self.len * size_of::<T>();
            // SAFETY: the range lies inside the mapping; populating changes no content.
            unsafe {
                mm::madvise(
                    self.items.as_ptr().cast(),
                    bytes,
                    Advice::LinuxPopulateWrite,
                )
            }
            .is_ok()
        }
    }

    impl<T> Deref for Region<T> {
        type Target = [T];
        #[inline]
        fn deref(&self) -> &[T] {
            // SAFETY: `items` points at `len` items inside the mapping, page-aligned, zeroed by the kernel, which is a
            // value of T (Zeroed); they live as long as `self`, and are only handed out shared.
            unsafe { slice::from_raw_parts(self.items.as_ptr(), self.len) }
        }
    }

    impl<T> Drop for Region<T> {
        fn drop(&mut self) {
            // SAFETY: the mapping of `new`, unmapped once; no borrow of the items outlives `self`. An error is
            // impossible for a mapping that exists, and would only leak.
            let _ = unsafe { mm::munmap(self.mapping, self.mapping_bytes) };
        }
    }

    // SAFETY: it owns its items like a boxed slice.
    unsafe impl<T: Send> Send for Region<T> {}
    // SAFETY: it hands out shared references only.
    unsafe impl<T: Sync> Sync for Region<T> {}

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::group::Group;

        #[test]
        fn regions_are_zeroed_whole_and_aligned() {
            for len in [
                1,
                255,
                256,
                257,
                HUGE / 16 - 1,
                HUGE / 16,
                HUGE / 16 + 1,
                3 * HUGE / 16 + 5,
            ] {
                let region = Region::<Group>::new(len).unwrap();
                assert_eq!(region.len(), len);
                assert!(region.as_ptr().addr().is_multiple_of(if len * 16 >= HUGE {
                    HUGE
                } else {
                    PAGE
                }));
                assert!(region.populate(), "Linux 5.14 or later");
                assert!(
                    region
                        .iter()
                        .all(|g| g.load().overflow() == 0 && g.load().occupied().next().is_none())
                );
                // To the last byte it is ours.
                region[len - 1].set(13, 255);
                region[0].set(0, 255);
            }
            assert!(Region::<Group>::new(0).is_err());
            assert!(Region::<Group>::new(usize::MAX / 8).is_err());
        }
    }
}

#[cfg(any(loom, shuttle))]
pub use boxed::Region;

/// Checked atomics are not plain memory: each must be constructed.
#[cfg(any(loom, shuttle))]
mod boxed {
    use super::{Deref, Zeroed};
    use std::io;

    pub struct Region<T>(Box<[T]>);

    impl<T: Zeroed> Region<T> {
        pub fn new(len: usize) -> io::Result<Self> {
            Ok(Self((0..len).map(|_| T::zeroed()).collect()))
        }

        pub fn populate(&self) -> bool {
            true
        }
    }

    impl<T> Deref for Region<T> {
        type Target = [T];
        fn deref(&self) -> &[T] {
            &self.0
        }
    }
}

/// Asks the CPU to fetch the lines of an item; no effect on what a program can observe, wherever `index` points.
#[inline(always)]
pub fn prefetch<T>(items: &[T], index: u32) {
    fetch(items, index, false);
}

/// [`prefetch`] of an item whose last line is going to be written: that one is fetched as the core's own. Else a line that another core has looked at
/// comes shared, and the first write to it holds up those behind it until the others have given it up.
#[inline(always)]
pub fn prefetch_to_write<T>(items: &[T], index: u32) {
    fetch(items, index, true);
}

#[inline(always)]
fn fetch<T>(items: &[T], index: u32, to_write: bool) {
    #[cfg(all(target_arch = "x86_64", not(any(loom, shuttle))))]
    for line in (0..size_of::<T>()).step_by(64) {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let item = items.as_ptr().wrapping_add(index as usize);
        let at = item.cast::<i8>().wrapping_add(line);
        if to_write && line + 64 >= size_of::<T>() {
            // SAFETY: a prefetch never faults, whatever the address. Cores that do not know this one (Intel's before 2014) take it for no
            // operation, and fetch the line all the same by what follows.
            unsafe {
                core::arch::asm!("prefetchw [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
            }
        }
        // SAFETY: SSE is part of x86-64; a prefetch never faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(any(loom, shuttle)))))]
    let _ = (items, index, to_write);
}
